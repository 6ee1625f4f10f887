//! Where records come from: `Source` describes, `SourceReader` reads one partition.

use std::time::Duration;

use crate::batch::{BatchBuilder, Record};
use crate::error::Result;
use crate::time::{Clock, Timestamp};

/// Whether a source ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundedness {
    /// Ends: files, ranges.
    Bounded,
    /// Goes on until it is stopped: sockets, followed files, queues.
    Unbounded,
}

/// What a reader has to say after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// There may be more at once.
    More,
    /// Nothing for now; the engine asks again a little later.
    Idle,
    /// The end: this reader will never give another record.
    Finished,
}

/// A place that records come from: the description; it is opened anew for every run.
///
/// The replay contract: a reader opened at a position gives exactly the records that followed when
/// another reader reported that position, rejected ones included. `testing::check_source` tries it out.
///
/// What cannot be read again, but is sent again by somebody who gets no answer, keeps the contract with
/// [`SourceReader::committed`]: it answers when a record can no longer be lost.
///
/// ```
/// use headwater::prelude::*;
/// use headwater::source::{Boundedness, Poll, Source, SourceOutput, SourceReader};
///
/// struct Counter { end: u64 }
/// struct CounterReader { next: u64, end: u64 }
///
/// impl Source for Counter {
///     type Record = u64;
///     type Position = u64;
///     fn partitions(&self) -> Result<Vec<String>> {
///         Ok(vec!["all".to_owned()])
///     }
///     fn open(&self, _: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<u64, u64>>> {
///         Ok(Box::new(CounterReader { next: position.unwrap_or(0), end: self.end }))
///     }
/// }
///
/// impl SourceReader<u64, u64> for CounterReader {
///     fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Poll> {
///         while self.next < self.end && !out.is_full() {
///             out.push(self.next)?;
///             self.next += 1;
///         }
///         Ok(if self.next < self.end { Poll::More } else { Poll::Finished })
///     }
///     fn position(&self) -> u64 {
///         self.next
///     }
/// }
/// ```
pub trait Source: Send + Sync + 'static {
    /// What it gives.
    type Record: Record;
    /// Where a reader can continue; stored with every epoch.
    type Position: Record;

    /// Whether it ends by itself.
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    /// False for a source that gives a record once, to whoever is there: a socket, a sensor. A replay of such
    /// a job needs its recorded input.
    fn is_replayable(&self) -> bool {
        true
    }

    /// Names of the partitions, in an order that is the same at every start. Each is read in order by
    /// one reader and has its own watermark.
    ///
    /// # Errors
    /// The source cannot be reached, or does not exist.
    fn partitions(&self) -> Result<Vec<String>>;

    /// How often a running job asks for the [partitions](Self::partitions) again, to read those that have been
    /// added; `None` for a source whose partitions stay what they are. They are asked for on a thread of their
    /// own. One that is not named any more is read on.
    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    /// Opens one partition, at the start or at a position that an earlier reader reported.
    ///
    /// # Errors
    /// The partition cannot be read.
    fn open(
        &self,
        partition: &str,
        position: Option<Self::Position>,
    ) -> Result<Box<dyn SourceReader<Self::Record, Self::Position>>>;

    /// Opens a partition that was not there when the job began: from its very start, wherever the job began in
    /// the others, for whatever is in it came later.
    ///
    /// # Errors
    /// The partition cannot be read.
    fn open_added(&self, partition: &str) -> Result<Box<dyn SourceReader<Self::Record, Self::Position>>> {
        self.open(partition, None)
    }
}

/// Reads one partition of a [`Source`].
pub trait SourceReader<T: Record, P: Record>: Send {
    /// Writes what is there now into `out`, until that is full; must not wait.
    ///
    /// # Errors
    /// The partition cannot be read further. A record that cannot be understood is not an error: see
    /// [`SourceOutput::reject`].
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll>;

    /// Where a reader must be opened to continue after the last record written.
    fn position(&self) -> P;

