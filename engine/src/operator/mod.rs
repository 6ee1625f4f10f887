//! Operators: the steps of a fused chain. Pure given state, time and input.
//!
//! 1. `transform`: map, filter, flat_map, inspect
//! 2. `event_time`: gives records their time, makes watermarks
//! 3. `combine`: partial aggregates in front of an exchange
//! 4. `window`: aggregates per key and window
//! 5. `rolling`: aggregates per key, and folds
//! 6. `stateful`: rows from a record and the state of its key
//! 7. `fan_out`: one stream to many consumers, or to none
//! 8. `output`: writes to a sink
//! 9. `refusals`: a second output for records that are refused
//! 10. `keep`: what an operator says about an epoch

pub(crate) mod combine;
pub(crate) mod event_time;
pub(crate) mod fan_out;
pub(crate) mod keep;
pub(crate) mod output;
pub(crate) mod refusals;
pub(crate) mod result;
pub(crate) mod rolling;
pub(crate) mod stateful;
pub(crate) mod transform;
pub(crate) mod window;

use std::sync::Arc;

use crate::batch::{Batch, Record};
use crate::epoch::Journal;
use crate::error::Result;
use crate::time::{Clock, Epoch, Watermark};

pub use self::result::{KeyedResult, KeyedResultView, WindowResult, WindowResultView};

/// Where a partition of a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartitionStatus {
    /// There is more to read, or it was not asked yet.
    Active,
    /// It had nothing to give since this time of the monotonic clock.
    QuietSince(u64),
    /// It has ended.
    Finished,
}

/// What an operator knows about the moment it runs in.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    /// The source partition that the current batch comes from; 0 behind an exchange.
    pub(crate) partition: usize,
    /// All partitions of this instance; one entry behind an exchange.
    pub(crate) partitions: Vec<PartitionStatus>,
    /// Their names; empty behind an exchange.
    pub(crate) partition_names: Vec<String>,
    /// The input of the instance has ended.
    pub(crate) ended: bool,
    /// What is said about the epoch whose barrier is passing.
    pub(crate) journal: Journal,
}

impl Context {
    /// The context of a source instance.
    pub(crate) fn of_source(clock: Arc<dyn Clock>, partition_names: Vec<String>, journal: Journal) -> Self {
        let partitions = vec![PartitionStatus::Active; partition_names.len()];
        Context { clock, partition: 0, partitions, partition_names, ended: false, journal }
    }

    /// The context of an instance behind an exchange.
    pub(crate) fn new(clock: Arc<dyn Clock>, journal: Journal) -> Self {
        Context {
            partitions: vec![PartitionStatus::Active],
            ..Context::of_source(clock, Vec::new(), journal)
        }
    }
}

/// One step of a fused chain: takes what arrives, and pushes what follows from it into the next step.
pub(crate) trait Operator<T: Record>: Send {
    /// Takes rows.
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()>;

    /// Event time has come this far.
    fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()>;

    /// Everything so far belongs to this epoch or an earlier one.
    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()>;

    /// The input has ended.
    fn on_end(&mut self, context: &mut Context) -> Result<()>;

    /// There was nothing to do; time may have passed.
    fn on_idle(&mut self, context: &mut Context) -> Result<()>;

    /// Goes on with work that was cut into pieces; true while there is more.
    fn resume(&mut self, context: &mut Context) -> Result<bool>;
}

/// The next step of a chain.
pub(crate) type Next<T> = Box<dyn Operator<T>>;

/// Hands the named callbacks on to `self.next` unchanged.
macro_rules! forward {
    ($($callback:ident),+) => {
        $($crate::operator::forward!(@one $callback);)+
    };
    (@one watermark) => {
        fn on_watermark(
            &mut self,
            watermark: $crate::time::Watermark,
            context: &mut $crate::operator::Context,
        ) -> $crate::error::Result<()> {
            self.next.on_watermark(watermark, context)
        }
    };
    (@one barrier) => {
        fn on_barrier(
            &mut self,
            epoch: $crate::time::Epoch,
            context: &mut $crate::operator::Context,
        ) -> $crate::error::Result<()> {
            self.next.on_barrier(epoch, context)
        }
    };
    (@one end) => {
        fn on_end(&mut self, context: &mut $crate::operator::Context) -> $crate::error::Result<()> {
            self.next.on_end(context)
        }
    };
    (@one idle) => {
        fn on_idle(&mut self, context: &mut $crate::operator::Context) -> $crate::error::Result<()> {
            self.next.on_idle(context)
        }
    };
    (@one resume) => {
        fn resume(&mut self, context: &mut $crate::operator::Context) -> $crate::error::Result<bool> {
            self.next.resume(context)
        }
    };
}

pub(crate) use forward;
