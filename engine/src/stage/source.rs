//! A source instance: its share of the partitions, read in turn, batch by batch.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::batch::{BatchBuilder, BatchLimits, Record, Value};
use crate::channel::InstanceWaker;
use crate::epoch::{EntryKind, decode_record, encode_record};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::operator::{Context, Next, PartitionStatus};
use crate::sink::Subtask;
use crate::source::{Poll, Rejected, Source, SourceOutput, SourceReader};
use crate::stage::{Frame, Given, Piece, Poison, PoisonRecord, Progress, Roster, StageInstance};
use crate::telemetry::Meter;
use crate::time::{Epoch, Watermark};

/// Most partitions that one instance holds open; the others wait for their turn.
const OPEN_MAX: usize = 64;

/// Wait between two looks at readers that had nothing, doubling from the first to the last.
const RETRY_MS: (u64, u64) = (1, 10);

type Reader<S> = Box<dyn SourceReader<<S as Source>::Record, <S as Source>::Position>>;

/// Where the open partitions stood when an epoch passed.
type Stood<S> = (Epoch, Vec<(usize, <S as Source>::Position)>);

/// What a source instance is made of.
pub(crate) struct SourceParts<S: Source> {
    pub(crate) name: String,
    pub(crate) source: Arc<S>,
    pub(crate) chain: Next<S::Record>,
    pub(crate) rejected: Next<Rejected>,
    pub(crate) context: Context,
    pub(crate) frame: Frame,
    pub(crate) limits: BatchLimits,
    pub(crate) age_max_ms: u64,
    pub(crate) meter: Arc<Meter>,
    /// What is read goes to the journal as well.
    pub(crate) is_recorded: bool,
    /// `source[subtask]`, as its stage is called.
    pub(crate) place: String,
    pub(crate) poison: Arc<Poison>,
    /// Where an earlier run left the partitions, by name; `None` when there was none.
    pub(crate) positions: Option<HashMap<String, PartitionPosition>>,
    pub(crate) subtask: Subtask,
    /// The partitions of all instances, if there may be more of them.
    pub(crate) roster: Option<Arc<Roster>>,
}

/// Where a partition stands, as the epoch log holds it.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct PartitionPosition {
    pub(crate) partition: String,
    pub(crate) finished: bool,
    /// Records read, rejected ones included, since the beginning of the job.
    pub(crate) records: u64,
    /// The encoded position of the source; empty when the partition was never opened.
    pub(crate) position: Vec<u8>,
}

/// The positions of all partitions of a source instance.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct Positions {
    pub(crate) partitions: Vec<PartitionPosition>,
}

/// Reads partitions and pushes what they give into its chain.
pub(crate) struct SourceInstance<S: Source> {
    parts: SourceParts<S>,
    readers: Vec<Option<Reader<S>>>,
    /// How many partitions there were when the run began.
    at_start: usize,
    /// Records read of each partition, since the beginning of the job.
    read: Vec<u64>,
    /// Epochs that are not durable yet; as many as may be on their way.
    stood: VecDeque<Stood<S>>,
    /// Open partitions; the first is the one being read.
    turn: VecDeque<usize>,
    unopened: usize,
    /// How many partitions of the roster are known here, those of other instances included.
    enrolled: usize,
    rows: BatchBuilder<S::Record>,
    refused: BatchBuilder<Rejected>,
    watermark: Option<i64>,
    /// When the first row of the batch was read.
    since_ms: u64,
    /// Partitions asked one after the other that had nothing.
    quiet: usize,
    retry_ms: u64,
    begun: bool,
    stopping: bool,
    ended: bool,
    /// The end has been announced.
    said: bool,
}

impl<S: Source> SourceInstance<S> {
    pub(crate) fn new(mut parts: SourceParts<S>) -> Self {
        // Known before the first epoch asks where the partitions stand.
        let before = |name: &String| parts.positions.as_ref().and_then(|positions| positions.get(name));
        for (name, status) in parts.context.partition_names.iter().zip(&mut parts.context.partitions) {
            if before(name).is_some_and(|before| before.finished) {
                *status = PartitionStatus::Finished;
            }
        }
        let records = |name| before(name).map_or(0, |before| before.records);
        let read = parts.context.partition_names.iter().map(records).collect();
        SourceInstance {
            read,
            enrolled: parts.roster.as_ref().map_or(0, |roster| roster.at_start),
            at_start: parts.context.partition_names.len(),
            readers: parts.context.partition_names.iter().map(|_| None).collect(),
            stood: VecDeque::new(),
            turn: VecDeque::new(),
            unopened: 0,
            rows: BatchBuilder::new(parts.limits),
            refused: BatchBuilder::new(parts.limits),
            watermark: None,
            since_ms: 0,
            quiet: 0,
            retry_ms: RETRY_MS.0,
            begun: false,
            stopping: false,
            ended: false,
            said: false,
            parts,
        }
    }

