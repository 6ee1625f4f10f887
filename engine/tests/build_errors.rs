//! Every mistake that `build()` refuses, with its sentence; and settings out of range.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

use headwater::prelude::*;
use headwater::sink::{Sink, SinkWriter, Subtask};
use headwater_connectors::{Collect, Generator, MemorySource};

/// A flow, and events `(time, key)` that end.
fn bounded() -> (StreamBuilder, Stream<(i64, u64)>) {
    let flow = StreamBuilder::new("job");
    let events = flow.source("events", Generator::new(10, |n| (n as i64, n)));
    (flow, events)
}

/// A flow, and events that do not end.
fn endless() -> (StreamBuilder, Stream<(i64, u64)>) {
    let flow = StreamBuilder::new("job");
    let events = flow.source("events", Generator::endless(|n| (n as i64, n)));
    (flow, events)
}

fn timed(events: &Stream<(i64, u64)>) -> Stream<(i64, u64)> {
    events.event_time(|(at, _)| at, Watermarks::bounded(secs(1)))
}

/// Takes final rows only.
struct FinalOnly;

impl<T: Record> Sink<T> for FinalOnly {
    fn accepts(&self, mode: OutputMode) -> bool {
        mode == OutputMode::Append
    }

    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        Err(Error::failed("a refused topology is never opened"))
    }
}

/// Says that the topology is refused with exactly these sentences.
#[track_caller]
fn refused(flow: StreamBuilder, sentences: &[&str]) {
    let error = flow.build().expect_err("the topology must be refused");
    let listed: String = sentences.iter().map(|sentence| format!("\n  - {sentence}")).collect();
    assert_eq!(error.to_string(), format!("the topology `job` cannot be built:{listed}"));
}

#[test]
fn an_empty_topology_has_neither_source_nor_sink() {
    refused(
        StreamBuilder::new("job"),
        &[
            "there is no source; start with `builder.source(name, ..)`",
            "there is no sink; end a stream with `.sink(name, ..)`",
        ],
    );
}

#[test]
fn a_topology_without_a_sink_is_refused() {
    let (flow, _) = bounded();
    refused(
        flow,
        &[
            "there is no sink; end a stream with `.sink(name, ..)`",
            "the stream of `events` reaches no sink; add `.sink(name, ..)`",
        ],
    );
}

#[test]
fn a_name_that_is_used_twice_is_refused() {
    let (flow, events) = bounded();
    events.map(|(_, n)| n).sink("out", Collect::new());
    events.filter(|(_, n)| n > 2).name("events").sink("out", Collect::new());
    let rule = "state and metrics hang on names, so give each source, operator and sink its own";
    refused(
        flow,
        &[
            &format!("the name `events` is used 2 times; {rule}"),
            &format!("the name `out` is used 2 times; {rule}"),
        ],
    );
}

#[test]
fn words_that_are_used_twice_are_numbered() {
    let (flow, events) = bounded();
    events.map(|(_, n)| n).map(|n| n + 1).sink("out", Collect::new());
    assert_eq!(
        flow.build().unwrap().describe(),
        "job\nevents (source)\n  map\n    map-2\n      out (sink)\n"
    );
}

#[test]
fn a_stream_that_nobody_reads_is_refused() {
    let (flow, events) = bounded();
    events.sink("out", Collect::new());
    let _ = events.map(|(_, n)| n).filter(|n| n > 2).name("forgotten");
    refused(flow, &["the stream of `forgotten` reaches no sink; add `.sink(name, ..)`"]);
}

#[test]
fn late_and_rejected_streams_may_stay_unread_and_may_be_all_that_is_read() {
    let (flow, events) = bounded();
    let (good, _) = events.try_map(|(at, n)| u8::try_from(n).map(|n| (at, u64::from(n))));
    let (_, late) =
        timed(&good).key_by(|(_, n)| n).window(Window::tumbling(secs(1))).aggregate_or_late(|a| a.count());
    late.sink("late", Collect::new());
    flow.build().unwrap();
}

