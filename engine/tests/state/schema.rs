//! State whose type changes between two versions of a program: migrated, refused, or noticed in a test.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers stand outside of test functions")]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use headwater::prelude::*;
use headwater::runtime::create_savepoint;
use headwater::stream::KeyedStream;
use headwater::testing::{Ledger, check_state_schema, write_state_schema};
use tempfile::TempDir;

use crate::jobs::{KEYS, Numbers};

/// How many numbers there are for each key.
const ROUNDS: u64 = 20;

/// All numbers, of which the first so many come.
fn numbers_to(gate: u64) -> Numbers {
    let numbers = Numbers::new(ROUNDS * KEYS);
    numbers.gate.store(gate, SeqCst);
    numbers
}

#[derive(Record, Clone, Debug, PartialEq)]
struct TotalV1 {
    sum: u64,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct TotalV2 {
    sum: u64,
    count: u64,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Total {
    sum: f64,
    count: u64,
    /// Which versions the value has gone through.
    way: String,
}

fn keyed(flow: &StreamBuilder, numbers: Numbers) -> KeyedStream<u64, u64> {
    flow.source("numbers", numbers).map(|(_, n)| n).key_by(|n| n % KEYS)
}

fn first_version(numbers: Numbers) -> Topology {
    let flow = StreamBuilder::new("job");
    let totals = keyed(&flow, numbers).fold(TotalV1 { sum: 0 }, |total, n| total.sum += n);
    totals.name("totals").output_mode(OutputMode::Append).sink("out", Ledger::new());
    flow.build().unwrap()
}

fn second_version(numbers: Numbers) -> Topology {
    let flow = StreamBuilder::new("job");
    let totals = keyed(&flow, numbers)
        .migrate_state(|old: TotalV1| TotalV2 { sum: old.sum, count: 1_000_000 })
        .fold(TotalV2 { sum: 0, count: 0 }, |total, n| {
            total.sum += n;
            total.count += 1;
        });
    totals.name("totals").output_mode(OutputMode::Append).sink("out", Ledger::new());
    flow.build().unwrap()
}

/// With every step, or without the first.
fn third_version(numbers: Numbers, out: &Ledger<KeyedResult<u64, Total>>, whole: bool) -> Result<Topology> {
    let flow = StreamBuilder::new("job");
    let mut keyed = keyed(&flow, numbers).migrate_state(|old: TotalV2| Total {
        sum: old.sum as f64,
        count: old.count,
        way: "2".to_owned(),
    });
    if whole {
        keyed = keyed.migrate_state(|old: TotalV1| TotalV2 { sum: old.sum, count: 1_000_000 });
    }
    let totals = keyed.fold(Total { sum: 0.0, count: 0, way: String::new() }, |total, n| {
        total.sum += n as f64;
        total.count += 1;
    });
    totals.name("totals").output_mode(OutputMode::Append).sink("out", out.clone());
    flow.build()
}

fn config(directory: &TempDir) -> EngineConfig {
    EngineConfig::default().parallelism(2).epoch_interval(ms(1)).state_dir(directory.path().join("job"))
}

/// Runs until everything that there is has been read, and stops.
fn run_on(topology: Topology, read: u64, config: EngineConfig) {
    let running = topology.start(config).unwrap();
    while running.report().records_read() < read {
        std::thread::yield_now();
    }
    running.stop();
    running.wait().unwrap();
}

#[test]
fn state_of_two_earlier_versions_is_read_and_goes_on() {
    let (directory, out) = (TempDir::new().unwrap(), Ledger::new());
    run_on(first_version(numbers_to(10 * KEYS)), 10 * KEYS, config(&directory));
    // The second version sees half of the keys only: the others stay as the first one wrote them.
    let some = 10 * KEYS + KEYS / 2;
    run_on(second_version(numbers_to(some)), some, config(&directory));
    let all = numbers_to(u64::MAX);
    third_version(all, &out, true).unwrap().run(config(&directory)).unwrap();

    let rows = out.take().unwrap();
    let found: BTreeMap<u64, Total> = rows.iter().map(|row| (row.key, row.value.clone())).collect();
    assert_eq!((found.len(), rows.len()), (KEYS as usize, KEYS as usize));
    for (key, total) in found {
        // The first version counted nothing, which the step behind it marks by a million.
        let sum = (0..ROUNDS).map(|round| round * KEYS + key).sum::<u64>() as f64;
        assert_eq!(total, Total { sum, count: 1_000_010, way: "2".to_owned() }, "key {key}");
    }
}

#[test]
fn a_version_without_the_way_from_old_state_does_not_begin() {
    let directory = TempDir::new().unwrap();
    run_on(first_version(numbers_to(500)), 500, config(&directory));
    run_on(second_version(numbers_to(510)), 510, config(&directory));
    let numbers = numbers_to(u64::MAX);
    let topology = third_version(numbers, &Ledger::new(), false).unwrap();
    let error = topology.run(config(&directory)).unwrap_err().to_string();
    assert!(
        error.contains(
            "the state of `totals` was written as (u64, {sum: u64}), and this program keeps \
                        (u64, {sum: f64, count: u64, way: string})"
        ) && error.contains("`migrate_state`"),
        "{error}"
    );
    // Nothing has happened to it: the version that can read it goes on.
    run_on(second_version(numbers_to(520)), 520, config(&directory));
}

#[test]
fn a_migration_that_leads_nowhere_is_a_mistake_of_the_topology() {
    let flow = StreamBuilder::new("job");
    let numbers = numbers_to(u64::MAX);
    let totals = keyed(&flow, numbers)
        .migrate_state(|old: TotalV1| TotalV2 { sum: old.sum, count: 0 })
        .fold(Total { sum: 0.0, count: 0, way: String::new() }, |total, n| total.sum += n as f64);
    totals.output_mode(OutputMode::Append).sink("out", Ledger::new());
    let error = flow.build().unwrap_err().to_string();
    assert!(
        error.contains(
            "`migrate_state` turns (u64, {sum: u64}) into (u64, {sum: u64, count: u64}), but the state \
                        is (u64, {sum: f64, count: u64, way: string})"
        ),
        "{error}"
    );
}

#[test]
fn the_file_of_schemas_notices_every_change_and_refuses_those_that_lose_state() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("job.schema");
    let numbers = || numbers_to(u64::MAX);
    let read = || std::fs::read_to_string(&path).unwrap();
    let refused = |topology: &Topology| check_state_schema(topology, &path).unwrap_err().to_string();

    let missing = refused(&first_version(numbers()));
    assert!(missing.contains("HEADWATER_ACCEPT_SCHEMA=1"), "{missing}");
    write_state_schema(&first_version(numbers()), &path).unwrap();
    assert!(read().ends_with("\ntotals: (u64, {sum: u64})\n"), "{}", read());
    check_state_schema(&first_version(numbers()), &path).unwrap();

    let changed = refused(&second_version(numbers()));
    assert!(changed.contains("can still be read"), "{changed}");
    write_state_schema(&second_version(numbers()), &path).unwrap();
    let versions = "\ntotals: (u64, {sum: u64, count: u64})\ntotals was (u64, {sum: u64})\n";
    assert!(read().ends_with(versions), "{}", read());
    check_state_schema(&second_version(numbers()), &path).unwrap();

    // Without the way from the first version, not even when it is to be accepted.
    let short = third_version(numbers(), &Ledger::new(), false).unwrap();
    let lost = write_state_schema(&short, &path).unwrap_err().to_string();
    assert!(lost.contains("written as (u64, {sum: u64})") && lost.contains("delete the line"), "{lost}");
    assert!(read().ends_with(versions), "{}", read());
    std::fs::write(&path, read().replace("totals was (u64, {sum: u64})\n", "")).unwrap();
    write_state_schema(&short, &path).unwrap();
    check_state_schema(&short, &path).unwrap();
    std::fs::write(&path, "totals (u64)\n").unwrap();
    assert!(refused(&short).contains("line 1"), "{}", refused(&short));
}

#[test]
fn a_job_that_begins_with_a_savepoint_migrates_its_state() {
    let (directory, out) = (TempDir::new().unwrap(), Ledger::new());
    run_on(first_version(numbers_to(500)), 500, config(&directory));
    let old = first_version(numbers_to(500));
    let limit = std::time::Duration::from_secs(60);
    let savepoint = create_savepoint(&old, directory.path().join("job"), Some("v1"), limit).unwrap();
    let begins = || {
        let mut config = config(&directory).state_dir(directory.path().join("other")).start_from(&savepoint);
        config.new_output = true;
        config
    };
    let numbers = || numbers_to(u64::MAX);
    let short = third_version(numbers(), &Ledger::new(), false).unwrap();
    let error = short.run(begins()).unwrap_err().to_string();
    assert!(error.contains("the state of `totals` was written as (u64, {sum: u64})"), "{error}");
    let whole = third_version(numbers(), &out, true).unwrap();
    whole.run(begins().parallelism(3)).unwrap();
    let sums: BTreeMap<u64, f64> = out.take().unwrap().iter().map(|row| (row.key, row.value.sum)).collect();
    let expected = |key| (0..ROUNDS).map(|round| round * KEYS + key).sum::<u64>() as f64;
    assert_eq!(sums, (0..KEYS).map(|key| (key, expected(key))).collect());
}
