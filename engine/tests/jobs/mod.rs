//! Jobs for tests on a real disk: numbers counted per window and key, and in all.
#![allow(dead_code, clippy::unwrap_used, reason = "not every test needs everything, and helpers may fail")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use headwater::prelude::*;
use headwater::source::{Poll, Source, SourceOutput, SourceReader};
use headwater::testing::Ledger;

/// Numbers of one partition, which may stop giving for a while or fail.
#[derive(Clone)]
pub(crate) struct Numbers {
    pub(crate) count: u64,
    /// Gives nothing behind this one until it is moved.
    pub(crate) gate: Arc<AtomicU64>,
    /// How often it still fails in the middle.
    pub(crate) failures: Arc<AtomicU64>,
}

impl Numbers {
    pub(crate) fn new(count: u64) -> Self {
        Numbers { count, gate: Arc::new(AtomicU64::new(u64::MAX)), failures: Arc::default() }
    }
}

struct NumbersReader {
    numbers: Numbers,
    next: u64,
}

impl Source for Numbers {
    type Record = (i64, u64);
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(vec!["even".to_owned(), "odd".to_owned()])
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<(i64, u64), u64>>> {
        let first = u64::from(partition == "odd");
        Ok(Box::new(NumbersReader { numbers: self.clone(), next: position.unwrap_or(first) }))
    }
}

impl SourceReader<(i64, u64), u64> for NumbersReader {
    fn poll(&mut self, out: &mut SourceOutput<'_, (i64, u64)>) -> Result<Poll> {
        let Numbers { count, gate, failures } = &self.numbers;
        while self.next < *count && !out.is_full() {
            if self.next >= gate.load(SeqCst) {
                return Ok(Poll::Idle);
            }
            let due = self.next == count / 2
                && failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            if due {
                return Err(Error::failed("the cable is out"));
            }
            out.push((self.next as i64, self.next))?;
            self.next += 2;
        }
        Ok(if self.next < *count { Poll::More } else { Poll::Finished })
    }

    fn position(&self) -> u64 {
        self.next
    }
}

/// Counts per window and key, and in all.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) windows: Ledger<WindowResult<u64, (u64, u64)>>,
    pub(crate) totals: Ledger<KeyedResult<u64, u64>>,
}

pub(crate) const KEYS: u64 = 97;
pub(crate) const WINDOW_MS: u64 = 1_000;

impl Rows {
    pub(crate) fn new() -> Self {
        Rows { windows: Ledger::new(), totals: Ledger::new() }
    }

    pub(crate) fn topology(&self, name: &str, numbers: &Numbers) -> Topology {
        let flow = StreamBuilder::new(name);
        let numbers = flow
            .source("numbers", numbers.clone())
            .event_time(|(at, _)| at, Watermarks::bounded(ms(10)).never_idle());
        let by_key = numbers.key_by(|(_, n)| n % KEYS);
        by_key
            .window(Window::tumbling(ms(WINDOW_MS)))
            .aggregate(|a| (a.count(), a.sum(|(_, n)| n)))
            .sink("windows", self.windows.clone());
        by_key.count().output_mode(OutputMode::Append).sink("totals", self.totals.clone());
        flow.build().unwrap()
    }

    /// Compares with loops over the numbers.
    pub(crate) fn check(&self, count: u64) {
        let (windows, totals) = expected(count);
        assert_eq!(self.shown_windows(), windows);
        assert_eq!(self.shown_totals(), totals);
    }

    /// Compares what this job has shown, and the one that it was begun from before it, with the same loops.
    pub(crate) fn check_behind(&self, before: &BTreeMap<(u64, u64), (u64, u64)>, count: u64) {
        let (windows, totals) = expected(count);
        let mut all = before.clone();
        for (window, value) in self.shown_windows() {
            assert_eq!(windows.get(&window), Some(&value), "{window:?}");
            all.insert(window, value);
        }
        assert_eq!(all, windows);
        assert_eq!(self.shown_totals(), totals);
    }

    /// Takes the windows that were shown, each once.
    pub(crate) fn shown_windows(&self) -> BTreeMap<(u64, u64), (u64, u64)> {
        let rows = self.windows.take().unwrap();
        let found: BTreeMap<_, _> =
            rows.iter().map(|row| ((row.window_start as u64, row.key), row.value)).collect();
        assert_eq!(found.len(), rows.len(), "a window of a key came twice");
        found
    }

    fn shown_totals(&self) -> BTreeMap<u64, u64> {
        let rows = self.totals.take().unwrap();
        let found: BTreeMap<u64, u64> = rows.iter().map(|row| (row.key, row.value)).collect();
        assert_eq!(found.len(), rows.len(), "the total of a key came twice");
        found
    }
}

/// Counts and sums by window and key, and counts by key.
type Expected = (BTreeMap<(u64, u64), (u64, u64)>, BTreeMap<u64, u64>);

fn expected(count: u64) -> Expected {
    let (mut windows, mut totals) = Expected::default();
    for n in 0..count {
        let window = windows.entry((n / WINDOW_MS * WINDOW_MS, n % KEYS)).or_default();
        *window = (window.0 + 1, window.1 + n);
        *totals.entry(n % KEYS).or_default() += 1;
    }
    (windows, totals)
}
