//! What a row of Parquet costs to write and to read, in CPU time of one thread, beside DuckDB and Polars on the
//! same files.
//!
//! `scripts/python; cargo run --release -p benches --features full --bin parquet`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use benches::machine::Circumstances;
use benches::meter::{median, thread_cpu_ns};
use clap::Parser;
use headwater::batch::{Batch, BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::sink::{Cut, Sink, Subtask};
use headwater::source::{Poll, Rejected, Source, SourceOutput};
use headwater::time::{Epoch, SystemClock};
use headwater_connectors::{ParquetFile, ParquetSink};

/// Measures Parquet files beside other programs.
#[derive(Parser)]
struct Options {
    /// Rows of the file.
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// A Python with duckdb, polars and pyarrow; that of `scripts/python` unless given.
    #[arg(long)]
    python: Option<PathBuf>,
}

#[derive(Record, Clone, Debug)]
struct Bid {
    auction: u64,
    bidder: u64,
    price: u64,
    channel: String,
    url: String,
    date_time: i64,
}

#[derive(Record)]
struct Two {
    auction: u64,
    price: u64,
}

struct Bench {
    options: Options,
    target: PathBuf,
    /// Bytes of the values of all rows: 8 for a number, and the texts.
    bytes: u64,
}

impl Bench {
    fn batches(&mut self) -> Result<Vec<Batch<Bid>>> {
        let (mut batches, mut channel, mut url) = (Vec::new(), String::new(), String::new());
        let mut builder = BatchBuilder::<Bid>::new(BatchLimits::default());
        for number in 0..self.options.events {
            peer_data::channel_url(number, &mut channel, &mut url);
            let peer_data::NumBid { auction, bidder, price, ts } = peer_data::num_bid(number);
            self.bytes += 32 + (channel.len() + url.len()) as u64;
            builder.push(BidView { auction, bidder, price, channel: &channel, url: &url, date_time: ts })?;
            if builder.is_full() {
                batches.extend(builder.finish());
            }
        }
        batches.extend(builder.finish());
        Ok(batches)
    }

    /// One line of the table.
    fn line(&self, what: &str, seconds: f64, file: Option<u64>) {
        let (rows, mb) = (self.options.events as f64 / seconds / 1e6, self.bytes as f64 / seconds / 1e6);
        let file = file.map_or(String::new(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        println!("| {what} | {:.0} | {rows:.2} | {mb:.0} | {file} |", 1e3 / rows);
    }

    /// Epochs of so many batches, as a job without crashes has them; seconds of CPU.
    fn write(&self, folder: &Path, batches: &[Batch<Bid>], epoch: usize) -> Result<f64> {
        let _ = fs::remove_dir_all(folder);
        let sink = ParquetSink::<Bid>::new(folder).timestamp("date_time").roll_bytes(u64::MAX);
        let before = thread_cpu_ns();
        let mut writer = sink.open(Subtask { index: 0, count: 1 })?;
        let epochs: Vec<_> = batches.chunks(epoch).collect();
        for (at, batches) in epochs.iter().enumerate() {
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            let epoch = Epoch(at as u64 + 1);
            let cut = Cut { epoch, is_last: at + 1 == epochs.len(), now_ms: epoch.0 };
            let staged = writer.prepare(cut)?;
            writer.commit(epoch, black_box(&staged))?;
        }
        Ok((thread_cpu_ns() - before) as f64 / 1e9)
    }

    /// Reads a file into batches; seconds of CPU.
    fn read<T: Record>(&self, file: &Path) -> Result<f64> {
        let source = ParquetFile::<T>::read(file);
        let clock = SystemClock::default();
        let mut records = BatchBuilder::<T>::new(BatchLimits::default());
        let mut rejected = BatchBuilder::<Rejected>::new(BatchLimits::default());
        let (mut watermark, mut rows) = (None, 0);
        let before = thread_cpu_ns();
        for partition in source.partitions()? {
            let mut reader = source.open(&partition, None)?;
            let mut poll = Poll::More;
            while poll != Poll::Finished {
                poll = reader.poll(&mut SourceOutput::new(
                    &mut records,
                    &mut rejected,
                    &mut watermark,
                    &clock,
                ))?;
                rows += records.finish().map_or(0, |batch| black_box(batch).len() as u64);
            }
        }
        let seconds = (thread_cpu_ns() - before) as f64 / 1e9;
        if rows == self.options.events {
            return Ok(seconds);
        }
        Err(Error::failed(format!("{}: {rows} rows in place of {}", file.display(), self.options.events)))
    }

    fn runs(&self, mut run: impl FnMut() -> Result<f64>) -> Result<f64> {
        // The first one brings files and code into memory.
        run()?;
        Ok(median((0..self.options.runs).map(|_| run()).collect::<Result<_>>()?))
    }

    /// What another program says: its version, and seconds of CPU for all and for two columns.
    fn peer(&self, engine: &str, what: &str, file: &Path, out: &Path) -> Option<(String, f64, f64)> {
        let python = self.options.python.clone().unwrap_or(self.target.join("python/bin/python"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/parquet.py");
        let mut command = Command::new(&python);
        command.arg(script).args([engine, what]).args([file, out]).arg((self.options.runs + 1).to_string());
        let said = command.output().ok().filter(|said| said.status.success());
        let Some(said) = said else {
            println!("skipped: {engine} in {}; run scripts/python", python.display());
            return None;
        };
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).ok()?;
        let of = |name: &str| {
            let runs = said[name].as_array().map_or(&[][..], Vec::as_slice);
            median(runs.iter().skip(1).filter_map(serde_json::Value::as_f64).collect())
        };
        Some((format!("{engine} {}", said["version"].as_str().unwrap_or_default()), of("all"), of("two")))
    }

    fn run(&mut self) -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        println!("{}\n", Circumstances::now(root));
        let batches = self.batches()?;
        let place = self.target.join("bench-data/parquet");
        let ours = place.join("ours");
        fs::create_dir_all(&place).map_err(|error| Error::io(&place, error))?;
        println!(
            "| {} M bids, one thread | ns of CPU per row | M rows/s | MB/s of values | file, MB |",
            self.options.events as f64 / 1e6
        );
        println!("|---|---|---|---|---|");
        let size = |file: &Path| fs::metadata(file).map(|about| about.len()).ok();
        let small = self.runs(|| self.write(&ours, &batches, 50))?;
        let our_file = ours.join("part-0-00000001.parquet");
        self.line("write, ours, epochs of 50,000 rows that are kept for the log", small, size(&our_file));
        let large = self.runs(|| self.write(&ours, &batches, usize::MAX))?;
        self.line("write, ours, one epoch", large, size(&our_file));
        drop(batches);
        let mut files = vec![("our file".to_owned(), our_file.clone())];
        for engine in ["duckdb", "polars"] {
            let out = place.join(format!("{engine}.parquet"));
            if let Some((name, seconds, _)) = self.peer(engine, "write", &our_file, &out) {
                self.line(&format!("write, {name}"), seconds, size(&out));
                files.push((format!("the file of {name}"), out));
            }
        }
        for (of, file) in &files {
            let all = self.runs(|| self.read::<Bid>(file))?;
            self.line(&format!("read {of}, ours into batches"), all, None);
            let two = self.runs(|| self.read::<Two>(file))?;
            self.line(&format!("two columns of {of}, ours"), two, None);
            for engine in ["duckdb", "polars"] {
                if let Some((name, all, two)) = self.peer(engine, "read", file, Path::new("-")) {
                    self.line(&format!("read {of}, {name}"), all, None);
                    self.line(&format!("two columns of {of}, {name}"), two, None);
                }
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned();
    match (Bench { options, target, bytes: 0 }).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
