//! The bytes of a segment: its header and its records.

use super::{JobId, Lsn, Record};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::time::Epoch;

/// Largest record, framing included. A length beyond it is no length.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// A payload, or some of it, one part behind the other: what is large is not copied in front of the log.
pub(super) type Parts<'a> = [&'a [u8]; 2];

/// The first so many bytes of a payload, and the others.
pub(super) fn split_parts([head, tail]: Parts<'_>, at: usize) -> (Parts<'_>, Parts<'_>) {
    let (head, head_rest) = head.split_at(at.min(head.len()));
    let (tail, tail_rest) = tail.split_at((at - head.len()).min(tail.len()));
    ([head, tail], [head_rest, tail_rest])
}

pub(super) const VERSION: u32 = 1;
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
pub(super) const RECORD_HEADER_BYTES: usize = 32;
pub(super) const ALIGN: usize = 16;

/// Smallest record: a header, the subtask and its padding.
pub(super) const RECORD_BYTES_MIN: usize = RECORD_HEADER_BYTES + ALIGN;

/// No log comes to an epoch, record, segment or generation with a higher number: so there is always a next one.
pub(super) const NUMBER_MAX: u64 = u64::MAX >> 2;

const MAGIC: [u8; 8] = *b"HEADWLOG";
const SUBTASK_BYTES: usize = 4;

/// Longest name of an owner.
const OWNER_BYTES_MAX: usize = u16::MAX as usize;

/// Too many records since the last sync to be counted: nothing is known.
const UNKNOWN: u32 = u32::MAX;

/// The next record continues the payload.
pub(super) const CONTINUED: u8 = 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum RecordKind {
    /// Input of a source that cannot give it again.
    Input = 1,
    /// Changes of keyed state.
    StateDelta = 2,
    /// Output of a sink, to be delivered once the epoch is committed.
    Staged = 3,
    /// Positions of a source's partitions.
    Positions = 4,
    /// State of an operator that is not keyed.
    Operator = 5,
    /// Counts of records.
    Counts = 6,
    /// An answer that another run would get differently: a clock, a random number, a model's version.
    Decision = 7,
    /// The epoch is complete.
    Commit = 8,
    /// A sink has delivered the epoch. A hint: it counts without a commit, and may be lost.
    Delivered = 9,
    /// What a reader that begins at this segment must know. The log's own.
    Base = 64,
    /// What precedes is durable. The log's own.
    Synced = 65,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [RecordKind; 11] = [
        RecordKind::Input,
        RecordKind::StateDelta,
        RecordKind::Staged,
        RecordKind::Positions,
        RecordKind::Operator,
        RecordKind::Counts,
        RecordKind::Decision,
        RecordKind::Commit,
        RecordKind::Delivered,
        RecordKind::Base,
        RecordKind::Synced,
    ];

    /// Its name, in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RecordKind::Input => "input",
            RecordKind::StateDelta => "state",
            RecordKind::Staged => "staged",
            RecordKind::Positions => "positions",
            RecordKind::Operator => "operator",
            RecordKind::Counts => "counts",
            RecordKind::Decision => "decision",
            RecordKind::Commit => "commit",
            RecordKind::Delivered => "delivered",
            RecordKind::Base => "base",
            RecordKind::Synced => "synced",
        }
    }

    pub(crate) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// True for records that the log writes for itself.
    pub(super) fn is_own(self) -> bool {
        matches!(self, RecordKind::Base | RecordKind::Synced)
    }
}

/// Start of the checksum of a segment's records.
pub(super) fn seed(job: JobId, segment: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&job.0.to_le_bytes()), &segment.to_le_bytes())
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) job: JobId,
    pub(super) generation: u64,
    pub(super) number: u64,
    pub(super) first: Lsn,
    /// How many records from `first` on belong to the generation before.
    pub(super) adopted: u32,
}

/// What the first bytes of a segment file turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderBytes {
    Valid(SegmentHeader),
    NewerVersion(u32),
    Invalid,
}

impl SegmentHeader {
    /// First record of the segment's own generation.
    pub(super) fn own(&self) -> Lsn {
        Lsn(self.first.0.saturating_add(u64::from(self.adopted)))
    }

    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.job.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.generation.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.number.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.adopted.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the segment file with this number.
    pub(super) fn decode(bytes: &[u8], number: u64) -> HeaderBytes {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else { return HeaderBytes::Invalid };
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..60]) != u32_at(bytes, 60) {
            return HeaderBytes::Invalid;
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return HeaderBytes::NewerVersion(version);
        }
        let header = SegmentHeader {
            job: JobId(u128::from(u64_at(bytes, 16)) | u128::from(u64_at(bytes, 24)) << 64),
            generation: u64_at(bytes, 32),
            number: u64_at(bytes, 40),
            first: Lsn(u64_at(bytes, 48)),
            adopted: u32_at(bytes, 56),
        };
        let numbers = [header.number, header.generation, header.first.0];
        let is_possible = header.number == number && numbers.iter().all(|number| *number <= NUMBER_MAX);
        if is_possible { HeaderBytes::Valid(header) } else { HeaderBytes::Invalid }
    }
}

