//! What epochs on disk cost, and how long a record takes from its source to a committed file.
//!
//! `cargo run --release -p benches --bin epochs -- cost --events 5000000 --runs 5`
//! `cargo run --release -p benches --bin epochs -- latency --seconds 20`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "measuring real time is what this program is for")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use benches::dataset::Dataset;
use benches::engine::Places;
use benches::machine::Circumstances;
use benches::process::{self, Cost, median};
use benches::workload::{Format, Workload};
use clap::{Parser, Subcommand};
use headwater::prelude::*;
use headwater_connectors::{CsvSink, Generator};

/// Measure epochs on disk.
#[derive(Parser)]
#[command(name = "epochs")]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Workload w2 without a state directory, and with epochs every 200 and 20 ms, by turns.
    Cost {
        /// Bids.
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
        /// Runs of each; medians are printed.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Records at a steady rate to files that are complete with every epoch; a reader looks for them.
    Latency {
        /// Records per second.
        #[arg(long, default_value_t = 10_000)]
        rate: u64,
        /// How long.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// Milliseconds between two epochs.
        #[arg(long, default_value_t = 20)]
        epoch_ms: u64,
    },
}

fn main() -> ExitCode {
    println!("{}\n", Circumstances::now(Path::new(".")));
    let outcome = match Options::parse().what {
        What::Cost { events, runs } => cost(events, runs).map_err(|error| error.to_string()),
        What::Latency { rate, seconds, epoch_ms } => {
            latency(rate, seconds, epoch_ms).map_err(|error| error.to_string())
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("epochs: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The three ways to run w2: name, and milliseconds between epochs on disk.
const WAYS: [(&str, Option<u64>); 3] =
    [("no state directory", None), ("epochs every 200 ms", Some(200)), ("epochs every 20 ms", Some(20))];

fn cost(events: u64, runs: usize) -> benches::Result<bool> {
    let places = Places::find(None)?;
    let cache = places.target.join("bench-data");
    let data = Dataset::prepare(&cache, Workload::W2, Format::Json, events)?;
    let scratch = cache.join("epochs");
    let mut costs: [Vec<Cost>; WAYS.len()] = Default::default();
    for _ in 0..runs {
        for ((_, epoch_ms), costs) in WAYS.iter().zip(&mut costs) {
            // Not there the first time.
            let _ = fs::remove_dir_all(&scratch);
            fs::create_dir_all(&scratch)
                .map_err(|cause| benches::Error::Io { what: scratch.display().to_string(), cause })?;
            let mut command = Command::new(places.target.join("release/examples/bids"));
            command.args(["--workload", "w2", "--parallelism", "2", "--quiet", "--input"]).arg(&data.input);
            match epoch_ms {
                None => command.arg("--output").arg(scratch.join("rows.csv")),
                Some(epoch_ms) => {
                    command.args(["--epoch-ms", &epoch_ms.to_string(), "--output"]).arg(scratch.join("rows"));
                    command.arg("--state").arg(scratch.join("job"))
                }
            };
            costs.push(process::run(&mut command, &scratch.with_extension("log"))?);
        }
    }
    let cpu = |costs: &[Cost]| median(costs, |cost| cost.cpu_s);
    println!("{events} bids, medians of {runs} runs by turns\n");
    println!("| w2 | CPU us per event | ratio | wall s |\n|---|---|---|---|");
    for ((name, _), runs) in WAYS.iter().zip(&costs) {
        println!(
            "| {name} | {:.3} | {:.2} | {:.2} |",
            cpu(runs) * 1e6 / events as f64,
            cpu(runs) / cpu(&costs[0]),
            median(runs, |cost| cost.wall_s)
        );
    }
    Ok(cpu(&costs[1]) <= 1.25 * cpu(&costs[0]))
}

/// Number and time of birth of a record.
#[derive(Record)]
struct Born {
    number: u64,
    us: u64,
}

fn latency(rate: u64, seconds: u64, epoch_ms: u64) -> Result<bool> {
    let home = std::env::temp_dir().join(format!("headwater-latency-{}", std::process::id()));
    let rows = home.join("rows");
    let start = Instant::now();
    let born = move |number| Born { number, us: start.elapsed().as_micros() as u64 };
    let flow = StreamBuilder::new("latency");
    flow.source("records", Generator::new(rate * seconds, born).rate(rate as f64))
        .sink("rows", CsvSink::folder(&rows).header(false).roll_after(Duration::ZERO));
    let config = EngineConfig::default().epoch_interval(ms(epoch_ms)).state_dir(home.join("job"));
    let running = flow.build()?.start(config)?;
    let (mut seen, mut delays) = (BTreeSet::new(), Vec::new());
    loop {
        let ended = running.wait_for(Duration::from_millis(1));
        look(&rows, start, &mut seen, &mut delays);
        if ended {
            break;
        }
    }
    running.wait()?;
    // What was measured is all that is left of it.
    let _ = fs::remove_dir_all(&home);
    delays.sort_unstable();
    let at = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    println!("{} records, {rate} per second, epochs every {epoch_ms} ms, {} files", delays.len(), seen.len());
    println!(
        "source to committed file: p50 {:.1} ms, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}\n",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    histogram(&delays);
    Ok(at(0.99) <= 100.0 && delays.len() as u64 == rate * seconds)
}

/// Reads the files that have become complete since the last look.
fn look(folder: &Path, start: Instant, seen: &mut BTreeSet<PathBuf>, delays: &mut Vec<u64>) {
    let found = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in found.filter(|path| path.extension().is_some_and(|extension| extension == "csv")) {
        if !seen.contains(&path)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let now = start.elapsed().as_micros() as u64;
            let born = text.lines().filter_map(|line| line.split_once(',')?.1.parse::<u64>().ok());
            delays.extend(born.map(|us| now.saturating_sub(us)));
            seen.insert(path);
        }
    }
}

/// One line per ten milliseconds.
fn histogram(delays: &[u64]) {
    let bins = delays.iter().fold(vec![0_usize; 31], |mut bins, us| {
        bins[(*us as usize / 10_000).min(30)] += 1;
        bins
    });
    let last = bins.iter().rposition(|count| *count > 0).unwrap_or(0);
    for (bin, count) in bins.iter().enumerate().take(last + 1) {
        let bar = "#".repeat(count * 60 / delays.len().max(1));
        println!("{:>4} ms {count:>9} {bar}", bin * 10);
    }
}
