//! Sources that a test fills and sinks that a test reads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::batch::{Batch, BatchBuilder, BatchLimits, Record};
use crate::error::Result;
pub(super) use crate::error::guard;
use crate::sink::{Cut, Delivery, Sink, SinkWriter, Subtask};
use crate::source::{Boundedness, Poll, Rejected, Source, SourceOutput, SourceReader};
use crate::time::{Clock, Epoch, Timestamp};

/// What a test has put into an input.
pub(super) enum Put<T> {
    Record(T),
    Watermark(Timestamp),
}

/// The queue between a test and its input.
pub(super) struct Queue<T> {
    pub(super) items: VecDeque<Put<T>>,
    pub(super) closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { items: VecDeque::new(), closed: false }
    }
}

/// The source side of an input.
pub(super) struct InputSource<T: Record> {
    pub(super) queue: Arc<Mutex<Queue<T>>>,
}

impl<T: Record> Source for InputSource<T> {
    type Record = T;
    type Position = u64;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(vec!["input".to_owned()])
    }

    fn open(&self, _: &str, _: Option<u64>) -> Result<Box<dyn SourceReader<T, u64>>> {
        Ok(Box::new(InputReader { queue: Arc::clone(&self.queue), read: 0 }))
    }
}

struct InputReader<T: Record> {
    queue: Arc<Mutex<Queue<T>>>,
    read: u64,
}

impl<T: Record> SourceReader<T, u64> for InputReader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        let mut queue = guard(&self.queue);
        while !out.is_full() {
            match queue.items.pop_front() {
                Some(Put::Record(record)) => {
                    out.push(record.view())?;
                    self.read += 1;
                }
                Some(Put::Watermark(time)) => {
                    out.watermark(time);
                    return Ok(Poll::More);
                }
                None if queue.closed => return Ok(Poll::Finished),
                None => return Ok(Poll::Idle),
            }
        }
        Ok(Poll::More)
    }

    fn position(&self) -> u64 {
        self.read
    }
}

/// The sink side of an output.
pub(super) struct OutputSink<T> {
    pub(super) rows: Arc<Mutex<Vec<T>>>,
}

impl<T: Record> Sink<T> for OutputSink<T> {
    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        Ok(Box::new(OutputWriter { rows: Arc::clone(&self.rows) }))
    }
}

struct OutputWriter<T> {
    rows: Arc<Mutex<Vec<T>>>,
}

impl<T: Record> SinkWriter<T> for OutputWriter<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        guard(&self.rows).extend(batch.iter().map(T::from_view));
        Ok(())
    }
}

/// Polls a reader once, for tests of sources: its records, what it rejected, and what it said.
///
/// # Errors
/// The reader's own.
pub fn poll_source<T: Record, P: Record>(
    reader: &mut dyn SourceReader<T, P>,
    clock: &dyn Clock,
    rows_max: usize,
) -> Result<(Vec<T>, Vec<Rejected>, Poll)> {
    let limits = BatchLimits { rows_max, ..BatchLimits::default() };
    let (mut records, mut rejected) = (BatchBuilder::new(limits), BatchBuilder::new(limits));
    let mut output = SourceOutput {
        records: &mut records,
        rejected: &mut rejected,
        watermark: &mut None,
        clock,
        room: rows_max,
    };
    let polled = reader.poll(&mut output)?;
    let rows = records.finish().map_or(Vec::new(), |batch| batch.iter().map(T::from_view).collect());
    let refused =
        rejected.finish().map_or(Vec::new(), |batch| batch.iter().map(Rejected::from_view).collect());
    Ok((rows, refused, polled))
}

/// Ends an epoch of a writer and commits it at once, as a run does when nothing goes wrong: to drive a
/// writer by hand, as the test of a connector does.
///
/// # Errors
/// The writer failed.
pub fn commit_epoch<T: Record>(
    writer: &mut dyn SinkWriter<T>,
    epoch: u64,
    is_last: bool,
) -> Result<Delivery> {
    let epoch = Epoch(epoch);
    let staged = writer.prepare(Cut { epoch, is_last, now_ms: 0 })?;
    writer.commit(epoch, &staged)
}
