//! Takes a log over from the run before: claim, look, copy what may be in memory only, begin a segment.

use std::io;
use std::sync::Arc;

use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader, seal, seed};
use super::log::{Current, Kept};
use super::recovery::{Recovery, Repair, changed, damage};
use super::segment::SegmentReader;
use super::survey::{Ending, NO_EPOCH, Segment, Survey, segment_numbers};
use super::trouble::{explain, in_use, segment_path};
use super::{EpochLog, JobId, LOCK_PATH, LOG_DIRECTORY, LogLimits, Lsn};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::storage::{Storage, StorageFile};
use crate::time::Epoch;

/// How often another run may take the number of a segment before us.
const CLAIMS_MAX: usize = 8;

impl EpochLog {
    /// Opens the log of a job below the root of `storage`, or begins one. The run before may have ended in
    /// any way, also in the middle of this function. When it returns, no older run can commit any more.
    ///
    /// # Errors
    /// The log is in use, belongs to another job, was written by a newer version, is damaged, or its
    /// directory cannot be used; the disk is full.
    pub fn open(storage: Arc<dyn Storage>, job: JobId, limits: LogLimits) -> Result<(EpochLog, Recovery)> {
        let failed = |action| {
            let storage = &storage;
            move |error| explain(&**storage, LOG_DIRECTORY, action, &error)
        };
        storage.create_directory(LOG_DIRECTORY).map_err(failed("created"))?;
        storage.sync_directory("").map_err(failed("synced"))?;
        let lock = storage.try_lock(LOCK_PATH).map_err(failed("locked"))?;
        let lock = lock.ok_or_else(|| in_use(&*storage))?;
        failpoint::pass("recover.locked");
        let (number, file) = claim(&*storage)?;
        failpoint::pass("recover.claimed");
        let (survey, repair) = match look(&*storage, job, &limits, number) {
            Ok(seen) => seen,
            Err(error) => {
                // NOTE: nobody was promised anything yet. A file that stays does no harm.
                let _ = storage.remove(&segment_path(number));
                return Err(error);
            }
        };
        failpoint::pass("recover.looked");
        let begin = limits.begin.filter(|_| survey.segments.is_empty());
        // A log whose first record is not the first of all says itself from where on it is complete.
        let (first, own) = if begin.is_some() { (Lsn(2), Lsn(2)) } else { cut(&survey) };
        let mut log = EpochLog {
            storage: storage.clone(),
            job,
            limits,
            _lock: lock,
            generation: survey.generation + 1,
            current: Current { file, number, offset: 0, start: 0, allocated: false },
            spare: None,
            buffer: Vec::new(),
            next: own,
            durable: first,
            committed: begin.map_or(survey.committed(), |begin| begin.committed),
            epoch_max: begin.map_or(epoch_max(&survey), |begin| begin.complete_from),
            commit_segment: commit_segment(&survey, number, first),
            kept: kept(&survey, number),
            delivered: survey.delivered.clone(),
            lost: None,
        };
        let generation = log.generation;
        let mut recovery = Recovery { storage, survey, generation, repair };
        recovery.repair.records_copied = own.0 - first.0;
        log.begin(&recovery.survey, first)?;
        log.check_not_succeeded()?;
        Ok((log, recovery))
    }

    /// Writes the first segment of this generation. Its header makes the copies count, so that it is written
    /// when they are durable.
    fn begin(&mut self, survey: &Survey, first: Lsn) -> Result<()> {
        let number = self.current.number;
        let (own, base) = (self.next, self.base(number, self.next, first));
        let adopted = u32::try_from(own.0 - first.0).map_err(Error::failed)?;
        let header = SegmentHeader { job: self.job, generation: self.generation, number, first, adopted };
        let failed = |action| {
            let storage = self.storage.clone();
            move |error| explain(&*storage, &segment_path(number), action, &error)
        };
        let mut end = SEGMENT_HEADER_BYTES as u64;
        if let Some(segment) = survey.segments.last().filter(|_| adopted > 0) {
            end = copy(&*self.storage, segment, first, own, &*self.current.file, number)?;
            self.current.file.write_at(end, &base).map_err(failed("written"))?;
            self.current.file.sync_data().map_err(failed("synced"))?;
            failpoint::pass("recover.copied");
            self.current.file.write_at(0, &header.encode()).map_err(failed("written"))?;
        } else {
            let mut bytes = header.encode().to_vec();
            bytes.extend(&base);
            self.current.file.write_at(0, &bytes).map_err(failed("written"))?;
        }
        failpoint::pass("recover.header");
        self.current.file.sync_data().map_err(failed("synced"))?;
        self.storage.sync_directory(LOG_DIRECTORY).map_err(failed("synced"))?;
        self.current.offset = end + base.len() as u64;
        self.current.start = self.current.offset;
        self.next = Lsn(own.0 + 1);
        self.durable = self.next;
        Ok(())
    }
}

