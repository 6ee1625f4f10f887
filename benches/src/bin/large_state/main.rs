//! State ten times as large as its budget, with epochs: what a record costs beside the same in memory and in
//! a plain RocksDB, how much memory it takes, and how long a killed job needs to go on.
//!
//! All keys are loaded first; then come keys at random, uniform or by Zipf's law, all into one window. Every
//! run is a process of its own, and its result is checked.
//! `cargo run --release -p benches --bin large_state -- --budget-mib 64`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "measuring real time is what this program is for")]

mod bare;
mod data;
mod job;
mod recovery;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use benches::machine::Circumstances;
use clap::{Args, Parser, ValueEnum};
use headwater::prelude::*;

/// Measure state that is much larger than memory.
#[derive(Parser)]
#[command(name = "large_state")]
struct Options {
    /// Memory for keyed state, in MiB.
    #[arg(long, default_value_t = 64)]
    budget_mib: usize,
    /// Keys [default: as many as take ten times the budget].
    #[arg(long)]
    keys: Option<u64>,
    /// Records behind the loading of all keys, of which the first half warms up [default: half of the keys].
    #[arg(long)]
    records: Option<u64>,
    /// The exponent of Zipf's law.
    #[arg(long, default_value_t = 1.05)]
    zipf: f64,
    /// Instances of each stage.
    #[arg(long, default_value_t = 2)]
    parallelism: usize,
    /// Milliseconds between two epochs.
    #[arg(long, default_value_t = 200)]
    epoch_ms: u64,
    /// Where state goes [default: a temporary directory].
    #[arg(long)]
    home: Option<PathBuf>,
    /// What to measure [default: everything].
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
    #[command(flatten)]
    child: Child,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Uniform keys: in memory, with the budget, in a plain RocksDB.
    Uniform,
    /// Keys by Zipf's law: in memory, with the budget.
    Zipf,
    /// Uniform keys with the budget and no epochs.
    Spill,
    /// Kills.
    Recovery,
}

/// What a child is to do.
#[derive(Args)]
struct Child {
    #[arg(long, hide = true, value_enum)]
    run: Option<Run>,
    #[arg(long, hide = true)]
    is_zipf: bool,
    #[arg(long, hide = true)]
    state: Option<PathBuf>,
    #[arg(long, hide = true)]
    spill: Option<PathBuf>,
    #[arg(long, hide = true)]
    is_whole: bool,
    #[arg(long, hide = true)]
    caught: Option<u64>,
    #[arg(long, hide = true)]
    stop: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Run {
    Job,
    Bare,
    Leg,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) keys: u64,
    pub(crate) records: u64,
    pub(crate) zipf: Option<f64>,
    pub(crate) budget_mib: usize,
    pub(crate) parallelism: usize,
    pub(crate) epoch_ms: u64,
    pub(crate) state: Option<PathBuf>,
    pub(crate) spill: Option<PathBuf>,
    /// A plain RocksDB has the whole budget for itself.
    pub(crate) is_whole: bool,
}

/// Tells the parent.
pub(crate) fn say(name: &str, value: f64) {
    println!("{name} {value}");
}

/// What a child said.
struct Said(Vec<(String, f64)>);

impl Said {
    fn get(&self, name: &str) -> f64 {
        self.0.iter().find(|(said, _)| said == name).map_or(f64::NAN, |(_, value)| *value)
    }

    fn is_right(&self) -> bool {
        self.get("right") == 1.0
    }
}

/// Memory in which any state fits.
const MUCH_MIB: usize = 16 << 10;

/// Lengths of the tail of the log, in records, and parts of all keys that are loaded, as divisors.
const TAILS: [u64; 2] = [20_000, 100_000];
const SIZES: [u64; 2] = [8, 1];

/// The parent: runs children by turns and prints what they say.
struct Bench {
    part: Part,
    zipf: f64,
    home: PathBuf,
}

