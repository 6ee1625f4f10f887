//! `Simulation`: every interleaving that a seed can draw, on one thread, with a virtual clock.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::clock::ManualClock;
use crate::batch::{hash_combine, hash_u64};
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::runtime::{Assembled, Beginning, Durable, Epochs, assemble};
use crate::stage::Progress;
use crate::time::{Clock, Epoch};
use crate::topology::Topology;

/// Runs a topology with a scheduler that draws from a seed which instance steps next, when an epoch starts
/// and how far the clock moves. The same seed gives the same run.
///
/// ```
/// use headwater::prelude::*;
/// use headwater::testing::Simulation;
/// use headwater_connectors::{Collect, Generator};
///
/// for seed in 0..20 {
///     let (flow, out) = (StreamBuilder::new("simulated"), Collect::new());
///     flow.source("numbers", Generator::new(100, |n| n).partitions(3))
///         .key_by(|n| n % 7)
///         .count()
///         .output_mode(OutputMode::Append)
///         .sink("out", out.clone());
///     Simulation::new(seed).run(&flow.build()?, &EngineConfig::default().parallelism(3))?;
///     assert_eq!(out.take().iter().map(|count| count.value).sum::<u64>(), 100);
/// }
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Simulation {
    pub(super) seed: u64,
    pub(super) steps_max: u64,
}

/// What a simulated run did, as a number: equal for equal seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Steps taken.
    pub steps: u64,
    /// Epochs that passed through everything.
    pub epochs: u64,
    /// Hash of which instance took each step and what it came to.
    pub hash: u64,
}

/// One life of a simulated run.
pub(super) struct Run {
    assembled: Assembled,
    live: Vec<usize>,
    clock: ManualClock,
    state: u64,
    epochs: Epochs,
    /// Makes epochs durable.
    log: Option<Box<dyn Durable>>,
    /// Epochs that are durable, and the step at which the log says so.
    answers: VecDeque<(Epoch, u64)>,
    /// Most steps by which it says so late.
    stall_steps_max: u64,
    stalls: u64,
    idle_streak: usize,
    trace: Trace,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("trace", &self.trace).finish_non_exhaustive()
    }
}

impl Simulation {
    /// A simulation of one seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Simulation { seed, steps_max: 50_000_000 }
    }

    /// Gives up after this many steps: a topology of unbounded sources never ends.
    #[must_use]
    pub fn steps_max(self, steps_max: u64) -> Self {
        Simulation { steps_max, ..self }
    }

    /// Runs a topology to the end of its input.
    ///
    /// # Errors
    /// It cannot start; a source, operator or sink failed; or it did not end within the steps.
    pub fn run(&self, topology: &Topology, config: &EngineConfig) -> Result<Trace> {
        let clock = ManualClock::new();
        let assembled = assemble(topology, config, Arc::new(clock.clone()), &Beginning::default())?;
        let epochs = Epochs::new(Arc::clone(&assembled.board), assembled.before, None);
        let mut run = Run::new(assembled, epochs, None, clock, hash_u64(self.seed));
        while !run.is_finished() {
            if run.trace.steps >= self.steps_max {
                return Err(Error::failed(format!(
                    "seed {}: not finished after {} steps; live: {}",
                    self.seed,
                    self.steps_max,
                    run.labels()
                )));
            }
            run.step().map_err(|error| error.at(format!("seed {}", self.seed)))?;
        }
        Ok(run.trace)
    }
}

impl Run {
    pub(super) fn new(
        assembled: Assembled,
        epochs: Epochs,
        log: Option<Box<dyn Durable>>,
        clock: ManualClock,
        state: u64,
    ) -> Self {
        let live = (0..assembled.slots.len()).collect();
        let trace = Trace { steps: 0, epochs: 0, hash: 0 };
        let (answers, stall_steps_max, stalls, idle_streak) = (VecDeque::new(), 0, 0, 0);
        Run {
            assembled,
            live,
            clock,
            state,
            epochs,
            log,
            answers,
            stall_steps_max,
            stalls,
            idle_streak,
            trace,
        }
    }

    /// Lets the log answer up to so many steps late.
    pub(super) fn stall(&mut self, steps_max: u64) {
        self.stall_steps_max = steps_max;
    }

    /// How often it did.
    pub(super) fn stalls(&self) -> u64 {
        self.stalls
    }

    pub(super) fn is_finished(&self) -> bool {
        self.live.is_empty()
    }

    pub(super) fn trace(&self) -> Trace {
        self.trace
    }

    fn draw(&mut self, below: u64) -> u64 {
        draw(&mut self.state, below)
    }

    pub(super) fn labels(&self) -> String {
        let labels: Vec<_> =
            self.live.iter().map(|index| self.assembled.slots[*index].label.as_str()).collect();
        labels.join(", ")
    }

    pub(super) fn step(&mut self) -> Result<()> {
        match self.draw(64) {
            0 => drop(self.epochs.start(self.clock.monotonic_ms())),
            // Whoever makes epochs durable takes its time as well.
            1..8 => self.commit_epoch()?,
            _ => {}
        }
        let at = self.draw(self.live.len() as u64) as usize;
        let index = self.live[at];
        let slot = &mut self.assembled.slots[index];
        let progress = slot.instance.step().map_err(|error| error.at(&slot.label))?;
        self.trace.steps += 1;
        let code = match progress {
            Progress::Ran => 1,
            Progress::Idle { .. } => 2,
            Progress::Blocked => 3,
            Progress::Done => 4,
        };
        self.trace.hash = hash_combine(self.trace.hash, (index as u64) << 3 | code);
        match progress {
            Progress::Done => {
                self.live.swap_remove(at);
                self.idle_streak = 0;
            }
            Progress::Ran => self.idle_streak = 0,
            Progress::Idle { .. } | Progress::Blocked => {
                self.idle_streak += 1;
                // Everything waits: time is all that can change that.
                if self.idle_streak > self.live.len() * 4 {
                    self.idle_streak = 0;
                    self.clock.advance(Duration::from_millis(1));
                }
            }
        }
        Ok(())
    }

    /// The next complete epoch becomes durable; behind the end of all input there is one more.
    fn commit_epoch(&mut self) -> Result<()> {
        if let Some(complete) = self.epochs.complete(&self.clock) {
            let epoch = complete.epoch;
            if let Some(log) = &mut self.log {
                log.commit(complete)?;
            }
            let late = if self.stall_steps_max > 0 { self.draw(self.stall_steps_max + 1) } else { 0 };
            self.stalls += u64::from(late > 0);
            self.answers.push_back((epoch, self.trace.steps + late));
        } else if self.epochs.is_urgent() {
            self.epochs.start(self.clock.monotonic_ms());
        }
        // In their order: an answer that is late holds up those behind it.
        while let Some((epoch, _)) = self.answers.pop_front_if(|(_, step)| *step <= self.trace.steps) {
            self.trace.epochs += 1;
            self.epochs.commit(epoch);
        }
        Ok(())
    }
}

/// The next number of a seed's sequence (splitmix64).
pub(super) fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash_u64(*state) % below
}
