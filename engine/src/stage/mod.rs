//! Stage instances: step-driven state machines that own their inputs, their fused chain and their outputs.
//!
//! 1. `source`: polls readers, pushes batches and barriers into its chain
//! 2. `instance`: takes messages from its input gate, pushes them into its chain
//! 3. `outlet`: the end of a chain: routes rows to the next stage
//! 4. `poison`: records at which a closure panics
//! 5. `roster`: partitions of which there may be more
//! 6. `tape`: what stands in for sources and sinks in a replay
//!
//! `step()` does what can be done now and returns; it never waits, sleeps, spawns or reads a clock of its
//! own. That one rule is why the same instances run on threads, in a test and in a simulation.

mod instance;
mod outlet;
mod poison;
mod roster;
mod source;
mod tape;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

use crate::channel::InstanceWaker;
use crate::epoch::{Entry, EntryKind, Journal};
use crate::error::{Result, guard};
use crate::operator::output::OnCommit;
use crate::telemetry::Meter;
use crate::time::Epoch;

pub(crate) use self::instance::OperatorInstance;
pub(crate) use self::outlet::Outlet;
pub(crate) use self::poison::{Poison, PoisonRecord};
pub(crate) use self::roster::Roster;
pub(crate) use self::source::{PartitionPosition, Positions, SourceInstance, SourceParts};
pub(crate) use self::tape::{Given, Piece, Reopen, Retell, Tape, TapeSource, TapeWriter, reopen};

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something was done; there may be more.
    Ran,
    /// There is nothing to do; look again when woken, or after this many milliseconds.
    Idle { retry_ms: u64 },
    /// An output is full; woken when there is room.
    Blocked,
    /// Everything is done and sent.
    Done,
}

/// One parallel instance of a stage.
pub(crate) trait StageInstance: Send {
    /// Does one piece of work.
    fn step(&mut self) -> Result<Progress>;

    /// Ends the input here, as if it had ended by itself. Only sources do this.
    fn stop(&mut self) {}

    /// True if epochs start here.
    fn is_source(&self) -> bool {
        false
    }

    /// Woken when an input has something or an output has room.
    fn waker(&self) -> &InstanceWaker;
}

/// The sending side of an instance on one edge, whatever it sends.
pub(crate) trait Output: Send {
    /// Tries to send what did not fit; true when nothing is left over.
    fn flush(&mut self) -> Result<bool>;

    /// Sends rows that wait for company; true if there were any.
    fn release(&mut self) -> Result<bool>;
}

/// The outputs of an instance.
pub(crate) type Outputs = Vec<Arc<Mutex<dyn Output>>>;

/// How far the instances of a run are with the epochs: where instances and whoever commits epochs meet.
pub(crate) struct EpochBoard {
    /// Names of the instances, `stage[subtask]`.
    labels: Vec<String>,
    /// The newest epoch that each instance has passed.
    passed: Vec<AtomicU64>,
    /// Instances whose input has ended.
    ended: AtomicUsize,
    /// The newest epoch that was asked for.
    requested: AtomicU64,
    /// The newest epoch that is durable.
    committed: AtomicU64,
    /// The last epoch is durable: instances may go.
    over: AtomicBool,
    /// What instances said about epochs that are not committed yet.
    entries: Mutex<BTreeMap<u64, Vec<Entry>>>,
    wakers: Vec<InstanceWaker>,
    /// Told when an epoch is complete or all instances have ended.
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for EpochBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochBoard")
            .field("passed", &self.passed)
            .field("requested", &self.requested)
            .field("committed", &self.committed)
            .finish_non_exhaustive()
    }
}

impl EpochBoard {
    /// A board for instances with these names; `committed` is the last epoch of an earlier run.
    pub(crate) fn new(labels: Vec<String>, wakers: Vec<InstanceWaker>, Epoch(committed): Epoch) -> Arc<Self> {
        Arc::new(EpochBoard {
            labels,
            passed: wakers.iter().map(|_| AtomicU64::new(committed)).collect(),
            ended: AtomicUsize::new(0),
            requested: AtomicU64::new(committed),
            committed: AtomicU64::new(committed),
            over: AtomicBool::new(false),
            entries: Mutex::new(BTreeMap::new()),
            wakers,
            listener: OnceLock::new(),
        })
    }

    /// Sets who is told when there is something to do about epochs.
    pub(crate) fn listen(&self, listener: impl Fn() + Send + Sync + 'static) {
        // Set once per board.
        let _ = self.listener.set(Box::new(listener));
    }

    fn tell(&self) {
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }

