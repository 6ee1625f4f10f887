//! What follows the last valid record: nothing, a write cut short by a crash, or damage.

use super::format::{ALIGN, RECORD_BYTES_MAX, RECORD_BYTES_MIN, SEGMENT_HEADER_BYTES, seed};
use super::segment::SegmentReader;
use super::{JobId, Lsn};
use crate::error::Result;

/// Bytes that are looked at in one step.
const STEP_BYTES: usize = 64 << 10;

/// How often the bytes of a tail may be checksummed in all. Only a forged tail needs more.
const CHECKS_MAX: u64 = 4;

/// What stands behind the last valid record.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Bytes up to the last one that is not zero.
    pub(super) bytes: u64,
    /// Why it is damage.
    pub(super) damage: Option<&'static str>,
}

/// Looks at what follows `offset`, where the record `expected` should be.
///
/// Sectors reach the disk in any order, so that a write cut short may have a valid end behind a bad middle.
/// It is damage only when a record behind knows that `expected` was durable.
pub(super) fn judge(reader: &mut SegmentReader<'_>, job: JobId, offset: u64, expected: Lsn) -> Result<Tail> {
    let mut tail = Tail::default();
    let found = search(reader, job, offset, expected, &mut |_, durable| durable > expected)?;
    tail.bytes = found.bytes;
    tail.damage = if found.hit {
        Some("a record that was durable is not valid")
    } else if found.forged {
        Some("too many bytes that look like records and are none")
    } else {
        None
    };
    Ok(tail)
}

/// True when a segment without a valid header was in use: records in it were written after its header was
/// durable. Before that, no record in it takes another one of it for durable. `end` is where the segments
/// before it end: what it copies of them is in front of that, and what is its own begins there.
pub(super) fn was_in_use(reader: &mut SegmentReader<'_>, job: JobId, end: Lsn) -> Result<bool> {
    let (mut lowest, mut durable_max) = (Lsn(u64::MAX), Lsn(0));
    // Only numbers that can stand here are looked at: much of what is kept looks like a record at some place,
    // and a segment that a crash left half copied must not be taken for a damaged one.
    let copied_max = reader.file_bytes / RECORD_BYTES_MIN as u64;
    let from = Lsn(end.0.saturating_sub(copied_max).max(1));
    let found = search(reader, job, SEGMENT_HEADER_BYTES as u64, from, &mut |lsn, durable| {
        lowest = lowest.min(lsn);
        durable_max = durable_max.max(durable);
        durable_max > lowest
    })?;
    Ok(found.hit || found.forged)
}

#[derive(Debug, Default)]
struct Found {
    bytes: u64,
    hit: bool,
    forged: bool,
}

/// Offers the number and the durable number of every valid record behind `offset`, until one is a hit.
fn search(
    reader: &mut SegmentReader<'_>,
    job: JobId,
    offset: u64,
    lowest: Lsn,
    is_hit: &mut dyn FnMut(Lsn, Lsn) -> bool,
) -> Result<Found> {
    let seed = seed(job, reader.number());
    let mut found = Found::default();
    let span = reader.file_bytes.saturating_sub(offset);
    let mut budget = span.saturating_mul(CHECKS_MAX).saturating_add(RECORD_BYTES_MAX as u64);
    // A real record is not further in number than in place.
    let highest = Lsn(lowest.0.saturating_add(2 * (reader.file_bytes / RECORD_BYTES_MIN as u64)));
    let mut step = offset;
    while step < reader.file_bytes {
        let count = STEP_BYTES.min((reader.file_bytes - step) as usize);
        let Some(bytes) = reader.bytes(step, count)? else { break };
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
            step += count as u64;
            continue;
        };
        found.bytes = step + last as u64 + 1 - offset;
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or_default();
        let mut at = step + (first / ALIGN * ALIGN) as u64;
        while at <= step + last as u64 {
            let candidate = reader.candidate(at)?;
            if let Some(header) = candidate.filter(|header| header.lsn >= lowest && header.lsn <= highest) {
                if budget < header.record_bytes() as u64 {
                    found.forged = true;
                    return Ok(found);
                }
                budget -= header.record_bytes() as u64;
                if reader.checked(at, &header, seed)?.is_some() && is_hit(header.lsn, header.durable) {
                    found.hit = true;
                    return Ok(found);
                }
            }
            at += ALIGN as u64;
        }
        step += count as u64;
    }
    Ok(found)
}
