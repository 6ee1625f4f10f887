//! Jobs with a state directory, on threads and on a real disk: they go on where they stopped.
#![cfg(feature = "rocksdb")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

mod jobs;

use std::sync::atomic::Ordering::SeqCst;

use headwater::config::RestartStrategy;
use headwater::prelude::*;
use headwater::runtime::{Summary, discard};
use headwater::testing::{Ledger, Simulation};
use tempfile::TempDir;

use self::jobs::{Numbers, Rows};

fn config(directory: &TempDir) -> EngineConfig {
    EngineConfig::default().parallelism(2).epoch_interval(ms(1)).state_dir(directory.path().join("job"))
}

fn run(rows: &Rows, numbers: &Numbers, config: EngineConfig) -> Summary {
    rows.topology("job", numbers).run(config).unwrap()
}

#[test]
fn a_job_that_has_ended_has_nothing_left_to_do() {
    let (directory, rows, numbers) = (TempDir::new().unwrap(), Rows::new(), Numbers::new(20_000));
    let first = run(&rows, &numbers, config(&directory));
    let again = run(&rows, &numbers, config(&directory));
    assert_eq!((first.records_read(), again.records_read()), (20_000, 20_000));
    assert_eq!(first.rows_written(), again.rows_written());
    assert!(again.epoch > first.epoch && again.had_ended && !first.had_ended);
    rows.check(20_000);
}

#[test]
fn a_job_that_was_stopped_goes_on_behind_its_last_epoch() {
    let (directory, rows, numbers) = (TempDir::new().unwrap(), Rows::new(), Numbers::new(20_000));
    let mut read = 0;
    for gate in [3_000, 3_001, 15_500] {
        numbers.gate.store(gate, SeqCst);
        let running = rows.topology("job", &numbers).start(config(&directory)).unwrap();
        assert_eq!(running.resumed().is_some(), read > 0);
        while running.report().records_read() < gate {
            std::thread::yield_now();
        }
        running.stop();
        let summary = running.wait().unwrap();
        assert!(summary.records_read() >= read);
        read = summary.records_read();
        assert_eq!(read, gate);
    }
    numbers.gate.store(u64::MAX, SeqCst);
    assert_eq!(run(&rows, &numbers, config(&directory)).records_read(), 20_000);
    rows.check(20_000);
}

#[test]
fn a_job_that_fails_is_restarted_behind_its_last_epoch() {
    let (directory, rows, numbers) = (TempDir::new().unwrap(), Rows::new(), Numbers::new(20_000));
    numbers.failures.store(3, SeqCst);
    let restart = RestartStrategy::FixedDelay { attempts_max: 3, delay_ms: 0 };
    let summary = run(&rows, &numbers, config(&directory).restart(restart));
    assert_eq!((summary.restarts, summary.records_read()), (3, 20_000));
    rows.check(20_000);
}

#[test]
fn parallelism_may_change_between_two_runs() {
    let (directory, rows, numbers) = (TempDir::new().unwrap(), Rows::new(), Numbers::new(20_000));
    for (parallelism, gate) in [(1, 2_000), (4, 9_000), (3, 14_000), (2, u64::MAX)] {
        numbers.gate.store(gate, SeqCst);
        let config = config(&directory).parallelism(parallelism);
        let running = rows.topology("job", &numbers).start(config).unwrap();
        if gate == u64::MAX {
            running.wait().unwrap();
        } else {
            while running.report().records_read() < gate {
                std::thread::yield_now();
            }
            running.stop();
            running.wait().unwrap();
        }
    }
    rows.check(20_000);
}

#[test]
fn a_directory_has_one_run_at_a_time() {
    let (directory, rows, numbers) = (TempDir::new().unwrap(), Rows::new(), Numbers::new(20_000));
    numbers.gate.store(100, SeqCst);
    let running = rows.topology("job", &numbers).start(config(&directory)).unwrap();
    let error = rows.topology("job", &numbers).start(config(&directory)).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    let error = discard(directory.path().join("job")).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    running.stop();
    running.wait().unwrap();
}

#[test]
fn a_directory_of_another_job_is_refused() {
    let (directory, rows, numbers) = (TempDir::new().unwrap(), Rows::new(), Numbers::new(1_000));
    run(&rows, &numbers, config(&directory));
    let refused = |topology: Topology, config: EngineConfig| topology.run(config).unwrap_err().to_string();

    let error = refused(rows.topology("another", &numbers), config(&directory));
    let names = error.contains("by the topology `job`") && error.contains("this program is `another`");
    assert!(names && error.contains("name another directory"), "{error}");

    let mut groups = config(&directory);
    groups.key_groups = 64;
    let error = refused(rows.topology("job", &numbers), groups);
    assert!(error.contains("64") && error.contains("128") && error.contains("fixed"), "{error}");

    let flow = StreamBuilder::new("job");
    flow.source("numbers", numbers.clone()).sink("windows", Ledger::new());
    let error = refused(flow.build().unwrap(), config(&directory));
    assert!(error.contains("`totals`") && error.contains("--no-resume"), "{error}");
}

#[test]
fn a_job_that_is_discarded_begins_at_the_beginning() {
    let (directory, numbers) = (TempDir::new().unwrap(), Numbers::new(5_000));
    run(&Rows::new(), &numbers, config(&directory));
    discard(directory.path().join("job")).unwrap();
    let rows = Rows::new();
    let running = rows.topology("job", &numbers).start(config(&directory)).unwrap();
    assert_eq!(running.resumed(), None);
    running.wait().unwrap();
    rows.check(5_000);
}

/// Without keyed state there is no store, and the log is cut off freely: it then begins anywhere.
#[test]
fn a_job_without_state_goes_on_behind_a_log_that_was_cut_off() {
    let mut crashes = 0;
    for seed in 0..40 {
        let (flow, out) = (StreamBuilder::new("stateless"), Ledger::new());
        flow.source("numbers", Numbers::new(3_000)).map(|(_, n)| n * 2).sink("doubled", out.clone());
        let mut config = EngineConfig::default().parallelism(2);
        config.batch.rows_max = 4;
        let simulation = Simulation::new(seed).steps_max(1_000_000);
        crashes += simulation.run_with_crashes(&flow.build().unwrap(), &config, 8).unwrap().crashes;
        let mut rows = out.take().unwrap();
        rows.sort_unstable();
        assert!(rows.iter().copied().eq((0..3_000).map(|n| n * 2)), "seed {seed}");
    }
    assert!(crashes > 80, "{crashes} crashes");
}