/// Creates the file of the next segment. From now on no older run completes a commit.
fn claim(storage: &dyn Storage) -> Result<(u64, Box<dyn StorageFile>)> {
    for _ in 0..CLAIMS_MAX {
        let number = segment_numbers(storage)?.last().map_or(1, |last| last.saturating_add(1));
        match storage.create(&segment_path(number)) {
            Ok(file) => return Ok((number, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(explain(storage, &segment_path(number), "created", &error)),
        }
    }
    Err(in_use(storage))
}

/// What is there, apart from the segment that was just claimed.
fn look(storage: &dyn Storage, job: JobId, limits: &LogLimits, claimed: u64) -> Result<(Survey, Repair)> {
    let mut repair = Repair::default();
    let mut survey = Survey::take(storage, Some(job), None)?;
    if let Some(error) = damage(storage, &survey) {
        let damaged = survey.end.as_ref().map(|end| end.lsn);
        let Some(stop) = limits.truncate_at.filter(|stop| Some(*stop) <= damaged) else {
            return Err(error);
        };
        let generation = survey.generation;
        survey = Survey::take(storage, Some(job), Some(stop))?;
        survey.generation = generation;
        repair.truncated_at = Some(stop);
    }
    if let Some(end) = &survey.end
        && let Ending::Torn(bytes) = end.ending
    {
        repair.bytes_cut = bytes;
    }
    survey.numbers.retain(|number| *number < claimed);
    Ok((survey, repair))
}

/// The records to copy, first and end: from the first that no sync is known to have covered to the last
/// commit. What follows the last commit never counts.
fn cut(survey: &Survey) -> (Lsn, Lsn) {
    let Some(segment) = survey.segments.last() else { return (Lsn(1), Lsn(1)) };
    let trusted = if failpoint::bug("tail-trusted") { segment.end } else { survey.durable };
    let first = trusted.min(segment.end);
    match &survey.last {
        Some(last) if last.lsn >= first => (first, Lsn(last.lsn.0 + 1)),
        _ => (first, first),
    }
}

/// The segment in which the last commit will be found.
fn commit_segment(survey: &Survey, claimed: u64, first: Lsn) -> u64 {
    let Some(last) = &survey.last else { return 0 };
    if last.lsn >= first {
        return claimed;
    }
    let holds = |segment: &&Segment| segment.header.first <= last.lsn && last.lsn < segment.end;
    survey.segments.iter().find(holds).map_or(0, |segment| segment.header.number)
}

/// Beyond the last commit only in a log that begins in the middle and was never committed to.
fn epoch_max(survey: &Survey) -> Epoch {
    survey.committed().max(survey.complete_from())
}

fn kept(survey: &Survey, claimed: u64) -> Vec<Kept> {
    let floor = |number| {
        let segment = survey.segments.iter().find(|segment| segment.header.number == number);
        segment.map_or(NO_EPOCH, |segment| segment.floor)
    };
    let old = survey.numbers.iter().map(|number| Kept { number: *number, floor: floor(*number) });
    old.chain([Kept { number: claimed, floor: epoch_max(survey) }]).collect()
}

/// Copies records to another segment and returns where they end.
fn copy(
    storage: &dyn Storage,
    segment: &Segment,
    first: Lsn,
    end: Lsn,
    target: &dyn StorageFile,
    number: u64,
) -> Result<u64> {
    let mut reader = SegmentReader::open(storage, segment.header.number)?;
    let job = segment.header.job;
    let mut start = None;
    let scanned = reader.scan(job, segment.header.first, end, &mut |seen| {
        if seen.record.lsn >= first && start.is_none() {
            start = Some(seen.offset);
        }
        Ok(())
    })?;
    let (mut from, mut to) = (start.unwrap_or(scanned.offset), SEGMENT_HEADER_BYTES as u64);
    while from < scanned.offset {
        let header = reader.candidate(from)?;
        let bytes = header.map(|header| reader.bytes(from, header.record_bytes())).transpose()?.flatten();
        let Some(bytes) = bytes else { return Err(changed(storage, segment, from, first)) };
        let mut record = bytes.to_vec();
        seal(&mut record, seed(job, number));
        let written = target.write_at(to, &record);
        written.map_err(|error| explain(storage, &segment_path(number), "written", &error))?;
        (from, to) = (from + record.len() as u64, to + record.len() as u64);
    }
    Ok(to)
}
