//! `LogReader`: every record of a log, for those who only look.

use std::path::PathBuf;
use std::sync::Arc;

use super::survey::{Ending, Survey};
use super::{Committed, JobId, Lsn, Record, RecordKind};
use crate::error::Result;
use crate::storage::Storage;
use crate::time::Epoch;

/// A record and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct RecordPlace<'a> {
    /// Number of the segment.
    pub segment: u64,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// The run that wrote it; 0 when the segments of that run are gone.
    pub generation: u64,
    /// True when its epoch is committed, or when it counts without.
    pub committed: bool,
    /// True when the next record continues the payload.
    pub continued: bool,
    /// The record, which may be a part of a larger one.
    pub record: Record<'a>,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// After a whole record.
    Clean,
    /// In a write that a crash cut short.
    Torn {
        /// The segment file.
        path: PathBuf,
        /// Where the write begins to be invalid.
        offset: u64,
        /// The record that would be there.
        lsn: Lsn,
        /// Bytes that do not count.
        bytes: u64,
    },
    /// In damage: the log cannot be opened for writing.
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// The first record that is lost.
        lsn: Lsn,
        /// What is wrong.
        reason: String,
    },
}

/// A log that is only looked at. It takes no lock and changes nothing; a log that is being written seems to
/// end in the middle of a write.
#[derive(Debug)]
pub struct LogReader {
    storage: Arc<dyn Storage>,
    survey: Survey,
}

impl LogReader {
    /// Looks at the log of whichever job it is.
    ///
    /// # Errors
    /// There is no log, it cannot be read, or a newer version wrote it. Damage is no error here: see
    /// [`end`](Self::end).
    pub fn open(storage: Arc<dyn Storage>) -> Result<LogReader> {
        let survey = Survey::take(&*storage, None, None)?;
        Ok(LogReader { storage, survey })
    }

    /// The job; nothing when no segment was ever used.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        self.survey.job
    }

    /// The newest generation; 0 when there is none.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.survey.generation
    }

    /// The last committed epoch.
    #[must_use]
    pub fn committed(&self) -> Option<Epoch> {
        self.survey.last.as_ref().map(|last| last.epoch)
    }

    /// The last committed epoch and what its commit says.
    #[must_use]
    pub fn last_commit(&self) -> Option<Committed> {
        self.survey.last_commit()
    }

    /// The epoch behind which the log holds everything; 0 when nothing was ever removed from it.
    #[must_use]
    pub fn complete_from(&self) -> Epoch {
        self.survey.complete_from()
    }

    /// Names of the segment files that count, in order.
    #[must_use]
    pub fn segments(&self) -> Vec<PathBuf> {
        self.survey.segments.iter().map(|segment| self.storage.place(&segment.path())).collect()
    }

    /// Visits the records of all committed epochs after `from`, payloads put together, with the generation
    /// that wrote them; see [`Recovery::read`](super::Recovery::read).
    ///
    /// # Errors
    /// The log begins after `from`, the disk failed, the visitor did, or the log changed meanwhile.
    pub fn committed_records(
        &self,
        from: Epoch,
        visit: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        self.survey.read(&*self.storage, from, visit)
    }

    /// As [`committed_records`](Self::committed_records), for who wants what the log holds, although it may
    /// not hold everything.
    pub(crate) fn held_records(
        &self,
        from: Epoch,
        visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
    ) -> Result<()> {
        self.survey.read_held(&*self.storage, from, &mut |_, record| visit(record))
    }

    /// How the log ends.
    #[must_use]
    pub fn end(&self) -> LogEnd {
        let Some(end) = self.survey.end.clone() else { return LogEnd::Clean };
        let (path, offset, lsn) = (self.storage.place(&end.path), end.offset, end.lsn);
        match end.ending {
            Ending::Clean => LogEnd::Clean,
            Ending::Torn(bytes) => LogEnd::Torn { path, offset, lsn, bytes },
            Ending::Damaged(reason) => LogEnd::Damaged { path, offset, lsn, reason },
        }
    }

    /// Visits every valid record up to the end, parts of split payloads one by one.
    ///
    /// # Errors
    /// The disk failed, the visitor did, or the log changed meanwhile.
    pub fn records(&self, visit: &mut dyn FnMut(RecordPlace<'_>) -> Result<()>) -> Result<()> {
        let Some(job) = self.survey.job else { return Ok(()) };
        for segment in &self.survey.segments {
            let mut reader = super::segment::SegmentReader::open(&*self.storage, segment.header.number)?;
            let scanned = reader.scan(job, segment.header.first, segment.end, &mut |seen| {
                let record = seen.record;
                let free = record.kind.is_own() || record.kind == RecordKind::Delivered;
                visit(RecordPlace {
                    segment: segment.header.number,
                    offset: seen.offset,
                    generation: segment.generation_of(record.lsn),
                    committed: free || self.survey.counts(segment, record.lsn, record.epoch),
                    continued: seen.continued,
                    record,
                })
                .map_err(super::segment::Halt::Failed)
            })?;
            if scanned.lsn != segment.end {
                return Err(super::recovery::changed(&*self.storage, segment, scanned.offset, scanned.lsn));
            }
        }
        Ok(())
    }
}
