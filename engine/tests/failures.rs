//! What ends a run: panics, errors of sources and sinks, sums that do not fit; restarts; and stopping.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Once};

use headwater::batch::Batch;
use headwater::config::RestartStrategy;
use headwater::prelude::*;
use headwater::runtime::{Activity, RunningTopology, replay};
use headwater::sink::{Cut, Delivery, Sink, SinkWriter, Staged, Subtask};
use headwater::source::{Poll, Source, SourceOutput, SourceReader};
use headwater::testing::{Ledger, Simulation, TestDriver};
use headwater::time::Epoch;
use headwater_connectors::{Collect, Generator};

/// Keeps the panics that tests cause on purpose off the screen.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let show: Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_test = !std::thread::current().name().unwrap_or_default().starts_with("actix");
            if is_test || !info.to_string().contains("on purpose") {
                show(info);
            }
        }));
    });
}

fn two() -> EngineConfig {
    EngineConfig::default().parallelism(2)
}

/// Waits, without a clock, until something is true of a run; panics if that ends first.
#[track_caller]
fn until(running: &RunningTopology, done: impl Fn(&RunningTopology) -> bool) {
    while !done(running) {
        assert!(!running.is_finished() || done(running), "the run has ended");
        std::thread::yield_now();
    }
}

/// Numbers from 0, two partitions; the left one fails in the middle as long as `failures` lasts.
#[derive(Clone)]
struct Flaky {
    failures: Arc<AtomicU32>,
    count: u64,
    panics: bool,
    /// How often it cannot be found once it has failed.
    away: Arc<AtomicU32>,
    has_failed: Arc<AtomicBool>,
}

impl Flaky {
    fn new(failures: u32) -> Self {
        Flaky {
            failures: Arc::new(AtomicU32::new(failures)),
            count: 1_000,
            panics: false,
            away: Arc::default(),
            has_failed: Arc::default(),
        }
    }
}

struct FlakyReader {
    source: Flaky,
    fails: bool,
    next: u64,
}

impl Source for Flaky {
    type Record = u64;
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        let is_away = || self.away.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if self.has_failed.load(SeqCst) && is_away() {
            return Err(Error::failed("nobody answers"));
        }
        Ok(vec!["left".to_owned(), "right".to_owned()])
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<u64, u64>>> {
        Ok(Box::new(FlakyReader {
            source: self.clone(),
            fails: partition == "left",
            next: position.unwrap_or(0),
        }))
    }
}

impl SourceReader<u64, u64> for FlakyReader {
    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Poll> {
        while self.next < self.source.count && !out.is_full() {
            let due = self.fails
                && self.next == self.source.count / 2
                && self.source.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            self.source.has_failed.fetch_or(due, SeqCst);
            assert!(!(due && self.source.panics), "a source that panics on purpose");
            if due {
                return Err(Error::failed("the cable is out"));
            }
            out.push(self.next)?;
            self.next += 1;
        }
        Ok(if self.next < self.source.count { Poll::More } else { Poll::Finished })
    }

    fn position(&self) -> u64 {
        self.next
    }
}

/// What became of a sink's writers.
#[derive(Clone, Default)]
struct Watched {
    opened: Arc<AtomicU64>,
    rows: Arc<AtomicU64>,
    finished: Arc<AtomicU64>,
    /// The writer fails when it has this many rows.
    full_at: Option<u64>,
}

struct Writer(Watched);

impl<T: Record> Sink<T> for Watched {
    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        self.opened.fetch_add(1, SeqCst);
        Ok(Box::new(Writer(self.clone())))
    }
}

impl<T: Record> SinkWriter<T> for Writer {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        let rows = self.0.rows.fetch_add(batch.len() as u64, SeqCst);
        match self.0.full_at {
            Some(full_at) if rows >= full_at => Err(Error::failed("the disk is full")),
            _ => Ok(()),
        }
    }

    fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        Ok(Staged::bytes(vec![u8::from(cut.is_last)]))
    }

    fn commit(&mut self, _: Epoch, staged: &Staged) -> Result<Delivery> {
        self.0.finished.fetch_add(u64::from(staged.as_bytes()[0]), SeqCst);
        Ok(Delivery::Final)
    }
}

