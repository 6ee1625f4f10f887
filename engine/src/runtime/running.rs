//! `RunningTopology`: the handle of a run: wait, stop, look.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, System};
use dashmap::DashMap;

use super::actor::{Activity, Inspect, StageActor, Start};
use super::assembly::{Assembled, Beginning, Meters, assemble};
use super::coordinator::{Coordinator, Halt};
use super::epochs::Epochs;
use super::job::{Durable, Job, StoreHome};
use super::memory::bound_arenas;
use super::restart::{PoisonSearch, Restarts};
use super::scout::Scouts;
use super::supervisor::{Drain, Supervisor, Watch};
use crate::config::{EngineConfig, RestartStrategy};
use crate::error::guard;
use crate::error::{Error, Result};
use crate::stage::Poison;
use crate::telemetry::{self, Counts};
use crate::time::{Clock, Epoch, SystemClock};
use crate::topology::{NodeKind, Topology};

/// What the threads of a run and its handle share.
pub(crate) struct Control {
    /// Live actors by name: where the embedder's thread meets the arbiters.
    actors: DashMap<String, Addr<StageActor>>,
    supervisor: Mutex<Option<Addr<Supervisor>>>,
    coordinator: Mutex<Option<Addr<Coordinator>>>,
    meters: Mutex<Meters>,
    /// A stop keeps what was done, to go on another time, instead of ending the input.
    is_durable: bool,
    outcome: Mutex<Option<Result<()>>>,
    stopping: AtomicBool,
    /// Wakes a wait between two attempts.
    stop_signal: (Mutex<()>, Condvar),
    finished: (Mutex<bool>, Condvar),
    epoch: AtomicU64,
    restarts: AtomicU64,
    /// What an old epoch waits for.
    waiting: Mutex<Option<String>>,
    had_ended: AtomicBool,
}

impl Control {
    pub(crate) fn outcome(&self, outcome: Result<()>) {
        guard(&self.outcome).get_or_insert(outcome);
    }

    pub(crate) fn completed(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, SeqCst);
    }

    /// Sets what an old epoch waits for; returns it when nothing was known of it before.
    pub(crate) fn waiting(&self, waiting: Option<String>) -> Option<String> {
        let before = std::mem::replace(&mut *guard(&self.waiting), waiting.clone());
        waiting.filter(|_| before.is_none())
    }

    pub(crate) fn forget(&self, label: &str) {
        self.actors.remove(label);
    }

    fn drain(&self) {
        // Under the lock, or a wait between two attempts that has just looked would sleep through it.
        let waiting = guard(&self.stop_signal.0);
        self.stopping.store(true, SeqCst);
        self.stop_signal.1.notify_all();
        drop(waiting);
        // Without an address the attempt has not begun; it looks at `stopping` when it has.
        if self.is_durable {
            guard(&self.coordinator).iter().for_each(|coordinator| coordinator.do_send(Halt));
        } else {
            guard(&self.supervisor).iter().for_each(|supervisor| supervisor.do_send(Drain));
        }
    }
}

/// Counts of one node of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Name of the source, operator or sink.
    pub name: String,
    /// `source`, `operator` or `sink`.
    pub role: &'static str,
    /// Its counts, summed over its instances.
    pub counts: Counts,
    /// The newest watermark it has seen, in milliseconds.
    pub watermark: Option<i64>,
    /// What holds its watermark back, in words.
    pub holding: Option<String>,
    /// The first record that it rejected, and why.
    pub rejection: Option<String>,
}

/// Counts of a whole topology at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which the nodes were added.
    pub nodes: Vec<NodeReport>,
    /// The newest epoch that is complete.
    pub epoch: u64,
    /// How often the topology was started again after a failure.
    pub restarts: u64,
    /// What an epoch waits for that has been under way for long: which instances, or the log.
    pub waiting: Option<String>,
    /// A run before this one had come to the end of the input: there was nothing left to do.
    pub had_ended: bool,
    /// It was asked to stop. With a state directory the input has not ended then: windows stay open, and the
    /// next run goes on.
    pub stopped: bool,
}

impl Report {
    fn total(&self, role: &str, read: impl Fn(&Counts) -> u64) -> u64 {
        self.nodes.iter().filter(|node| node.role == role).map(|node| read(&node.counts)).sum()
    }

