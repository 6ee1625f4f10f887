//! Replays: the same epochs give the same bytes, and what the job itself gave; capsules need no sources.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, reason = "helpers stand outside of test functions")]

mod jobs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use headwater::batch::{Record, Value};
use headwater::prelude::*;
use headwater::runtime::{Inspection, ReplaySummary, ReplayedEpoch, discard, export_capsule, replay};
use headwater::source::{Source, SourceReader};
use headwater::testing::Ledger;
use tempfile::TempDir;

use self::jobs::{KEYS, Numbers, Rows};

const COUNT: u64 = 20_000;

/// Numbers that are given once.
#[derive(Clone)]
struct Once(Numbers);

impl Source for Once {
    type Record = (i64, u64);
    type Position = u64;

    fn is_replayable(&self) -> bool {
        false
    }

    fn partitions(&self) -> Result<Vec<String>> {
        self.0.partitions()
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<(i64, u64), u64>>> {
        self.0.open(partition, position)
    }
}

fn config(place: &Path) -> EngineConfig {
    let config = EngineConfig::default().parallelism(2).epoch_interval(ms(1)).state_dir(place);
    config.snapshot_interval(ms(1)).snapshots_kept(1000)
}

fn snapshots(topology: &Topology, place: &Path) -> Vec<u64> {
    let inspection = Inspection::open(topology, place).unwrap();
    inspection.snapshots().unwrap().iter().map(|snapshot| snapshot.epoch).collect()
}

/// Runs in three pieces, with a snapshot behind the first and the second at least.
fn run(topology: &dyn Fn() -> Topology, numbers: &Numbers, place: &Path) {
    for gate in [COUNT / 3, COUNT / 3 * 2] {
        numbers.gate.store(gate, SeqCst);
        let before = if place.exists() { snapshots(&topology(), place).len() } else { 0 };
        let running = topology().start(config(place)).unwrap();
        while running.report().records_read() < gate || running.report().epoch < 2 {
            std::thread::yield_now();
        }
        while snapshots(&topology(), place).len() == before {
            std::thread::yield_now();
        }
        running.stop();
        running.wait().unwrap();
    }
    numbers.gate.store(u64::MAX, SeqCst);
    topology().run(config(place)).unwrap();
}

/// A job that has run.
struct Past {
    directory: TempDir,
    rows: Rows,
    numbers: Numbers,
}

impl Past {
    fn new() -> Self {
        let past =
            Past { directory: TempDir::new().unwrap(), rows: Rows::new(), numbers: Numbers::new(COUNT) };
        run(&|| past.topology(), &past.numbers, &past.place());
        past
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("job")
    }

    fn topology(&self) -> Topology {
        self.rows.topology("job", &self.numbers)
    }