    fn open(&mut self) -> Result<()> {
        while self.turn.len() < OPEN_MAX && self.unopened < self.readers.len() {
            let index = self.unopened;
            self.unopened += 1;
            let partition = &self.parts.context.partition_names[index];
            if self.parts.context.partitions[index] == PartitionStatus::Finished {
                continue;
            }
            let before = self.before(partition);
            let position = || {
                let before = before.filter(|before| !before.position.is_empty());
                before.map(|before| decode_record(&self.parts.name, &before.position)).transpose()
            };
            let source = &self.parts.source;
            let opened = if before.is_none() && (self.parts.positions.is_some() || index >= self.at_start) {
                source.open_added(partition)
            } else {
                source.open(partition, position()?)
            };
            let mut reader = opened.map_err(|e| self.at(e))?;
            if let Some(position) = position()? {
                reader.committed(&position).map_err(|e| self.at(e))?;
            }
            self.readers[index] = Some(reader);
            self.turn.push_back(index);
        }
        Ok(())
    }

    /// Where an earlier run left a partition.
    fn before(&self, partition: &str) -> Option<&PartitionPosition> {
        self.parts.positions.as_ref()?.get(partition)
    }

    /// Takes its share of the partitions that were added.
    fn enroll(&mut self) {
        let Some(roster) = &self.parts.roster else { return };
        let Some(added) = roster.added(self.enrolled) else { return };
        let Subtask { index, count } = self.parts.subtask;
        let now = self.parts.context.clock.monotonic_ms();
        for name in added {
            if self.enrolled % count == index {
                self.parts.context.partition_names.push(name);
                // Nobody waits for what nothing is known of, if anybody is waited for that is quiet.
                self.parts.context.partitions.push(PartitionStatus::QuietSince(now));
                self.readers.push(None);
                self.read.push(0);
            }
            self.enrolled += 1;
        }
    }

    fn at(&self, error: Error) -> Error {
        error.at(&self.parts.name)
    }

    /// Sends the batch read so far.
    fn send(&mut self) -> Result<()> {
        let parts = &mut self.parts;
        let (rejected, rows) = (self.refused.finish(), self.rows.finish());
        if parts.is_recorded && (rejected.is_some() || rows.is_some() || self.watermark.is_some()) {
            // A batch is of the partition that was read last.
            let partition = parts.context.partition_names[parts.context.partition].clone();
            let piece = Piece::new(rows.as_ref(), rejected.as_ref(), self.watermark);
            let given = Given { partition, piece };
            parts.context.journal.record(EntryKind::Input, &parts.name, &given)?;
        }
        if let Some(rejected) = rejected {
            parts.meter.add_in(rejected.len());
            parts.meter.add_rejected(rejected.len());
            if let Some(first) = rejected.get(0) {
                parts.meter.reject(|| {
                    format!("{} line {}, byte {}: {}", first.origin, first.line, first.offset, first.reason)
                });
            }
            parts.rejected.on_batch(rejected, &mut parts.context)?;
        }
        if let Some(rows) = rows {
            parts.meter.add_in(rows.len());
            parts.meter.add_out(rows.len());
            if parts.poison.is_careful {
                let partition = parts.context.partition;
                parts.poison.at(
                    &parts.place,
                    Some(PoisonRecord {
                        source: parts.name.clone(),
                        partition: parts.context.partition_names[partition].clone(),
                        number: self.read[partition].saturating_sub(1),
                        message: String::new(),
                    }),
                );
            }
            parts.chain.on_batch(rows, &mut parts.context)?;
            if parts.poison.is_careful {
                parts.poison.at(&parts.place, None);
            }
        }
        if let Some(time) = self.watermark.take() {
            parts.chain.on_watermark(Watermark::At(time), &mut parts.context)?;
        }
        Ok(())
    }

    /// Reads from the partition whose turn it is.
    fn read(&mut self, partition: usize) -> Result<Poll> {
        let (room, poison) = self.room(partition);
        if poison.is_some() {
            self.send()?;
        }
        let clock = Arc::clone(&self.parts.context.clock);
        self.parts.context.partition = partition;
        let Some(reader) = &mut self.readers[partition] else { return Ok(Poll::Finished) };
        let before = self.rows.rows() + self.refused.rows();
        let mut output = SourceOutput {
            records: &mut self.rows,
            rejected: &mut self.refused,
            watermark: &mut self.watermark,
            clock: &*clock,
            room,
        };
        let polled = reader.poll(&mut output).map_err(|error| error.at(&self.parts.name))?;
        self.read[partition] += (self.rows.rows() + self.refused.rows() - before) as u64;
        if before == 0 {
            self.since_ms = clock.monotonic_ms();
        }
        if let Some(poison) = poison {
            self.refuse(&poison)?;
        }
        Ok(polled)
    }

