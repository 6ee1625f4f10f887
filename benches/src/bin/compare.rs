//! Runs one workload on several engines side by side, checks that they agree and prints what each cost.
//!
//! `cargo run --release -p benches --bin compare -- --workload w2 --runs 3 --with hand,timely,renoir`
#![allow(clippy::print_stdout, clippy::print_stderr)] // printing is what this program is for

use benches::dataset::Dataset;
use benches::digest::Digest;
use benches::engine::{Engine, Places};
use benches::machine::Circumstances;
use benches::report::{Measured, Report};
use benches::workload::{Format, Workload};
use benches::{Error, Result, process};
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare engines on the same files: CPU per event, wall, memory, and equal results.
#[derive(Parser)]
#[command(name = "compare")]
struct Options {
    /// What to run.
    #[arg(long, value_enum)]
    workload: Workload,
    /// Events of the data set (w4: words, w5: rows).
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// How bids are written.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Runs per engine; one run of each by turns.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The engines beside ours, built when needed.
    #[arg(long, value_enum, value_delimiter = ',')]
    with: Vec<Engine>,
    /// Where JSON lines are appended [default: TARGET/bench-data/results.jsonl].
    #[arg(long)]
    json: Option<PathBuf>,
    /// The target folder of the peers [default: TARGET/peers].
    #[arg(long)]
    peers_target: Option<PathBuf>,
    /// Further arguments for our own program.
    #[arg(last = true)]
    ours: Vec<String>,
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("compare: the engines do not agree");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all results were equal.
fn compare(options: &Options) -> Result<bool> {
    let places = Places::find(options.peers_target.clone())?;
    let engines = engines(options, &places)?;
    for engine in &engines {
        eprintln!("building {}", engine.name());
        engine.build(&places)?;
    }
    let cache = places.target.join("bench-data");
    let scratch = cache.join("out");
    make_folder(&scratch)?;
    eprintln!("data: {} events of {}", options.events, options.workload.name());
    let data = Dataset::prepare(&cache, options.workload, options.format, options.events)?;

    let circumstances = Circumstances::now(&places.root);
    let mut measured: Vec<Measured> = engines
        .iter()
        .map(|&engine| Measured { engine, runs: Vec::new(), digest: Digest::default(), equal: true })
        .collect();
    let mut reference = None;
    for run in 1..=options.runs.max(1) {
        for m in &mut measured {
            let output = scratch.join(format!("{:?}", m.engine).to_lowercase());
            clear(&output)?;
            let mut command =
                m.engine.command(&places, options.workload, &data.input, &output, &options.ours);
            let cost = process::run(&mut command, &output.with_extension("log"))?;
            m.digest = Digest::of(&output, options.workload)?;
            m.equal &= m.digest == *reference.get_or_insert(m.digest);
            eprintln!(
                "run {run}: {:<12} {:6.2} s wall {:6.2} s CPU, {}",
                m.engine.name(),
                cost.wall_s,
                cost.cpu_s,
                m.digest
            );
            m.runs.push(cost);
        }
    }
    let report = Report { circumstances, workload: options.workload, data, measured };
    println!("{}", report.table());
    report.append_json(&options.json.clone().unwrap_or_else(|| cache.join("results.jsonl")))?;
    Ok(report.measured.iter().all(|m| m.equal))
}

/// Ours first, then the others as asked.
fn engines(options: &Options, places: &Places) -> Result<Vec<Engine>> {
    let mut engines = vec![Engine::Headwater];
    for &engine in &options.with {
        if !engines.contains(&engine) {
            engines.push(engine);
        }
    }
    engines.retain(|&engine| {
        let is_there = engine.is_there(places);
        if !is_there {
            eprintln!("{} is left out: examples/bids.rs does not exist", engine.name());
        }
        is_there
    });
    if engines.is_empty() { Err(Error::Failed("nothing to run".into())) } else { Ok(engines) }
}

fn clear(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        fs::remove_dir_all(folder)
            .map_err(|cause| Error::Io { what: folder.display().to_string(), cause })?;
    }
    make_folder(folder)
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|cause| Error::Io { what: folder.display().to_string(), cause })
}
