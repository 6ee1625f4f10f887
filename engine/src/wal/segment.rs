//! `SegmentReader`: the records of one segment file, through a window of bounded size.

use super::format::{
    ALIGN, CONTINUED, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, seed,
};
use super::trouble::{explain, segment_path};
use super::{JobId, Lsn, Record};
use crate::error::{Error, Result};
use crate::storage::{Storage, StorageFile};

/// Bytes that are read at once, unless a record is larger.
const WINDOW_BYTES: u64 = 1 << 20;

/// Why a visit ends early.
#[derive(Debug)]
pub(super) enum Halt {
    /// The record has a right checksum and makes no sense: no crash leaves such a thing.
    Nonsense(&'static str),
    /// The visitor failed.
    Failed(Error),
}

/// Where a scan ended.
#[derive(Debug)]
pub(super) struct ScanEnd {
    /// The next record that was expected.
    pub(super) lsn: Lsn,
    pub(super) offset: u64,
    pub(super) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The limit was reached.
    Limit,
    /// There is no valid record with the expected number.
    Invalid,
    /// There is one that cannot be.
    Nonsense(&'static str),
}

/// A valid record and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) offset: u64,
    pub(super) continued: bool,
    /// Everything before this record was durable when the record was written.
    pub(super) durable: Lsn,
    pub(super) record: Record<'a>,
}

#[derive(Debug)]
pub(super) struct SegmentReader<'s> {
    storage: &'s dyn Storage,
    number: u64,
    file: Box<dyn StorageFile>,
    pub(super) file_bytes: u64,
    window: Window,
}

/// Bytes of the file in memory. The first one is aligned as its offset in the file is.
#[derive(Debug, Default)]
struct Window {
    memory: Vec<u8>,
    /// Where the window begins in memory, so that it is aligned.
    start: usize,
    offset: u64,
    length: usize,
}

impl Window {
    fn holds(&self, offset: u64, count: usize) -> bool {
        offset >= self.offset && offset + count as u64 <= self.offset + self.length as u64
    }

    fn reserve(&mut self, count: usize) {
        if self.memory.len() < count + ALIGN {
            self.memory = vec![0; count + ALIGN];
            self.start = self.memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        }
    }
}

impl<'s> SegmentReader<'s> {
    pub(super) fn open(storage: &'s dyn Storage, number: u64) -> Result<Self> {
        let failed = |error| explain(storage, &segment_path(number), "read", &error);
        let file = storage.open(&segment_path(number)).map_err(failed)?;
        let file_bytes = file.len().map_err(failed)?;
        Ok(SegmentReader { storage, number, file, file_bytes, window: Window::default() })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of the file; `None` when it is shorter.
    pub(super) fn bytes(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>> {
        if offset.saturating_add(count as u64) > self.file_bytes {
            return Ok(None);
        }
        if !self.window.holds(offset, count) {
            let length = WINDOW_BYTES.max(count as u64).min(self.file_bytes - offset) as usize;
            self.window.reserve(length);
            let start = self.window.start;
            let read = self.file.read_at(offset, &mut self.window.memory[start..start + length]);
            self.window.offset = offset;
            self.window.length = 0;
            self.window.length =
                read.map_err(|error| explain(self.storage, &segment_path(self.number), "read", &error))?;
        }
        if !self.window.holds(offset, count) {
            return Ok(None);
        }
        let from = self.window.start + (offset - self.window.offset) as usize;
        Ok(Some(&self.window.memory[from..from + count]))
    }

    /// The header of the segment.
    pub(super) fn header(&mut self) -> Result<super::format::HeaderBytes> {
        let number = self.number;
        let bytes = self.bytes(0, SEGMENT_HEADER_BYTES)?;
        Ok(SegmentHeader::decode(bytes.unwrap_or_default(), number))
    }

    /// What looks like the header of a record that the file has space for.
    pub(super) fn candidate(&mut self, offset: u64) -> Result<Option<RecordHeader>> {
        let left = self.file_bytes.saturating_sub(offset);
        let bytes = self.bytes(offset, RECORD_HEADER_BYTES)?;
        let header = bytes.and_then(|bytes| bytes.first_chunk()).and_then(RecordHeader::decode);
        Ok(header.filter(|header| header.record_bytes() as u64 <= left))
    }

    /// The bytes of a record, if they are what its header says.
    pub(super) fn checked(&mut self, offset: u64, header: &RecordHeader, seed: u32) -> Result<Option<&[u8]>> {
        let bytes = self.bytes(offset, header.record_bytes())?;
        Ok(bytes.filter(|bytes| header.matches(bytes, seed)))
    }

    /// Visits the records from the first to the one before `limit`, as far as they are valid.
    pub(super) fn scan(
        &mut self,
        job: JobId,
        first: Lsn,
        limit: Lsn,
        visit: &mut dyn FnMut(&Seen<'_>) -> Result<(), Halt>,
    ) -> Result<ScanEnd> {
        let seed = seed(job, self.number);
        let (mut lsn, mut offset) = (first, SEGMENT_HEADER_BYTES as u64);
        loop {
            let end = |why| Ok(ScanEnd { lsn, offset, why });
            if lsn >= limit {
                return end(Why::Limit);
            }
            let Some(header) = self.candidate(offset)?.filter(|header| header.lsn == lsn) else {
                return end(Why::Invalid);
            };
            let Some(bytes) = self.checked(offset, &header, seed)? else { return end(Why::Invalid) };
            let record = match header.record(bytes) {
                Ok(record) => record,
                Err(reason) => return end(Why::Nonsense(reason)),
            };
            let continued = header.flags & CONTINUED != 0;
            match visit(&Seen { offset, continued, durable: header.durable, record }) {
                Ok(()) => {}
                Err(Halt::Nonsense(reason)) => return end(Why::Nonsense(reason)),
                Err(Halt::Failed(error)) => return Err(error),
            }
            offset += header.record_bytes() as u64;
            lsn = Lsn(lsn.0.saturating_add(1));
        }
    }
}

/// Puts payloads together that were split.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    parts: Vec<u8>,
    active: bool,
}

impl Assembler {
    /// The record with its whole payload, when this is its last part.
    pub(super) fn feed<'a>(&'a mut self, seen: &Seen<'a>) -> Option<Record<'a>> {
        let record = seen.record;
        if !self.active {
            self.parts.clear();
        }
        if seen.continued {
            self.parts.extend_from_slice(record.payload);
            self.active = true;
            return None;
        }
        if !std::mem::take(&mut self.active) {
            return Some(record);
        }
        self.parts.extend_from_slice(record.payload);
        Some(Record { payload: &self.parts, ..record })
    }

    /// Forgets parts whose end never came.
    pub(super) fn reset(&mut self) {
        self.active = false;
    }
}