fn numbers(count: u64) -> (StreamBuilder, Stream<u64>) {
    let flow = StreamBuilder::new("job");
    let numbers = flow.source("numbers", Generator::new(count, |n| n).partitions(2));
    (flow, numbers)
}

/// An endless topology that counts per second of event time.
fn endless_windows() -> (RunningTopology, Collect<WindowResult<u64, u64>>) {
    let (flow, out) = (StreamBuilder::new("endless"), Collect::new());
    flow.source("numbers", Generator::endless(|n| n).partitions(2))
        .event_time(|n| n as i64, Watermarks::ascending())
        .key_by(|n| n % 10)
        .window(Window::tumbling(secs(3600)))
        .aggregate(|a| a.count())
        .sink("out", out.clone());
    (flow.build().unwrap().start(two()).unwrap(), out)
}

#[test]
fn a_panic_in_a_closure_ends_the_run_and_names_the_instance() {
    quiet();
    let (flow, numbers) = numbers(1_000);
    numbers.inspect(|n| assert!(n != 700, "{n} is refused on purpose")).sink("out", Collect::new());
    let error = flow.build().unwrap().run(two()).unwrap_err();
    let Error::Panicked { place, message } = &error else { panic!("{error}") };
    assert!(place == "numbers[0]" || place == "numbers[1]", "{place}");
    assert_eq!(message, "700 is refused on purpose");
    assert_eq!(error.to_string(), format!("`{place}` panicked: 700 is refused on purpose"));
}

#[test]
fn a_panic_behind_an_exchange_names_the_stage_there() {
    quiet();
    let (flow, numbers) = numbers(1_000);
    let folded = numbers.key_by(|n| n % 7).fold(0_u64, |sum, n| {
        assert!(n < 900, "folding fails on purpose");
        *sum += n;
    });
    folded.name("total").sink("out", Collect::new());
    let error = flow.build().unwrap().run(two()).unwrap_err().to_string();
    assert!(
        error.starts_with("`total[") && error.ends_with("]` panicked: folding fails on purpose"),
        "{error}"
    );
}

#[test]
fn a_panic_leaves_other_topologies_of_the_process_alone() {
    quiet();
    let (other, out) = endless_windows();
    for _ in 0..5 {
        let (flow, numbers) = numbers(100);
        numbers.map(|n| if n == 50 { panic!("it fails on purpose") } else { n }).sink("out", Collect::new());
        assert!(flow.build().unwrap().run(two()).is_err());
    }
    let before = other.report().records_read();
    until(&other, |other| other.report().records_read() > before);
    other.stop();
    let summary = other.wait().unwrap();
    assert_eq!(out.take().iter().map(|window| window.value).sum::<u64>(), summary.records_read());
}

#[test]
fn the_end_of_a_neighbour_by_a_panic_is_not_the_end_of_the_input() {
    quiet();
    for _ in 0..30 {
        let (flow, numbers) = numbers(2_000);
        let sink = Watched::default();
        numbers
            .inspect(|n| assert!(n != 1_999, "the last record fails on purpose"))
            .key_by(|n| n % 10)
            .count()
            .output_mode(OutputMode::Append)
            .sink("out", sink.clone());
        flow.build().unwrap().run(two()).unwrap_err();
        assert_eq!((sink.rows.load(SeqCst), sink.finished.load(SeqCst)), (0, 0), "a partial result came out");
    }
}

#[test]
fn an_error_of_a_source_names_it() {
    let flow = StreamBuilder::new("job");
    flow.source("cable", Flaky::new(1)).sink("out", Collect::new());
    let error = flow.build().unwrap().run(two()).unwrap_err().to_string();
    assert_eq!(error, "`cable[0]`: `cable`: the cable is out");
}

#[test]
fn an_error_of_a_sink_names_it() {
    let (flow, numbers) = numbers(10_000);
    let sink = Watched { full_at: Some(100), ..Watched::default() };
    numbers.sink("disk", sink.clone());
    let error = flow.build().unwrap().run(two()).unwrap_err().to_string();
    assert_eq!(error, "`disk[0]`: `disk`: the disk is full");
    assert_eq!(sink.finished.load(SeqCst), 0);
}

