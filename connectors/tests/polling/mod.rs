//! What tests of sources share: one poll at a time, and a clock that is told what time it is.
#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::atomic::{AtomicU64, Ordering};

use headwater::batch::{BatchBuilder, BatchLimits, Record};
use headwater::source::{Poll, Rejected, SourceOutput, SourceReader};
use headwater::time::Clock;

/// A clock that goes when it is told to.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> i64 {
        1_000_000 + self.0.load(Ordering::Relaxed) as i64
    }
}

/// What one poll gave.
pub(crate) struct Polled<T> {
    pub(crate) records: Vec<T>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) poll: Poll,
}

/// Polls once, with room for so many records.
pub(crate) fn poll_source<T: Record, P: Record>(
    reader: &mut dyn SourceReader<T, P>,
    clock: &dyn Clock,
    room: usize,
) -> headwater::Result<Polled<T>> {
    let limits = BatchLimits { rows_max: room, ..BatchLimits::default() };
    let mut records = BatchBuilder::new(limits);
    let mut rejected = BatchBuilder::<Rejected>::new(limits);
    let mut watermark = None;
    let poll = reader.poll(&mut SourceOutput::new(&mut records, &mut rejected, &mut watermark, clock))?;
    let records = records.finish().map_or(Vec::new(), |batch| batch.iter().map(T::from_view).collect());
    let rejected = rejected.finish();
    let rejected = rejected.map_or(Vec::new(), |batch| batch.iter().map(Rejected::from_view).collect());
    Ok(Polled { records, rejected, poll })
}
