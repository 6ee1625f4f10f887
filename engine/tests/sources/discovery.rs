//! Partitions that are added to a source while a job reads it, or between two of its runs.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater::prelude::*;
use headwater::runtime::RunningTopology;
use headwater::source::{Boundedness, Poll, Source, SourceOutput, SourceReader};
use headwater::testing::Ledger;
use tempfile::TempDir;

/// Partitions, each with its numbers; whoever has a clone may add some.
#[derive(Clone, Default)]
struct Growing {
    partitions: Arc<Mutex<Vec<Vec<u64>>>>,
    /// Begins behind what there is.
    latest: bool,
    opened: Arc<AtomicUsize>,
}

impl Growing {
    fn add(&self, numbers: std::ops::Range<u64>) {
        self.partitions.lock().unwrap().push(numbers.collect());
    }

    fn extend(&self, partition: usize, numbers: std::ops::Range<u64>) {
        self.partitions.lock().unwrap()[partition].extend(numbers);
    }
}

struct Reader {
    partitions: Arc<Mutex<Vec<Vec<u64>>>>,
    partition: usize,
    next: u64,
}

impl Source for Growing {
    type Record = u64;
    type Position = u64;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok((0..self.partitions.lock().unwrap().len()).map(|n| n.to_string()).collect())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }

    fn open(&self, name: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<u64, u64>>> {
        let partition: usize = name.parse().unwrap();
        let length = self.partitions.lock().unwrap()[partition].len() as u64;
        let next = position.unwrap_or(if self.latest { length } else { 0 });
        self.opened.fetch_add(1, SeqCst);
        Ok(Box::new(Reader { partitions: Arc::clone(&self.partitions), partition, next }))
    }

    fn open_added(&self, name: &str) -> Result<Box<dyn SourceReader<u64, u64>>> {
        self.open(name, Some(0))
    }
}

impl SourceReader<u64, u64> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Poll> {
        let partitions = self.partitions.lock().unwrap();
        let numbers = &partitions[self.partition];
        while self.next < numbers.len() as u64 && !out.is_full() {
            out.push(numbers[self.next as usize])?;
            self.next += 1;
        }
        Ok(if out.is_full() { Poll::More } else { Poll::Idle })
    }

    fn position(&self) -> u64 {
        self.next
    }
}

/// A job that shows each number.
fn start(source: &Growing, shown: &Ledger<u64>, config: EngineConfig) -> RunningTopology {
    let flow = StreamBuilder::new("growing");
    flow.source("numbers", source.clone()).sink("shown", shown.clone());
    flow.build().unwrap().start(config.epoch_interval(ms(1))).unwrap()
}

fn wait_until_read(running: &RunningTopology, records: u64) {
    while running.report().records_read() < records {
        assert!(!running.is_finished(), "it has ended");
        std::thread::yield_now();
    }
}

fn stop(running: RunningTopology) {
    running.stop();
    running.wait().unwrap();
}

fn sorted(shown: &Ledger<u64>) -> Vec<u64> {
    let mut numbers = shown.take().unwrap();
    numbers.sort_unstable();
    numbers
}

#[test]
fn partitions_that_are_added_while_a_job_runs_are_read() {
    for parallelism in [1, 2, 3] {
        let (source, shown) = (Growing::default(), Ledger::new());
        source.add(0..1_000);
        source.add(1_000..2_000);
        let running = start(&source, &shown, EngineConfig::default().parallelism(parallelism));
        wait_until_read(&running, 2_000);
        source.add(2_000..3_000);
        wait_until_read(&running, 3_000);
        for partition in 3..8 {
            source.add(partition * 1_000..(partition + 1) * 1_000);
        }
        wait_until_read(&running, 8_000);
        source.extend(6, 8_000..8_100);
        wait_until_read(&running, 8_100);
        stop(running);
        assert_eq!(sorted(&shown), (0..8_100).collect::<Vec<_>>(), "parallelism {parallelism}");
    }
}

#[test]
fn a_job_goes_on_in_all_of_them_and_from_the_start_of_those_it_did_not_know() {
    let (directory, shown) = (TempDir::new().unwrap(), Ledger::new());
    let config = |parallelism| {
        EngineConfig::default().parallelism(parallelism).state_dir(directory.path().join("job"))
    };
    let source = Growing { latest: true, ..Growing::default() };
    // Not read: the job begins behind them.
    source.add(0..500);
    let running = start(&source, &shown, config(1));
    while source.opened.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    source.extend(0, 500..600);
    wait_until_read(&running, 100);
    source.add(600..700);
    wait_until_read(&running, 200);
    stop(running);
    // Added while nobody looks, and so much later than the job that all of it counts.
    source.add(700..800);
    source.extend(1, 800..900);
    let running = start(&source, &shown, config(2));
    wait_until_read(&running, 400);
    source.add(900..1_000);
    wait_until_read(&running, 500);
    stop(running);
    let running = start(&source, &shown, config(3));
    source.extend(3, 1_000..1_100);
    wait_until_read(&running, 600);
    stop(running);
    assert_eq!(sorted(&shown), (500..1_100).collect::<Vec<_>>());
}