#[test]
fn a_window_without_event_time_is_refused() {
    let (flow, events) = bounded();
    let counts = events.key_by(|(_, n)| n).window(Window::tumbling(secs(1))).aggregate(|a| a.count());
    counts.name("per-second").sink("out", Collect::new());
    refused(
        flow,
        &["the window of `per-second` has no watermark and would never close; say `.event_time(|r| r.time, \
           Watermarks::bounded(secs(5)))` on the stream in front of it"],
    );
}

#[test]
fn a_window_needs_event_time_on_every_way_to_it() {
    let (flow, events) = bounded();
    let others = flow.source("others", MemorySource::new(vec![vec![(0_i64, 0_u64)]]));
    let both = timed(&events).union(&others);
    both.key_by(|(_, n)| n)
        .window(Window::tumbling(secs(1)))
        .aggregate(|a| a.count())
        .sink("out", Collect::new());
    let error = flow.build().unwrap_err().to_string();
    assert!(error.contains("the window of `window` has no watermark"), "{error}");
}

#[test]
fn a_window_over_windows_has_their_time() {
    let (flow, events) = bounded();
    let seconds =
        timed(&events).key_by(|(_, n)| n).window(Window::tumbling(secs(1))).aggregate(|a| a.count());
    let minutes_ =
        seconds.key_by(|w| w.key).window(Window::tumbling(minutes(1))).aggregate(|a| a.sum(|w| w.value));
    minutes_.sink("out", Collect::new());
    flow.build().unwrap();
}

#[test]
fn a_window_over_running_results_is_refused() {
    let (flow, events) = bounded();
    let counts = timed(&events).key_by(|(_, n)| n).count().output_mode(OutputMode::Append);
    counts
        .key_by(|c| c.key)
        .window(Window::tumbling(secs(1)))
        .aggregate(|a| a.count())
        .sink("out", Collect::new());
    let error = flow.build().unwrap_err().to_string();
    assert!(error.contains("the window of `window` has no watermark"), "{error}");
}

#[test]
fn append_without_a_window_needs_an_input_that_ends() {
    let (flow, events) = endless();
    events.key_by(|(_, n)| n).count().output_mode(OutputMode::Append).sink("out", Collect::new());
    refused(
        flow,
        &[
            "`count` is in output mode append, but its rows are never final: `events` does not end and there is \
           no window; use `.output_mode(OutputMode::Update)` or a window",
        ],
    );
    let (flow, events) = bounded();
    events.key_by(|(_, n)| n).count().output_mode(OutputMode::Append).sink("out", Collect::new());
    flow.build().unwrap();
}

#[test]
fn a_state_of_changing_rows_is_refused() {
    let (flow, events) = bounded();
    let counts = events.key_by(|(_, n)| n % 3).count();
    let steps = counts
        .key_by(|count| count.key)
        .map_with_state(0, |before, count| count.value - std::mem::replace(before, count.value));
    steps.name("steps").sink("out", Collect::new());
    refused(
        flow,
        &[
            "`steps` aggregates the rows of `count`, which is in output mode update and sends a row again when it \
           changes; that would be counted twice; use append there",
        ],
    );
}

#[test]
fn an_aggregate_over_changing_rows_is_refused() {
    for mode in [OutputMode::Update, OutputMode::Complete] {
        let (flow, events) = bounded();
        let counts = events.key_by(|(_, n)| n % 3).count().output_mode(mode);
        let busy = counts.filter(|count| count.value > 1);
        busy.key_by(|count| count.key).count().name("keys").sink("out", Collect::new());
        refused(
            flow,
            &[&format!(
                "`keys` aggregates the rows of `count`, which is in output mode {mode} and sends a row again \
                 when it changes; that would be counted twice; use append there"
            )],
        );
    }
}

