//! The simulation of a durable job on a machine that loses power: lives end in the middle of anything, the
//! disk forgets what was not synced, and the next life recovers, perhaps with another parallelism.

use std::sync::Arc;

use super::clock::ManualClock;
use super::simulation::{Run, Simulation, draw};
use crate::batch::hash_u64;
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::runtime::{Epochs, Job, StoreThread, assemble};
use crate::state::MemoryStore;
use crate::storage::{CrashPolicy, Fault, FaultKind, MemoryStorage};
use crate::topology::Topology;
use crate::wal::LogLimits;

/// What happened in a simulated run with crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Lives that were cut short.
    pub crashes: u64,
    /// Of these, before the instances ran.
    pub crashes_in_recovery: u64,
    /// Lives that went on behind an epoch.
    pub resumed: u64,
    /// Steps of all lives.
    pub steps: u64,
    /// Epochs of all lives.
    pub epochs: u64,
    /// Epochs with which the state store was brought up to date.
    pub store_epochs: u64,
}

/// Another sequence than the one that draws the steps.
const CRASH_SALT: u64 = 0xc4a5_4bad;

struct World {
    state: u64,
    storage: MemoryStorage,
    store: MemoryStore,
    report: CrashReport,
}

impl Simulation {
    /// Runs a topology to the end of its input as a durable job, with up to `crashes_max` crashes drawn from
    /// the seed. Sinks stand outside of the crash; see [`Ledger`](super::Ledger).
    ///
    /// # Errors
    /// As [`run`](Simulation::run); also when a life fails that nothing was done to.
    pub fn run_with_crashes(
        &self,
        topology: &Topology,
        config: &EngineConfig,
        crashes_max: u64,
    ) -> Result<CrashReport> {
        let mut world = World {
            state: hash_u64(self.seed ^ CRASH_SALT),
            storage: MemoryStorage::new(),
            store: MemoryStore::new(),
            report: CrashReport::default(),
        };
        let clock = ManualClock::new();
        loop {
            let mut config = config.clone();
            if world.report.resumed > 0 && draw(&mut world.state, 2) == 0 {
                config.parallelism = 1 + draw(&mut world.state, 4) as usize;
            }
            let may_crash = world.report.crashes < crashes_max;
            let finished = world
                .live(self, topology, &config, &clock, may_crash)
                .map_err(|error| error.at(format!("seed {}, {:?}", self.seed, world.report)))?;
            if finished {
                return Ok(world.report);
            }
            world.lose_power();
        }
    }
}

impl World {
    /// One life; true when it reached the end.
    fn live(
        &mut self,
        simulation: &Simulation,
        topology: &Topology,
        config: &EngineConfig,
        clock: &ManualClock,
        may_crash: bool,
    ) -> Result<bool> {
        let steps_max = if may_crash { draw_span(&mut self.state, 14) } else { u64::MAX };
        let breaks = may_crash && draw(&mut self.state, 2) == 0;
        if breaks {
            // From some call on the disk is gone; the life ends there.
            let call = self.storage.calls() + draw_span(&mut self.state, 8);
            self.storage.fail(Fault { call, forever: true, kind: FaultKind::Broken });
        }
        let limits = LogLimits {
            segment_bytes: 1 << (9 + draw(&mut self.state, 6)),
            buffer_bytes: 1 << (6 + draw(&mut self.state, 8)),
            ..LogLimits::default()
        };
        let store = StoreThread::inline(self.store.clone());
        let opened = Job::open_in(topology, config, Arc::new(self.storage.clone()), limits, store, None);
        let Job { beginning, log } = match opened {
            Ok(job) => job,
            Err(_) if breaks => {
                self.report.crashes_in_recovery += 1;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.report.resumed += u64::from(beginning.epoch.0 > 0);
        let assembled = assemble(topology, config, Arc::new(clock.clone()), &beginning)?;
        let home = beginning.store.clone();
        let epochs = Epochs::new(Arc::clone(&assembled.board), assembled.before, beginning.store);
        let seed = draw(&mut self.state, u64::MAX);
        let mut run = Run::new(assembled, epochs, Some(Box::new(log)), clock.clone(), seed);
        let finished = self.run(simulation, &mut run, steps_max, breaks, home.as_deref());
        let trace = run.trace();
        self.report.steps += trace.steps;
        self.report.epochs += trace.epochs;
        if self.report.steps > simulation.steps_max {
            return Err(Error::failed(format!("not finished after {} steps", simulation.steps_max)));
        }
        finished
    }

    fn run(
        &mut self,
        simulation: &Simulation,
        run: &mut Run,
        steps_max: u64,
        breaks: bool,
        store: Option<&crate::runtime::StoreHome>,
    ) -> Result<bool> {
        let mut asked = 0;
        while !run.is_finished() {
            let steps = run.trace().steps;
            if steps >= steps_max {
                return Ok(false);
            }
            if self.report.steps + steps > simulation.steps_max {
                return Err(Error::failed(format!("it hangs; live: {}", run.labels())));
            }
            if let Some(store) = store {
                // Now and then there is no room left for what the store does not have.
                if draw(&mut self.state, 200) == 0 {
                    store.press();
                }
                self.report.store_epochs += u64::from(store.asked_epoch() != asked);
                asked = store.asked_epoch();
            }
            match run.step() {
                Ok(()) => {}
                Err(_) if breaks => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn lose_power(&mut self) {
        self.report.crashes += 1;
        let policies = CrashPolicy::ALL;
        let policy = policies[draw(&mut self.state, policies.len() as u64) as usize];
        self.storage = self.storage.crash(policy, draw(&mut self.state, u64::MAX));
        self.store = self.store.crash();
    }
}

/// A number below a power of two that is drawn first, up to 2^`bits`: small ones are as likely as large ones.
fn draw_span(state: &mut u64, bits: u64) -> u64 {
    let span = 1 << draw(state, bits + 1);
    draw(state, span)
}