#[test]
fn all_drivers_report_the_same_failure() {
    let flow = StreamBuilder::new("job");
    flow.source("cable", Flaky::new(1)).sink("out", Collect::new());
    let error = Simulation::new(7).run(&flow.build().unwrap(), &two()).unwrap_err().to_string();
    assert!(error.starts_with("`seed 7`: `cable[") && error.ends_with("the cable is out"), "{error}");
    let driver = TestDriver::new();
    driver.builder().source("cable", Flaky::new(1)).sink("out", Collect::new());
    let error = driver.start().unwrap().settle().unwrap_err().to_string();
    assert_eq!(error, "`cable[0]`: `cable`: the cable is out");
}

#[test]
fn an_integer_sum_that_does_not_fit_is_an_error() {
    let sentence =
        "a sum does not fit u8; widen the number in the closure, for instance `|r| r.price as f64`";
    let (flow, numbers) = numbers(100);
    let sums = numbers.key_by(|_| 0_u8).aggregate(|a| a.sum(|n| n as u8));
    sums.name("total").sink("out", Collect::new());
    let error = flow.build().unwrap().run(two()).unwrap_err().to_string();
    assert!(error.starts_with("`total[") && error.ends_with(&format!("`total`: {sentence}")), "{error}");

    let (flow, numbers) = self::numbers(100);
    let windows = numbers
        .event_time(|n| n as i64, Watermarks::ascending())
        .key_by(|_| 0_u8)
        .window(Window::tumbling(secs(1)))
        .aggregate(|a| a.sum(|n| n as u8));
    windows.name("total").sink("out", Collect::new());
    let error = flow.build().unwrap().run(two()).unwrap_err().to_string();
    assert!(error.ends_with(&format!("`total`: {sentence}")), "{error}");
}

#[test]
fn a_sum_may_leave_its_type_on_the_way_if_it_comes_back() {
    let (flow, out) = (StreamBuilder::new("job"), Collect::new());
    let numbers =
        flow.source("numbers", Generator::new(4, |n| [i64::MAX, i64::MAX, -i64::MAX, 7][n as usize]));
    let sums = numbers.key_by(|_| 0_u8).aggregate(|a| a.sum(|n| n)).output_mode(OutputMode::Append);
    sums.sink("out", out.clone());
    flow.build().unwrap().run(EngineConfig::default().parallelism(1)).unwrap_err();
    let (flow, out) = (StreamBuilder::new("job"), Collect::new());
    let numbers = flow.source("numbers", Generator::new(3, |n| [i64::MAX, 9, -i64::MAX][n as usize]));
    let sums = numbers.key_by(|_| 0_u8).aggregate(|a| a.sum(|n| n)).output_mode(OutputMode::Append);
    sums.sink("out", out.clone());
    flow.build().unwrap().run(EngineConfig::default().parallelism(1)).unwrap();
    assert_eq!(out.take()[0].value, 9);
}

/// Runs the counts of a flaky source.
/// Doubles numbers, and panics at some of them.
fn poisoned(good: &Ledger<u64>, bad: &Ledger<String>) -> Topology {
    let flow = StreamBuilder::new("poison");
    let (numbers, rejected) = flow.source_or_rejected("numbers", Generator::new(20_000, |n| n).partitions(2));
    numbers
        .map(|n| {
            assert!(n % 4_999 != 7, "on purpose at {n}");
            n * 2
        })
        .sink("good", good.clone());
    numbers.key_by(|n| n % 3).count().sink("counts", Collect::new());
    rejected.map(|row| format!("{} {} {}", row.origin, row.payload, row.reason)).sink("bad", bad.clone());
    flow.build().unwrap()
}

/// How many were rejected, the doubled numbers, and what was rejected and why.
fn double_with_poison(config: EngineConfig) -> (Result<u64>, Vec<u64>, Vec<String>) {
    let (good, bad) = (Ledger::new(), Ledger::new());
    let outcome = poisoned(&good, &bad).run(config);
    let (mut good, mut bad) = (good.take().unwrap(), bad.take().unwrap());
    good.sort_unstable();
    bad.sort_unstable();
    (outcome.map(|summary| summary.rejected()), good, bad)
}

