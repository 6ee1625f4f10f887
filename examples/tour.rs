//! The tour: readings of sensors, from text to a table per window, with late and broken ones set aside.
//!
//! Run with: `cargo run --release -p examples --example tour`
//!
//! A made-up network of sensors sends half a day of readings in ten seconds: out of order, some hours
//! late, some broken. You will see one table per hour with a row per sensor, progress below it, and at
//! the end an account: every reading that was made was aggregated, late or rejected.
//!
//! `-- --live --duration 20s` sends the processors, memory, disks and network of this computer through
//! the same topology; `-- --input FILE` your own readings: CSV with a header or JSON lines, with the
//! columns `sensor`, `at` (milliseconds since 1970), `value` and, if you like, `unit`. `--output
//! stats.csv` keeps the rows in a file, and beside it those in `stats.late.jsonl` and `stats.rejected.jsonl`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use examples::sensors::{Network, Reading};
use examples::{account, added_up, aside_to, complaints, duration, readings_of, rounded, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater::source::Rejected;
use headwater_connectors::{Console, Generator, HostMetrics};

/// Readings of sensors, aggregated per window.
#[derive(Parser)]
struct Command {
    /// Your own readings: a file, a folder or a glob of CSV or JSON lines with `sensor,at,value[,unit]`.
    #[arg(long, value_name = "PATH", conflicts_with = "live")]
    input: Option<PathBuf>,
    /// The processors, memory, disks and network of this computer, as they are now.
    #[arg(long)]
    live: bool,
    /// How long to watch this computer, such as 20s or 2m; until Ctrl-C unless given.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "live")]
    duration: Option<Duration>,
    /// A CSV file for the rows; late and rejected readings are put beside it. With --state a folder.
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Length of a window: 1h for the made-up sensors, 1m for your own, 5s live unless given.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    window: Option<Duration>,
    /// Rows that are printed per window.
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    /// Readings per second: 50000 of the made-up sensors unless given; 0 is as fast as it goes.
    #[arg(long, value_name = "N", conflicts_with = "live")]
    rate: Option<f64>,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

/// Half a day, and now and then a gateway that was cut off for hours.
const NETWORK: Network = Network {
    sensors: 12,
    duration: Duration::from_secs(12 * 3600),
    disorder: Duration::from_secs(240),
    delay: Duration::from_secs(5 * 3600),
    late: 60,
    broken: 5,
};
/// Time between two looks at this computer.
const LOOK_MS: u64 = 500;

#[derive(Record)]
struct Row {
    window_start: i64,
    window_end: i64,
    sensor: String,
    unit: String,
    readings: u64,
    mean: f64,
    min: f64,
    max: f64,
}

/// The topology: the same for all sources. A reading may be a twelfth of a window behind the newest.
fn statistics(readings: &Stream<Reading>, window: Duration) -> (Stream<Row>, Stream<Reading>) {
    let (windows, late) = readings
        .event_time(|reading| reading.at, Watermarks::bounded(window / 12))
        .key_by(|reading| (reading.sensor.to_owned(), reading.unit.unwrap_or_default().to_owned()))
        .window(Window::tumbling(window))
        .aggregate_or_late(|a| (a.count(), a.mean(|r| r.value), a.min(|r| r.value), a.max(|r| r.value)));
    let rows = windows.map(|window| {
        let ((sensor, unit), (readings, mean, min, max)) = (window.key, window.value);
        Row {
            window_start: window.window_start,
            window_end: window.window_end,
            sensor: sensor.to_owned(),
            unit: unit.to_owned(),
            readings,
            mean: rounded(mean),
            min: rounded(min),
            max: rounded(max),
        }
    });
    (rows, late)
}

/// The made-up network: as many partitions as gateways.
fn simulated(flow: &StreamBuilder, rate: f64) -> (Stream<Reading>, Stream<Rejected>) {
    let lines = Generator::new(NETWORK.lines(), |number| NETWORK.line(number)).partitions(4);
    let lines = if rate == 0.0 { lines } else { lines.rate(rate) };
    let (readings, rejected) = flow.source("gateways", lines).try_map(Reading::parse);
    (readings.name("parse"), rejected)
}

fn live(flow: &StreamBuilder, duration: Option<Duration>) -> (Stream<Reading>, Stream<Rejected>) {
    let metrics = HostMetrics::new().every(ms(LOOK_MS));
    let metrics = match duration {
        Some(duration) => metrics.samples((duration.as_millis() as u64 / LOOK_MS).max(1)),
        None => metrics,
    };
    let (readings, rejected) = flow.source_or_rejected("this computer", metrics);
    let readings = readings.map(|reading| {
        let (value, unit) = match reading.unit {
            "B" => (reading.value / f64::from(1 << 20), "MiB"),
            "B/s" => (reading.value / 1024.0, "KiB/s"),
            unit => (reading.value, unit),
        };
        Reading { sensor: reading.sensor.to_owned(), at: reading.at, value, unit: Some(unit.to_owned()) }
    });
    (readings, rejected)
}

fn main() -> ExitCode {
    cli::main(|| {
        let command = Command::parse();
        let flow = StreamBuilder::new("tour");
        let is_simulated = command.input.is_none() && !command.live;
        let ((readings, rejected), usual_window) = match &command.input {
            Some(input) => (readings_of(&flow, input, command.rate)?, minutes(1)),
            None if command.live => (live(&flow, command.duration), secs(5)),
            None => (simulated(&flow, command.rate.unwrap_or(50_000.0)), minutes(60)),
        };
        let (rows, late) = statistics(&readings, command.window.unwrap_or(usual_window));

        let added_up = added_up(&rows, |row| row.readings);
        let table = Console::table().per_window().ascending("sensor").rows(command.rows);
        rows.sink("console", table);
        if let Some(output) = &command.output {
            rows.sink("file", rows_to(output, &command.options));
            late.sink("late", aside_to(output, "late", &command.options));
            rejected.sink("rejected", aside_to(output, "rejected", &command.options));
        } else if !is_simulated {
            rejected.sink("rejected", complaints());
        }

        let done = cli::act(command.action, flow.build()?, &command.options)?;
        let Some(summary) = done else { return Ok(()) };
        account(&summary, is_simulated.then(|| NETWORK.lines()), &added_up)
    })
}
