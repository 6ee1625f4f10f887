//! Reading and writing shared by the timely and renoir programs, in the plain way a user of theirs would write it.

use peer_data::NumBid;
use serde::Deserialize;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What to run, from the command line: `WORKLOAD INPUT OUTPUT`.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub workload: String,
    pub input: Input,
    pub output: PathBuf,
}

/// Where records come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// One file per worker.
    Files(Vec<PathBuf>),
    /// Made in the process, spread over this many workers: `memory:5000000`.
    Memory { events: u64, workers: usize },
}

/// Ends the process: inside a dataflow there is no caller to hand an error to.
pub fn or_exit<T, E: Display>(result: Result<T, E>, what: impl Display) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{what}: {error}");
        std::process::exit(1)
    })
}

impl Arguments {
    pub fn from_command_line() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [workload, input, output] = arguments.as_slice() else {
            eprintln!("usage: PROGRAM WORKLOAD (FOLDER | memory:EVENTS) OUTPUT_FOLDER");
            std::process::exit(2);
        };
        or_exit(fs::create_dir_all(output), output);
        Arguments { workload: workload.clone(), input: Input::parse(input), output: output.into() }
    }
}

impl Input {
    fn parse(input: &str) -> Self {
        if let Some(events) = input.strip_prefix("memory:") {
            return Input::Memory { events: or_exit(events.parse(), input), workers: 2 };
        }
        let entries = or_exit(fs::read_dir(input), input);
        let mut files: Vec<PathBuf> = entries.map(|entry| or_exit(entry, input).path()).collect();
        files.sort();
        Input::Files(files)
    }

    /// One worker per partition file: that keeps each worker's event time close to ordered.
    pub fn workers(&self) -> usize {
        match self {
            Input::Files(files) => files.len(),
            Input::Memory { workers, .. } => *workers,
        }
    }

    /// How many records an in-process source makes; 0 for files.
    pub fn events(&self) -> u64 {
        match self {
            Input::Files(_) => 0,
            Input::Memory { events, .. } => *events,
        }
    }

    pub fn bids(&self, worker: usize) -> Bids {
        match self {
            Input::Files(files) => Bids::File(BidFile::open(&files[worker])),
            Input::Memory { events, workers } => Bids::Memory((worker as u64..*events).step_by(*workers)),
        }
    }

    pub fn lines(&self, worker: usize) -> impl Iterator<Item = String> + Send + use<> {
        let Input::Files(files) = self else {
            eprintln!("this workload reads files");
            std::process::exit(2);
        };
        open(&files[worker]).lines().map(|line| or_exit(line, "reading a line"))
    }
}

fn open(path: &Path) -> BufReader<File> {
    BufReader::with_capacity(1 << 18, or_exit(File::open(path), path.display()))
}

/// The bids of one worker.
pub enum Bids {
    File(BidFile),
    Memory(std::iter::StepBy<std::ops::Range<u64>>),
}

impl Iterator for Bids {
    type Item = NumBid;

    #[inline]
    fn next(&mut self) -> Option<NumBid> {
        match self {
            Bids::File(file) => file.next(),
            Bids::Memory(numbers) => numbers.next().map(peer_data::num_bid),
        }
    }
}

/// One partition file of bids, JSON lines or CSV by its extension.
pub struct BidFile {
    reader: BufReader<File>,
    line: Vec<u8>,
    is_csv: bool,
}

// A record as the file has it: the strings are parsed although no workload uses them, as in the other engines.
#[derive(Deserialize)]
#[allow(dead_code)]
struct JsonBid<'a> {
    auction: u64,
    bidder: u64,
    price: u64,
    channel: &'a str,
    url: &'a str,
    date_time: i64,
}

impl BidFile {
    fn open(path: &Path) -> Self {
        BidFile { reader: open(path), line: Vec::new(), is_csv: path.extension().is_some_and(|e| e == "csv") }
    }

    fn next(&mut self) -> Option<NumBid> {
        self.line.clear();
        if or_exit(self.reader.read_until(b'\n', &mut self.line), "reading a bid") == 0 {
            return None;
        }
        if self.is_csv {
            return Some(or_exit(parse_csv(&self.line).ok_or("not a bid"), "CSV line"));
        }
        let bid: JsonBid = or_exit(serde_json::from_slice(&self.line), "JSON line");
        Some(NumBid { auction: bid.auction, bidder: bid.bidder, price: bid.price, ts: bid.date_time })
    }
}

fn parse_csv(line: &[u8]) -> Option<NumBid> {
    let mut fields = std::str::from_utf8(line).ok()?.trim_end().split(',');
    let mut number = || fields.next()?.parse().ok();
    let (auction, bidder, price) = (number()?, number()?, number()?);
    Some(NumBid { auction, bidder, price, ts: fields.nth(2)?.parse().ok()? })
}

/// A result file of one worker, made when the first row comes; clones open files of their own.
pub struct Sink {
    folder: PathBuf,
    files: Arc<AtomicUsize>,
    file: Option<BufWriter<File>>,
}

impl Clone for Sink {
    fn clone(&self) -> Self {
        Sink { folder: self.folder.clone(), files: self.files.clone(), file: None }
    }
}

impl Sink {
    pub fn new(folder: &Path) -> Self {
        Self::of_worker(folder, 0)
    }

    /// For a program that makes one sink per worker instead of cloning one.
    pub fn of_worker(folder: &Path, worker: usize) -> Self {
        Sink { folder: folder.into(), files: Arc::new(AtomicUsize::new(worker)), file: None }
    }

    fn file(&mut self) -> &mut BufWriter<File> {
        self.file.get_or_insert_with(|| {
            let path = self.folder.join(format!("part-{}.csv", self.files.fetch_add(1, Ordering::Relaxed)));
            BufWriter::with_capacity(1 << 18, or_exit(File::create(&path), path.display()))
        })
    }

    pub fn numbers(&mut self, row: &[u64]) {
        let file = self.file();
        let mut buffer = itoa::Buffer::new();
        for (i, number) in row.iter().enumerate() {
            let separator: &[u8] = if i == 0 { b"" } else { b"," };
            or_exit(file.write_all(separator), "writing a row");
            or_exit(file.write_all(buffer.format(*number).as_bytes()), "writing a row");
        }
        or_exit(file.write_all(b"\n"), "writing a row");
    }

    pub fn count(&mut self, word: &str, count: u64) {
        or_exit(writeln!(self.file(), "{word},{count}"), "writing a row");
    }

    pub fn score(&mut self, id: u64, score: f64) {
        or_exit(writeln!(self.file(), "{id},{}", ryu::Buffer::new().format(score)), "writing a row");
    }
}

/// `id` and its logistic score, from a CSV line of features.
pub fn score(line: &str) -> (u64, f64) {
    const WEIGHTS: [f64; 8] = [0.25, -0.5, 0.75, 0.1, -0.3, 0.6, -0.2, 0.4];
    let mut fields = line.split(',');
    let id = or_exit(fields.next().unwrap_or_default().parse(), line);
    let mut sum = 0.05;
    for weight in WEIGHTS {
        sum += weight * or_exit(fields.next().unwrap_or_default().parse::<f64>(), line);
    }
    (id, 1.0 / (1.0 + (-sum).exp()))
}