    /// Records read by all sources, rejected ones included.
    #[must_use]
    pub fn records_read(&self) -> u64 {
        self.total("source", |counts| counts.records_in)
    }

    /// Records that sources or operators could not understand.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.total("source", |counts| counts.rejected) + self.total("operator", |counts| counts.rejected)
    }

    /// Records that came after all their windows had closed.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.total("operator", |counts| counts.late)
    }

    /// Rows taken by all sinks.
    #[must_use]
    pub fn rows_written(&self) -> u64 {
        self.total("sink", |counts| counts.records_in)
    }
}

/// What a finished run came to.
pub type Summary = Report;

/// A topology that is running on its own threads.
///
/// Dropping the handle does not stop the run; see [`stop`](Self::stop) and [`wait`](Self::wait).
pub struct RunningTopology {
    shape: Shape,
    control: Arc<Control>,
    thread: JoinHandle<Result<()>>,
    resumed: Epoch,
    restored: Option<String>,
}

/// Names and roles of the nodes.
type Shape = Vec<(String, &'static str)>;

impl fmt::Debug for RunningTopology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningTopology").field("nodes", &self.shape.len()).finish_non_exhaustive()
    }
}

impl Topology {
    /// Starts the topology on threads of its own and returns at once. Takes no signal handler, logger or
    /// port.
    ///
    /// # Errors
    /// The configuration is out of range, a source cannot be found, or a sink cannot be opened.
    pub fn start(self, config: EngineConfig) -> Result<RunningTopology> {
        let shape = self
            .graph
            .nodes
            .iter()
            .map(|node| {
                let role = match node.kind {
                    NodeKind::Source { .. } => "source",
                    NodeKind::Sink { .. } => "sink",
                    _ => "operator",
                };
                (node.name.clone(), role)
            })
            .collect();
        if cfg!(panic = "abort") && config.restart != RestartStrategy::Never {
            tracing::warn!(
                "this program is built with panic = \"abort\": a panic ends it, and no restart strategy sees that"
            );
        }
        let control = Arc::new(Control {
            actors: DashMap::new(),
            supervisor: Mutex::new(None),
            coordinator: Mutex::new(None),
            meters: Mutex::new(Vec::new()),
            is_durable: config.state_dir.is_some(),
            outcome: Mutex::new(None),
            stopping: AtomicBool::new(false),
            stop_signal: (Mutex::new(()), Condvar::new()),
            finished: (Mutex::new(false), Condvar::new()),
            epoch: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            waiting: Mutex::default(),
            had_ended: AtomicBool::new(false),
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        // The first assembly happens here, so that what cannot start is the caller's error.
        let first = prepare(&self, &config, &clock, &Arc::default())?;
        guard(&control.meters).clone_from(&first.assembled.meters);
        control.epoch.store(first.assembled.before.0, SeqCst);
        control.had_ended.store(first.assembled.had_ended, SeqCst);
        let (resumed, restored) = (first.assembled.before, first.assembled.restored.clone());
        let shared = Arc::clone(&control);
        let thread =
            std::thread::Builder::new().name(format!("{}-supervisor", self.name())).spawn(move || {
                let outcome = run(&self, &config, &clock, &shared, first);
                *guard(&shared.finished.0) = true;
                shared.finished.1.notify_all();
                outcome
            })?;
        Ok(RunningTopology { shape, control, thread, resumed, restored })
    }

    /// Runs the topology to the end of its input.
    ///
    /// # Errors
    /// It cannot start, or a source, operator or sink failed.
    pub fn run(self, config: EngineConfig) -> Result<Summary> {
        self.start(config)?.wait()
    }
}

impl RunningTopology {
    /// Waits for the end of the run.
    ///
    /// # Errors
    /// A source, operator or sink failed, and the restart strategy gave up.
    pub fn wait(self) -> Result<Summary> {
        let RunningTopology { shape, control, thread, .. } = self;
        let outcome = thread.join().map_err(|_| Error::failed("the supervisor thread panicked"))?;
        outcome.map(|()| report(&shape, &control))
    }

    /// Waits for the end of the run, but not longer than this; true when it has ended.
    pub fn wait_for(&self, limit: Duration) -> bool {
        let (finished, signal) = &self.control.finished;
        let waited = signal.wait_timeout_while(guard(finished), limit, |finished| !*finished);
        // A thread that panicked has said nothing.
        *waited.unwrap_or_else(PoisonError::into_inner).0 || self.thread.is_finished()
    }

    /// True when the run has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the run. Without a state directory the input ends where it stands: everything read is
    /// processed, windows close, sinks finish. With one, a last epoch is committed, and the next run goes on
    /// behind it. Returns at once; see [`wait`](Self::wait).
    pub fn stop(&self) {
        self.control.drain();
    }

    /// A handle that can stop the run from another thread, such as a signal handler.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.control) }
    }

    /// The epoch of an earlier run behind which this one goes on; `None` when it begins at the beginning.
    #[must_use]
    pub fn resumed(&self) -> Option<u64> {
        (self.resumed > Epoch(0)).then_some(self.resumed.0)
    }

    /// What was wrong with the state store and which snapshot it went back to, in a sentence; `None` when
    /// nothing was.
    #[must_use]
    pub fn restored(&self) -> Option<&str> {
        self.restored.as_deref()
    }

    /// The counts now.
    #[must_use]
    pub fn report(&self) -> Report {
        report(&self.shape, &self.control)
    }

    /// Names of the live stage instances, `stage[subtask]`, in order.
    #[must_use]
    pub fn instances(&self) -> Vec<String> {
        let mut names: Vec<_> = self.control.actors.iter().map(|entry| entry.key().clone()).collect();
        names.sort_unstable();
        names
    }

    /// What a stage instance is doing; `None` when it has ended. The answer is the instance's own, so it
    /// comes between two of its steps.
    #[must_use]
    pub fn activity(&self, instance: &str) -> Option<Activity> {
        let actor = self.control.actors.get(instance)?.value().clone();
        System::new().block_on(actor.send(Inspect)).ok()
    }
}

/// Stops a run from another thread.
#[derive(Clone)]
pub struct Stopper {
    control: Arc<Control>,
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopper")
    }
}

