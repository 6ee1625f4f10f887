//! `EpochLog`: append, flush, commit.

use std::io;
use std::sync::Arc;

use super::format::{
    ALIGN, CONTINUED, Framing, Parts, RECORD_BYTES_MAX, RecordKind, SegmentHeader, encode, framing_bytes,
    seed, split_parts,
};
use super::survey::{Base, Delivered};
use super::trouble::{explain, is_full, segment_path};
use super::{JobId, LOG_DIRECTORY, LogLimits, Lsn};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::storage::{Storage, StorageFile, StorageLock};
use crate::time::Epoch;

/// Why a log ends when its successor is seen.
const TAKEN_OVER: &str = "another run has taken it over";

/// A segment file on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) number: u64,
    /// Every record of a later epoch is in this segment or behind it.
    pub(super) floor: Epoch,
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) number: u64,
    /// Where the next write goes.
    pub(super) offset: u64,
    /// Where records may have begun: an empty segment is not followed by another one.
    pub(super) start: u64,
    pub(super) allocated: bool,
}

/// The log of a job, open for writing. One owner drives it.
///
/// A full disk is the one error after which it can go on: what failed was not appended or committed, and
/// can be tried again. After any other error of the disk every call says that the process must restart.
#[derive(Debug)]
pub struct EpochLog {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) job: JobId,
    pub(super) limits: LogLimits,
    pub(super) _lock: Box<dyn StorageLock>,
    pub(super) generation: u64,
    pub(super) current: Current,
    /// The next segment, if its file was created and could not be filled.
    pub(super) spare: Option<(u64, Box<dyn StorageFile>)>,
    /// Records that are not written yet; they belong to the current segment.
    pub(super) buffer: Vec<u8>,
    pub(super) next: Lsn,
    /// Every record before this one is durable.
    pub(super) durable: Lsn,
    pub(super) committed: Epoch,
    /// Highest epoch of any record that is or may be committed.
    pub(super) epoch_max: Epoch,
    /// The segment that holds the last commit; 0 when there is none.
    pub(super) commit_segment: u64,
    pub(super) kept: Vec<Kept>,
    pub(super) delivered: Delivered,
    /// Why the log cannot go on.
    pub(super) lost: Option<String>,
}

/// A place at the end of the log, while nothing but appending happens.
#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: u64,
    buffered: usize,
    next: Lsn,
}

impl EpochLog {
    /// The generation of this run.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The last committed epoch; `Epoch(0)` when there is none.
    #[must_use]
    pub fn committed(&self) -> Epoch {
        self.committed
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Number of the segment that is being written.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.current.number
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Number of the next record.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// Bytes that are appended and not written yet.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// True when every further call fails and the process must restart.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Appends a record of an epoch that is not committed yet. It is durable when its epoch is.
    /// [`RecordKind::Delivered`] alone names an epoch that is committed, and is durable with a later one.
    ///
    /// # Errors
    /// The epoch is committed already, the kind is none to be appended, the disk is full (the record was
    /// not appended), or the log is lost.
    pub fn append(
        &mut self,
        epoch: Epoch,
        kind: RecordKind,
        owner: &str,
        subtask: u32,
        payload: &[u8],
    ) -> Result<Lsn> {
        self.append_parts(epoch, kind, owner, subtask, [payload, &[]])
    }

    /// As [`append`](Self::append), of a payload in two parts.
    pub(crate) fn append_parts(
        &mut self,
        epoch: Epoch,
        kind: RecordKind,
        owner: &str,
        subtask: u32,
        payload: Parts<'_>,
    ) -> Result<Lsn> {
        self.check_usable()?;
        self.check_kind(epoch, kind)?;
        self.put(epoch, kind, owner, subtask, payload)?;
        if kind == RecordKind::Delivered {
            let at = self.delivered.entry((owner.to_owned(), subtask)).or_default();
            *at = epoch.max(*at);
        } else {
            self.epoch_max = self.epoch_max.max(epoch);
        }
        Ok(Lsn(self.next.0 - 1))
    }

    /// Commits an epoch: when this returns, it is durable with all its records, at the cost of one sync.
    ///
    /// # Errors
    /// The epoch is not after the last one, the disk is full (it is not committed, and can be again), or the
    /// log is lost: then the epoch may or may not be committed, which the next run finds out.
    pub fn commit(&mut self, epoch: Epoch, payload: &[u8]) -> Result<()> {
        self.check_usable()?;
        self.check_new(epoch)?;
        // Room first: the way back from a failed write is then one cut of the buffer.
        self.make_room(self.record_bytes("", payload.len())?)?;
        let mark = self.mark();
        self.put(epoch, RecordKind::Commit, "", 0, [payload, &[]])?;
        failpoint::pass("commit.write");
        if let Err(error) = self.flush() {
            return Err(self.take_back(mark, error));
        }
        failpoint::pass("commit.written");
        if !failpoint::bug("commit-unsynced") {
            self.sync_file()?;
        }
        failpoint::pass("commit.synced");
        self.check_not_succeeded()?;
        self.committed = epoch;
        self.epoch_max = self.epoch_max.max(epoch);
        self.commit_segment = self.current.number;
        self.say_synced();
        failpoint::pass("commit.done");
        Ok(())
    }

    /// Writes what was appended, without making it durable.
    ///
    /// # Errors
    /// The disk is full (what was appended is kept and can be written later), or the log is lost.
    pub fn flush(&mut self) -> Result<()> {
        self.check_usable()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.preallocate()?;
        if let Err(error) = self.current.file.write_at(self.current.offset, &self.buffer) {
            if !is_full(&error) {
                return Err(self.lose(format!("a write failed: {error}")));
            }
            if !failpoint::bug("partial-write-left") {
                self.cut_back()?;
            }
            return Err(self.explain("written", &error));
        }
        self.current.offset += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(2 * self.limits.buffer_bytes);
        Ok(())
    }

    /// Makes what was appended durable, without a commit.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.sync_file()
    }

