//! The two ends of a replay: sources that give what a tape has, and sinks that only write down what they get.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::batch::{Batch, BatchBuilder, BatchLimits, Record, Value};
use crate::epoch::decode_record;
use crate::error::{Error, Result, guard};
use crate::sink::SinkWriter;
use crate::source::{Poll, Rejected, Source, SourceOutput, SourceReader};
use crate::time::{Clock, SystemClock};

/// How often a source is asked that has nothing, each time at a later hour by its clock.
const TRIES_MAX: u32 = 40;

/// What a partition gave in one go.
#[derive(Clone, Debug, Default, PartialEq, headwater_derive::Record)]
pub(crate) struct Piece {
    /// Bytes of a batch of records; none when there was none.
    pub(crate) records: Vec<u8>,
    /// Bytes of a batch of what it could not understand.
    pub(crate) rejected: Vec<u8>,
    pub(crate) watermark: Option<i64>,
    /// Records, rejected ones included.
    pub(crate) count: u64,
}

impl Piece {
    pub(crate) fn new<T: Record>(
        records: Option<&Batch<T>>,
        rejected: Option<&Batch<Rejected>>,
        watermark: Option<i64>,
    ) -> Piece {
        Piece {
            count: (records.map_or(0, Batch::len) + rejected.map_or(0, Batch::len)) as u64,
            records: records.map_or(Vec::new(), |batch| batch.bytes().to_vec()),
            rejected: rejected.map_or(Vec::new(), |batch| batch.bytes().to_vec()),
            watermark,
        }
    }
}

/// A piece and the partition that gave it, as a log holds them.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct Given {
    pub(crate) partition: String,
    pub(crate) piece: Piece,
}

/// A row that a sink was given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) sink: String,
    pub(crate) subtask: usize,
    pub(crate) row: Value,
}

/// What the sources of a replay are to give, and what its sinks were given.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    /// Names of the partitions of each source, in the order in which instances share them.
    partitions: HashMap<String, Vec<String>>,
    inputs: Mutex<HashMap<(String, String), Input>>,
    rows: Mutex<Vec<Told>>,
}

#[derive(Debug, Default)]
struct Input {
    pieces: VecDeque<Piece>,
    /// Nothing follows these.
    ends: bool,
}

impl Tape {
    pub(crate) fn new(partitions: HashMap<String, Vec<String>>) -> Self {
        Tape { partitions, ..Tape::default() }
    }

    /// The partitions of a source.
    pub(crate) fn partitions(&self, source: &str) -> Vec<String> {
        self.partitions.get(source).cloned().unwrap_or_default()
    }

    /// Adds what a partition gives next.
    pub(crate) fn give(&self, source: &str, partition: &str, piece: Piece) {
        let key = (source.to_owned(), partition.to_owned());
        guard(&self.inputs).entry(key).or_default().pieces.push_back(piece);
    }

    /// Ends a partition behind what it has.
    pub(crate) fn end(&self, source: &str, partition: &str) {
        let key = (source.to_owned(), partition.to_owned());
        guard(&self.inputs).entry(key).or_default().ends = true;
    }

    /// The rows that sinks were given since the last call, by sink and subtask, those of each in order.
    pub(crate) fn take_rows(&self) -> Vec<Told> {
        let mut rows = std::mem::take(&mut *guard(&self.rows));
        rows.sort_by(|a, b| (&a.sink, a.subtask).cmp(&(&b.sink, b.subtask)));
        rows
    }
}

/// A source that gives what the tape has for it.
pub(crate) struct TapeSource<T> {
    name: String,
    tape: Arc<Tape>,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> TapeSource<T> {
    pub(crate) fn new(name: &str, tape: &Arc<Tape>) -> Self {
        TapeSource { name: name.to_owned(), tape: Arc::clone(tape), _record: PhantomData }
    }
}

impl<T: Record> Source for TapeSource<T> {
    type Record = T;
    /// How many records it has given.
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(self.tape.partitions(&self.name))
    }

    fn open(&self, partition: &str, _: Option<u64>) -> Result<Box<dyn SourceReader<T, u64>>> {
        Ok(Box::new(TapeReader {
            key: (self.name.clone(), partition.to_owned()),
            tape: Arc::clone(&self.tape),
            records: Portion::none(),
            rejected: Portion::none(),
            watermark: None,
            given: 0,
        }))
    }
}

/// What is left of a batch.
struct Portion<R: Record> {
    batch: Option<Batch<R>>,
    next: usize,
}

impl<R: Record> Portion<R> {
    fn none() -> Self {
        Portion { batch: None, next: 0 }
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let batch = if bytes.is_empty() { None } else { Some(Batch::from_bytes(bytes)?) };
        Ok(Portion { batch, next: 0 })
    }

    fn peek(&self) -> Option<R::View<'_>> {
        self.batch.as_ref().and_then(|batch| batch.get(self.next))
    }
}

struct TapeReader<T: Record> {
    key: (String, String),
    tape: Arc<Tape>,
    records: Portion<T>,
    rejected: Portion<Rejected>,
    watermark: Option<i64>,
    given: u64,
}

