//! The simulation of a durable job on a machine with faults: lives end in the middle of anything, disks fail,
//! fill up and answer late, what was not synced may be gone, and the next life recovers, perhaps with another
//! parallelism.

use std::sync::Arc;

use super::clock::ManualClock;
use super::faults::{FaultyStore, Life, names_its_cause};
use super::simulation::{Run, Simulation, draw};
use crate::batch::hash_u64;
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::runtime::{Epochs, Job, StoreHome, StoreThread, assemble};
use crate::state::MemoryStore;
use crate::storage::{CrashPolicy, MemoryStorage};
use crate::topology::Topology;
use crate::wal::LogLimits;

/// What happened in a simulated run with crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Lives that were cut short.
    pub crashes: u64,
    /// Of these, before the instances ran.
    pub crashes_in_recovery: u64,
    /// Lives after which the machine lost power, too; after the others what was written can still be read.
    pub power_losses: u64,
    /// Lives that went on behind an epoch.
    pub resumed: u64,
    /// Steps of all lives.
    pub steps: u64,
    /// Epochs of all lives.
    pub epochs: u64,
    /// Epochs with which the state store was brought up to date.
    pub store_epochs: u64,
    /// Lives in which the log found no space.
    pub disks_full: u64,
    /// Lives with an input/output error of the log.
    pub io_errors: u64,
    /// Syncs of the log that failed and dropped what they should have written.
    pub syncs_lost: u64,
    /// Lives with an error of the state store, one that found no space included.
    pub store_errors: u64,
    /// Epochs of which the log said late that it has them.
    pub stalls: u64,
    /// Lives that a fault ended with an error, which named its cause.
    pub errors: u64,
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
    /// As [`run`](Simulation::run); also when a life fails that nothing was done to, or one that a fault ends
    /// does not say why.
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
            let finished = world
                .live(self, topology, &config, &clock, world.report.crashes >= crashes_max)
                .map_err(|error| error.at(format!("seed {}, {:?}", self.seed, world.report)))?;
            if finished {
                return Ok(world.report);
            }
            world.end_life();
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
        is_last: bool,
    ) -> Result<bool> {
        let life = Life::draw(&mut self.state, is_last);
        life.arm(&self.storage, &mut self.state);
        let store = life.store(self.store.clone(), &mut self.state);
        let outcome = self.open_and_run(simulation, topology, config, clock, life, &store);
        self.settle(outcome, &store)
    }

    /// Opens what the lives before have left, and goes on until the end or this life's end.
    fn open_and_run(
        &mut self,
        simulation: &Simulation,
        topology: &Topology,
        config: &EngineConfig,
        clock: &ManualClock,
        life: Life,
        store: &FaultyStore,
    ) -> Result<bool> {
        let limits = LogLimits {
            segment_bytes: 1 << (9 + draw(&mut self.state, 6)),
            buffer_bytes: 1 << (6 + draw(&mut self.state, 8)),
            ..LogLimits::default()
        };
        let thread = StoreThread::inline(store.clone());
        self.report.crashes_in_recovery += 1;
        let Job { beginning, log } =
            Job::open_in(topology, config, Arc::new(self.storage.clone()), limits, thread, None)?;
        let assembled = assemble(topology, config, Arc::new(clock.clone()), &beginning)?;
        self.report.crashes_in_recovery -= 1;
        self.report.resumed += u64::from(beginning.epoch.0 > 0);
        let home = beginning.store.clone();
        let epochs = Epochs::new(Arc::clone(&assembled.board), assembled.before, beginning.store);
        let seed = draw(&mut self.state, u64::MAX);
        let mut run = Run::new(assembled, epochs, Some(Box::new(log)), clock.clone(), seed);
        run.stall(life.stall_steps_max);
        let finished = self.run(simulation, &mut run, life, home.as_deref());
        let trace = run.trace();
        self.report.steps += trace.steps;
        self.report.epochs += trace.epochs;
        self.report.stalls += run.stalls();
        if self.report.steps > simulation.steps_max {
            return Err(Error::failed(format!("not finished after {} steps", simulation.steps_max)));
        }
        finished
    }

    fn run(
        &mut self,
        simulation: &Simulation,
        run: &mut Run,
        life: Life,
        store: Option<&StoreHome>,
    ) -> Result<bool> {
        let mut asked = 0;
        while !run.is_finished() {
            let steps = run.trace().steps;
            if steps >= life.steps_max {
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
                if draw(&mut self.state, life.store_one_in) == 0 {
                    store.work_off();
                }
                self.report.store_epochs += u64::from(store.asked_epoch() != asked);
                asked = store.asked_epoch();
            }
            run.step()?;
        }
        Ok(true)
    }

    /// Counts what has happened. An error is in order when something was done to the life, and it says what.
    fn settle(&mut self, outcome: Result<bool>, store: &FaultyStore) -> Result<bool> {
        let (log, store) = (self.storage.failures(), store.failures());
        self.report.disks_full += u64::from(log.full > 0);
        self.report.io_errors += u64::from(log.broken > 0);
        self.report.syncs_lost += log.syncs_lost;
        self.report.store_errors += u64::from(store > 0);
        let failures = log.full + log.broken + log.syncs_lost + store;
        match outcome {
            Err(error) if failures > 0 && names_its_cause(&error) => {
                self.report.errors += 1;
                Ok(false)
            }
            other => other,
        }
    }

    /// The process is gone, and often the machine has lost power.
    fn end_life(&mut self) {
        self.report.crashes += 1;
        self.store = self.store.crash();
        if draw(&mut self.state, 4) == 0 {
            // What no sync has covered can be read, and is lost if the power goes later.
            self.storage = self.storage.fork();
            return;
        }
        self.report.power_losses += 1;
        let policies = CrashPolicy::ALL;
        let policy = policies[draw(&mut self.state, policies.len() as u64) as usize];
        self.storage = self.storage.crash(policy, draw(&mut self.state, u64::MAX));
    }
}
