//! `ForEach`: rows at least once, and exactly once at a target that remembers keys.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use headwater::prelude::*;
use headwater::testing::{Simulation, SinkCheck, check_sink};
use headwater_connectors::{EpochShare, ForEach, Generator, MemorySource, RowWriter};

/// A key and the rows that came under it.
type Share = (String, Vec<u64>);

/// Shares in the order in which they came; a share that comes again must be the same.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Share>>>);

impl Shelf {
    /// False when it was there.
    fn put(&self, key: &str, rows: Vec<u64>) -> bool {
        let mut shares = self.0.lock().unwrap();
        if let Some((_, before)) = shares.iter().find(|(other, _)| other == key) {
            assert_eq!(*before, rows, "a share that comes again is the same");
            return false;
        }
        shares.push((key.to_owned(), rows));
        true
    }

    fn rows(&self) -> Vec<u64> {
        self.0.lock().unwrap().iter().flat_map(|(_, rows)| rows.clone()).collect()
    }
}

/// Buffers a share and puts it on the shelf when it ends.
struct Session {
    shelf: Shelf,
    rows: Vec<u64>,
}

impl RowWriter<u64> for Session {
    fn open(&mut self, share: &EpochShare) -> Result<bool> {
        self.rows.clear();
        Ok(self.shelf.0.lock().unwrap().iter().all(|(key, _)| *key != share.key))
    }

    fn process(&mut self, row: u64) -> Result<()> {
        self.rows.push(row);
        Ok(())
    }

    fn close(&mut self, share: &EpochShare) -> Result<()> {
        assert!(self.shelf.put(&share.key, std::mem::take(&mut self.rows)), "it was passed over");
        Ok(())
    }
}

fn into_shelf(shelf: &Shelf) -> ForEach<u64> {
    let shelf = shelf.clone();
    ForEach::shares(move |share, rows| {
        shelf.put(&share.key, rows.iter().collect());
        Ok(())
    })
}

fn kit(make: impl Fn(&Shelf) -> ForEach<u64>) {
    let shelves = Mutex::new(BTreeMap::<u64, Shelf>::new());
    let shelf = |trial| shelves.lock().unwrap().entry(trial).or_default().clone();
    let check = SinkCheck::new(|n| n);
    let report =
        check_sink(|trial| Ok(make(&shelf(trial))), |trial| Ok(shelf(trial).rows()), &check).unwrap();
    assert!(report.trials > 50, "{report:?}");
}

#[test]
fn a_target_that_remembers_keys_shows_each_row_once() {
    kit(into_shelf);
    kit(|shelf| into_shelf(shelf).per_subtask());
}

#[test]
fn a_row_writer_that_remembers_keys_shows_each_row_once() {
    let sessions = |shelf: &Shelf| {
        let shelf = shelf.clone();
        ForEach::writers(move |_| Ok(Box::new(Session { shelf: shelf.clone(), rows: Vec::new() })))
    };
    kit(sessions);
    kit(|shelf| sessions(shelf).per_subtask());
}

#[test]
fn without_keys_rows_are_there_at_least_once() {
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let make = |_| {
        let seen = Arc::clone(&seen);
        Ok(ForEach::<u64>::rows(move |row| {
            seen.lock().unwrap().push(row);
            Ok(())
        }))
    };
    let rows = || seen.lock().unwrap().clone();
    // What the kit finds wrong is that rows come again; its own trial without a crash has none of that.
    let error = check_sink(make, |_| Ok(rows()), &SinkCheck::new(|n| n)).unwrap_err().to_string();
    assert!(error.contains("is seen twice"), "{error}");
    assert_eq!(rows().into_iter().collect::<BTreeSet<_>>(), (0..14).collect());
}

#[test]
fn a_job_that_crashes_shows_each_share_once() {
    let mut crashes = 0;
    for seed in 0..30 {
        let (flow, shelf) = (StreamBuilder::new("for-each"), Shelf::default());
        flow.source("numbers", Generator::new(3_000, |n| n).partitions(2))
            .key_by(|n| n % 50)
            .count()
            .output_mode(OutputMode::Append)
            .map(|row| row.key * 1_000 + row.value)
            .sink("shelf", into_shelf(&shelf).per_subtask());
        let config = EngineConfig::default().parallelism(2);
        crashes +=
            Simulation::new(seed).run_with_crashes(&flow.build().unwrap(), &config, 6).unwrap().crashes;
        let mut rows = shelf.rows();
        rows.sort_unstable();
        assert!(rows.iter().copied().eq((0..50).map(|key| key * 1_000 + 60)), "seed {seed}: {rows:?}");
    }
    assert!(crashes > 30, "{crashes} crashes");
}

#[test]
fn an_error_and_a_panic_end_the_run_and_not_the_process() {
    let run = |call: fn(u64) -> Result<()>| {
        let flow = StreamBuilder::new("failing");
        flow.source("numbers", MemorySource::from(vec![1_u64, 2])).sink("target", ForEach::<u64>::rows(call));
        flow.build().unwrap().run(EngineConfig::default()).unwrap_err().to_string()
    };
    let error = run(|n| if n == 2 { Err(Error::failed("the target is full: empty it")) } else { Ok(()) });
    assert!(error.contains("target") && error.contains("the target is full: empty it"), "{error}");
    let error = run(|_| panic!("a bug of the user"));
    assert!(error.contains("a bug of the user"), "{error}");
}