#[test]
fn a_sink_that_cannot_take_changing_rows_refuses_them() {
    for mode in [OutputMode::Update, OutputMode::Complete] {
        let (flow, events) = endless();
        events.key_by(|(_, n)| n).count().output_mode(mode).map(|c| c.value).sink("file", FinalOnly);
        refused(
            flow,
            &[&format!(
                "the sink `file` cannot take the changing rows of `count` (output mode {mode}); use \
                 `.output_mode(OutputMode::Append)` there or another sink"
            )],
        );
    }
    let (flow, events) = endless();
    let windows =
        timed(&events).key_by(|(_, n)| n).window(Window::tumbling(secs(1))).aggregate(|a| a.count());
    windows.sink("file", FinalOnly);
    flow.build().unwrap();
}

#[test]
fn an_output_mode_belongs_right_behind_an_aggregate() {
    let (flow, events) = bounded();
    events.map(|(_, n)| n).output_mode(OutputMode::Complete).sink("out", Collect::new());
    refused(
        flow,
        &[
            "output mode complete is set on `map`, which is no aggregate; say `.output_mode(..)` right behind \
           `count`, `reduce`, `fold` or `aggregate`",
        ],
    );
}

#[test]
fn a_window_shape_that_loses_records_or_has_no_length_is_refused() {
    let empty = "a window needs a size and a slide of at least one millisecond";
    let gaps = "windows of 1000 ms every 5000 ms leave gaps, and records in them would be lost; make the slide at \
                most the size";
    let long = "a window's size and offset are at most 1152921504606846975 ms";
    let shapes = [
        (Window::tumbling(std::time::Duration::MAX), long),
        (Window::tumbling(ms(1)).offset(ms(u64::MAX)), long),
        (Window::tumbling(ms(0)), empty),
        (Window::sliding(secs(1), ms(0)), empty),
        (Window::tumbling(std::time::Duration::from_micros(999)), empty),
        (Window::sliding(secs(1), secs(5)), gaps),
    ];
    for (window, sentence) in shapes {
        let (flow, events) = bounded();
        let counts = timed(&events).key_by(|(_, n)| n).window(window).aggregate(|a| a.count());
        counts.sink("out", Collect::new());
        refused(flow, &[sentence]);
    }
}

#[test]
fn all_mistakes_are_found_at_once() {
    let (flow, events) = endless();
    let counts = events.key_by(|(_, n)| n).count().output_mode(OutputMode::Append);
    counts
        .key_by(|c| c.key)
        .window(Window::tumbling(ms(0)))
        .aggregate(|a| a.count())
        .sink("out", Collect::new());
    let Err(Error::Topology { topology, problems }) = flow.build() else { panic!("it must be refused") };
    assert_eq!((topology.as_str(), problems.len()), ("job", 3));
}

/// Says that a start with these settings is refused with this sentence.
#[track_caller]
fn out_of_range(change: impl FnOnce(&mut EngineConfig), sentence: &str) {
    let (flow, events) = bounded();
    events.sink("out", Collect::new());
    let mut config = EngineConfig::default();
    change(&mut config);
    let error = flow.build().unwrap().start(config).expect_err("the settings must be refused");
    assert_eq!(error.to_string(), format!("configuration: {sentence}"));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let parallelism =
        |given| format!("`parallelism` is {given}; it must be 1 to 128 (the number of key groups)");
    out_of_range(|config| config.parallelism = 0, &parallelism(0));
    out_of_range(|config| config.parallelism = 129, &parallelism(129));
    out_of_range(|config| config.key_groups = 0, "`key_groups` must be at least 1");
    let limits = "`batch.rows_max`, `channel.messages_max` and `channel.rows_max` must be at least 1";
    out_of_range(|config| config.batch.rows_max = 0, limits);
    out_of_range(|config| config.channel.messages_max = 0, limits);
    out_of_range(|config| config.channel.rows_max = 0, limits);
    out_of_range(|config| config.epoch_interval_ms = 0, "`epoch_interval_ms` must be at least 1");
    out_of_range(
        |config| config.state_bytes_max = 1000,
        "`state_bytes_max` is 1000; it must be at least 1 MiB",
    );
}
