//! `Throttled`: any other source, slowed down to a rate.

use headwater::Result;
use headwater::batch::{BatchBuilder, BatchLimits, Record};
use headwater::source::{Boundedness, Poll, Rejected, Source, SourceOutput, SourceReader};

use super::Pace;

/// What every source can be asked for besides.
pub trait SourceExt: Source + Sized {
    /// This source, giving at most so many records per second.
    ///
    /// ```
    /// use headwater_connectors::{MemorySource, SourceExt};
    ///
    /// let slow = MemorySource::from(vec![1_u64, 2, 3]).rate(0.5);
    /// ```
    fn rate(self, per_second: f64) -> Throttled<Self> {
        Throttled { source: self, per_second }
    }
}

impl<S: Source> SourceExt for S {}

/// A source that gives at most so many records per second; see [`SourceExt::rate`].
///
/// Each partition gets an equal share of the rate, and keeps it when others have ended. Rejected records
/// count, too. Positions are those of the source itself: the rate can change from run to run.
#[derive(Clone, Debug)]
pub struct Throttled<S> {
    source: S,
    per_second: f64,
}

impl<S: Source> Source for Throttled<S> {
    type Record = S::Record;
    type Position = S::Position;

    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn partitions(&self) -> Result<Vec<String>> {
        self.source.partitions()
    }

    fn open(
        &self,
        partition: &str,
        position: Option<S::Position>,
    ) -> Result<Box<dyn SourceReader<S::Record, S::Position>>> {
        let partitions = self.source.partitions()?.len().max(1);
        let pace = Pace::new(self.per_second / partitions as f64)?;
        // NOTE: an output does not say how much was written to it, so records pass one by one through
        // builders that do. That costs a few hundred nanoseconds each, of a source that is to be slow.
        let one = BatchLimits { rows_max: 1, ..BatchLimits::default() };
        Ok(Box::new(Reader {
            reader: self.source.open(partition, position)?,
            pace,
            record: BatchBuilder::new(one),
            rejected: BatchBuilder::new(one),
        }))
    }
}

struct Reader<T: Record, P: Record> {
    reader: Box<dyn SourceReader<T, P>>,
    pace: Pace,
    record: BatchBuilder<T>,
    rejected: BatchBuilder<Rejected>,
}

impl<T: Record, P: Record> SourceReader<T, P> for Reader<T, P> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        let due = self.pace.due(out.clock().monotonic_ms());
        if due == 0 {
            return Ok(Poll::Idle);
        }
        for _ in 0..due {
            if out.is_full() {
                break;
            }
            let poll = self.pass_on(out)?;
            if poll != Poll::More {
                return Ok(poll);
            }
        }
        Ok(Poll::More)
    }

    fn position(&self) -> P {
        self.reader.position()
    }

    fn committed(&mut self, position: &P) -> Result<()> {
        self.reader.committed(position)
    }
}

impl<T: Record, P: Record> Reader<T, P> {
    /// Passes on what one poll of the source gives: a record, a rejected one, or both.
    fn pass_on(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        let mut watermark = None;
        let mut one = SourceOutput::new(&mut self.record, &mut self.rejected, &mut watermark, out.clock());
        let poll = self.reader.poll(&mut one)?;
        if let Some(batch) = self.record.finish() {
            self.pace.spend(batch.len() as u64);
            batch.iter().try_for_each(|record| out.push(record))?;
        }
        if let Some(batch) = self.rejected.finish() {
            self.pace.spend(batch.len() as u64);
            batch.iter().try_for_each(|rejected| out.reject(&Rejected::from_view(rejected)))?;
        }
        if let Some(time) = watermark {
            out.watermark(time);
        }
        Ok(poll)
    }
}