impl<T: Record> SourceReader<T, u64> for TapeReader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        if self.records.peek().is_none() && self.rejected.peek().is_none() {
            let mut inputs = guard(&self.tape.inputs);
            let Some(input) = inputs.get_mut(&self.key) else { return Ok(Poll::Idle) };
            let Some(piece) = input.pieces.pop_front() else {
                return Ok(if input.ends { Poll::Finished } else { Poll::Idle });
            };
            self.records = Portion::read(&piece.records)?;
            self.rejected = Portion::read(&piece.rejected)?;
            self.watermark = piece.watermark;
        }
        while !out.is_full() {
            if let Some(rejected) = self.rejected.peek() {
                out.reject(&Rejected::from_view(rejected))?;
                self.rejected.next += 1;
            } else if let Some(record) = self.records.peek() {
                out.push(record)?;
                self.records.next += 1;
            } else {
                break;
            }
            self.given += 1;
        }
        // It is about all of the piece.
        if self.records.peek().is_none()
            && self.rejected.peek().is_none()
            && let Some(time) = self.watermark.take()
        {
            out.watermark(time);
        }
        Ok(Poll::More)
    }

    fn position(&self) -> u64 {
        self.given
    }
}

/// A sink that writes down what it gets.
pub(crate) struct TapeWriter {
    sink: String,
    subtask: usize,
    tape: Arc<Tape>,
}

impl TapeWriter {
    pub(crate) fn new(sink: &str, subtask: usize, tape: &Arc<Tape>) -> Self {
        TapeWriter { sink: sink.to_owned(), subtask, tape: Arc::clone(tape) }
    }
}

impl<T: Record> SinkWriter<T> for TapeWriter {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        let told = |view| Told { sink: self.sink.clone(), subtask: self.subtask, row: Value::of::<T>(view) };
        guard(&self.tape.rows).extend(batch.iter().map(told));
        Ok(())
    }
}

/// Reads a partition again, whatever its type.
pub(crate) trait Retell: Send {
    /// What it gives next, at most so many records.
    ///
    /// # Errors
    /// It cannot be read, or has no more.
    fn next(&mut self, records_max: u64) -> Result<Piece>;
}

/// Opens a partition at a position, as the log holds it; from the beginning when that is empty.
pub(crate) type Reopen = Arc<dyn Fn(&str, &[u8]) -> Result<Box<dyn Retell>> + Send + Sync>;

/// How a source is read again.
pub(crate) fn reopen<S: Source>(name: &str, source: &Arc<S>) -> Reopen {
    let (name, source) = (name.to_owned(), Arc::clone(source));
    Arc::new(move |partition, position| {
        if !source.is_replayable() {
            return Err(Error::failed("it cannot be read again, and its input was not recorded").at(&name));
        }
        let position = match position {
            [] => None,
            bytes => Some(decode_record(&name, bytes)?),
        };
        let reader = source.open(partition, position).map_err(|error| error.at(&name))?;
        let limits = BatchLimits::default();
        Ok(Box::new(Retelling {
            name: name.clone(),
            partition: partition.to_owned(),
            reader,
            records: BatchBuilder::new(limits),
            rejected: BatchBuilder::new(limits),
            room_max: limits.rows_max,
            clock: LeapingClock::default(),
        }))
    })
}

struct Retelling<T: Record, P: Record> {
    name: String,
    partition: String,
    reader: Box<dyn SourceReader<T, P>>,
    records: BatchBuilder<T>,
    rejected: BatchBuilder<Rejected>,
    room_max: usize,
    clock: LeapingClock,
}

impl<T: Record, P: Record> Retell for Retelling<T, P> {
    fn next(&mut self, records_max: u64) -> Result<Piece> {
        for attempt in 0..TRIES_MAX {
            let mut watermark = None;
            let mut out = SourceOutput {
                records: &mut self.records,
                rejected: &mut self.rejected,
                watermark: &mut watermark,
                clock: &self.clock,
                room: self.room_max.min(records_max as usize),
            };
            let polled = self.reader.poll(&mut out).map_err(|error| error.at(&self.name))?;
            let (records, rejected) = (self.records.finish(), self.rejected.finish());
            let piece = Piece::new(records.as_ref(), rejected.as_ref(), watermark);
            if piece.count > 0 || piece.watermark.is_some() {
                return Ok(piece);
            }
            match polled {
                Poll::Finished => break,
                Poll::Idle => self.clock.leap(1 << attempt),
                Poll::More => {}
            }
        }
        let reason = format!(
            "its partition `{}` has fewer records than the job has read: the input was changed or removed",
            self.partition
        );
        Err(Error::failed(reason).at(&self.name))
    }
}

/// The machine's clock, and how far it is ahead: nobody waits for a source that paces itself.
#[derive(Default)]
struct LeapingClock {
    clock: SystemClock,
    ahead_ms: AtomicI64,
}

impl LeapingClock {
    fn leap(&self, by_ms: i64) {
        self.ahead_ms.fetch_add(by_ms, SeqCst);
    }
}

impl fmt::Debug for LeapingClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeapingClock").field("ahead_ms", &self.ahead_ms).finish_non_exhaustive()
    }
}

impl Clock for LeapingClock {
    fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms().saturating_add_signed(self.ahead_ms.load(SeqCst))
    }

    fn wall_ms(&self) -> i64 {
        self.clock.wall_ms().saturating_add(self.ahead_ms.load(SeqCst))
    }
}
