//! Event time, windows, output modes and epochs, record by record in a test driver.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use headwater::batch::Batch;
use headwater::prelude::*;
use headwater::sink::{Cut, Sink, SinkWriter, Staged, Subtask};
use headwater::testing::{Simulation, TestDriver, TestInput, TestOutput, TestRun};
use headwater::time::Epoch;
use headwater_connectors::{Collect, Generator, MemorySource};

type Reading = (i64, u64);
type Count = WindowResult<u64, u64>;

/// Start, end and count of the windows of all keys, sorted.
fn spans(rows: Vec<Count>) -> Vec<(i64, i64, u64)> {
    let mut rows: Vec<_> =
        rows.into_iter().map(|row| (row.window_start, row.window_end, row.value)).collect();
    rows.sort_unstable();
    rows
}

/// Counts per key and window of one input.
struct Counting {
    input: TestInput<Reading>,
    counts: TestOutput<Count>,
    late: TestOutput<Reading>,
    run: TestRun,
}

impl Counting {
    fn new(window: Window, watermarks: Watermarks) -> Self {
        Counting::with(window, watermarks, ms(0), OutputMode::Append)
    }

    fn with(window: Window, watermarks: Watermarks, lateness: std::time::Duration, mode: OutputMode) -> Self {
        let driver = TestDriver::new();
        let (input, readings) = driver.input("readings");
        let (counts, late) = readings
            .event_time(|(at, _)| at, watermarks)
            .key_by(|(_, sensor)| sensor)
            .window(window)
            .allowed_lateness(lateness)
            .aggregate_or_late(|a| a.count());
        let counts = driver.output("counts", &counts.output_mode(mode));
        let late = driver.output("late", &late);
        Counting { input, counts, late, run: driver.start().unwrap() }
    }

    fn send(&mut self, times: &[i64]) {
        times.iter().for_each(|at| self.input.send((*at, 0)));
        self.run.settle().unwrap();
    }

    fn windows(&self) -> Vec<(i64, i64, u64)> {
        spans(self.counts.drain())
    }

    /// The windows that come when the input ends.
    fn last_windows(mut self) -> Vec<(i64, i64, u64)> {
        self.run.finish().unwrap();
        assert!(self.run.is_finished());
        self.windows()
    }
}

#[test]
fn a_window_holds_its_start_and_not_its_end() {
    let mut run = Counting::new(Window::tumbling(secs(10)), Watermarks::ascending());
    run.send(&[0, 9_999, 10_000]);
    assert_eq!(run.windows(), [(0, 10_000, 2)]);
    assert_eq!(run.last_windows(), [(10_000, 20_000, 1)]);
}

#[test]
fn times_before_1970_fall_into_windows_before_it() {
    let mut run = Counting::new(Window::tumbling(secs(10)), Watermarks::ascending());
    run.send(&[-10_001, -10_000, -1, 0]);
    assert_eq!(run.windows(), [(-20_000, -10_000, 1), (-10_000, 0, 2)]);
    assert_eq!(run.last_windows(), [(0, 10_000, 1)]);
}

#[test]
fn an_offset_moves_all_windows() {
    let mut run = Counting::new(Window::tumbling(secs(10)).offset(secs(3)), Watermarks::ascending());
    run.send(&[-8_000, 2_999, 3_000]);
    assert_eq!(run.windows(), [(-17_000, -7_000, 1), (-7_000, 3_000, 1)]);
    assert_eq!(run.last_windows(), [(3_000, 13_000, 1)]);
}

#[test]
fn a_window_fires_when_the_watermark_reaches_its_end() {
    let mut run = Counting::new(Window::tumbling(secs(10)), Watermarks::bounded(secs(5)));
    run.send(&[1_000, 14_999]);
    assert_eq!(run.windows(), []);
    run.send(&[15_000]);
    assert_eq!(run.windows(), [(0, 10_000, 1)]);
}

