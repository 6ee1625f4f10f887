//! The workloads: what each reads and what it writes.

use clap::ValueEnum;

/// What an engine is asked to do. All outputs are CSV without a header, rows in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Filter and project bids: `auction,price` where `auction % 123 == 0`.
    W1,
    /// Tumbling windows of 10 s per auction: `window_start,auction,count,sum(price),max(price)`.
    W2,
    /// Windows of 10 s every 2 s per auction: `window_start,auction,count`.
    W3,
    /// Word count: `word,count`.
    W4,
    /// Logistic score of eight features: `id,score`.
    W5,
}

/// How bids are written; words are text and features CSV in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON lines.
    Json,
    /// CSV without a header.
    Csv,
}

impl Workload {
    /// The name on every engine's command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::W1 => "w1",
            Workload::W2 => "w2",
            Workload::W3 => "w3",
            Workload::W4 => "w4",
            Workload::W5 => "w5",
        }
    }

    /// What one event is, for the unit of a table.
    pub fn event(self) -> &'static str {
        match self {
            Workload::W1 | Workload::W2 | Workload::W3 => "bid",
            Workload::W4 => "word",
            Workload::W5 => "row",
        }
    }
}
