//! `Survey`: one pass over a log: what counts, what was committed, and where and how it ends.

use std::collections::BTreeMap;

use super::format::{HeaderBytes, NUMBER_MAX, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION};
use super::segment::{Assembler, Halt, ScanEnd, Seen, SegmentReader, Why};
use super::trouble::{explain, newer_version, other_job, segment_number, segment_path};
use super::{JobId, LOG_DIRECTORY, Lsn, Record, tail};
use crate::error::Result;
use crate::failpoint;
use crate::storage::Storage;
use crate::time::Epoch;

/// An epoch that no reader can ask for.
pub(super) const NO_EPOCH: Epoch = Epoch(u64::MAX);

/// Up to which epoch each subtask of each sink has delivered.
pub(super) type Delivered = BTreeMap<(String, u32), Epoch>;

/// A segment of which at least one record can count.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    /// Generation of the adopted records; 0 when its segments are gone.
    pub(super) before: u64,
    /// First record that does not count.
    pub(super) end: Lsn,
    /// Where that record is or would be.
    pub(super) end_offset: u64,
    /// Every record of a later epoch is in this segment or behind it.
    pub(super) floor: Epoch,
}

impl Segment {
    pub(super) fn generation_of(&self, lsn: Lsn) -> u64 {
        if lsn < self.header.own() { self.before } else { self.header.generation }
    }

    pub(super) fn path(&self) -> String {
        segment_path(self.header.number)
    }
}

/// A commit in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommitAt {
    pub(super) generation: u64,
    pub(super) lsn: Lsn,
}

/// The last commit of a log.
#[derive(Clone, Debug)]
pub(super) struct LastCommit {
    pub(super) epoch: Epoch,
    pub(super) payload: Vec<u8>,
    pub(super) lsn: Lsn,
}

/// How the valid part of a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Zeros or the end of the file.
    Clean,
    /// A write that a crash cut short, of so many bytes.
    Torn(u64),
    /// Something that no crash leaves.
    Damaged(String),
}

/// Where the valid part of a log ends.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) lsn: Lsn,
    pub(super) path: String,
    pub(super) offset: u64,
    pub(super) ending: Ending,
}

#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) job: Option<JobId>,
    /// Numbers of all segment files.
    pub(super) numbers: Vec<u64>,
    /// The segments that count, in order.
    pub(super) segments: Vec<Segment>,
    /// The newest generation, also of segments that do not count.
    pub(super) generation: u64,
    pub(super) commits: BTreeMap<Epoch, CommitAt>,
    pub(super) last: Option<LastCommit>,
    /// Last epoch that was committed before the first segment.
    committed_before: Epoch,
    pub(super) delivered: Delivered,
    /// Every record before this one is durable.
    pub(super) durable: Lsn,
    /// Nothing when there is no segment.
    pub(super) end: Option<End>,
}

impl Survey {
    /// Looks at the log of `job`, or of whichever job it is. With `stop`, what comes from that record on
    /// does not exist.
    pub(super) fn take(storage: &dyn Storage, job: Option<JobId>, stop: Option<Lsn>) -> Result<Survey> {
        let mut survey = Survey { numbers: segment_numbers(storage)?, ..Survey::default() };
        let (mut headers, mut headless) = (Vec::new(), Vec::new());
        for number in survey.numbers.clone() {
            match SegmentReader::open(storage, number)?.header()? {
                HeaderBytes::Valid(header) => headers.push(header),
                HeaderBytes::Invalid => headless.push(number),
                HeaderBytes::NewerVersion(version) => {
                    return Err(newer_version(storage, &segment_path(number), version, VERSION));
                }
            }
        }
        survey.job = job.or(headers.first().map(|header| header.job));
        for header in &headers {
            if let Some(wanted) = survey.job.filter(|wanted| *wanted != header.job) {
                return Err(other_job(storage, header.job, wanted));
            }
            survey.generation = survey.generation.max(header.generation);
        }
        survey.scan_all(storage, &headers, stop)?;
        if stop.is_none() {
            survey.check_headless(storage, &headless)?;
        }
        Ok(survey)
    }

