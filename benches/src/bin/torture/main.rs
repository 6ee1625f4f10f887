//! Kills a durable job again and again, and compares what it shows with what it should.
//!
//! 1. `data`: the input as a function of a seed
//! 2. `job`: the child: one run of the job
//! 3. `child`: a run as a process
//! 4. `cycle`: kill, start again, until the job is done
//! 5. `watch`: reads the output while the job runs
//! 6. `oracle`: what the output must be
//! 7. `tally`: what it came to
//!
//! `cargo build --release --workspace --bins --features failpoints`, then `torture --kills 5000`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

mod child;
mod cycle;
mod data;
mod job;
mod oracle;
mod tally;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use self::child::now;
use self::cycle::Cycle;
use self::tally::Tally;

/// Kill -9 torture of a durable job: exit code 1 if a row is wrong, missing, doubled, changed or gone.
#[derive(Parser)]
#[command(name = "torture")]
struct Options {
    /// Ends when so many kills have hit.
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// Ends after so many minutes, whatever the kills.
    #[arg(long)]
    minutes: Option<f64>,
    /// Where all random choices come from [default: the time].
    #[arg(long)]
    seed: Option<u64>,
    /// Runs this cycle only.
    #[arg(long)]
    cycle: Option<u64>,
    /// Most kills of one job.
    #[arg(long, default_value_t = 40)]
    cycle_kills: u64,
    /// Where the jobs live [default: in memory].
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Says how every run ended.
    #[arg(long)]
    trace: bool,
    /// Is the child.
    #[arg(long, hide = true)]
    job: bool,
    #[command(flatten)]
    run: job::Run,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.job {
        return match job::run(&options.run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match torture(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Cycle after cycle, until there were enough kills or one was wrong; returns how much was wrong.
fn torture(options: &Options) -> std::io::Result<usize> {
    let started = now();
    let seed = options.seed.unwrap_or_else(|| {
        let age = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        age.as_millis() as u64 % 1_000_000_007
    });
    let home = options.directory.clone().unwrap_or_else(|| {
        // A kill leaves what the system holds for the disk: where there is no disk, more kills fit in.
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        place.join(format!("headwater-torture-{}", std::process::id()))
    });
    let points = if cfg!(feature = "failpoints") { "on" } else { "off" };
    println!("torture --seed {seed}, fail points {points}, in {}", home.display());
    let mut tally = Tally::default();
    let mut wrong = 0;
    let limit = options.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let cycles = options.cycle.map_or(0..u64::MAX, |cycle| cycle..cycle + 1);
    for cycle in cycles {
        if tally.kills >= options.kills || limit.is_some_and(|limit| started.elapsed() >= limit) {
            break;
        }
        let place = home.join(cycle.to_string());
        let violations =
            Cycle::new(&place, seed, cycle, options.trace, &mut tally).run(options.cycle_kills)?;
        if !violations.is_empty() {
            wrong += violations.len();
            for violation in violations.iter().take(20) {
                println!("VIOLATION {violation}");
            }
            println!("reproduce: torture --seed {seed} --cycle {cycle} (left in {})", place.display());
            break;
        }
        std::fs::remove_dir_all(&place)?;
    }
    if wrong == 0 {
        // Only an empty directory goes.
        let _ = std::fs::remove_dir(&home);
    }
    tally.print(seed, started.elapsed(), wrong);
    Ok(wrong)
}