impl Stopper {
    /// See [`RunningTopology::stop`].
    pub fn stop(&self) {
        self.control.drain();
    }
}

fn report(shape: &Shape, control: &Control) -> Report {
    let meters = guard(&control.meters).clone();
    let nodes = shape
        .iter()
        .zip(&meters)
        .map(|((name, role), meters)| NodeReport {
            name: name.clone(),
            role,
            counts: meters.iter().map(|meter| meter.counts()).sum(),
            watermark: meters.iter().filter_map(|meter| meter.watermark()).max(),
            holding: meters.iter().find_map(|meter| meter.holding()),
            rejection: meters.iter().find_map(|meter| meter.rejection()).map(str::to_owned),
        })
        .collect();
    Report {
        nodes,
        epoch: control.epoch.load(SeqCst),
        restarts: control.restarts.load(SeqCst),
        waiting: guard(&control.waiting).clone(),
        had_ended: control.had_ended.load(SeqCst),
        stopped: control.stopping.load(SeqCst),
    }
}

/// What an attempt needs.
struct Attempt {
    assembled: Assembled,
    /// Makes epochs durable.
    log: Option<Box<dyn Durable>>,
    store: Option<Arc<StoreHome>>,
}

/// Opens the job's directory, if it has one, and puts the instances together.
fn prepare(
    topology: &Topology,
    config: &EngineConfig,
    clock: &Arc<dyn Clock>,
    poison: &Arc<Poison>,
) -> Result<Attempt> {
    config.validate()?;
    bound_arenas(config);
    let poison = Arc::clone(poison);
    let Some(directory) = &config.state_dir else {
        let beginning = Beginning { poison, ..Beginning::default() };
        let assembled = assemble(topology, config, Arc::clone(clock), &beginning)?;
        return Ok(Attempt { assembled, log: None, store: None });
    };
    let Job { mut beginning, log } = Job::open(topology, config, directory)?;
    beginning.poison = poison;
    let assembled = assemble(topology, config, Arc::clone(clock), &beginning)?;
    Ok(Attempt { assembled, log: Some(Box::new(log)), store: beginning.store })
}

/// True when an instance is that of a source.
fn is_of_source(topology: &Topology, place: &str) -> bool {
    let name = place.rsplit_once('[').map_or(place, |(name, _)| name);
    let nodes = &topology.graph.nodes;
    nodes.iter().any(|node| node.name == name && matches!(node.kind, NodeKind::Source { .. }))
}

