//! The auction workloads: bids from files through filters, windows and counts to one file of rows.
//!
//! Run with: `cargo run --release --example bids -- --workload w2 --input FOLDER --output out.csv`
//!
//! | workload | rows out |
//! |---|---|
//! | w1 | `auction,price` of every bid whose auction is divisible by 123 |
//! | w2 | `window_start,auction,count,sum(price),max(price)` per auction and 10 s |
//! | w3 | `window_start,auction,count` per auction and 10 s, every 2 s |
//! | w4 | `word,count` over lines of text |
//! | w5 | `id,score` of a logistic model over eight features |

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use examples::{format_of, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater::source::Source;
use headwater_connectors::format::InputFormat;
use headwater_connectors::{CsvFile, JsonLines, SourceExt, TextFile};

#[derive(Clone, Copy, ValueEnum)]
enum Workload {
    W1,
    W2,
    W3,
    W4,
    W5,
}

/// The auction workloads W1 to W5 on files of bids, words or features.
#[derive(Parser)]
struct Command {
    /// What to compute.
    #[arg(long, value_enum, default_value = "w2")]
    workload: Workload,
    /// A file, a folder or a glob: JSON lines or CSV by extension; one partition per file.
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// The file of rows: CSV without a header, rows in any order. With --state a folder of such files.
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// CSV files start with a line of column names.
    #[arg(long)]
    header: bool,
    /// Most records per second.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

#[derive(Record, Clone)]
struct Bid {
    auction: u64,
    bidder: u64,
    price: u64,
    channel: String,
    url: String,
    date_time: i64,
}

#[derive(Record)]
struct AuctionPrice {
    auction: u64,
    price: u64,
}

#[derive(Record)]
struct AuctionStats {
    window_start: i64,
    auction: u64,
    count: u64,
    sum: u64,
    max: u64,
}

#[derive(Record)]
struct AuctionCount {
    window_start: i64,
    auction: u64,
    count: u64,
}

#[derive(Record)]
struct Features {
    id: u64,
    f1: f64,
    f2: f64,
    f3: f64,
    f4: f64,
    f5: f64,
    f6: f64,
    f7: f64,
    f8: f64,
}

#[derive(Record)]
struct Score {
    id: u64,
    score: f64,
}

/// Bids come at most two seconds behind the newest of their file.
fn timed(bids: &Stream<Bid>) -> Stream<Bid> {
    bids.event_time(|bid| bid.date_time, Watermarks::bounded(secs(2)))
}

fn divisible(bids: &Stream<Bid>) -> Stream<AuctionPrice> {
    bids.filter(|bid| bid.auction % 123 == 0)
        .map(|bid| AuctionPrice { auction: bid.auction, price: bid.price })
}

fn tumbling(bids: &Stream<Bid>) -> Stream<AuctionStats> {
    timed(bids)
        .key_by(|bid| bid.auction)
        .window(Window::tumbling(secs(10)))
        .aggregate(|a| (a.count(), a.sum(|bid| bid.price), a.max(|bid| bid.price)))
        .map(|window| {
            let (count, sum, max) = window.value;
            AuctionStats { window_start: window.window_start, auction: window.key, count, sum, max }
        })
}

fn sliding(bids: &Stream<Bid>) -> Stream<AuctionCount> {
    timed(bids)
        .key_by(|bid| bid.auction)
        .window(Window::sliding(secs(10), secs(2)))
        .aggregate(|a| a.count())
        .map(|window| AuctionCount {
            window_start: window.window_start,
            auction: window.key,
            count: window.value,
        })
}

fn words(lines: &Stream<String>) -> Stream<KeyedResult<String, u64>> {
    lines
        .flat_map_into::<String>(|line, words| line.split_whitespace().for_each(|word| words.push(word)))
        .key_by_value()
        .count()
        .output_mode(OutputMode::Append)
}

fn scores(features: &Stream<Features>) -> Stream<Score> {
    features.map(|f| {
        let z = 0.05 + 0.25 * f.f1 - 0.5 * f.f2 + 0.75 * f.f3 + 0.1 * f.f4 - 0.3 * f.f5 + 0.6 * f.f6
            - 0.2 * f.f7
            + 0.4 * f.f8;
        Score { id: f.id, score: 1.0 / (1.0 + (-z).exp()) }
    })
}

/// Adds a source, slowed down if asked.
fn limited<S: Source>(flow: &StreamBuilder, name: &str, source: S, rate: Option<f64>) -> Stream<S::Record> {
    match rate {
        Some(rate) => flow.source(name, source.rate(rate)),
        None => flow.source(name, source),
    }
}

fn records<T: Record>(flow: &StreamBuilder, name: &str, command: &Command) -> Result<Stream<T>> {
    Ok(match format_of(&command.input)? {
        InputFormat::JsonLines => limited(flow, name, JsonLines::<T>::new(&command.input), command.rate),
        InputFormat::Csv { delimiter } => {
            let file = CsvFile::<T>::new(&command.input).header(command.header).delimiter(delimiter);
            limited(flow, name, file, command.rate)
        }
        _ => {
            let what = "this workload reads JSON lines or CSV; w4 reads text";
            return Err(Error::failed(format!("{}: {what}", command.input.display())));
        }
    })
}

fn main() -> ExitCode {
    cli::main(|| {
        let command = Command::parse();
        let flow = StreamBuilder::new("bids");
        let rows = rows_to(&command.output, &command.options).header(false);
        match command.workload {
            Workload::W1 => divisible(&records(&flow, "bids", &command)?).sink("rows", rows),
            Workload::W2 => tumbling(&records(&flow, "bids", &command)?).sink("rows", rows),
            Workload::W3 => sliding(&records(&flow, "bids", &command)?).sink("rows", rows),
            Workload::W4 => {
                let lines = limited(&flow, "lines", TextFile::new(&command.input), command.rate);
                words(&lines).sink("rows", rows);
            }
            Workload::W5 => scores(&records(&flow, "features", &command)?).sink("rows", rows),
        }
        cli::act(command.action, flow.build()?, &command.options)?;
        Ok(())
    })
}