    /// The same topology where there are no numbers.
    fn elsewhere(&self) -> Topology {
        self.rows.topology("job", &Numbers::new(0))
    }
}

fn replayed(
    topology: &Topology,
    place: &Path,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<(Vec<ReplayedEpoch>, ReplaySummary)> {
    let mut epochs = Vec::new();
    let summary = replay(topology, place, from, to, &mut |epoch| {
        epochs.push(epoch.clone());
        Ok(())
    })?;
    Ok((epochs, summary))
}

/// Rows as text, sorted.
fn sorted<T: Record>(rows: &[T]) -> Vec<String> {
    let mut texts: Vec<_> = rows.iter().map(|row| Value::of::<T>(row.view()).to_string()).collect();
    texts.sort();
    texts
}

fn of_sink(epochs: &[ReplayedEpoch], sink: &str) -> Vec<String> {
    let rows = epochs.iter().flat_map(|epoch| &epoch.rows).filter(|row| row.sink == sink);
    let mut texts: Vec<_> = rows.map(|row| row.row.to_string()).collect();
    texts.sort();
    texts
}

/// The same rows in any order, and all else.
fn same(one: &ReplayedEpoch, other: &ReplayedEpoch) -> bool {
    let in_order = |epoch: &ReplayedEpoch| {
        let mut epoch = epoch.clone();
        epoch.rows.sort_by_key(|row| (row.sink.clone(), row.row.to_string()));
        epoch
    };
    in_order(one) == in_order(other)
}

#[test]
fn a_replay_gives_what_the_job_gave_from_wherever_it_begins() {
    let past = Past::new();
    let (all, summary) = replayed(&past.topology(), &past.place(), None, None).unwrap();
    assert_eq!((summary.base, summary.from, summary.records, summary.different), (0, 1, COUNT, 0));
    assert_eq!(of_sink(&all, "windows"), sorted(&past.rows.windows.take().unwrap()));
    assert_eq!(of_sink(&all, "totals"), sorted(&past.rows.totals.take().unwrap()));
    assert_eq!(all.iter().map(|epoch| epoch.records).sum::<u64>(), COUNT);

    let (again, _) = replayed(&past.topology(), &past.place(), None, None).unwrap();
    assert!(again == all, "a second replay is another one");

    let rows: BTreeMap<u64, _> = all.iter().map(|epoch| (epoch.epoch, epoch)).collect();
    let bases = snapshots(&past.topology(), &past.place());
    assert!(bases.len() >= 2, "{bases:?}");
    for base in bases.into_iter().filter(|base| *base < summary.to) {
        let (some, part) = replayed(&past.topology(), &past.place(), Some(base + 1), None).unwrap();
        assert_eq!((part.base, part.different), (base, 0));
        for epoch in &some {
            // In which order a table gives its rows depends on what was in memory.
            assert!(same(epoch, rows[&epoch.epoch]), "epoch {} from epoch {base}", epoch.epoch);
        }
        assert_eq!(some.len() as u64, summary.to - base);
    }
}

#[test]
fn a_capsule_is_replayed_where_the_sources_are_not() {
    let past = Past::new();
    let base = snapshots(&past.topology(), &past.place())[0];
    let capsule = past.directory.path().join("capsule");
    let made = export_capsule(&past.topology(), past.place(), Some(base + 1), None, &capsule).unwrap();
    let (there, _) = replayed(&past.topology(), &past.place(), Some(base + 1), None).unwrap();
    assert_eq!(made.records, there.iter().map(|epoch| epoch.records).sum::<u64>());
    assert_eq!((made.base, made.from), (base, base + 1));
    assert!(made.bytes < 4 << 20, "{} bytes for so little", made.bytes);

    std::fs::remove_dir_all(past.place()).unwrap();
    let moved = past.directory.path().join("moved");
    std::fs::rename(&capsule, &moved).unwrap();
    let (here, summary) = replayed(&past.elsewhere(), &moved, None, None).unwrap();
    assert!(here == there, "the capsule gives something else");
    let differs: Vec<_> = here.iter().filter(|epoch| !epoch.differences.is_empty()).collect();
    assert!(differs.is_empty(), "{:?}", differs.iter().map(|epoch| &epoch.differences).collect::<Vec<_>>());
    assert_eq!((summary.different, &summary.notes[..]), (0, &[][..]));

    let error = past.topology().start(config(&moved)).unwrap_err().to_string();
    assert!(error.contains("is a capsule, and no run goes on in one"), "{error}");
    let error = discard(&moved).unwrap_err().to_string();
    assert!(error.contains("is a capsule"), "{error}");
    let error = export_capsule(&past.topology(), &moved, None, None, &capsule).unwrap_err().to_string();
    assert!(error.contains("is a capsule already"), "{error}");
    let error = replayed(&past.elsewhere(), &moved, Some(1), None).unwrap_err().to_string();
    assert!(error.contains(&format!("the first epoch that can be replayed is {}", base + 1)), "{error}");
}

#[test]
fn input_that_has_changed_is_noticed() {
    let past = Past::new();
    let error = replayed(&past.elsewhere(), &past.place(), None, None).unwrap_err().to_string();
    assert!(error.contains("numbers") && error.contains("fewer records than the job has read"), "{error}");
}

#[test]
fn another_program_shows_where_it_differs() {
    let past = Past::new();
    let windows = Ledger::<WindowResult<u64, (u64, u64)>>::new();
    let totals = Ledger::<KeyedResult<u64, u64>>::new();
    let flow = StreamBuilder::new("job");
    let numbers = flow
        .source("numbers", past.numbers.clone())
        .event_time(|(at, _)| at, Watermarks::bounded(ms(10)).never_idle());
    let by_key = numbers.key_by(|(_, n)| n % KEYS);
    by_key
        .window(Window::tumbling(ms(jobs::WINDOW_MS)))
        .aggregate(|a| (a.count(), a.sum(|(_, n)| n + 1)))
        .sink("windows", windows);
    by_key.count().output_mode(OutputMode::Append).sink("totals", totals);
    let other = flow.build().unwrap();
    let (epochs, summary) = replayed(&other, &past.place(), None, None).unwrap();
    let differences: Vec<_> = epochs.iter().flat_map(|epoch| &epoch.differences).collect();
    assert!(summary.different > 0);
    assert!(differences.iter().all(|said| said.contains("other values")), "{differences:?}");
}

#[test]
fn a_source_that_gives_once_needs_its_recorded_input() {
    for is_recorded in [false, true] {
        let (directory, rows) = (TempDir::new().unwrap(), Rows::new());
        let topology = |source: Once| {
            let flow = StreamBuilder::new("once");
            let numbers =
                flow.source("numbers", source).event_time(|(at, _)| at, Watermarks::bounded(ms(10)));
            numbers.key_by(|(_, n)| n % KEYS).count().sink("totals", rows.totals.clone());
            flow.build().unwrap()
        };
        let mut config = config(directory.path());
        config.record_input = is_recorded;
        topology(Once(Numbers::new(COUNT))).run(config).unwrap();
        let outcome = replayed(&topology(Once(Numbers::new(0))), directory.path(), None, None);
        if is_recorded {
            let (epochs, summary) = outcome.unwrap();
            assert_eq!((summary.records, summary.different), (COUNT, 0));
            assert_eq!(of_sink(&epochs, "totals"), sorted(&rows.totals.take().unwrap()));
        } else {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("cannot be read again, and its input was not recorded"), "{error}");
        }
    }
}

#[test]
fn a_job_without_state_is_replayed_from_what_the_log_has() {
    let (directory, numbers) = (TempDir::new().unwrap(), Numbers::new(COUNT));
    let out = Ledger::<u64>::new();
    let topology = || {
        let flow = StreamBuilder::new("plain");
        flow.source("numbers", numbers.clone()).map(|(_, n)| n * 2).sink("out", out.clone());
        flow.build().unwrap()
    };
    topology().run(config(directory.path())).unwrap();
    let (epochs, summary) = replayed(&topology(), directory.path(), None, None).unwrap();
    assert_eq!(summary.different, 0);
    let rows = of_sink(&epochs, "out");
    assert_eq!(rows.len() as u64, summary.records);
    let shown = sorted(&out.take().unwrap());
    assert!(rows.iter().all(|row| shown.binary_search(row).is_ok()));
    if let Some(middle) = epochs.get(epochs.len() / 2) {
        let (some, _) =
            replayed(&topology(), directory.path(), Some(middle.epoch), Some(middle.epoch)).unwrap();
        assert!(some.len() == 1 && some[0] == *middle);
    }
}