    /// An instance has passed an epoch, and says this about it.
    pub(crate) fn pass(&self, instance: usize, epoch: u64, mut entries: Vec<Entry>) {
        if !entries.is_empty() {
            let mut all = guard(&self.entries);
            all.entry(epoch).or_default().append(&mut entries);
        }
        if let Some(passed) = self.passed.get(instance) {
            passed.store(epoch, SeqCst);
        }
        if self.complete().0 >= epoch {
            self.tell();
        }
    }

    /// The input of an instance has ended.
    fn end(&self) {
        if self.ended.fetch_add(1, SeqCst) + 1 == self.passed.len() {
            self.tell();
        }
    }

    /// True when the input of all instances has ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.ended.load(SeqCst) == self.passed.len()
    }

    /// The newest epoch that all instances have passed.
    pub(crate) fn complete(&self) -> Epoch {
        Epoch(self.passed.iter().map(|passed| passed.load(SeqCst)).min().unwrap_or(0))
    }

    /// Names of the instances that have not passed this epoch.
    pub(crate) fn behind(&self, Epoch(epoch): Epoch) -> impl Iterator<Item = &str> {
        let passed = self.passed.iter().zip(&self.labels);
        passed.filter(move |(passed, _)| passed.load(SeqCst) < epoch).map(|(_, label)| label.as_str())
    }

    /// Asks for an epoch: sources and ended instances begin it.
    pub(crate) fn request(&self, epoch: Epoch) {
        self.requested.store(epoch.0, SeqCst);
        self.wake();
    }

    /// Takes what all instances said about an epoch that is complete.
    pub(crate) fn take_entries(&self, epoch: Epoch) -> Vec<Entry> {
        let mut all = guard(&self.entries);
        all.remove(&epoch.0).unwrap_or_default()
    }

    /// The epoch is durable: sinks may show it. After the last one, instances end.
    pub(crate) fn commit(&self, epoch: Epoch, is_last: bool) {
        self.committed.store(epoch.0, SeqCst);
        self.over.fetch_or(is_last, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        self.wakers.iter().for_each(|waker| waker.wake());
    }
}

/// The sinks of an instance.
pub(crate) type Commits = Vec<Arc<Mutex<dyn OnCommit>>>;

/// What every instance has: its outputs, its waker, its place on the epoch board.
pub(crate) struct Frame {
    pub(crate) outputs: Outputs,
    pub(crate) commits: Commits,
    /// The counts of its nodes, by name.
    pub(crate) meters: Vec<(String, Arc<Meter>)>,
    pub(crate) waker: InstanceWaker,
    pub(crate) board: Arc<EpochBoard>,
    pub(crate) index: usize,
    /// The newest epoch that it has passed, and that its sinks have been told of.
    pub(crate) passed: u64,
    pub(crate) committed: u64,
}

impl Frame {
    /// Sends what did not fit before; true when all of it is gone.
    fn flush(&mut self) -> Result<bool> {
        let mut clear = true;
        for output in &self.outputs {
            clear &= lock(output)?.flush()?;
        }
        Ok(clear)
    }

    /// Sends what waits for company; true if there was something.
    fn release(&mut self) -> Result<bool> {
        let mut any = false;
        for output in &self.outputs {
            any |= lock(output)?.release()?;
        }
        Ok(any)
    }

    /// The next epoch that was asked for and not passed yet.
    fn due(&self) -> Option<Epoch> {
        (self.board.requested.load(SeqCst) > self.passed).then_some(Epoch(self.passed + 1))
    }

    /// Everything in front of the epoch's barrier is done; hands over what was said about it.
    fn pass(&mut self, epoch: Epoch, journal: &mut Journal) -> Result<()> {
        if journal.is_on() {
            for (name, meter) in &self.meters {
                journal.record(EntryKind::Counts, name, &meter.counts())?;
            }
        }
        self.passed = epoch.0;
        self.board.pass(self.index, epoch.0, journal.take());
        Ok(())
    }

    /// Tells the sinks of epochs that have become durable; true if there were any.
    fn commit(&mut self) -> Result<bool> {
        let committed = self.board.committed.load(SeqCst);
        if committed == self.committed {
            return Ok(false);
        }
        self.committed = committed;
        for sink in &self.commits {
            lock(sink)?.on_commit(Epoch(committed))?;
        }
        Ok(true)
    }

    fn end(&self) {
        self.board.end();
    }

    /// True when the run is over and its last epoch was committed here.
    fn is_over(&self) -> bool {
        self.board.over.load(SeqCst) && self.committed == self.board.committed.load(SeqCst)
    }
}

fn lock<'a, O: ?Sized>(output: &'a Arc<Mutex<O>>) -> Result<std::sync::MutexGuard<'a, O>> {
    output.lock().map_err(|_| crate::error::Error::failed("an output was left in disorder by a panic"))
}