/// Attempt after attempt, until one succeeds or the strategy gives up.
fn run(
    topology: &Topology,
    config: &EngineConfig,
    clock: &Arc<dyn Clock>,
    control: &Arc<Control>,
    first: Attempt,
) -> Result<()> {
    let mut restarts = Restarts::new(config.restart);
    let mut search = PoisonSearch::default();
    let mut next = Some(first);
    loop {
        let prepared = match next.take() {
            Some(prepared) => Ok(prepared),
            // The job has begun, with a savepoint or without.
            None => prepare(
                topology,
                &EngineConfig { start_from: None, new_output: false, ..config.clone() },
                clock,
                &search.poison,
            ),
        };
        // What made an attempt fail, a server that is away, may keep the next one from beginning.
        let outcome = prepared.and_then(|prepared| {
            guard(&control.meters).clone_from(&prepared.assembled.meters);
            attempt(prepared, config, clock, control)
        });
        let Err(error) = outcome else { return Ok(()) };
        let goes_on = config.reject_poison && search.goes_on(&error, |place| is_of_source(topology, place));
        let delay_ms = if goes_on { Some(0) } else { restarts.after_failure(clock.monotonic_ms()) };
        let Some(delay_ms) = delay_ms else { return Err(error) };
        if control.stopping.load(SeqCst) {
            return Err(error);
        }
        let from = if config.state_dir.is_some() { "the last epoch" } else { "the beginning" };
        tracing::warn!(%error, delay_ms, "restarting the topology from {from}");
        metrics::counter!(telemetry::RESTARTS).increment(1);
        control.restarts.fetch_add(1, SeqCst);
        let (lock, signal) = &control.stop_signal;
        let wait = signal.wait_timeout_while(guard(lock), Duration::from_millis(delay_ms), |()| {
            !control.stopping.load(SeqCst)
        });
        drop(wait);
    }
}

/// Runs all instances on their arbiters until they have ended or one has failed.
fn attempt(
    prepared: Attempt,
    config: &EngineConfig,
    clock: &Arc<dyn Clock>,
    control: &Arc<Control>,
) -> Result<()> {
    let Attempt { assembled, log, store } = prepared;
    let _scouts = Scouts::start(assembled.scouts)?;
    let system = System::new();
    let arbiters: Vec<Arbiter> =
        system.block_on(async { (0..config.parallelism).map(|_| Arbiter::new()).collect() });
    system.block_on(async {
        let supervisor = Supervisor::new(assembled.slots.len(), Arc::clone(control)).start();
        *guard(&control.supervisor) = Some(supervisor.clone());
        let mut instances = Vec::new();
        let mut sources = Vec::new();
        for slot in assembled.slots {
            // One instance of a stage per arbiter; the only instance of a stage goes to the last.
            let home = if slot.subtask.count == 1 { arbiters.len() - 1 } else { slot.subtask.index };
            let is_source = slot.instance.is_source();
            let actor = StageActor::new(slot.label.clone(), slot.instance, supervisor.clone());
            let address = StageActor::start_in_arbiter(&arbiters[home % arbiters.len()].handle(), |_| actor);
            if is_source {
                sources.push(address.clone());
            }
            control.actors.insert(slot.label, address.clone());
            instances.push(address);
        }
        supervisor.do_send(Watch(instances.clone()));
        instances.iter().for_each(|instance| instance.do_send(Start));
        let coordinator = Coordinator {
            sources,
            epochs: Epochs::new(Arc::clone(&assembled.board), assembled.before, store),
            board: assembled.board,
            control: Arc::clone(control),
            supervisor,
            log,
            thread: None,
            interval: Duration::from_millis(config.epoch_interval_ms),
            clock: Arc::clone(clock),
        };
        let coordinator = coordinator.start();
        *guard(&control.coordinator) = Some(coordinator);
    });
    if control.stopping.load(SeqCst) {
        control.drain();
    }
    let ran = system.run();
    control.actors.clear();
    *guard(&control.supervisor) = None;
    *guard(&control.coordinator) = None;
    for arbiter in arbiters {
        arbiter.stop();
        // A panic in an arbiter has been reported by the step that caught it.
        let _ = arbiter.join();
    }
    ran?;
    guard(&control.outcome).take().unwrap_or(Err(Error::Stopped))
}
