//! One timed run of a program: wall time, CPU time and peak memory as the kernel counts them.

use crate::{Context, Error, Result};
use serde::Serialize;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use wait4::Wait4;

/// What one run of a program cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// From its start to its end, in seconds.
    pub wall_s: f64,
    /// User and system time of the process and its children, in seconds.
    pub cpu_s: f64,
    /// The system part of `cpu_s`.
    pub system_s: f64,
    /// Peak resident memory in bytes, mapped files included.
    pub rss_bytes: u64,
}

/// Runs `command` to its end, its output into the file `log`.
#[allow(clippy::disallowed_methods)] // measuring real time is what this file is for
pub fn run(command: &mut Command, log: &Path) -> Result<Cost> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = File::create(log).context(log.display())?;
    let err = out.try_clone().context(log.display())?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let start = Instant::now();
    let used = command.spawn().and_then(|child| child.wait4()).context(&program)?;
    let wall_s = start.elapsed().as_secs_f64();
    if !used.status.success() {
        return Err(Error::Failed(format!("{program} ended with {}; it said:\n{}", used.status, tail(log))));
    }
    let system_s = used.rusage.stime.as_secs_f64();
    let cpu_s = used.rusage.utime.as_secs_f64() + system_s;
    Ok(Cost { wall_s, cpu_s, system_s, rss_bytes: used.rusage.maxrss })
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// The median by `value`; the runs are few, so of an even number the lower one.
pub fn median(runs: &[Cost], value: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_with_its_last_words() {
        let log = std::env::temp_dir().join(format!("headwater-process-{}.log", std::process::id()));
        let error = run(Command::new("sh").args(["-c", "echo no luck; exit 3"]), &log).unwrap_err();
        assert!(error.to_string().contains("no luck"), "{error}");
        let cost = run(Command::new("sh").args(["-c", "true"]), &log).unwrap();
        assert!(cost.wall_s > 0.0 && cost.rss_bytes > 0);
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn the_median_is_one_of_the_runs() {
        let cost = |wall_s| Cost { wall_s, cpu_s: 0.0, system_s: 0.0, rss_bytes: 0 };
        assert_eq!(median(&[cost(3.0), cost(1.0), cost(2.0)], |c| c.wall_s), 2.0);
        assert_eq!(median(&[cost(3.0), cost(1.0)], |c| c.wall_s), 1.0);
    }
}
