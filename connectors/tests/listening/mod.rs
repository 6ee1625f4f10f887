//! What tests of sources that others send to share: a reader that is polled, and jobs that are killed.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use headwater::prelude::*;
use headwater::source::{Poll, Rejected, Source, SourceReader};
use headwater::testing::{CrashReport, Ledger, ManualClock, Simulation, poll_source};
use headwater_connectors::CsvSink;

/// More polls than any of these tests needs; each gives the other side a turn.
pub(crate) const POLLS_MAX: u64 = 5_000_000;

/// A listener on a port of its own, and its address.
pub(crate) fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// The reader of a source, which a test polls.
pub(crate) struct Polled<S: Source> {
    source: S,
    partition: String,
    reader: Option<Box<dyn SourceReader<S::Record, S::Position>>>,
    pub(crate) address: String,
    pub(crate) clock: ManualClock,
    pub(crate) rows_max: usize,
    pub(crate) records: Vec<S::Record>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) last: Poll,
}

impl<S: Source<Position: Clone>> Polled<S> {
    /// The only partition of a source that listens there.
    pub(crate) fn open(source: S, address: String, partition: &str) -> Self {
        assert_eq!(source.partitions().unwrap(), [partition]);
        Polled {
            reader: Some(source.open(partition, None).unwrap()),
            partition: partition.to_owned(),
            source,
            address,
            clock: ManualClock::new(),
            rows_max: 100,
            records: Vec::new(),
            rejected: Vec::new(),
            last: Poll::More,
        }
    }

    pub(crate) fn poll(&mut self) {
        let reader = self.reader.as_deref_mut().unwrap();
        let (records, rejected, poll) = poll_source(reader, &self.clock, self.rows_max).unwrap();
        self.records.extend(records);
        self.rejected.extend(rejected);
        self.last = poll;
        thread::yield_now();
    }

    /// Polls until `done` says so.
    pub(crate) fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..POLLS_MAX {
            if done(self) {
                return;
            }
            self.poll();
        }
        panic!("nothing happened: {} records, {:?}", self.records.len(), self.rejected);
    }

    /// Polls until this side of a connection has an answer.
    pub(crate) fn until_some<A>(&mut self, mut answer: impl FnMut() -> Option<A>) -> A {
        let mut found = None;
        self.until(|_| {
            found = answer();
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn until_records(&mut self, count: usize) {
        self.until(|polled| polled.records.len() + polled.rejected.len() >= count);
        assert_eq!(self.records.len() + self.rejected.len(), count);
    }

    pub(crate) fn position(&self) -> S::Position {
        self.reader.as_deref().unwrap().position()
    }

    /// An epoch that journalled where the reader stands is durable.
    pub(crate) fn commit(&mut self) {
        let position = self.position();
        self.committed(&position);
    }

    pub(crate) fn committed(&mut self, position: &S::Position) {
        self.reader.as_deref_mut().unwrap().committed(position).unwrap();
    }

    /// The reader ends, and nobody polls any more.
    pub(crate) fn stop(&mut self) {
        self.reader = None;
    }

    /// The process ends and another one goes on at a position.
    pub(crate) fn restart(&mut self, position: S::Position) {
        self.stop();
        let mut reader = self.source.open(&self.partition, Some(position.clone())).unwrap();
        reader.committed(&position).unwrap();
        self.reader = Some(reader);
        (self.records, self.rejected) = (Vec::new(), Vec::new());
    }
}

fn numbers(lines: &Stream<String>) -> Stream<u64> {
    lines.map(|line| line.parse().unwrap_or(u64::MAX))
}

/// Counts the numbers that a source is sent while it crashes in a simulation; when its senders have ended,
/// `sent` of them, each must count once.
pub(crate) fn counted_once_in_simulated_crashes(
    seed: u64,
    source: impl Source<Record = String>,
    join: impl FnOnce(),
    sent: u64,
) -> CrashReport {
    let (flow, rows) = (StreamBuilder::new("crashes"), Ledger::new());
    let counts = numbers(&flow.source("senders", source)).key_by_value().count();
    counts.output_mode(OutputMode::Append).sink("rows", rows.clone());
    let config = EngineConfig::default().parallelism(2);
    let report = Simulation::new(seed).run_with_crashes(&flow.build().unwrap(), &config, 6).unwrap();
    join();
    let mut found: Vec<_> = rows.take().unwrap().into_iter().map(|row| (row.key, row.value)).collect();
    found.sort_unstable();
    assert!(found.iter().copied().eq((0..sent).map(|n| (n, 1))), "seed {seed}: {} numbers", found.len());
    report
}

/// The job of a process that is killed: the numbers that a source is sent, and how often each came.
pub(crate) fn run_the_job_that_is_killed(
    source: impl Source<Record = String>,
    directory: &Path,
    interval: Duration,
) {
    let flow = StreamBuilder::new("killed");
    let (lines, rejected) = flow.source_or_rejected("senders", source);
    rejected.sink("rejected", Ledger::new());
    let numbers = numbers(&lines);
    numbers.sink("rows", CsvSink::new(directory.join("rows.csv")).header(false));
    let counts = numbers.key_by_value().count().output_mode(OutputMode::Append);
    counts
        .map(|row| (row.key, row.value))
        .sink("counts", CsvSink::new(directory.join("counts.csv")).header(false));
    let config = EngineConfig::default().parallelism(2).epoch_interval(interval);
    flow.build().unwrap().run(config.state_dir(directory.join("job"))).unwrap();
}

/// Kills a process once its senders have come far enough.
pub(crate) fn kill_when(mut job: Child, is_far_enough: impl Fn() -> bool) {
    while !is_far_enough() {
        assert!(job.try_wait().unwrap().is_none(), "the job ended before it was killed");
        pause();
    }
    job.kill().unwrap();
    job.wait().unwrap();
}

/// Each number below `count` is in the rows of the job once, and was counted once.
pub(crate) fn assert_each_once(directory: &Path, count: u64) {
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let mut rows: Vec<u64> = text("rows.csv").lines().map(|line| line.parse().unwrap()).collect();
    rows.sort_unstable();
    assert!(rows.iter().copied().eq(0..count), "{} rows", rows.len());
    let (text, mut expected): (_, Vec<_>) =
        (text("counts.csv"), (0..count).map(|n| format!("{n},1")).collect());
    let mut counts: Vec<&str> = text.lines().collect();
    counts.sort_unstable();
    expected.sort_unstable();
    assert!(counts == expected, "{} counts", counts.len());
}

/// A port below those that systems give to outgoing connections.
pub(crate) fn free_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test of processes lives in real time")]
pub(crate) fn pause() {
    thread::sleep(Duration::from_millis(1));
}
