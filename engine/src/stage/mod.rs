//! Stage instances: step-driven state machines that own their inputs, their fused chain and their outputs.
//!
//! 1. `source`: polls readers, pushes batches and barriers into its chain
//! 2. `instance`: takes messages from its input gate, pushes them into its chain
//! 3. `outlet`: the end of a chain: routes rows to the next stage
//!
//! `step()` does what can be done now and returns; it never waits, sleeps, spawns or reads a clock of its
//! own. That one rule is why the same instances run on threads, in a test and in a simulation.

mod instance;
mod outlet;
mod source;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::channel::InstanceWaker;
use crate::error::Result;
use crate::time::Epoch;

pub(crate) use self::instance::OperatorInstance;
pub(crate) use self::outlet::Outlet;
pub(crate) use self::source::{SourceInstance, SourceParts};

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

    /// Starts an epoch: the barrier goes out between two batches. Only sources do this.
    fn inject(&mut self, _epoch: Epoch) {}

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

/// The newest epoch that each instance has passed, read by whoever starts epochs.
#[derive(Debug, Default)]
pub(crate) struct EpochBoard {
    passed: Vec<AtomicU64>,
}

impl EpochBoard {
    /// A board for `count` instances.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(EpochBoard { passed: (0..count).map(|_| AtomicU64::new(0)).collect() })
    }

    pub(crate) fn pass(&self, instance: usize, epoch: Epoch) {
        if let Some(passed) = self.passed.get(instance) {
            passed.store(epoch.0, SeqCst);
        }
    }

    /// A finished instance holds no epoch back.
    pub(crate) fn finish(&self, instance: usize) {
        self.pass(instance, Epoch(u64::MAX));
    }

    /// The newest epoch that all instances have passed; `None` when all have finished.
    pub(crate) fn complete(&self) -> Option<Epoch> {
        let lowest = self.passed.iter().map(|passed| passed.load(SeqCst)).min()?;
        (lowest != u64::MAX).then_some(Epoch(lowest))
    }
}

/// What every instance has: its outputs, its waker, its place on the epoch board.
pub(crate) struct Frame {
    pub(crate) outputs: Outputs,
    pub(crate) waker: InstanceWaker,
    pub(crate) board: Arc<EpochBoard>,
    pub(crate) index: usize,
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
}

fn lock<'a, O: ?Sized>(output: &'a Arc<Mutex<O>>) -> Result<std::sync::MutexGuard<'a, O>> {
    output.lock().map_err(|_| crate::error::Error::failed("an output was left in disorder by a panic"))
}