/// The header of a record, not yet checked against its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordHeader {
    pub(super) length: usize,
    pub(super) lsn: Lsn,
    /// Everything before this record was durable when the record was written.
    pub(super) durable: Lsn,
    pub(super) flags: u8,
    pub(super) epoch: Epoch,
    kind: u8,
    owner_bytes: usize,
    crc: u32,
}

impl RecordHeader {
    /// Reads a header; `None` when no record has such a length.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        let header = RecordHeader {
            length: u32_at(bytes, 0) as usize,
            kind: bytes[4],
            flags: bytes[5],
            owner_bytes: usize::from(u16::from_le_bytes([bytes[6], bytes[7]])),
            epoch: Epoch(u64_at(bytes, 8)),
            lsn: Lsn(u64_at(bytes, 16)),
            durable: match u32_at(bytes, 24) {
                UNKNOWN => Lsn(0),
                unsynced => Lsn(u64_at(bytes, 16).saturating_sub(u64::from(unsynced))),
            },
            crc: u32_at(bytes, 28),
        };
        let framed = (SUBTASK_BYTES + header.owner_bytes).next_multiple_of(ALIGN);
        let possible = framed <= header.length && header.length <= RECORD_BYTES_MAX - RECORD_HEADER_BYTES;
        possible.then_some(header)
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.length.next_multiple_of(ALIGN)
    }

    /// True when the bytes are the record that the header says, in the segment of `seed`.
    pub(super) fn matches(&self, bytes: &[u8], seed: u32) -> bool {
        record_crc(bytes, seed) == self.crc || failpoint::bug("checksum-ignored")
    }

    /// What the record says. Only for bytes that match.
    ///
    /// # Errors
    /// A reason: the checksum is right, and yet this version cannot have written it.
    pub(super) fn record<'a>(&self, bytes: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let kind = RecordKind::of(self.kind).ok_or("a record of a kind that this version does not know")?;
        if self.epoch.0 > NUMBER_MAX {
            return Err("a record of an epoch that no run comes to");
        }
        let body = &bytes[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + self.length];
        let (frame, payload) = body.split_at((SUBTASK_BYTES + self.owner_bytes).next_multiple_of(ALIGN));
        let owner = &frame[SUBTASK_BYTES..SUBTASK_BYTES + self.owner_bytes];
        Ok(Record {
            lsn: self.lsn,
            epoch: self.epoch,
            kind,
            owner: std::str::from_utf8(owner).map_err(|_| "an owner whose name is no text")?,
            subtask: u32_at(frame, 0),
            payload,
        })
    }
}

/// What is to be written of a record besides its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing<'a> {
    pub(super) kind: RecordKind,
    pub(super) flags: u8,
    pub(super) epoch: Epoch,
    pub(super) owner: &'a str,
    pub(super) subtask: u32,
    pub(super) lsn: Lsn,
    pub(super) durable: Lsn,
}

/// Bytes of a record of this owner without its payload.
///
/// # Errors
/// The name is too long.
pub(super) fn framing_bytes(owner: &str) -> Result<usize> {
    if owner.len() > OWNER_BYTES_MAX {
        return Err(Error::failed(format!(
            "the name of a node has {} bytes, the log takes {OWNER_BYTES_MAX}: choose a shorter name",
            owner.len()
        )));
    }
    Ok(RECORD_HEADER_BYTES + (SUBTASK_BYTES + owner.len()).next_multiple_of(ALIGN))
}

/// Appends a record, which is no larger than [`RECORD_BYTES_MAX`].
pub(super) fn encode(framing: &Framing<'_>, payload: Parts<'_>, seed: u32, out: &mut Vec<u8>) {
    let start = out.len();
    let payload_bytes = payload[0].len() + payload[1].len();
    let frame = (SUBTASK_BYTES + framing.owner.len()).next_multiple_of(ALIGN);
    let unsynced = u32::try_from(framing.lsn.0.saturating_sub(framing.durable.0)).unwrap_or(UNKNOWN);
    out.extend_from_slice(&((frame + payload_bytes) as u32).to_le_bytes());
    out.push(framing.kind as u8);
    out.push(framing.flags);
    out.extend_from_slice(&(framing.owner.len() as u16).to_le_bytes());
    out.extend_from_slice(&framing.epoch.0.to_le_bytes());
    out.extend_from_slice(&framing.lsn.0.to_le_bytes());
    out.extend_from_slice(&unsynced.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&framing.subtask.to_le_bytes());
    out.extend_from_slice(framing.owner.as_bytes());
    out.resize(start + RECORD_HEADER_BYTES + frame, 0);
    payload.iter().for_each(|part| out.extend_from_slice(part));
    out.resize(out.len() + (payload_bytes.next_multiple_of(ALIGN) - payload_bytes), 0);
    seal(&mut out[start..], seed);
}

/// Writes the checksum of a record for the segment of `seed`.
pub(super) fn seal(record: &mut [u8], seed: u32) {
    let crc = record_crc(record, seed);
    record[28..RECORD_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn record_crc(record: &[u8], seed: u32) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[..28]), &record[RECORD_HEADER_BYTES..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