#[test]
fn windows_overlap_when_the_slide_does_not_divide_the_size() {
    let mut run = Counting::new(Window::sliding(ms(10), ms(4)), Watermarks::ascending());
    run.send(&[3, 4, 9]);
    let expected = [(-4, 6, 2), (0, 10, 3), (4, 14, 2), (8, 18, 1)];
    assert_eq!(run.last_windows(), expected);
}

#[test]
fn a_gap_of_days_gives_no_windows() {
    let day = 86_400_000;
    let mut run = Counting::new(Window::sliding(secs(10), secs(1)), Watermarks::ascending());
    run.send(&[500, 90 * day]);
    let windows = run.windows();
    assert_eq!(windows.len(), 10);
    assert!(windows.iter().all(|(start, end, count)| *start <= 500 && *end > 500 && *count == 1));
    assert_eq!(run.last_windows().len(), 10);
}

#[test]
fn a_record_is_late_when_all_its_windows_have_closed() {
    let mut run = Counting::new(Window::sliding(ms(10), ms(5)), Watermarks::ascending());
    // 12 is in [5,15) and [10,20): at 17 the first has closed, at 20 both.
    run.send(&[17, 12, 20, 12]);
    assert_eq!(run.late.drain(), [(12, 0)]);
    assert_eq!(run.last_windows(), [(10, 20, 2), (15, 25, 2), (20, 30, 1)]);
}

#[test]
fn a_record_behind_the_watermark_is_not_late_while_its_window_is_open() {
    let mut run = Counting::new(Window::tumbling(secs(10)), Watermarks::ascending());
    run.send(&[9_000, 1_000]);
    assert_eq!(run.late.drain(), []);
    assert_eq!(run.last_windows(), [(0, 10_000, 2)]);
}

#[test]
fn allowed_lateness_keeps_a_window_open_and_its_row_back() {
    let window = Window::tumbling(secs(10));
    let mut run = Counting::with(window, Watermarks::ascending(), secs(5), OutputMode::Append);
    run.send(&[1_000, 14_999, 2_000]);
    assert_eq!(run.windows(), []);
    run.send(&[15_000, 3_000]);
    assert_eq!((run.windows(), run.late.drain()), (vec![(0, 10_000, 2)], vec![(3_000, 0)]));
}

#[test]
fn late_records_do_not_depend_on_the_batch_size() {
    let times = [5_i64, 30, 4, 31, 29, 70, 31, 55, 69, 100, 9];
    let mut outcomes = Vec::new();
    for rows_max in [1, 2, 3, 5, 100] {
        let mut config = EngineConfig::default().parallelism(2);
        config.batch.rows_max = rows_max;
        let driver = TestDriver::with_config(config);
        let (counts, late) = driver
            .builder()
            .source("times", MemorySource::from(times.to_vec()))
            .event_time(|at| at, Watermarks::bounded(ms(2)))
            .key_by(|_| 0_u64)
            .window(Window::tumbling(ms(10)))
            .aggregate_or_late(|a| a.count());
        let (counts, late) = (driver.output("counts", &counts), driver.output("late", &late));
        driver.start().unwrap().settle().unwrap();
        outcomes.push((spans(counts.drain()), late.drain()));
    }
    assert_eq!(outcomes[0].1, [4, 31, 55, 9]);
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
}

#[test]
fn the_watermark_never_goes_back() {
    let mut run = Counting::new(Window::tumbling(ms(10)), Watermarks::ascending());
    run.send(&[5]);
    run.input.watermark(100);
    run.input.watermark(50);
    run.send(&[60, 99, 100]);
    assert_eq!(run.windows(), [(0, 10, 1)]);
    assert_eq!(run.late.drain(), [(60, 0), (99, 0)]);
    assert_eq!(run.last_windows(), [(100, 110, 1)]);
}

