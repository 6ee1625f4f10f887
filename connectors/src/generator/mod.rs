//! `Generator`: records computed from their number, at full speed or at a rate.
//!
//! 1. `pace`: how many records are due by now
//! 2. `rate`: numbers with the time at which each was due
//! 3. `throttle`: any other source, slowed down

mod pace;
mod rate;
mod throttle;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use headwater::batch::Record;
use headwater::source::{Boundedness, Poll, Source, SourceOutput, SourceReader};
use headwater::{Error, Result};

use self::pace::Pace;
pub use self::rate::Rate;
pub use self::throttle::{SourceExt, Throttled};

/// Gives `make(number)` for each number of a range.
///
/// `make` must be a pure function of the number: then every position can be replayed, and a test can
/// compute what must have arrived. Seed randomness with the number.
///
/// Record `i`, counted from the first, belongs to partition `i % partitions`.
///
/// ```
/// use headwater_connectors::Generator;
///
/// let numbers = Generator::range(0..1_000_000).partitions(4);
/// let readings = Generator::new(500, |n| (n % 7, 20.0 + (n as f64).sin())).rate(100.0);
/// ```
pub struct Generator<T, F> {
    make: Arc<F>,
    numbers: Range<u64>,
    boundedness: Boundedness,
    partitions: u64,
    per_second: Option<f64>,
    _record: PhantomData<fn() -> T>,
}

impl Generator<u64, fn(u64) -> u64> {
    /// The numbers of a range.
    #[must_use]
    pub fn range(numbers: Range<u64>) -> Self {
        Generator { numbers, ..Generator::new(0, std::convert::identity) }
    }
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> Generator<T, F> {
    /// `count` records: `make(0)`, `make(1)` and so on.
    #[must_use]
    pub fn new(count: u64, make: F) -> Self {
        Generator {
            make: Arc::new(make),
            numbers: 0..count,
            boundedness: Boundedness::Bounded,
            partitions: 1,
            per_second: None,
            _record: PhantomData,
        }
    }

    /// Records without end: `make(0)`, `make(1)` and so on.
    #[must_use]
    pub fn endless(make: F) -> Self {
        Generator { boundedness: Boundedness::Unbounded, ..Generator::new(u64::MAX, make) }
    }

    /// Spreads the records over this many partitions (1).
    #[must_use]
    pub fn partitions(self, count: u64) -> Self {
        Generator { partitions: count.max(1), ..self }
    }

    /// Gives at most this many records per second, over all partitions.
    #[must_use]
    pub fn rate(self, per_second: f64) -> Self {
        Generator { per_second: Some(per_second), ..self }
    }
}

impl<T, F> Clone for Generator<T, F> {
    fn clone(&self) -> Self {
        Generator { make: Arc::clone(&self.make), numbers: self.numbers.clone(), ..*self }
    }
}

impl<T, F> fmt::Debug for Generator<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("numbers", &self.numbers)
            .field("partitions", &self.partitions)
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> Source for Generator<T, F> {
    type Record = T;
    /// How many records of the partition have been given.
    type Position = u64;

    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(partition_names(self.partitions))
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<T, u64>>> {
        let index = partition_index(partition, self.partitions)?;
        let pace = self.per_second.map(|rate| Pace::new(rate / self.partitions as f64)).transpose()?;
        let given = position.unwrap_or(0);
        let total = self.numbers.end.saturating_sub(self.numbers.start);
        // Records of this partition: those at `index`, `index + partitions` and so on below `total`.
        let count = total.saturating_sub(index).div_ceil(self.partitions);
        Ok(Box::new(Reader {
            make: Arc::clone(&self.make),
            first: self.numbers.start.saturating_add(index),
            step: self.partitions,
            given,
            count,
            pace,
            _record: PhantomData,
        }))
    }
}

struct Reader<T, F> {
    make: Arc<F>,
    /// Number of the partition's first record.
    first: u64,
    step: u64,
    given: u64,
    count: u64,
    pace: Option<Pace>,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync> SourceReader<T, u64> for Reader<T, F> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        let left = self.count.saturating_sub(self.given);
        let due = match &mut self.pace {
            Some(pace) => pace.due(out.clock().monotonic_ms()).min(left),
            None => left,
        };
        let end = self.given + due;
        let start = self.given;
        while self.given < end && !out.is_full() {
            let record = (self.make)(self.first + self.given * self.step);
            out.push(record.view())?;
            self.given += 1;
        }
        if let Some(pace) = &mut self.pace {
            pace.spend(self.given - start);
        }
        Ok(if self.given >= self.count {
            Poll::Finished
        } else if self.given < end {
            Poll::More
        } else {
            Poll::Idle
        })
    }

    fn position(&self) -> u64 {
        self.given
    }
}

/// Names of partitions that have no name of their own: numbers from 0.
pub(crate) fn partition_names(count: u64) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

/// The number of a partition named by [`partition_names`].
pub(crate) fn partition_index(partition: &str, count: u64) -> Result<u64> {
    partition.parse().ok().filter(|index| *index < count).ok_or_else(|| {
        Error::failed(format!(
            "there is no partition `{partition}`: there are {count}, named 0 to {}; \
             was the number of partitions changed since the last run?",
            count.saturating_sub(1)
        ))
    })
}
