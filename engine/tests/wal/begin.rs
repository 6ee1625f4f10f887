//! A log that begins in the middle of the life of a job: with the epoch of a savepoint.

use headwater::storage::MemoryStorage;
use headwater::time::Epoch;
use headwater::wal::{LogBegin, LogLimits, RecordKind};

use super::model::{open, small};

fn begin(committed: u64, complete_from: u64) -> LogLimits {
    let begin = LogBegin { committed: Epoch(committed), complete_from: Epoch(complete_from) };
    LogLimits { begin: Some(begin), ..small() }
}

#[test]
fn a_log_that_begins_with_an_epoch_does_not_say_that_it_has_those_before() {
    for committed in [0, 7] {
        let storage = MemoryStorage::new();
        let (mut log, recovery) = open(&storage, &begin(committed, 9)).unwrap();
        assert!(recovery.committed().is_none());
        assert_eq!(log.committed(), Epoch(committed));
        if committed > 0 {
            assert!(log.append(Epoch(committed), RecordKind::Staged, "out", 0, b"late").is_err());
        }
        for epoch in [8, 9, 10] {
            log.append(Epoch(epoch), RecordKind::Staged, "out", 0, &[epoch as u8; 300]).unwrap();
            log.commit(Epoch(epoch), b"").unwrap();
        }
        drop(log);
        // What there is now is taken as it is.
        for limits in [small(), begin(20, 30)] {
            let (log, recovery) = open(&storage, &limits).unwrap();
            assert_eq!((log.committed(), recovery.complete_from()), (Epoch(10), Epoch(9)));
            assert!(recovery.read(Epoch(8), &mut |_| Ok(())).is_err());
            let mut epochs = Vec::new();
            let read = recovery.read(Epoch(9), &mut |record| {
                epochs.push(record.epoch.0);
                Ok(())
            });
            read.unwrap();
            assert_eq!(epochs, [10, 10]);
        }
    }
}

#[test]
fn a_begin_that_was_cut_short_is_no_log_of_an_empty_job() {
    let storage = MemoryStorage::new();
    drop(open(&storage, &begin(7, 9)).unwrap());
    for _ in 0..3 {
        let (log, recovery) = open(&storage, &small()).unwrap();
        assert!(recovery.committed().is_none());
        assert_eq!((log.committed(), recovery.complete_from()), (Epoch(7), Epoch(9)));
    }
}
