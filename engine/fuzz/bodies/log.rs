//! Arbitrary bytes as the segments of a log: no panic, no loop, and never a record that nobody wrote.
#![allow(dead_code, reason = "each user takes its part")]

use std::sync::Arc;

use headwater::storage::MemoryStorage;
use headwater::time::Epoch;
use headwater::wal::{EpochLog, JobId, LogLimits, LogReader};

pub(crate) const JOB: JobId = JobId(0xABCD_0123);

/// Sizes so small that a few records rotate, split and flush.
pub(crate) fn small() -> LogLimits {
    LogLimits { segment_bytes: 900, record_bytes_max: 128, buffer_bytes: 256, ..LogLimits::default() }
}

pub(crate) fn path(number: u64) -> String {
    format!("wal/{number:010}.log")
}

/// The first byte says whether checksums are repaired, and whether there are one or two segments.
pub(crate) fn log_bytes(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let (first, second) = if how & 2 == 0 { (bytes, &[][..]) } else { bytes.split_at(bytes.len() / 2) };
    let mut segments = vec![first.to_vec()];
    segments.extend((!second.is_empty()).then(|| second.to_vec()));
    if how & 1 == 1 {
        for (number, bytes) in (1..).zip(&mut segments) {
            reseal(bytes, number);
        }
    }
    open_segments(&segments);
}

/// Opens a log that has these bytes as its only segments, in every way.
pub(crate) fn open_segments(segments: &[Vec<u8>]) {
    let storage = MemoryStorage::new();
    (1..).zip(segments).for_each(|(number, bytes)| storage.plant(&path(number), bytes));
    let longest: usize = segments.iter().map(Vec::len).sum();
    let reader = LogReader::open(Arc::new(storage.clone()));
    if let Ok(reader) = &reader {
        let _ = (reader.end(), reader.committed());
        reader
            .records(&mut |place| {
                assert!(place.record.payload.len() <= longest);
                Ok(())
            })
            .unwrap();
    }
    if let Ok((mut log, recovery)) = EpochLog::open(Arc::new(storage.clone()), JOB, small()) {
        let _ = recovery.read(Epoch(0), &mut |_| Ok(()));
        let next = Epoch(log.committed().0.saturating_add(1));
        let _ = log.commit(next, b"");
        let generation = log.generation();
        drop(log);
        let (again, _) = EpochLog::open(Arc::new(storage), JOB, small()).unwrap();
        assert!(again.generation() > generation, "{} follows {generation}", again.generation());
    }
}

/// Repairs the checksums along the records, so that what is behind them is reached.
pub(crate) fn reseal(bytes: &mut [u8], segment: u64) {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&JOB.0.to_le_bytes()), &segment.to_le_bytes());
    let Some((header, _)) = bytes.split_first_chunk_mut::<64>() else { return };
    header[12..16].fill(0);
    header[16..32].copy_from_slice(&JOB.0.to_le_bytes());
    header[40..48].copy_from_slice(&segment.to_le_bytes());
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    let mut at = 64;
    while at + 32 <= bytes.len() {
        let length = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let end = at.saturating_add(32).saturating_add(length.next_multiple_of(16));
        if length == 0 || end > bytes.len() {
            return;
        }
        let record = &mut bytes[at..end];
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[..28]), &record[32..]);
        record[28..32].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
}
