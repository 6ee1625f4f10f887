//! What a bid costs in batches: to build, to filter and exchange, and from the source to a windowed
//! aggregate, beside the same pipeline written by hand on vectors of structs.
//!
//! `cargo run --release -p benches --bin batch`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

mod bids;
mod engine;
mod structs;

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use benches::machine::Circumstances;
use benches::meter::{median, process_cpu_ns, thread_cpu_ns, verdict};
use clap::Parser;
use headwater::batch::{BatchBuilder, BatchLimits, GROUPS_DEFAULT, Key, group_of, subtask_of};
use headwater::prelude::*;

use self::bids::{Bid, KEYS, MadeBids, THREADS};

/// Measure batches.
#[derive(Parser)]
#[command(name = "batch")]
struct Options {
    /// Events of the whole pipeline.
    #[arg(long, default_value_t = 4_000_000)]
    events: u64,
    /// Rounds; medians are printed.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Run the engine's pipeline this often and nothing else, for a profiler.
    #[arg(long)]
    only_engine: Option<usize>,
}

/// What a pipeline gives: rows and a sum over their hashes, equal for equal rows in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    rows: u64,
    hash: u64,
}

impl Totals {
    fn add(&mut self, window_start: i64, key: u64, (count, sum, max): (u64, u64, u64)) {
        let parts = [window_start as u64, key, count, sum, max];
        let hash = parts.iter().fold(0, |hash: u64, part| u64::hash(hash.rotate_left(7) ^ part));
        self.merge(Totals { rows: 1, hash });
    }

    fn merge(&mut self, other: Totals) {
        self.rows += other.rows;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

/// Rows of the measurements of a single step.
const STEP_ROWS: u64 = 1 << 20;

/// Nanoseconds per row to write bids into batches.
fn build(bids: &MadeBids) -> Result<f64> {
    let mut builder = BatchBuilder::<Bid>::new(BatchLimits::default());
    let start = thread_cpu_ns();
    for index in 0..STEP_ROWS {
        builder.push(bids.view(index))?;
        if builder.is_full() {
            black_box(builder.finish());
        }
    }
    Ok((thread_cpu_ns() - start) as f64 / STEP_ROWS as f64)
}

/// Nanoseconds per row to build the same as structs with strings, in vectors.
fn build_structs(bids: &MadeBids) -> f64 {
    let rows_max = BatchLimits::default().rows_max;
    let start = thread_cpu_ns();
    let mut rows = Vec::with_capacity(rows_max);
    for index in 0..STEP_ROWS {
        rows.push(Bid::from_view(bids.view(index)));
        if rows.len() == rows_max {
            black_box(std::mem::replace(&mut rows, Vec::with_capacity(rows_max)));
        }
    }
    (thread_cpu_ns() - start) as f64 / STEP_ROWS as f64
}

/// Nanoseconds per row to drop a quarter of the rows and split the rest by key hash, by selection.
fn filter_and_exchange(batches: &[Batch<Bid>]) -> f64 {
    let (mut kept, mut parts) = (Vec::new(), vec![Vec::new(); THREADS]);
    let (mut rows, start) = (0, thread_cpu_ns());
    while rows < STEP_ROWS as usize {
        for batch in batches {
            kept.clear();
            batch.for_each(|at, bid| {
                if bids::is_kept(bid.price) {
                    kept.push(at as u32);
                }
            });
            let filtered = batch.select(&kept);
            parts.iter_mut().for_each(Vec::clear);
            for (at, hash) in filtered.column(|bid| u64::hash(bid.auction)).into_iter().enumerate() {
                let group = group_of(hash, GROUPS_DEFAULT);
                parts[subtask_of(group, GROUPS_DEFAULT, THREADS)].push(at as u32);
            }
            for part in &parts {
                black_box(filtered.select(part));
            }
            rows += batch.len();
        }
    }
    (thread_cpu_ns() - start) as f64 / rows as f64
}

fn some_batches(bids: &MadeBids) -> Result<Vec<Batch<Bid>>> {
    let mut builder = BatchBuilder::<Bid>::new(BatchLimits::default());
    let mut batches = Vec::new();
    for index in 0.. {
        builder.push(bids.view(index))?;
        if builder.is_full() {
            batches.extend(builder.finish());
            // Few enough to stay in the second-level cache, as a batch that was just built does.
            if batches.len() == 4 {
                break;
            }
        }
    }
    Ok(batches)
}

/// Nanoseconds of CPU per event, of all threads, and what the pipeline gave.
fn whole(events: u64, run: impl FnOnce() -> Result<Totals>) -> Result<(f64, Totals)> {
    let start = process_cpu_ns();
    let totals = run()?;
    Ok(((process_cpu_ns() - start) as f64 / events as f64, totals))
}

fn measure(options: &Options) -> Result<bool> {
    let bids = MadeBids::new();
    if let Some(times) = options.only_engine {
        return (0..times).try_for_each(|_| engine::run(&bids, options.events).map(drop)).map(|()| true);
    }
    println!("{}; medians of {} rounds\n", Circumstances::now(Path::new(".")), options.rounds);
    let batches = some_batches(&bids)?;
    let (mut built, mut built_structs, mut exchanged) = (Vec::new(), Vec::new(), Vec::new());
    let (mut engine_ns, mut structs_ns) = (Vec::new(), Vec::new());
    let mut equal = true;
    for _ in 0..options.rounds {
        built.push(build(&bids)?);
        built_structs.push(build_structs(&bids));
        exchanged.push(filter_and_exchange(&batches));
        let (ns, totals) = whole(options.events, || engine::run(&bids, options.events))?;
        engine_ns.push(ns);
        let (ns, expected) = whole(options.events, || Ok(structs::run(&bids, options.events)))?;
        structs_ns.push(ns);
        if totals != expected {
            eprintln!("batch: the engine gave {totals:?}, the program by hand {expected:?}");
            equal = false;
        }
    }
    let (built, exchanged) = (median(built), median(exchanged));
    let (engine_ns, structs_ns) = (median(engine_ns), median(structs_ns));
    println!("CPU per bid of 6 fields, 2 of them strings; 1024 rows a batch");
    println!("build a batch                 {built:>7.1} ns   {}", verdict(built, 35.0, true));
    println!("  a vector of structs         {:>7.1} ns", median(built_structs));
    println!("filter + exchange             {exchanged:>7.1} ns   {}", verdict(exchanged, 8.0, true));
    println!(
        "\nsource, filter, map, exchange, window of 10 s: count, sum, max of {KEYS} keys; {} events, {THREADS} \
         threads",
        options.events
    );
    println!("engine                        {engine_ns:>7.1} ns");
    println!("vectors of structs, by hand   {structs_ns:>7.1} ns");
    let ratio = structs_ns / engine_ns;
    println!("ratio                         {ratio:>7.2}      {}", verdict(ratio, 2.0, false));
    println!("results                       {}", if equal { "equal" } else { "DIFFERENT" });
    Ok(equal)
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("batch: {error}");
            ExitCode::FAILURE
        }
    }
}