    fn check_kind(&self, epoch: Epoch, kind: RecordKind) -> Result<()> {
        match kind {
            RecordKind::Commit | RecordKind::Base | RecordKind::Synced => {
                Err(Error::failed(format!("{kind:?} records are written by the log itself: call `commit`")))
            }
            RecordKind::Delivered if epoch > self.committed => Err(Error::failed(format!(
                "epoch {epoch} cannot be delivered before it is committed: the last one is {}",
                self.committed
            ))),
            RecordKind::Delivered => Ok(()),
            _ => self.check_new(epoch),
        }
    }

    fn check_new(&self, epoch: Epoch) -> Result<()> {
        if epoch > self.committed {
            return Ok(());
        }
        Err(Error::failed(format!(
            "epoch {epoch} is not after epoch {}, the last one that was committed: number epochs from there on",
            self.committed
        )))
    }

    /// Encodes a record into the buffer, in parts if it is large, which are written as the buffer fills. All
    /// parts are in one segment.
    fn put(
        &mut self,
        epoch: Epoch,
        kind: RecordKind,
        owner: &str,
        subtask: u32,
        payload: Parts<'_>,
    ) -> Result<()> {
        self.make_room(self.record_bytes(owner, payload[0].len() + payload[1].len())?)?;
        let part_bytes = self.part_bytes(owner)?;
        let seed = seed(self.job, self.current.number);
        let (mark, mut rest) = (self.mark(), payload);
        loop {
            let (part, after) = split_parts(rest, part_bytes);
            let is_last = after.iter().all(|part| part.is_empty());
            let flags = if is_last { 0 } else { CONTINUED };
            let (lsn, durable) = (self.next, self.durable);
            let framing = Framing { kind, flags, epoch, owner, subtask, lsn, durable };
            encode(&framing, part, seed, &mut self.buffer);
            self.next = Lsn(lsn.0 + 1);
            if is_last {
                return Ok(());
            }
            if self.buffer.len() + part_bytes > self.limits.buffer_bytes
                && let Err(error) = self.flush()
            {
                return Err(self.take_back(mark, error));
            }
            rest = after;
        }
    }

    /// Where the log ends now.
    fn mark(&self) -> Mark {
        Mark { offset: self.current.offset, buffered: self.buffer.len(), next: self.next }
    }

    /// Takes back what was appended behind a mark, because some of it could not be written.
    fn take_back(&mut self, mark: Mark, error: Error) -> Error {
        self.buffer.truncate(mark.buffered);
        self.next = mark.next;
        if self.lost.is_none() && self.current.offset > mark.offset {
            self.current.offset = mark.offset;
            return self.cut_back().err().unwrap_or(error);
        }
        error
    }

    /// Most bytes of a payload in one record.
    fn part_bytes(&self, owner: &str) -> Result<usize> {
        let record_bytes = self.limits.record_bytes_max.min(RECORD_BYTES_MAX);
        Ok((record_bytes.saturating_sub(framing_bytes(owner)?) / ALIGN * ALIGN).max(ALIGN))
    }

    /// Bytes of a record with all its parts.
    fn record_bytes(&self, owner: &str, payload_bytes: usize) -> Result<usize> {
        let parts = payload_bytes.div_ceil(self.part_bytes(owner)?).max(1);
        Ok(parts * framing_bytes(owner)? + payload_bytes.next_multiple_of(ALIGN))
    }

