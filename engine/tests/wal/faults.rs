//! Full disks, failing disks, and directories that cannot be used.

use std::sync::Arc;

use headwater::error::Error;
use headwater::storage::{CrashPolicy, DirectoryStorage, Fault, FaultKind, MemoryStorage};
use headwater::time::Epoch;
use headwater::wal::{EpochLog, JobId, LogEnd, LogLimits, RecordKind};

use super::model::{JOB, Model, Step, open, play, reader, run, script, small};

#[test]
fn a_full_disk_refuses_and_then_goes_on_where_it_was() {
    let mut refused = 0;
    for space in (64..6000).step_by(13) {
        for buffer_bytes in [0, 256, 1 << 20] {
            let limits = LogLimits { buffer_bytes, ..small() };
            let (storage, mut model) = (MemoryStorage::new(), Model::default());
            let mut space = space;
            storage.limit_space(space);
            let Ok((mut log, _)) = open(&storage, &limits) else {
                storage.heal();
                run(&storage, &limits, &mut model, &script()).unwrap();
                continue;
            };
            model.generation = 1;
            for step in script() {
                let is_append = matches!(step, Step::Append { .. });
                while let Err(error) = play(&mut log, &mut model, step) {
                    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
                    assert!(error.to_string().contains("/memory/wal/"), "{error}");
                    refused += 1;
                    assert_eq!(reader(&storage).end(), LogEnd::Clean, "no part of a record is left");
                    // What a crash finds now holds every commit and nothing else.
                    for policy in CrashPolicy::ALL {
                        let crashed = storage.crash(policy, space);
                        run(&crashed, &limits, &mut model.clone(), &script()).unwrap();
                    }
                    space += 150;
                    storage.limit_space(space);
                    // The caller may do without a record that was refused.
                    if is_append && space % 2 == 0 {
                        break;
                    }
                }
            }
            drop(log);
            run(&storage.crash(CrashPolicy::KeepSome, space), &limits, &mut model, &[Step::Commit]).unwrap();
        }
    }
    println!("{refused} refusals");
    assert!(refused > 1000);
}

#[test]
fn one_failing_call_ends_in_a_clear_error_and_loses_nothing() {
    let limits = small();
    let (mut call, mut lost) = (0, 0);
    loop {
        let (storage, mut model) = (MemoryStorage::new(), Model::default());
        storage.fail(Fault { call, forever: false, kind: FaultKind::Broken });
        let Err(error) = run(&storage, &limits, &mut model, &script()) else { break };
        lost += usize::from(matches!(error, Error::LogLost { .. }));
        let text = error.to_string();
        let way_out = text.contains("must restart") || text.contains("check the disk");
        assert!(way_out && text.contains("input/output error"), "{text}");
        for policy in CrashPolicy::ALL {
            run(&storage.crash(policy, call), &limits, &mut model.clone(), &script()).unwrap();
        }
        run(&storage, &limits, &mut model, &script()).unwrap();
        call += 1;
    }
    println!("{call} calls, {lost} of them end the log");
    assert!(call > 80 && lost > 30);
}

#[test]
fn after_a_failed_sync_every_call_says_that_the_process_must_restart() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage, &small()).unwrap();
    log.append(Epoch(1), RecordKind::Input, "a", 0, b"one").unwrap();
    log.flush().unwrap();
    storage.fail(Fault { call: storage.calls(), forever: false, kind: FaultKind::SyncLost });
    let first = log.commit(Epoch(1), b"").unwrap_err().to_string();
    assert!(first.contains("the process must restart"), "{first}");
    assert!(log.is_lost());
    let calls = storage.calls();
    let again = [
        log.append(Epoch(1), RecordKind::Input, "a", 0, b"two").map(|_| ()),
        log.commit(Epoch(1), b""),
        log.flush(),
        log.sync(),
        log.truncate_before(Epoch(0)).map(|_| ()),
    ];
    again.into_iter().for_each(|result| assert_eq!(result.unwrap_err().to_string(), first));
    assert_eq!(storage.calls(), calls, "a lost log touches nothing");
}

#[test]
fn a_tail_that_is_in_memory_only_is_written_again() {
    // The sync failed, the pages count as clean: they can be read, and no later sync writes them.
    let limits = small();
    let mut seen_commits = 0;
    for call in 0..150 {
        let (storage, mut model) = (MemoryStorage::new(), Model::default());
        storage.fail(Fault { call, forever: false, kind: FaultKind::SyncLost });
        let _ = run(&storage, &limits, &mut model, &script());
        storage.heal();
        let before = model.committed;
        run(&storage, &limits, &mut model, &[]).unwrap();
        seen_commits += usize::from(model.committed > before);
        for policy in CrashPolicy::ALL {
            run(&storage.crash(policy, call), &limits, &mut model.clone(), &[Step::Commit]).unwrap();
        }
    }
    assert!(seen_commits > 3, "{seen_commits} commits were in memory only");
}

#[test]
fn troubles_of_a_directory_name_it_and_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let start = |root: &str, job| {
        let storage = Arc::new(DirectoryStorage::new(directory.path().join(root)));
        EpochLog::open(storage, job, LogLimits::default())
    };
    let missing = start("missing", JOB).unwrap_err().to_string();
    assert!(missing.contains("missing/wal`") && missing.contains("create the directory"), "{missing}");
    let (mut log, _) = start("", JOB).unwrap();
    log.commit(Epoch(1), b"").unwrap();
    let in_use = start("", JOB).unwrap_err().to_string();
    assert!(in_use.contains("stop that run"), "{in_use}");
    drop(log);
    let other = start("", JobId(7)).unwrap_err().to_string();
    assert!(other.contains("belongs to job") && other.contains("configure another directory"), "{other}");
    let (mut log, recovery) = start("", JOB).unwrap();
    assert_eq!(recovery.committed().unwrap().epoch, Epoch(1));
    let early = log.commit(Epoch(1), b"").unwrap_err().to_string();
    assert!(early.contains("not after epoch 1"), "{early}");
    let own = log.append(Epoch(2), RecordKind::Commit, "", 0, b"").unwrap_err().to_string();
    assert!(own.contains("call `commit`"), "{own}");
}

#[test]
fn a_log_on_a_real_disk_reads_back_what_the_model_holds() {
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits { archive: true, ..small() };
    let mut model = Model::default();
    for _ in 0..4 {
        let storage = Arc::new(DirectoryStorage::new(directory.path()));
        let (mut log, recovery) = EpochLog::open(storage, JOB, limits.clone()).unwrap();
        model.settle(&recovery);
        model.check(&recovery).unwrap();
        script().into_iter().for_each(|step| play(&mut log, &mut model, step).unwrap());
    }
    let archived = std::fs::read_dir(directory.path().join("archive")).unwrap().count();
    assert!(archived > 3, "{archived} segments archived");
}