impl Bench {
    fn command(&self, part: &Part, run: &str, more: &[(&str, u64)]) -> std::io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(format!("--run={run}"));
        let mut put = |name: &str, value: String| {
            command.arg(format!("--{name}={value}"));
        };
        put("keys", part.keys.to_string());
        put("records", part.records.to_string());
        put("budget-mib", part.budget_mib.to_string());
        put("parallelism", part.parallelism.to_string());
        put("epoch-ms", part.epoch_ms.to_string());
        put("zipf", self.zipf.to_string());
        part.state.iter().for_each(|state| put("state", state.display().to_string()));
        part.spill.iter().for_each(|spill| put("spill", spill.display().to_string()));
        more.iter().for_each(|(name, value)| put(name, value.to_string()));
        if part.zipf.is_some() {
            command.arg("--is-zipf");
        }
        if part.is_whole {
            command.arg("--is-whole");
        }
        Ok(command)
    }

    fn clear(&self) {
        // Not there the first time.
        let _ = std::fs::remove_dir_all(&self.home);
        let _ = std::fs::create_dir_all(&self.home);
    }

    fn run(&self, part: &Part, run: &str) -> std::io::Result<Said> {
        self.clear();
        let said = Said(recovery::run_and_kill(&mut self.command(part, run, &[])?)?);
        self.clear();
        Ok(said)
    }

    fn print(&self, name: &str, said: &Said, beside: f64) {
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {:.1} | {} |",
            said.get("load_us"),
            said.get("use_us"),
            said.get("use_us") / beside,
            said.get("peak_bytes") / f64::from(1 << 20),
            if said.is_right() { "right" } else { "WRONG" }
        );
    }

    /// The job in memory, and with the budget and epochs; what the records of both cost.
    fn job(&self, name: &str, zipf: Option<f64>) -> std::io::Result<(Said, Said)> {
        let part = Part { zipf, ..self.part.clone() };
        let ample = self.run(&Part { budget_mib: MUCH_MIB, ..part.clone() }, "job")?;
        self.print(&format!("{name}, all in memory, no epochs"), &ample, ample.get("use_us"));
        let large = self.run(&Part { state: Some(self.home.join("job")), ..part }, "job")?;
        self.print(&format!("{name}, budget and epochs"), &large, ample.get("use_us"));
        Ok((ample, large))
    }

    fn says_memory(&self, said: &Said) -> bool {
        let limit = (self.part.budget_mib as f64) * 1.2;
        let peak = said.get("peak_bytes") / f64::from(1 << 20);
        println!("memory: {peak:.1} MiB of {limit:.1} (budget + 20 %): {}", verdict(peak <= limit));
        peak <= limit
    }

    fn zipf(&self) -> std::io::Result<bool> {
        header();
        let (ample, large) = self.job(&format!("Zipf {}", self.zipf), Some(self.zipf))?;
        let ratio = large.get("use_us") / ample.get("use_us");
        println!("\nZipf: {ratio:.2} of the cost in memory, at most 5: {}", verdict(ratio <= 5.0));
        Ok(self.says_memory(&large) && ratio <= 5.0 && ample.is_right() && large.is_right())
    }

    fn uniform(&self) -> std::io::Result<bool> {
        header();
        let (ample, large) = self.job("uniform", None)?;
        let bare = self.run(&Part { spill: Some(self.home.join("bare")), ..self.part.clone() }, "bare")?;
        self.print("uniform, plain RocksDB, get and write", &bare, ample.get("use_us"));
        let spill = Some(self.home.join("bare"));
        let whole = self.run(&Part { spill, is_whole: true, ..self.part.clone() }, "bare")?;
        self.print("the same with the whole budget for itself", &whole, ample.get("use_us"));
        let floor = bare.get("use_us");
        println!("\nplain RocksDB before it was written to: {:.2} us per get", bare.get("read_us"));
        let (ratio, with_job) = (large.get("use_us") / floor, floor + ample.get("use_us"));
        println!("uniform: {ratio:.2} of a plain RocksDB, at most 1.3: {}", verdict(ratio <= 1.3));
        println!("         {:.2} of a plain RocksDB and the job in memory", large.get("use_us") / with_job);
        let ratio_whole = large.get("use_us") / whole.get("use_us");
        println!("         {ratio_whole:.2} of a plain RocksDB with the whole budget for itself");
        let right = whole.is_right() && ample.is_right() && large.is_right() && bare.is_right();
        Ok(self.says_memory(&large) && ratio <= 1.3 && right)
    }

    fn spill(&self) -> std::io::Result<bool> {
        header();
        let said = self.run(&Part { spill: Some(self.home.join("spill")), ..self.part.clone() }, "job")?;
        self.print("uniform, budget, no epochs", &said, said.get("use_us"));
        Ok(self.says_memory(&said) && said.is_right())
    }

    fn recovery(&self) -> std::io::Result<bool> {
        println!("\n| keys | tail: records | epochs | MiB of the log | ms to the first record | CPU ms |");
        println!("|---|---|---|---|---|---|");
        let mut right = true;
        for size in SIZES {
            let keys = self.part.keys / size;
            let state = Some(self.home.join("job"));
            let part = Part { keys, records: TAILS.iter().sum(), state, ..self.part.clone() };
            let ends = [keys, keys + TAILS[0], keys + TAILS[0] + TAILS[1]];
            self.clear();
            for leg in 0..=TAILS.len() {
                let more: &[_] = match ends.get(leg + 1) {
                    Some(stop) => &[("caught", ends[leg]), ("stop", *stop)],
                    None => &[],
                };
                let said = Said(recovery::run_and_kill(&mut self.command(&part, "leg", more)?)?);
                if leg > 0 {
                    let (tail, epochs) = (TAILS[leg - 1], said.get("tail_epochs"));
                    let mib = said.get("tail_bytes") / f64::from(1 << 20);
                    let (wall, cpu) = (said.get("start_ms"), said.get("start_cpu_ms"));
                    println!("| {keys} | {tail} | {epochs} | {mib:.1} | {wall:.1} | {cpu:.0} |");
                }
                right &= leg < TAILS.len() || said.is_right();
            }
        }
        self.clear();
        println!("results behind the last run: {}", if right { "right" } else { "WRONG" });
        Ok(right)
    }
}