    /// Flushes or begins a segment, so that so many bytes can be appended without.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        if !self.buffer.is_empty() && self.buffer.len() + bytes > self.limits.buffer_bytes {
            self.flush()?;
        }
        let end = self.current.offset + self.buffer.len() as u64;
        let is_over = end > self.current.start && end + bytes as u64 > self.limits.segment_bytes;
        // A next segment that was begun may have a header on the disk: nothing behind it would count here.
        if is_over || self.spare.is_some() {
            self.rotate()?;
        }
        Ok(())
    }

    /// Begins the next segment. The last one is durable before the next one says so.
    fn rotate(&mut self) -> Result<()> {
        self.sync()?;
        failpoint::pass("log.rotate.synced");
        let number = self.spare.as_ref().map_or(self.current.number + 1, |spare| spare.0);
        let file = match self.spare.take() {
            Some((_, file)) => file,
            None => match self.storage.create(&segment_path(number)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(self.lose(TAKEN_OVER.to_owned()));
                }
                Err(error) if is_full(&error) => return Err(self.explain("created", &error)),
                Err(error) => return Err(self.lose(format!("a segment cannot be created: {error}"))),
            },
        };
        failpoint::pass("log.rotate.created");
        let header = SegmentHeader {
            job: self.job,
            generation: self.generation,
            number,
            first: self.next,
            adopted: 0,
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend(self.base(number, self.next, self.next));
        if let Err(error) = file.write_at(0, &bytes) {
            if is_full(&error) && file.set_len(0).is_ok() {
                self.spare = Some((number, file));
                return Err(self.explain("written", &error));
            }
            return Err(self.lose(format!("a segment cannot be written: {error}")));
        }
        failpoint::pass("log.rotate.written");
        let durable = file.sync_data().and_then(|()| match failpoint::bug("segment-unlisted") {
            false => self.storage.sync_directory(LOG_DIRECTORY),
            true => Ok(()),
        });
        if let Err(error) = durable {
            return Err(self.lose(format!("a sync failed: {error}")));
        }
        let end = bytes.len() as u64;
        self.current = Current { file, number, offset: end, start: end, allocated: false };
        self.kept.push(Kept { number, floor: self.epoch_max });
        self.next = Lsn(self.next.0 + 1);
        self.durable = self.next;
        Ok(())
    }

    /// The record at the start of a segment.
    pub(super) fn base(&self, number: u64, lsn: Lsn, durable: Lsn) -> Vec<u8> {
        let delivered = self.delivered.clone();
        let base = Base { committed: self.committed, floor: self.epoch_max, delivered };
        let framing = Framing {
            kind: RecordKind::Base,
            flags: 0,
            epoch: self.committed,
            owner: "",
            subtask: 0,
            lsn,
            durable,
        };
        let mut bytes = Vec::new();
        encode(&framing, [&base.encode(), &[]], seed(self.job, number), &mut bytes);
        bytes
    }

    /// Lets the next run tell damage from a write cut short, as far as this reaches the disk.
    fn say_synced(&mut self) {
        let (epoch, lsn) = (self.committed, self.next);
        let kind = RecordKind::Synced;
        let framing = Framing { kind, flags: 0, epoch, owner: "", subtask: 0, lsn, durable: self.durable };
        encode(&framing, [&[], &[]], seed(self.job, self.current.number), &mut self.buffer);
        self.next = Lsn(lsn.0 + 1);
        // The epoch is durable: what is wrong with this write is the next call's business.
        let _ = self.flush();
    }

    /// Space for the whole segment, once there is something to write.
    fn preallocate(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.current.allocated, true) {
            return Ok(());
        }
        match self.current.file.allocate(self.limits.segment_bytes) {
            Ok(()) => Ok(()),
            // There may still be space for what is to be written now.
            Err(error) if is_full(&error) => self.cut_back(),
            Err(error) => Err(self.lose(format!("space cannot be allocated: {error}"))),
        }
    }

    /// Removes what a failed write may have left behind the last good record.
    fn cut_back(&mut self) -> Result<()> {
        let cut = self.current.file.set_len(self.current.offset);
        cut.map_err(|error| self.lose(format!("a failed write cannot be undone: {error}")))
    }

    fn sync_file(&mut self) -> Result<()> {
        let mut synced = self.current.file.sync_data();
        if failpoint::bug("sync-retried") && synced.is_err() {
            synced = self.current.file.sync_data();
        }
        if let Err(error) = synced {
            return Err(self.lose(format!("a sync failed: {error}")));
        }
        self.durable = self.next;
        Ok(())
    }

    /// A newer generation creates the next segment before it reads this one. If there is none now, it will
    /// read what was just made durable.
    pub(super) fn check_not_succeeded(&mut self) -> Result<()> {
        let successor = self.storage.exists(&segment_path(self.current.number + 1));
        let own = self.storage.exists(&segment_path(self.current.number));
        if failpoint::bug("zombie-commits") {
            return Ok(());
        }
        match (successor, own) {
            (Ok(false), Ok(true)) => Ok(()),
            (Ok(_), Ok(_)) => Err(self.lose(TAKEN_OVER.to_owned())),
            (Err(error), _) | (_, Err(error)) => Err(self.lose(format!("it cannot be looked at: {error}"))),
        }
    }

    pub(super) fn check_usable(&self) -> Result<()> {
        self.lost.as_ref().map_or(Ok(()), |reason| Err(self.lost_error(reason)))
    }

    /// Nothing that this process still knows about the file can be trusted from here on.
    pub(super) fn lose(&mut self, reason: String) -> Error {
        let error = self.lost_error(&reason);
        self.lost = Some(reason);
        error
    }

    fn lost_error(&self, reason: &str) -> Error {
        Error::LogLost { path: self.storage.place(LOG_DIRECTORY), reason: reason.to_owned() }
    }

    fn explain(&self, action: &str, error: &io::Error) -> Error {
        explain(&*self.storage, &segment_path(self.current.number), action, error)
    }
}