    /// How many records of a partition may be read now, and the next one if it is poison.
    fn room(&self, partition: usize) -> (usize, Option<PoisonRecord>) {
        let parts = &self.parts;
        let most = if parts.poison.is_careful { 1 } else { parts.limits.rows_max };
        let number = self.read[partition];
        match parts.poison.next(&parts.name, &parts.context.partition_names[partition], number) {
            Some(poison) if poison.number == number => (1, Some(poison.clone())),
            Some(poison) => (most.min((poison.number - number) as usize), None),
            None => (most, None),
        }
    }

    /// The record just read is poison: it goes to the rejected stream, and a replay is told.
    fn refuse(&mut self, poison: &PoisonRecord) -> Result<()> {
        // The source may have rejected it itself this time, or had nothing.
        let Some(rows) = self.rows.finish() else { return Ok(()) };
        let text = rows.get(0).map_or(String::new(), |row| Value::of::<S::Record>(row).to_string());
        self.refused.push(poison.rejected(&text).view())?;
        self.parts.context.journal.record(EntryKind::Decision, &self.parts.name, poison)
    }

    /// Asks partitions in turn until one gives something or all had nothing.
    fn poll(&mut self) -> Result<Progress> {
        loop {
            self.enroll();
            self.open()?;
            let Some(&partition) = self.turn.front() else {
                return if self.parts.roster.is_some() { self.rest() } else { self.end() };
            };
            if let Some(progress) = self.poll_partition(partition)? {
                return Ok(progress);
            }
        }
    }

    /// Asks the partition whose turn it is; nothing when it is the next one's turn in the same step.
    fn poll_partition(&mut self, partition: usize) -> Result<Option<Progress>> {
        match self.read(partition)? {
            Poll::More => {
                self.quiet = 0;
                self.retry_ms = RETRY_MS.0;
                self.parts.context.partitions[partition] = PartitionStatus::Active;
                let now = self.parts.context.clock.monotonic_ms();
                let old = now.saturating_sub(self.since_ms) >= self.parts.age_max_ms;
                let is_careful = self.parts.poison.is_careful;
                let is_full = self.rows.is_full() || self.refused.is_full();
                if is_full || is_careful || old || self.watermark.is_some() {
                    self.send()?;
                    self.turn.rotate_left(1);
                }
                Ok(Some(Progress::Ran))
            }
            Poll::Idle => {
                let gave = !self.rows.is_empty() || !self.refused.is_empty() || self.watermark.is_some();
                let status = &mut self.parts.context.partitions[partition];
                if gave || *status == PartitionStatus::Active {
                    *status = PartitionStatus::QuietSince(self.parts.context.clock.monotonic_ms());
                }
                self.send()?;
                self.turn.rotate_left(1);
                self.quiet = if gave { 0 } else { self.quiet + 1 };
                if gave {
                    return Ok(Some(Progress::Ran));
                }
                if self.quiet < self.turn.len() {
                    return Ok(None);
                }
                self.rest().map(Some)
            }
            Poll::Finished => {
                self.send()?;
                self.readers[partition] = None;
                self.parts.context.partitions[partition] = PartitionStatus::Finished;
                self.turn.pop_front();
                // No epoch comes between the end of the last partition and the end of the input.
                if self.turn.is_empty() && self.unopened == self.readers.len() && self.parts.roster.is_none()
                {
                    return self.end().map(Some);
                }
                // The others no longer wait for it.
                self.parts.chain.on_idle(&mut self.parts.context)?;
                Ok(Some(Progress::Ran))
            }
        }
    }

    /// All partitions had nothing: let gathered rows go, then look again a little later.
    fn rest(&mut self) -> Result<Progress> {
        if self.parts.frame.release()? {
            return Ok(Progress::Ran);
        }
        self.quiet = 0;
        self.parts.chain.on_idle(&mut self.parts.context)?;
        let retry_ms = self.retry_ms;
        self.retry_ms = (retry_ms * 2).min(RETRY_MS.1);
        Ok(Progress::Idle { retry_ms })
    }

    fn end(&mut self) -> Result<Progress> {
        self.send()?;
        self.parts.context.partitions.fill(PartitionStatus::Finished);
        self.parts.chain.on_end(&mut self.parts.context)?;
        self.parts.rejected.on_end(&mut self.parts.context)?;
        self.ended = true;
        Ok(Progress::Ran)
    }
}

