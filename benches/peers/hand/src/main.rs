//! The workloads written by hand: `peer-hand WORKLOAD INPUT OUTPUT`, one thread per partition file, files mapped.
//!
//! This is a limit, not a program to use: it knows the order of the keys, the length of the text between them and the
//! first time stamp, and trusts its input in everything. `parse` reads the bids and does nothing with them.

mod parse;
mod tables;

use memchr::memchr2;
use memmap2::Mmap;
use parse::{decimal, number, scan};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tables::{Panes, Words};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SLIDE_MS: i64 = 2_000;
const WINDOW_MS: i64 = 10_000;
const WEIGHTS: [f64; 8] = [0.25, -0.5, 0.75, 0.1, -0.3, 0.6, -0.2, 0.4];
const BIAS: f64 = 0.05;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, input, output] = arguments.as_slice() else {
        return Err("usage: peer-hand WORKLOAD INPUT OUTPUT".into());
    };
    let output = Path::new(output);
    fs::create_dir_all(output)?;
    let mut paths: Vec<PathBuf> =
        fs::read_dir(input)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    paths.sort();
    let is_csv = paths.iter().all(|path| path.extension().is_some_and(|e| e == "csv"));
    // SAFETY: nobody changes the files while they are measured.
    let files: Vec<Mmap> =
        paths.iter().map(|p| unsafe { Mmap::map(&File::open(p)?) }).collect::<io::Result<_>>()?;
    match workload.as_str() {
        "empty" => Ok(()),
        "parse" => {
            println!("{:?}", on_each(&files, |bytes| checksum(is_csv, bytes)));
            Ok(())
        }
        "w1" => save(output, &on_each(&files, |bytes| filter(is_csv, bytes))),
        "w2" => save(output, &windows(&files, is_csv, WINDOW_MS)),
        "w3" => save(output, &windows(&files, is_csv, SLIDE_MS)),
        "w4" => save(output, &[count_words(&files)]),
        "w5" => save(output, &on_each(&files, score)),
        other => Err(format!("hand: workload {other} is not written").into()),
    }
}

/// Runs `work` on every file, each on a thread of its own.
fn on_each<R: Send>(files: &[Mmap], work: impl Fn(&[u8]) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = files.iter().map(|file| scope.spawn(move || work(file))).collect();
        threads.into_iter().map(join).collect()
    })
}

fn join<R>(thread: std::thread::ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn save(output: &Path, parts: &[Vec<u8>]) -> Result<()> {
    for (i, part) in parts.iter().enumerate() {
        File::create(output.join(format!("part-{i}.csv")))?.write_all(part)?;
    }
    Ok(())
}

fn put_row(out: &mut Vec<u8>, row: &[u64]) {
    let mut buffer = itoa::Buffer::new();
    for (i, value) in row.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(buffer.format(*value).as_bytes());
    }
    out.push(b'\n');
}

fn checksum(is_csv: bool, bytes: &[u8]) -> u64 {
    let mut sum = 0u64;
    scan::<true>(is_csv, bytes, |b| sum = sum.wrapping_add(b.auction ^ b.price ^ b.bidder ^ b.ts as u64));
    sum
}

fn filter(is_csv: bool, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    scan::<false>(is_csv, bytes, |b| {
        if b.auction.is_multiple_of(123) {
            put_row(&mut out, &[b.auction, b.price]);
        }
    });
    out
}

/// Each thread totals its file per pane; then the panes are added up to windows, on one thread per half of the keys.
fn windows(files: &[Mmap], is_csv: bool, pane_ms: i64) -> Vec<Vec<u8>> {
    let parts = on_each(files, |bytes| {
        let mut panes = Panes::new(pane_ms);
        scan::<true>(is_csv, bytes, |b| panes.add(&b));
        panes
    });
    let parts = &parts;
    std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                scope.spawn(move || {
                    let mut out = Vec::with_capacity(1 << 24);
                    tables::for_each_window(parts, pane_ms, WINDOW_MS, half, |start, auction, t| {
                        let row = [start as u64, auction, t.count, t.sum, t.max];
                        put_row(&mut out, if pane_ms == WINDOW_MS { &row } else { &row[..3] });
                    });
                    out
                })
            })
            .collect();
        halves.into_iter().map(join).collect()
    })
}

fn count_words(files: &[Mmap]) -> Vec<u8> {
    let counts = on_each(files, |bytes| {
        let mut words = Words::new();
        let mut at = 0;
        while at < bytes.len() {
            let length = memchr2(b' ', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at);
            if length > 0 {
                words.add(&bytes[at..at + length], 1);
            }
            at += length + 1;
        }
        words
    });
    let mut parts = counts.into_iter();
    let mut total = parts.next().unwrap_or_else(Words::new);
    for part in parts {
        part.for_each(|word, count| total.add(word, count));
    }
    let mut out = Vec::new();
    let mut buffer = itoa::Buffer::new();
    total.for_each(|word, count| {
        out.extend_from_slice(word);
        out.push(b',');
        out.extend_from_slice(buffer.format(count).as_bytes());
        out.push(b'\n');
    });
    out
}

fn score(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 2);
    let (mut integer, mut float) = (itoa::Buffer::new(), ryu::Buffer::new());
    let mut at = 0;
    while at < bytes.len() {
        let id = number(bytes, &mut at);
        let mut sum = BIAS;
        for weight in WEIGHTS {
            at += 1;
            sum += weight * decimal(bytes, &mut at);
        }
        at += 1;
        let score = 1.0 / (1.0 + (-sum).exp());
        out.extend_from_slice(integer.format(id).as_bytes());
        out.push(b',');
        out.extend_from_slice(float.format(score).as_bytes());
        out.push(b'\n');
    }
    out
}
