//! Arbitrary bytes as a segment: no panic, no loop, and never a record that nobody wrote.

use std::sync::Arc;

use headwater::wal::EpochLog;
use proptest::prelude::*;

use super::body::{log_bytes, open_segments, reseal};
use super::corpus::try_body;
use super::model::{JOB, rows, segments, small, written};

#[test]
fn the_corpus_and_its_changes_do_no_harm() {
    try_body("log", 3_000, log_bytes);
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
        open_segments(&[data]);
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
            reseal(&mut bytes, 1);
        }
        open_segments(&[bytes]);
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