#[test]
fn a_poison_record_is_rejected_and_all_others_count_once() {
    quiet();
    let directory = tempfile::tempdir().unwrap();
    let job = directory.path().join("job");
    // Without a directory a run that starts again begins anew: nothing is shown before the end.
    let mut configs = vec![two().epoch_interval(secs(3_600))];
    if cfg!(feature = "rocksdb") {
        configs.push(two().epoch_interval(ms(1)).state_dir(&job));
    }
    for mut config in configs {
        config.reject_poison = true;
        let (rejected, good, bad) = double_with_poison(config);
        let poison = |n: &u64| n % 4_999 == 7;
        let all = 0..20_000_u64;
        assert!(good == all.clone().filter(|n| !poison(n)).map(|n| n * 2).collect::<Vec<_>>());
        let numbers: Vec<u64> = all.filter(poison).collect();
        assert_eq!((rejected.unwrap(), bad.len()), (numbers.len() as u64, numbers.len()));
        for n in numbers {
            let (partition, place) = (n % 2, n / 2);
            let wanted = format!("{partition} {n} record {place} of `numbers`");
            let found = bad.iter().find(|row| row.starts_with(&wanted));
            assert!(
                found.is_some_and(|row| row.contains(&format!("on purpose at {n}"))),
                "{wanted}: {bad:?}"
            );
        }
    }
    if cfg!(feature = "rocksdb") {
        // A replay knows what was decided, and does not panic.
        let (topology, mut bad) = (poisoned(&Ledger::new(), &Ledger::new()), 0);
        let summary = replay(&topology, &job, None, None, &mut |epoch| {
            bad += epoch.rows.iter().filter(|row| row.sink == "bad").count();
            Ok(())
        });
        assert_eq!((summary.unwrap().different, bad), (0, 4));
    }
}

#[test]
fn poison_ends_the_run_unless_it_is_to_be_rejected() {
    quiet();
    let (outcome, _, bad) = double_with_poison(two());
    assert!(matches!(outcome, Err(Error::Panicked { .. })) && bad.is_empty());
}

#[test]
fn a_panic_behind_an_exchange_is_not_taken_for_poison() {
    quiet();
    let (flow, numbers) = numbers(1_000);
    let counts = numbers.key_by(|n| n % 10).count().map(|row| {
        assert!(row.key != 3, "on purpose");
        row.value
    });
    counts.sink("out", Collect::new());
    let mut config = two();
    config.reject_poison = true;
    let error = flow.build().unwrap().run(config).unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
}

fn count_flaky(source: Flaky, restart: RestartStrategy) -> (Result<u64>, Vec<u64>, u64) {
    let (flow, out, sink) = (StreamBuilder::new("job"), Collect::new(), Watched::default());
    let counts = flow.source("cable", source).key_by(|n| n % 4).count().output_mode(OutputMode::Append);
    counts.sink("out", out.clone());
    counts.sink("watched", sink.clone());
    let summary = flow.build().unwrap().run(two().restart(restart));
    let values = out.take().into_iter().map(|count: KeyedResult<u64, u64>| count.value).collect();
    (summary.map(|summary| summary.restarts), values, sink.opened.load(SeqCst))
}

#[test]
fn every_strategy_restarts_until_the_run_succeeds() {
    quiet();
    let strategies = [
        RestartStrategy::FixedDelay { attempts_max: 3, delay_ms: 0 },
        RestartStrategy::Exponential { attempts_max: 3, delay_ms: 0, delay_max_ms: 0, factor: 2.0 },
        RestartStrategy::FailureRate { failures_max: 3, interval_ms: u64::MAX, delay_ms: 0 },
    ];
    for strategy in strategies {
        for panics in [false, true] {
            let source = Flaky { panics, ..Flaky::new(3) };
            let (restarts, counts, opened) = count_flaky(source, strategy);
            assert_eq!(restarts.unwrap(), 3, "{strategy:?}");
            // Nothing of the failed attempts is counted twice.
            assert_eq!(counts, [500; 4], "{strategy:?}");
            assert_eq!(opened, 4, "{strategy:?}");
        }
    }
}

