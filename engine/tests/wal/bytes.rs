//! Arbitrary bytes as a segment: no panic, no loop, and never a record that nobody wrote.

use std::sync::Arc;

use headwater::storage::MemoryStorage;
use headwater::time::Epoch;
use headwater::wal::{EpochLog, LogReader};
use proptest::prelude::*;

use super::model::{JOB, path, rows, segments, small, written};

/// Opens a log that has these bytes as its only segment, in every way; the body of a fuzz target.
pub(crate) fn fuzz_log_bytes(data: &[u8]) {
    let storage = MemoryStorage::new();
    storage.plant(&path(1), data);
    let reader = LogReader::open(Arc::new(storage.clone()));
    if let Ok(reader) = &reader {
        let _ = (reader.end(), reader.committed());
        reader
            .records(&mut |place| {
                assert!(place.record.payload.len() <= data.len());
                Ok(())
            })
            .unwrap();
    }
    if let Ok((mut log, recovery)) = EpochLog::open(Arc::new(storage.clone()), JOB, small()) {
        let _ = recovery.read(Epoch(0), &mut |_| Ok(()));
        let next = Epoch(log.committed().0.saturating_add(1));
        let _ = log.commit(next, b"");
        drop(log);
        EpochLog::open(Arc::new(storage), JOB, small()).map(|_| ()).unwrap();
    }
}

/// Repairs the checksums along the records, so that what is behind them is reached.
fn reseal(bytes: &mut [u8], segment: u64) {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&JOB.0.to_le_bytes()), &segment.to_le_bytes());
    let Some((header, _)) = bytes.split_first_chunk_mut::<64>() else { return };
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    let mut at = 64;
    while at + 32 <= bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
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

fn segment_bytes(number: usize) -> Vec<u8> {
    let (storage, _) = written();
    let all = segments(&storage);
    headwater::storage::Storage::read(&storage, &all[number % all.len()]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz_log_bytes(&data);
    }

    #[test]
    fn changed_bytes_with_right_checksums_do_no_harm(
        number in 0..8_usize,
        changes in prop::collection::vec((0..900_usize, any::<u8>()), 1..6),
        resealed in any::<bool>(),
    ) {
        let mut bytes = segment_bytes(number);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if resealed {
            bytes[12..16].fill(0);
            bytes[16..32].copy_from_slice(&JOB.0.to_le_bytes());
            bytes[40..48].copy_from_slice(&1_u64.to_le_bytes());
            reseal(&mut bytes, 1);
        }
        fuzz_log_bytes(&bytes);
    }

    #[test]
    fn changed_bytes_without_right_checksums_give_what_was_written_or_an_error(
        changes in prop::collection::vec((0..900_usize, any::<u8>(), any::<prop::sample::Index>()), 1..8),
    ) {
        let (storage, model) = written();
        let all = segments(&storage);
        for (at, mask, index) in changes {
            storage.flip(&all[index.index(all.len())], at as u64, mask);
        }
        if let Ok((_, recovery)) = EpochLog::open(Arc::new(storage), JOB, small())
            && let Ok(found) = rows(&recovery, model.truncated)
        {
            // Damage to the last writes may look like a crash: then a whole epoch is missing at the end.
            let committed = recovery.committed().map_or(0, |committed| committed.epoch.0);
            let counts = model.truncated + 1..=committed.min(model.committed);
            let written: Vec<_> = model.rows.iter().filter(|row| counts.contains(&row.epoch)).collect();
            prop_assert_eq!(found.len(), written.len());
            prop_assert!(found.iter().zip(written).all(|(found, written)| found == written));
        }
    }
}
