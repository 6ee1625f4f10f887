//! The child of a torture cycle: one run of the job, until it is done, told to stop or killed.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use headwater::prelude::*;
use headwater::runtime::create_savepoint;
use headwater_connectors::CsvSink;

use super::data::{DISORDER_MS, Event, Events, Shape};

/// How one run goes about the job.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// The job's directory and, beside it, its output.
    #[arg(long, hide = true, default_value = ".")]
    pub(crate) home: PathBuf,
    #[arg(long, hide = true, default_value_t = 2)]
    pub(crate) parallelism: usize,
    #[arg(long, hide = true, default_value_t = 20)]
    pub(crate) epoch_ms: u64,
    #[arg(long, hide = true, default_value_t = 1024)]
    pub(crate) batch_rows: usize,
    #[arg(long, hide = true, default_value_t = 64)]
    pub(crate) channel_messages: usize,
    #[arg(long, hide = true, default_value_t = 1 << 20)]
    pub(crate) state_bytes: usize,
    #[arg(long, hide = true, default_value_t = 100)]
    pub(crate) snapshot_ms: u64,
    #[arg(long, hide = true, default_value_t = 2)]
    pub(crate) snapshots: usize,
    /// The savepoint that the job begins with, if it has not begun.
    #[arg(long, hide = true)]
    pub(crate) from: Option<PathBuf>,
    /// Makes a savepoint of this name instead of a run.
    #[arg(long, hide = true)]
    pub(crate) savepoint: Option<String>,
}

/// The folders below `out` that rows are shown in, and the files.
pub(crate) const FOLDERS: &[&str] = &["rows", "windows", "late", "folds"];
pub(crate) const FILES: &[&str] = &["samples.csv", "counts.csv"];

pub(crate) fn state_of(home: &Path) -> PathBuf {
    home.join("state")
}

pub(crate) fn output_of(home: &Path) -> PathBuf {
    home.join("out")
}

#[derive(Record)]
struct Number {
    id: u64,
    value: u64,
}

#[derive(Record)]
struct WindowRow {
    start: i64,
    group: u64,
    count: u64,
    sum: u64,
    tokens: u64,
}

#[derive(Record, Clone)]
struct Folded {
    count: u64,
    chain: u64,
}

#[derive(Record)]
struct FoldRow {
    key: u64,
    count: u64,
    chain: u64,
}

/// A fold that knows the order of what it has seen.
pub(crate) fn chain(before: u64, id: u64) -> u64 {
    super::data::mix(before.rotate_left(7) ^ id)
}

pub(crate) fn is_row(id: u64) -> bool {
    id % 4 == 1
}

pub(crate) fn is_sample(id: u64) -> bool {
    id % 16 == 3
}

fn topology(run: &Run) -> Result<Topology> {
    let out = output_of(&run.home);
    let shape = run.shape;
    let folder = |name: &str| {
        CsvSink::folder(out.join(name)).header(false).roll_after(Duration::from_millis(shape.roll_ms))
    };
    let file = |name: &str| CsvSink::new(out.join(name)).header(false);
    let flow = StreamBuilder::new("torture");
    let events = flow.source("events", Events(shape));
    let number = |event: &Stream<Event>| event.map(|event| Number { id: event.id, value: event.value });
    number(&events.filter(|event| is_row(event.id))).sink("rows", folder("rows"));
    number(&events.filter(|event| is_sample(event.id))).sink("samples", file("samples.csv"));

    let disorder = Duration::from_millis(DISORDER_MS as u64);
    let window = if shape.window_ms == shape.slide_ms {
        Window::tumbling(Duration::from_millis(shape.window_ms as u64))
    } else {
        Window::sliding(
            Duration::from_millis(shape.window_ms as u64),
            Duration::from_millis(shape.slide_ms as u64),
        )
    };
    let (windows, late) = events
        .event_time(|event| event.at, Watermarks::bounded(disorder).never_idle())
        .key_by(|event| event.group)
        .window(window)
        .aggregate_or_late(|a| (a.count(), a.sum(|event| event.value), a.sum(|event| event.token)));
    let rows = windows.map(|window| {
        let (count, sum, tokens) = window.value;
        WindowRow { start: window.window_start, group: window.key, count, sum, tokens }
    });
    rows.sink("windows", folder("windows"));
    number(&late).sink("late", folder("late"));

    let folds = events.key_by(|event| event.key).fold(Folded { count: 0, chain: 0 }, |folded, event| {
        folded.count += 1;
        folded.chain = chain(folded.chain, event.id);
    });
    folds
        .output_mode(OutputMode::Append)
        .map(|row| FoldRow { key: row.key, count: row.value.count, chain: row.value.chain })
        .sink("folds", folder("folds"));
    let counts = events.key_by(|event| event.key % 1_000).count().output_mode(OutputMode::Append);
    counts.map(|row| Number { id: row.key, value: row.value }).sink("counts", file("counts.csv"));
    flow.build()
}

fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Runs the job. What it says: `ready EPOCH READ`, `epoch N`, `done EPOCH READ LATE`.
pub(crate) fn run(run: &Run) -> Result<()> {
    let mut config = EngineConfig::default()
        .parallelism(run.parallelism)
        .epoch_interval(Duration::from_millis(run.epoch_ms))
        .state_bytes_max(run.state_bytes)
        .snapshot_interval(Duration::from_millis(run.snapshot_ms))
        .snapshots_kept(run.snapshots)
        .state_dir(state_of(&run.home));
    config.batch.rows_max = run.batch_rows;
    config.channel.messages_max = run.channel_messages;
    if let Some(name) = &run.savepoint {
        create_savepoint(&topology(run)?, state_of(&run.home), Some(name), Duration::from_secs(60))?;
        return say(format_args!("done 0 0 0"));
    }
    let begun = run.from.as_ref().map(|from| topology(run)?.start(config.clone().start_from(from)));
    let running = match begun {
        Some(Err(error)) if !error.to_string().contains("has a job already") => return Err(error),
        Some(Ok(running)) => running,
        _ => topology(run)?.start(config)?,
    };
    let read = running.report().records_read();
    say(format_args!("ready {} {read}", running.resumed().unwrap_or(0)))?;
    let stopper = running.stopper();
    std::thread::spawn(move || {
        // Any line is a request to stop; the end of the input is none.
        if let Some(Ok(_)) = std::io::stdin().lock().lines().next() {
            stopper.stop();
        }
    });
    let mut shown = 0;
    while !running.wait_for(Duration::from_millis(3)) {
        let epoch = running.report().epoch;
        if epoch != shown {
            shown = epoch;
            say(format_args!("epoch {epoch}"))?;
        }
    }
    let summary = running.wait()?;
    say(format_args!("done {} {} {}", summary.epoch, summary.records_read(), summary.late()))
}
