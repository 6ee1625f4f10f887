//! Windows of event time over sensors that are late and sometimes wrong.
//!
//! Run with: `cargo run --release -p examples --example iot_windows -- --output out/stats.csv`
//!
//! Four made-up thermometers report once a second for ten minutes; some readings come a minute or more
//! after they were measured, some lines are broken. You will see one table per minute, then how many
//! readings were aggregated, too late or rejected. The rows go to `out/stats.csv`, and beside it what was
//! set aside, with the reason: `out/stats.late.jsonl` and `out/stats.rejected.jsonl`.
//!
//! With `--input FILE` your own readings: CSV with a header or JSON lines, with the columns `sensor`, `at`
//! (milliseconds since 1970), `value` and, if you like, `unit`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use examples::sensors::{Network, Reading};
use examples::{account, added_up, aside_to, complaints, readings_of, rounded, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater::source::Rejected;
use headwater_connectors::{Console, Generator};

/// Statistics of sensors per minute.
#[derive(Parser)]
struct Command {
    /// Your own readings: a file, a folder or a glob of CSV or JSON lines with `sensor,at,value[,unit]`.
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// A CSV file for the rows; late and rejected readings are put beside it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

const THERMOMETERS: Network = Network {
    sensors: 4,
    duration: Duration::from_secs(600),
    disorder: Duration::from_secs(10),
    delay: Duration::from_secs(60),
    late: 60,
    broken: 8,
};

#[derive(Record)]
struct Row {
    window_start: i64,
    window_end: i64,
    sensor: String,
    readings: u64,
    mean: f64,
    max: f64,
}

/// Per sensor and minute, and the readings that came too late for that.
fn per_minute(readings: &Stream<Reading>) -> (Stream<Row>, Stream<Reading>) {
    let (windows, late) = readings
        // A minute is over when a reading more than ten seconds younger has come ...
        .event_time(|reading| reading.at, Watermarks::bounded(secs(10)))
        .key_by_field(Reading::SENSOR)
        .window(Window::tumbling(minutes(1)))
        // ... and its row waits for another thirty.
        .allowed_lateness(secs(30))
        .aggregate_or_late(|a| (a.count(), a.mean(|r| r.value), a.max(|r| r.value)));
    let rows = windows.map(|window| {
        let (readings, mean, max) = window.value;
        let (window_start, window_end) = (window.window_start, window.window_end);
        let sensor = window.key.to_owned();
        Row { window_start, window_end, sensor, readings, mean: rounded(mean), max: rounded(max) }
    });
    (rows, late)
}

/// The made-up sensors send text; what cannot be read is a stream as well.
fn thermometers(flow: &StreamBuilder) -> (Stream<Reading>, Stream<Rejected>) {
    let lines = Generator::new(THERMOMETERS.lines(), |number| THERMOMETERS.line(number));
    let (readings, rejected) = flow.source("thermometers", lines).try_map(Reading::parse);
    (readings.name("parse"), rejected)
}

fn main() -> ExitCode {
    cli::main(|| {
        let Command { input, output, options, action } = Command::parse();
        let flow = StreamBuilder::new("iot-windows");
        let (readings, rejected) = match input {
            Some(input) => readings_of(&flow, &input, None)?,
            None => thermometers(&flow),
        };
        let (rows, late) = per_minute(&readings);
        let added_up = added_up(&rows, |row| row.readings);
        rows.sink("console", Console::table().per_window().ascending("sensor"));
        if let Some(output) = output {
            rows.sink("file", rows_to(&output, &options));
            late.sink("late", aside_to(&output, "late", &options));
            rejected.sink("rejected", aside_to(&output, "rejected", &options));
        } else {
            rejected.sink("rejected", complaints());
        }
        let Some(summary) = cli::act(action, flow.build()?, &options)? else { return Ok(()) };
        account(&summary, None, &added_up)
    })
}