#[test]
fn a_restart_that_cannot_begin_is_one_more_failure() {
    let run = |attempts_max| {
        let source = Flaky { away: Arc::new(AtomicU32::new(2)), ..Flaky::new(1) };
        count_flaky(source, RestartStrategy::FixedDelay { attempts_max, delay_ms: 0 })
    };
    let (restarts, counts, _) = run(3);
    assert_eq!((restarts.unwrap(), counts), (3, vec![500; 4]));
    let error = run(2).0.unwrap_err().to_string();
    assert!(error.contains("nobody answers"), "{error}");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_restart_begins_with_empty_state_also_on_disk() {
    let spill_dir = std::env::temp_dir().join(format!("headwater-restart-{}", std::process::id()));
    let (flow, out) = (StreamBuilder::new("job"), Collect::new());
    flow.source("cable", Flaky { count: 60_000, ..Flaky::new(2) })
        .key_by(|n| n % 20_000)
        .count()
        .output_mode(OutputMode::Append)
        .sink("out", out.clone());
    let restart = RestartStrategy::FixedDelay { attempts_max: 2, delay_ms: 0 };
    let config = two().restart(restart).state_bytes_max(1 << 20).spill_dir(&spill_dir);
    let summary = flow.build().unwrap().run(config).unwrap();
    assert!(spill_dir.exists(), "nothing was spilled");
    std::fs::remove_dir_all(&spill_dir).unwrap();
    let counts = out.take();
    assert_eq!((summary.restarts, counts.len()), (2, 20_000));
    assert!(counts.iter().all(|count| count.value == 6));
}

#[test]
fn a_strategy_gives_up_with_the_last_error() {
    let strategies = [
        RestartStrategy::Never,
        RestartStrategy::FixedDelay { attempts_max: 2, delay_ms: 0 },
        RestartStrategy::FailureRate { failures_max: 2, interval_ms: u64::MAX, delay_ms: 0 },
    ];
    for strategy in strategies {
        let (outcome, counts, opened) = count_flaky(Flaky::new(100), strategy);
        assert!(outcome.unwrap_err().to_string().ends_with("the cable is out"));
        assert!(counts.is_empty());
        assert_eq!(opened, if strategy == RestartStrategy::Never { 1 } else { 3 });
    }
}

#[test]
fn a_stop_ends_the_wait_between_two_attempts() {
    let flow = StreamBuilder::new("job");
    flow.source("cable", Flaky::new(1)).sink("out", Collect::new());
    let an_hour = RestartStrategy::FixedDelay { attempts_max: 9, delay_ms: 3_600_000 };
    let running = flow.build().unwrap().start(two().restart(an_hour)).unwrap();
    until(&running, |running| running.report().restarts == 1);
    running.stop();
    assert_eq!(running.wait().unwrap().restarts, 1);
}

#[test]
fn a_stop_drains_what_was_read_and_closes_the_windows() {
    let (running, out) = endless_windows();
    until(&running, |running| running.report().records_read() > 5_000);
    let stopper = running.stopper();
    std::thread::spawn(move || stopper.stop()).join().unwrap();
    running.stop();
    let summary = running.wait().unwrap();
    assert!(summary.records_read() > 5_000);
    assert_eq!(out.take().iter().map(|window| window.value).sum::<u64>(), summary.records_read());
}

#[test]
fn a_stop_right_after_the_start_is_heard() {
    for _ in 0..20 {
        let (running, out) = endless_windows();
        running.stop();
        let summary = running.wait().unwrap();
        assert_eq!(out.take().iter().map(|window| window.value).sum::<u64>(), summary.records_read());
    }
}

#[test]
fn what_cannot_start_is_an_error_of_the_start() {
    struct Locked;
    impl Sink<u64> for Locked {
        fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<u64>>> {
            Err(Error::failed("the folder is locked"))
        }
    }
    let (flow, numbers) = numbers(10);
    numbers.sink("safe", Locked);
    let error = flow.build().unwrap().start(two()).unwrap_err();
    assert_eq!(error.to_string(), "`safe`: the folder is locked");
}

#[test]
fn instances_can_be_asked_what_they_do() {
    let (running, _) = endless_windows();
    let names = ["numbers[0]", "numbers[1]", "out[0]", "window[0]", "window[1]"];
    until(&running, |running| running.instances() == names);
    assert!(matches!(
        running.activity("numbers[1]"),
        Some(Activity::Busy | Activity::Blocked | Activity::Idle)
    ));
    assert_eq!(running.activity("numbers[2]"), None);
    assert!(!running.is_finished());
    running.stop();
    running.wait().unwrap();
}