/// Two inputs whose union is counted.
fn two_inputs(
    watermarks: Watermarks,
) -> (TestInput<i64>, TestInput<i64>, TestOutput<Count>, TestOutput<i64>, TestRun) {
    let driver = TestDriver::new();
    let (busy_input, busy) = driver.input::<i64>("busy");
    let (quiet_input, quiet) = driver.input::<i64>("quiet");
    let (busy, quiet) = (busy.event_time(|at| at, watermarks), quiet.event_time(|at| at, watermarks));
    let (counts, late) = busy
        .union(&quiet)
        .key_by(|_| 0_u64)
        .window(Window::tumbling(ms(10)))
        .aggregate_or_late(|a| a.count());
    let (counts, late) = (driver.output("counts", &counts), driver.output("late", &late));
    (busy_input, quiet_input, counts, late, driver.start().unwrap())
}

#[test]
fn a_quiet_input_holds_windows_back_until_it_counts_as_idle() {
    let (busy, _quiet, counts, _, mut run) = two_inputs(Watermarks::ascending().idle_after(secs(30)));
    busy.send(5);
    busy.send(25);
    run.settle().unwrap();
    run.advance_clock(ms(29_999)).unwrap();
    assert_eq!(counts.drain(), []);
    run.advance_clock(ms(1)).unwrap();
    // Both are quiet by now: nothing is closed on a guess, until a record shows how far time has come.
    busy.send(26);
    run.settle().unwrap();
    assert_eq!(spans(counts.drain()), [(0, 10, 1)]);
}

#[test]
fn an_input_that_is_never_idle_holds_windows_back_for_ever() {
    let (busy, quiet, counts, _, mut run) = two_inputs(Watermarks::ascending().never_idle());
    busy.send(5);
    busy.send(25);
    run.advance_clock(secs(1_000_000)).unwrap();
    assert_eq!(counts.drain(), []);
    quiet.send(10);
    run.settle().unwrap();
    assert_eq!(spans(counts.drain()), [(0, 10, 1)]);
}

#[test]
fn an_input_that_ends_no_longer_holds_windows_back() {
    let (busy, quiet, counts, _, mut run) = two_inputs(Watermarks::ascending().never_idle());
    busy.send(5);
    busy.send(25);
    quiet.close();
    run.settle().unwrap();
    assert_eq!(spans(counts.drain()), [(0, 10, 1)]);
}

#[test]
fn an_idle_input_that_comes_back_is_late_where_windows_have_closed() {
    let (busy, quiet, counts, late, mut run) = two_inputs(Watermarks::ascending().idle_after(secs(1)));
    busy.send(5);
    run.settle().unwrap();
    run.advance_clock(secs(2)).unwrap();
    busy.send(35);
    run.settle().unwrap();
    assert_eq!(spans(counts.drain()), [(0, 10, 1)]);
    quiet.send(7);
    quiet.send(33);
    run.settle().unwrap();
    busy.send(50);
    quiet.send(50);
    run.settle().unwrap();
    assert_eq!(late.drain(), [7]);
    assert_eq!(spans(counts.drain()), [(30, 40, 2)]);
}

#[test]
fn append_sends_a_window_once_and_update_and_complete_at_every_epoch() {
    let window = Window::tumbling(ms(10));
    let mut seen = BTreeMap::new();
    for mode in [OutputMode::Append, OutputMode::Update, OutputMode::Complete] {
        let mut run = Counting::with(window, Watermarks::ascending(), ms(0), mode);
        let mut steps = Vec::new();
        for times in [&[1, 2, 11][..], &[12], &[], &[31]] {
            run.send(times);
            run.run.epoch().unwrap();
            steps.push(run.windows());
        }
        steps.push(run.last_windows());
        seen.insert(mode.to_string(), steps);
    }
    let (first, second, third) = ((0, 10, 2), (10, 20, 1), (30, 40, 1));
    let grown = (10, 20, 2);
    let append = vec![vec![first], vec![], vec![], vec![grown], vec![third]];
    let update = vec![vec![first, second], vec![grown], vec![], vec![third], vec![]];
    let complete = vec![vec![first, second], vec![first, grown], vec![], vec![first, grown, third], vec![]];
    assert_eq!(seen["append"], append);
    assert_eq!(seen["update"], update);
    assert_eq!(seen["complete"], complete);
}

