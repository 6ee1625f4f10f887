//! `Recovery`: what a log holds that was committed, in the order in which it was written.

use std::sync::Arc;

use super::format::RecordKind;
use super::segment::{Assembler, Halt, SegmentReader};
use super::survey::{Ending, Segment, Survey};
use super::{Lsn, Record};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::time::Epoch;

/// The last committed epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub epoch: Epoch,
    /// What its commit says.
    pub payload: Vec<u8>,
}

/// What was wrong at the end of the log and does not count any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Bytes of a write that a crash cut short, or that the caller gave up.
    pub bytes_cut: u64,
    /// Records that were copied to the new segment, because they might have been in memory only.
    pub records_copied: u64,
    /// The record from which on the caller gave up a damaged log.
    pub truncated_at: Option<Lsn>,
}

/// A log as the run before left it.
#[derive(Debug)]
pub struct Recovery {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) survey: Survey,
    pub(super) generation: u64,
    pub(super) repair: Repair,
}

impl Recovery {
    /// The last committed epoch; nothing before the first commit.
    #[must_use]
    pub fn committed(&self) -> Option<Committed> {
        self.survey.last_commit()
    }

    /// The generation of the run that begins now: the first has 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What was repaired.
    #[must_use]
    pub fn repair(&self) -> &Repair {
        &self.repair
    }

    /// The last epoch that a subtask of a sink said to have delivered. A hint: it may have delivered more.
    #[must_use]
    pub fn delivered(&self, owner: &str, subtask: u32) -> Option<Epoch> {
        self.survey.delivered.get(&(owner.to_owned(), subtask)).copied()
    }

    /// All of them: owner, subtask, epoch.
    pub fn deliveries(&self) -> impl Iterator<Item = (&str, u32, Epoch)> {
        self.survey.delivered.iter().map(|((owner, subtask), epoch)| (owner.as_str(), *subtask, *epoch))
    }

    /// Visits the records of all committed epochs after `from`, in the order in which they were written,
    /// with their commits. `Epoch(0)` is before the first. Records of one epoch may stand before the commit
    /// of the epoch before. Takes memory for one record at a time.
    ///
    /// # Errors
    /// The log begins after `from`, the disk failed, or the visitor did.
    pub fn read(&self, from: Epoch, visit: &mut dyn FnMut(Record<'_>) -> Result<()>) -> Result<()> {
        self.survey.read(&*self.storage, from, &mut |_, record| visit(record))
    }

    /// As [`read`](Self::read), for who wants what the log holds, although it may not hold everything.
    pub(crate) fn read_held(
        &self,
        from: Epoch,
        visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
    ) -> Result<()> {
        self.survey.read_held(&*self.storage, from, &mut |_, record| visit(record))
    }

    /// The epoch behind which the log holds everything; 0 when nothing was ever removed from it.
    #[must_use]
    pub fn complete_from(&self) -> Epoch {
        self.survey.complete_from()
    }
}

impl Survey {
    /// The last committed epoch; nothing before the first commit.
    pub(super) fn last_commit(&self) -> Option<Committed> {
        let last = self.last.as_ref()?;
        Some(Committed { epoch: last.epoch, payload: last.payload.clone() })
    }

    /// The epoch behind which the log holds everything.
    pub(super) fn complete_from(&self) -> Epoch {
        let complete = self.segments.first().is_none_or(|first| first.header.first == Lsn(1));
        let floor = self.segments.iter().map(|segment| segment.floor).min();
        if complete { Epoch(0) } else { floor.unwrap_or_default() }
    }

    /// Visits the records of all committed epochs after `from`, with the generation that wrote them.
    pub(super) fn read(
        &self,
        storage: &dyn Storage,
        from: Epoch,
        visit: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let floor = self.complete_from();
        if floor > from {
            return Err(Error::failed(format!(
                "the log in `{}` begins after epoch {floor}, and epoch {from} is asked for: restore the state \
                 from a snapshot that is not older than epoch {floor}, or bring archived segments back",
                storage.place(super::LOG_DIRECTORY).display()
            )));
        }
        self.read_held(storage, from, visit)
    }

    pub(super) fn read_held(
        &self,
        storage: &dyn Storage,
        from: Epoch,
        visit: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        walk(storage, self, &mut |seen_in, record| {
            let hidden = record.kind.is_own() || record.kind == RecordKind::Delivered;
            if hidden || record.epoch <= from || !self.counts(seen_in, record.lsn, record.epoch) {
                return Ok(());
            }
            visit(seen_in.generation_of(record.lsn), record)
        })
    }
}

/// Visits whole records of the segments that count, in order.
pub(super) fn walk(
    storage: &dyn Storage,
    survey: &Survey,
    visit: &mut dyn FnMut(&Segment, Record<'_>) -> Result<()>,
) -> Result<()> {
    let Some(job) = survey.job else { return Ok(()) };
    for segment in &survey.segments {
        let mut assembler = Assembler::default();
        let mut reader = SegmentReader::open(storage, segment.header.number)?;
        let scanned = reader.scan(job, segment.header.first, segment.end, &mut |seen| {
            if seen.record.kind.is_own() {
                assembler.reset();
            }
            match assembler.feed(seen) {
                Some(record) => visit(segment, record).map_err(Halt::Failed),
                None => Ok(()),
            }
        })?;
        if scanned.lsn != segment.end {
            return Err(changed(storage, segment, scanned.offset, scanned.lsn));
        }
    }
    Ok(())
}

pub(super) fn changed(storage: &dyn Storage, segment: &Segment, offset: u64, lsn: Lsn) -> Error {
    let reason = "a record that was valid when the log was opened is not any more".to_owned();
    Error::LogDamaged { path: storage.place(&segment.path()), offset, lsn: lsn.0, reason }
}

/// The error of a damaged log; nothing when it is not.
pub(super) fn damage(storage: &dyn Storage, survey: &Survey) -> Option<Error> {
    let end = survey.end.as_ref()?;
    let Ending::Damaged(reason) = &end.ending else { return None };
    let path = storage.place(&end.path);
    Some(Error::LogDamaged { path, offset: end.offset, lsn: end.lsn.0, reason: reason.clone() })
}