    /// The records in front of `position` can no longer be lost, and none of them will be asked for again:
    /// whoever sent them may be answered, what was kept of them may be forgotten. Must not wait.
    ///
    /// Called between two polls, when the epoch that journalled `position` is durable; without a state
    /// directory, when it is complete. A reader that was opened at a position is first of all told of that.
    /// Positions come in the order in which they were reported, each stands for all before it, the same
    /// one may come again, and one that the reader reported may never come, because of a crash.
    ///
    /// A reader that has said [`Poll::Finished`] is gone. One that has to answer for its last records says
    /// [`Poll::Idle`] behind them until it is told of a position behind them.
    ///
    /// # Errors
    /// The source cannot go on. A peer that is not there any more is no error: it will come again.
    fn committed(&mut self, _position: &P) -> Result<()> {
        Ok(())
    }
}

/// A record that could not be understood, with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq, headwater_derive::Record)]
pub struct Rejected {
    /// The file, socket or operator.
    pub origin: String,
    /// Line number, from 1; 0 where there are no lines.
    pub line: u64,
    /// Offset of the line's first byte; after decompression.
    pub offset: u64,
    /// Why it was rejected.
    pub reason: String,
    /// The record as far as it is text, cut to a few kilobytes.
    pub payload: String,
}

impl Rejected {
    /// Longest payload that is kept.
    pub const PAYLOAD_BYTES_MAX: usize = 4096;

    /// The text of a payload: invalid UTF-8 replaced, cut at [`Self::PAYLOAD_BYTES_MAX`].
    #[must_use]
    pub fn text(payload: &[u8]) -> String {
        let cut = payload.get(..Self::PAYLOAD_BYTES_MAX).unwrap_or(payload);
        String::from_utf8_lossy(cut).into_owned()
    }
}

/// Where a [`SourceReader`] writes its records.
#[derive(Debug)]
pub struct SourceOutput<'a, T: Record> {
    pub(crate) records: &'a mut BatchBuilder<T>,
    pub(crate) rejected: &'a mut BatchBuilder<Rejected>,
    pub(crate) watermark: &'a mut Option<Timestamp>,
    pub(crate) clock: &'a dyn Clock,
    /// Most records that may be written in this poll.
    pub(crate) room: usize,
}

impl<'a, T: Record> SourceOutput<'a, T> {
    /// An output with room for as many records as `records` may hold: to drive a reader by hand, as the
    /// test of a connector does.
    pub fn new(
        records: &'a mut BatchBuilder<T>,
        rejected: &'a mut BatchBuilder<Rejected>,
        watermark: &'a mut Option<Timestamp>,
        clock: &'a dyn Clock,
    ) -> Self {
        SourceOutput { records, rejected, watermark, clock, room: usize::MAX }
    }

    /// Writes one record.
    ///
    /// # Errors
    /// The record is larger than a batch can be.
    #[inline]
    pub fn push(&mut self, record: T::View<'_>) -> Result<()> {
        self.room = self.room.saturating_sub(1);
        Ok(self.records.push(record)?)
    }

    /// Sends a record that cannot be understood to the rejected stream, where it is at least counted.
    ///
    /// # Errors
    /// The record is larger than a batch can be.
    #[cold]
    pub fn reject(&mut self, record: &Rejected) -> Result<()> {
        self.room = self.room.saturating_sub(1);
        Ok(self.rejected.push(record.view())?)
    }

    /// True when the reader should return and let the batch go.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room == 0 || self.records.is_full() || self.rejected.is_full()
    }

    /// Says that no record with a smaller event time will follow in this partition, where the source
    /// knows it. Event time must still be assigned with `event_time`.
    pub fn watermark(&mut self, time: Timestamp) {
        let known = self.watermark.unwrap_or(Timestamp::MIN);
        *self.watermark = Some(known.max(time));
    }

    /// The clocks of the run; a reader must not ask the machine's.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock
    }
}