#[test]
fn update_sends_a_window_that_changed_and_closed_between_two_epochs() {
    let mut run =
        Counting::with(Window::sliding(ms(10), ms(5)), Watermarks::ascending(), ms(0), OutputMode::Update);
    run.send(&[7, 1_000]);
    assert_eq!(run.windows(), [(0, 10, 1), (5, 15, 1)]);
    run.run.epoch().unwrap();
    assert_eq!(run.windows(), [(995, 1_005, 1), (1_000, 1_010, 1)]);
}

#[test]
fn complete_takes_late_records_because_nothing_is_ever_closed() {
    let mut run =
        Counting::with(Window::tumbling(ms(10)), Watermarks::ascending(), ms(0), OutputMode::Complete);
    run.send(&[5, 500, 6]);
    run.run.epoch().unwrap();
    assert_eq!((run.windows(), run.late.drain()), (vec![(0, 10, 2), (500, 510, 1)], vec![]));
}

#[test]
fn running_results_follow_their_output_mode() {
    let mut seen = BTreeMap::new();
    for mode in [OutputMode::Append, OutputMode::Update, OutputMode::Complete] {
        let driver = TestDriver::new();
        let (input, keys) = driver.input::<u64>("keys");
        let counts = driver.output("counts", &keys.key_by_value().count().output_mode(mode));
        let mut run = driver.start().unwrap();
        let mut steps = Vec::new();
        for step in [&[1, 2, 1][..], &[2], &[], &[3]] {
            step.iter().for_each(|key| input.send(*key));
            run.settle().unwrap();
            assert_eq!(counts.drain(), [], "rows go out with an epoch");
            run.epoch().unwrap();
            steps.push(sorted(counts.drain()));
        }
        run.finish().unwrap();
        steps.push(sorted(counts.drain()));
        seen.insert(mode.to_string(), steps);
    }
    let end = vec![(1, 2), (2, 2), (3, 1)];
    assert_eq!(seen["append"], [vec![], vec![], vec![], vec![], end.clone()]);
    assert_eq!(seen["update"], [vec![(1, 2), (2, 1)], vec![(2, 2)], vec![], vec![(3, 1)], vec![]]);
    assert_eq!(seen["complete"], [vec![(1, 2), (2, 1)], vec![(1, 2), (2, 2)], vec![], end, vec![]]);
}

fn sorted(rows: Vec<KeyedResult<u64, u64>>) -> Vec<(u64, u64)> {
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.value)).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn the_ends_of_time_neither_hang_nor_lose_a_record() {
    let times = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    let shapes = [
        Window::tumbling(ms(1)),
        Window::tumbling(secs(1)),
        Window::sliding(ms(3), ms(1)),
        Window::sliding(ms(10), ms(4)),
    ];
    for window in shapes {
        for mode in [OutputMode::Append, OutputMode::Update, OutputMode::Complete] {
            let mut run = Counting::with(window, Watermarks::bounded(ms(5)), ms(0), mode);
            run.send(&times);
            run.run.epoch().unwrap();
            run.run.finish().unwrap();
            let windows: u64 = run.windows().iter().map(|window| window.2).sum();
            assert!(windows + run.late.drain().len() as u64 >= times.len() as u64, "{window:?} {mode}");
        }
    }
}

/// What a sink has seen of each way at each epoch: number and sum of its records.
type Cuts = Arc<Mutex<Vec<(Epoch, [(u64, u64); 2])>>>;

#[derive(Clone, Default)]
struct CutSink(Cuts);

struct CutWriter {
    seen: [(u64, u64); 2],
    cuts: Cuts,
}

impl Sink<(u8, u64)> for CutSink {
    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<(u8, u64)>>> {
        Ok(Box::new(CutWriter { seen: [(0, 0); 2], cuts: Arc::clone(&self.0) }))
    }
}

impl SinkWriter<(u8, u64)> for CutWriter {
    fn write(&mut self, batch: &Batch<(u8, u64)>) -> Result<()> {
        for (way, number) in batch.iter() {
            let seen = &mut self.seen[usize::from(way)];
            *seen = (seen.0 + 1, seen.1 + number);
        }
        Ok(())
    }

    fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        self.cuts.lock().unwrap().push((cut.epoch, self.seen));
        Ok(Staged::nothing())
    }
}

/// Limits under which every channel is full most of the time.
fn tiny(seed: u64) -> EngineConfig {
    let mut config = EngineConfig::default().parallelism(1 + seed as usize % 4);
    config.batch.rows_max = 1 + seed as usize % 5;
    config.channel.messages_max = 1 + seed as usize / 4 % 2;
    config.channel.rows_max = 1 + seed as usize % 3;
    config.epoch_interval_ms = 1;
    config
}

/// Two sources, each of whose records takes a short and a long way to one sink.
fn diamond() -> (StreamBuilder, CutSink) {
    let (flow, sink) = (StreamBuilder::new("diamond"), CutSink::default());
    let left = flow.source("left", Generator::new(150, |n| n).partitions(2));
    let right = flow.source("right", Generator::new(90, |n| n + 1_000).partitions(3));
    let both = left.union(&right);
    let short = both.map(|n| (0_u8, n));
    let long = both.rebalance().filter(|_| true).rebalance().map(|n| (1_u8, n)).rebalance().inspect(|_| {});
    let inner = long.filter(|(_, n)| n % 2 == 0).union(&long.filter(|(_, n)| n % 2 == 1).rebalance());
    short.union(&inner).sink("cuts", sink.clone());
    (flow, sink)
}

/// At each epoch the sink has seen the same records on both ways.
fn check_cuts(sink: &CutSink) -> usize {
    let cuts = std::mem::take(&mut *sink.0.lock().unwrap());
    for (epoch, [short, long]) in &cuts {
        assert_eq!(short, long, "epoch {epoch} cuts the two ways at different records");
    }
    assert!(cuts.windows(2).all(|pair| pair[0].0 < pair[1].0), "epochs ascend");
    cuts.len()
}

#[test]
fn epochs_cut_all_ways_at_the_same_record_and_never_deadlock() {
    let mut cuts = 0;
    for seed in 0..200 {
        let (flow, sink) = diamond();
        Simulation::new(seed).steps_max(1_000_000).run(&flow.build().unwrap(), &tiny(seed)).unwrap();
        cuts += check_cuts(&sink);
    }
    assert!(cuts > 1_000, "only {cuts} epochs reached the sink");
}

#[test]
fn epochs_pass_a_diamond_on_threads() {
    for seed in 0..20 {
        let (flow, sink) = diamond();
        let summary = flow.build().unwrap().run(tiny(seed)).unwrap();
        assert_eq!(summary.rows_written(), 480);
        check_cuts(&sink);
    }
}

#[test]
fn an_epoch_passes_inputs_that_are_idle_or_have_ended() {
    let driver = TestDriver::with_config(EngineConfig::default().parallelism(3));
    let (first, a) = driver.input::<u64>("first");
    let (_second, b) = driver.input::<u64>("second");
    let out = Collect::new();
    a.union(&b).key_by_value().count().sink("out", out.clone());
    let mut run = driver.start().unwrap();
    first.send(7);
    let epoch = run.epoch().unwrap();
    assert_eq!(run.complete_epoch(), Some(epoch));
    assert_eq!(sorted(out.take()), [(7, 1)]);
    first.close();
    let epoch = run.epoch().unwrap();
    assert_eq!(run.complete_epoch(), Some(epoch));
    assert!(out.take().is_empty());
}

#[test]
fn rows_of_an_epoch_belong_to_what_was_read_before_it() {
    let driver = TestDriver::new();
    let (input, numbers) = driver.input::<u64>("numbers");
    let out = Collect::new();
    numbers.map(|n| n).sink("out", out.clone());
    let mut run = driver.start().unwrap();
    input.send(1);
    input.send(2);
    run.settle().unwrap();
    assert!(out.take().is_empty());
    run.epoch().unwrap();
    input.send(3);
    run.settle().unwrap();
    assert_eq!(out.take(), [1, 2]);
}