    pub(super) fn committed(&self) -> Epoch {
        self.last.as_ref().map_or(self.committed_before, |last| last.epoch)
    }

    pub(super) fn is_damaged(&self) -> bool {
        matches!(&self.end, Some(End { ending: Ending::Damaged(_), .. }))
    }

    /// True when the epoch of a record is committed.
    pub(super) fn counts(&self, segment: &Segment, lsn: Lsn, epoch: Epoch) -> bool {
        let commit = self.commits.get(&epoch);
        commit.is_some_and(|at| {
            let same_run =
                at.generation == segment.generation_of(lsn) || failpoint::bug("aborted-attempt-counts");
            same_run && lsn <= at.lsn
        })
    }

    fn scan_all(
        &mut self,
        storage: &dyn Storage,
        headers: &[SegmentHeader],
        stop: Option<Lsn>,
    ) -> Result<()> {
        let Some(job) = self.job else { return Ok(()) };
        let limits = limits(headers, stop);
        let counting: Vec<_> =
            headers.iter().zip(limits).filter(|(header, end)| header.first < *end).collect();
        let mut before = 0;
        for (index, (header, limit)) in counting.iter().enumerate() {
            let path = segment_path(header.number);
            let mut reader = SegmentReader::open(storage, header.number)?;
            let mut segment = Segment {
                header: **header,
                before,
                end: header.first,
                end_offset: SEGMENT_HEADER_BYTES as u64,
                floor: NO_EPOCH,
            };
            self.durable = header.first;
            let scanned = self.scan_segment(&mut reader, job, &mut segment, *limit)?;
            (segment.end, segment.end_offset) = (scanned.lsn, scanned.offset);
            if segment.end > header.own() {
                before = header.generation;
            }
            self.segments.push(segment);
            let is_last = index + 1 == counting.len();
            let ending = ending(&mut reader, job, &scanned, is_last)?;
            let stopped = ending != Ending::Clean;
            self.end = Some(End { path, offset: scanned.offset, lsn: scanned.lsn, ending });
            if stopped {
                return Ok(());
            }
        }
        Ok(())
    }