impl<S: Source> SourceInstance<S> {
    /// Where the open partitions stand between two batches, ascending.
    fn stand(&self) -> Vec<(usize, S::Position)> {
        let readers = self.readers.iter().enumerate();
        readers.filter_map(|(index, reader)| Some((index, reader.as_ref()?.position()))).collect()
    }

    /// Where all partitions stand, of which these are open.
    fn positions(&self, open: &[(usize, S::Position)]) -> Result<Positions> {
        let (mut partitions, mut open) = (Vec::new(), open.iter().peekable());
        let statuses = &self.parts.context.partitions;
        for (index, partition) in self.parts.context.partition_names.iter().enumerate() {
            let stands = open.next_if(|(of, _)| *of == index);
            let position = match (stands, self.before(partition)) {
                (Some((_, position)), _) => encode_record(position)?,
                (None, Some(before)) => before.position.clone(),
                (None, None) => Vec::new(),
            };
            let finished = statuses[index] == PartitionStatus::Finished && !failpoint::bug("end-forgotten");
            let (partition, records) = (partition.clone(), self.read[index]);
            partitions.push(PartitionPosition { partition, finished, records, position });
        }
        Ok(Positions { partitions })
    }

    /// Between batches: what was read so far belongs to the epoch, what follows to the next.
    fn pass(&mut self, epoch: Epoch) -> Result<()> {
        failpoint::pass("source.barrier");
        if !failpoint::bug("barrier-overtakes") {
            self.send()?;
        }
        if failpoint::bug("positions-late")
            && let Some(&partition) = self.turn.front()
        {
            self.read(partition)?;
        }
        let stand = self.stand();
        if self.parts.context.journal.is_on() {
            let positions = self.positions(&stand)?;
            self.parts.context.journal.record(EntryKind::Positions, &self.parts.name, &positions)?;
            failpoint::pass("source.positions");
        }
        self.stood.push_back((epoch, stand));
        let parts = &mut self.parts;
        parts.chain.on_barrier(epoch, &mut parts.context)?;
        parts.rejected.on_barrier(epoch, &mut parts.context)?;
        parts.frame.pass(epoch, &mut parts.context.journal)?;
        failpoint::pass("source.passed");
        Ok(())
    }

    /// Tells the readers of epochs that are durable.
    fn acknowledge(&mut self, committed: Epoch) -> Result<()> {
        while let Some((_, stood)) = self.stood.pop_front_if(|(epoch, _)| *epoch <= committed) {
            failpoint::pass("source.committed");
            for (index, position) in stood {
                if let Some(reader) = &mut self.readers[index] {
                    reader.committed(&position).map_err(|error| error.at(&self.parts.name))?;
                }
            }
            failpoint::pass("source.acknowledged");
        }
        Ok(())
    }

    /// The input has ended, and everything is sent: takes part in epochs until the last is durable.
    fn attend(&mut self) {
        if !std::mem::replace(&mut self.said, true) {
            self.parts.frame.end();
        }
    }
}

impl<S: Source> StageInstance for SourceInstance<S> {
    fn step(&mut self) -> Result<Progress> {
        let committed = self.parts.frame.commit()?;
        if committed {
            self.acknowledge(Epoch(self.parts.frame.committed))?;
        }
        if self.parts.frame.is_over() {
            return Ok(Progress::Done);
        }
        if !self.parts.frame.flush()? {
            return Ok(Progress::Blocked);
        }
        let parts = &mut self.parts;
        if !std::mem::replace(&mut self.begun, true) {
            // Where event time stood in an earlier run counts before anything is read: nobody behind waits for
            // a partition that has nothing new.
            parts.chain.on_idle(&mut parts.context)?;
        }
        if parts.chain.resume(&mut parts.context)? | parts.rejected.resume(&mut parts.context)? {
            return Ok(Progress::Ran);
        }
        if let Some(epoch) = parts.frame.due() {
            parts.context.ended = self.ended;
            self.pass(epoch)?;
            return Ok(Progress::Ran);
        }
        if committed {
            return Ok(Progress::Ran);
        }
        if self.ended {
            self.attend();
            return Ok(Progress::Idle { retry_ms: RETRY_MS.1 });
        }
        if self.stopping {
            return self.end();
        }
        if self.parts.context.journal.is_store_behind() {
            // Rows that wait for company must not wait for the store, too.
            self.send()?;
            self.parts.frame.release()?;
            return Ok(Progress::Idle { retry_ms: RETRY_MS.0 });
        }
        self.poll()
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_source(&self) -> bool {
        true
    }

    fn waker(&self) -> &InstanceWaker {
        &self.parts.frame.waker
    }
}