fn header() {
    println!("\n| run | us per key, loading | us per record | to memory | peak MiB | result |");
    println!("|---|---|---|---|---|---|");
}

fn verdict(kept: bool) -> &'static str {
    if kept { "kept" } else { "EXCEEDED" }
}

fn parent(options: &Options, part: Part) -> std::io::Result<bool> {
    println!("{}\n", Circumstances::now(Path::new(".")));
    let bytes = job::bytes_per_key() * part.keys as f64;
    let times = bytes / (part.budget_mib << 20) as f64;
    println!(
        "{} keys, {:.0} MiB if in memory, {times:.1} times the budget of {} MiB; then {} records; epochs every \
         {} ms",
        part.keys,
        bytes / f64::from(1 << 20),
        part.budget_mib,
        part.records,
        part.epoch_ms
    );
    let own = std::env::temp_dir().join(format!("headwater-large-state-{}", std::process::id()));
    let home = options.home.clone().unwrap_or(own);
    let bench = Bench { part, zipf: options.zipf, home: home.join("large-state") };
    let wanted = |what| options.only.is_empty() || options.only.contains(&what);
    let mut kept = true;
    if wanted(What::Uniform) {
        kept &= bench.uniform()?;
    }
    if wanted(What::Zipf) {
        kept &= bench.zipf()?;
    }
    if wanted(What::Spill) {
        kept &= bench.spill()?;
    }
    if wanted(What::Recovery) {
        kept &= bench.recovery()?;
    }
    Ok(kept)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let fit = || ((options.budget_mib << 20) as f64 * 10.0 / job::bytes_per_key()).ceil() as u64;
    let keys = options.keys.unwrap_or_else(fit);
    let child = &options.child;
    let part = Part {
        keys,
        records: options.records.unwrap_or(keys / 2),
        zipf: child.is_zipf.then_some(options.zipf),
        budget_mib: options.budget_mib,
        parallelism: options.parallelism,
        epoch_ms: options.epoch_ms,
        state: child.state.clone(),
        spill: child.spill.clone(),
        is_whole: child.is_whole,
    };
    let outcome = match child.run {
        Some(Run::Job) => job::run(&part).map(|()| true),
        Some(Run::Bare) => bare::run(&part, part.spill.as_deref().unwrap_or(Path::new("."))).map(|()| true),
        Some(Run::Leg) => recovery::leg(&part, child.caught, child.stop).map(|()| true),
        None => parent(&options, part).map_err(Error::from),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("large_state: {error}");
            ExitCode::FAILURE
        }
    }
}