    fn scan_segment(
        &mut self,
        reader: &mut SegmentReader<'_>,
        job: JobId,
        segment: &mut Segment,
        limit: Lsn,
    ) -> Result<ScanEnd> {
        let mut assembler = Assembler::default();
        reader.scan(job, segment.header.first, limit, &mut |seen: &Seen<'_>| {
            if seen.durable > seen.record.lsn {
                return Err(Halt::Nonsense("a record that was durable before it was written"));
            }
            self.durable = self.durable.max(seen.durable);
            if seen.record.kind.is_own() {
                assembler.reset();
            }
            match assembler.feed(seen) {
                Some(record) => self.note(segment, &record).map_err(Halt::Nonsense),
                None => Ok(()),
            }
        })
    }

    fn note(&mut self, segment: &mut Segment, record: &Record<'_>) -> Result<(), &'static str> {
        match record.kind {
            RecordKind::Commit => {
                if record.epoch <= self.committed() {
                    return Err("a commit of an epoch that was committed before");
                }
                let generation = segment.generation_of(record.lsn);
                self.commits.insert(record.epoch, CommitAt { generation, lsn: record.lsn });
                let payload = record.payload.to_vec();
                self.last = Some(LastCommit { epoch: record.epoch, payload, lsn: record.lsn });
            }
            RecordKind::Delivered => {
                let at = self.delivered.entry((record.owner.to_owned(), record.subtask)).or_default();
                *at = record.epoch.max(*at);
            }
            RecordKind::Base => {
                let base = Base::decode(record.payload).filter(|base| base.committed.0 <= NUMBER_MAX);
                let base = base.ok_or("a base record that cannot be read")?;
                segment.floor = base.floor;
                if self.last.is_none() {
                    self.committed_before = self.committed_before.max(base.committed);
                }
                for (sink, epoch) in base.delivered {
                    let at = self.delivered.entry(sink).or_default();
                    *at = epoch.max(*at);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A segment whose header is not valid was never used, or is damaged.
    fn check_headless(&mut self, storage: &dyn Storage, headless: &[u64]) -> Result<()> {
        let Some(job) = self.job else { return Ok(()) };
        let last = self.segments.last().map_or(0, |segment| segment.header.number);
        for number in headless.iter().filter(|number| **number > last) {
            let lsn = self.end.as_ref().map_or(Lsn(1), |end| end.lsn);
            let mut reader = SegmentReader::open(storage, *number)?;
            if !self.is_damaged() && tail::was_in_use(&mut reader, job, lsn)? {
                let ending = Ending::Damaged("the header of the segment is not valid".to_owned());
                self.end = Some(End { lsn, path: segment_path(*number), offset: 0, ending });
            }
        }
        Ok(())
    }
}

/// The first record of each segment that does not count, because a later segment or the caller says so.
fn limits(headers: &[SegmentHeader], stop: Option<Lsn>) -> Vec<Lsn> {
    let mut limit = stop.unwrap_or(Lsn(u64::MAX));
    let mut limits = Vec::with_capacity(headers.len());
    for header in headers.iter().rev() {
        limits.push(limit);
        limit = limit.min(header.first);
    }
    limits.reverse();
    limits
}

fn ending(reader: &mut SegmentReader<'_>, job: JobId, scanned: &ScanEnd, is_last: bool) -> Result<Ending> {
    Ok(match scanned.why {
        Why::Limit => Ending::Clean,
        Why::Nonsense(reason) => Ending::Damaged(reason.to_owned()),
        Why::Invalid if !is_last && failpoint::bug("gap-accepted") => Ending::Clean,
        Why::Invalid if !is_last => {
            Ending::Damaged("a record is missing or not valid, and a later segment follows".to_owned())
        }
        Why::Invalid => {
            let tail = tail::judge(reader, job, scanned.offset, scanned.lsn)?;
            match tail.damage {
                Some(reason) => Ending::Damaged(reason.to_owned()),
                None if tail.bytes == 0 => Ending::Clean,
                None => Ending::Torn(tail.bytes),
            }
        }
    })
}

/// Numbers of the segment files, ascending.
pub(super) fn segment_numbers(storage: &dyn Storage) -> Result<Vec<u64>> {
    let names = storage.list(LOG_DIRECTORY);
    let names = names.map_err(|error| explain(storage, LOG_DIRECTORY, "listed", &error))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// What a reader that begins at a segment must know of what came before.
#[derive(Debug, Default)]
pub(super) struct Base {
    pub(super) committed: Epoch,
    pub(super) floor: Epoch,
    pub(super) delivered: Delivered,
}

impl Base {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.committed.0.to_le_bytes());
        bytes.extend_from_slice(&self.floor.0.to_le_bytes());
        for ((owner, subtask), epoch) in &self.delivered {
            bytes.extend_from_slice(&epoch.0.to_le_bytes());
            bytes.extend_from_slice(&subtask.to_le_bytes());
            bytes.extend_from_slice(&(owner.len() as u32).to_le_bytes());
            bytes.extend_from_slice(owner.as_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Base> {
        let (committed, rest) = bytes.split_first_chunk::<8>()?;
        let (floor, mut rest) = rest.split_first_chunk::<8>()?;
        let mut delivered = Delivered::new();
        while !rest.is_empty() {
            let (epoch, after) = rest.split_first_chunk::<8>()?;
            let (subtask, after) = after.split_first_chunk::<4>()?;
            let (length, after) = after.split_first_chunk::<4>()?;
            let (owner, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let owner = std::str::from_utf8(owner).ok()?.to_owned();
            delivered.insert((owner, u32::from_le_bytes(*subtask)), Epoch(u64::from_le_bytes(*epoch)));
            rest = after;
        }
        let (committed, floor) = (u64::from_le_bytes(*committed), u64::from_le_bytes(*floor));
        Some(Base { committed: Epoch(committed), floor: Epoch(floor), delivered })
    }
}
