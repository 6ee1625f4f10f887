//! The measurements of one comparison, as a table for people and as JSON lines for scripts.

use crate::dataset::Dataset;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::machine::Circumstances;
use crate::process::{Cost, median};
use crate::workload::Workload;
use crate::{Context, Error, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// All runs of one engine.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Which engine.
    pub engine: Engine,
    /// In the order they were made.
    pub runs: Vec<Cost>,
    /// Of the last run's result.
    pub digest: Digest,
    /// Whether all runs gave the rows of the reference.
    pub equal: bool,
}

/// One comparison.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where and when.
    pub circumstances: Circumstances,
    /// What was asked.
    pub workload: Workload,
    /// What was read.
    pub data: Dataset,
    /// The engines; the first one is the one the others are compared with.
    pub measured: Vec<Measured>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    #[serde(flatten)]
    circumstances: &'a Circumstances,
    workload: &'a str,
    engine: &'a str,
    events: u64,
    input_bytes: u64,
    rows: u64,
    equal: bool,
    cpu_us_per_event: f64,
    wall_s: f64,
    rss_bytes: u64,
    runs: &'a [Cost],
}

impl Report {
    /// Medians and ratios, in Markdown.
    pub fn table(&self) -> String {
        let c = &self.circumstances;
        let mut out = String::new();
        let unit = self.workload.event();
        let runs = self.measured.iter().map(|m| m.runs.len()).max().unwrap_or(0);
        let _ = writeln!(
            out,
            "{}, {} {unit}s, {} MB",
            self.workload.name(),
            self.data.events,
            self.data.bytes / 1_000_000
        );
        let _ = writeln!(out, "{c}; medians of {runs} interleaved runs, files in the page cache\n");
        let first = self.measured.first().map_or("-", |m| m.engine.name());
        let _ = writeln!(
            out,
            "| engine | CPU us/{unit} | wall s | million {unit}s/s | peak MB | CPU / {first} | wall / {first} | rows | equal |"
        );
        let _ = writeln!(out, "|---|---|---|---|---|---|---|---|---|");
        for m in &self.measured {
            let (cpu, wall, rss) = medians(m);
            let (base_cpu, base_wall, _) = self.measured.first().map_or((cpu, wall, rss), medians);
            let _ = writeln!(
                out,
                "| {} | {:.3} | {wall:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {} | {} |",
                m.engine.name(),
                cpu * 1e6 / self.data.events as f64,
                self.data.events as f64 / wall / 1e6,
                rss / 1e6,
                cpu / base_cpu,
                wall / base_wall,
                m.digest.rows,
                if m.equal { "yes" } else { "NO" }
            );
        }
        out
    }

    /// Appends one line per engine.
    pub fn append_json(&self, path: &Path) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path).context(path.display())?;
        for m in &self.measured {
            let (cpu, wall_s, rss) = medians(m);
            let line = JsonLine {
                circumstances: &self.circumstances,
                workload: self.workload.name(),
                engine: m.engine.name(),
                events: self.data.events,
                input_bytes: self.data.bytes,
                rows: m.digest.rows,
                equal: m.equal,
                cpu_us_per_event: cpu * 1e6 / self.data.events as f64,
                wall_s,
                rss_bytes: rss as u64,
                runs: &m.runs,
            };
            let text = serde_json::to_string(&line).map_err(|e| Error::Failed(e.to_string()))?;
            writeln!(file, "{text}").context(path.display())?;
        }
        Ok(())
    }
}

fn medians(m: &Measured) -> (f64, f64, f64) {
    (median(&m.runs, |c| c.cpu_s), median(&m.runs, |c| c.wall_s), median(&m.runs, |c| c.rss_bytes as f64))
}
