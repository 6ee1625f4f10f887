//! CPU time to read one bid from a line of JSON or a row of CSV into a batch, and from a file.
//!
//! `cargo run --release -p benches --bin decode`
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement prints, and fails where it stands"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use benches::machine::Circumstances;
use benches::meter::{median, thread_cpu_ns, verdict};
use bumpalo::Bump;
use headwater::batch::{BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::source::{Poll, Rejected, Source, SourceOutput};
use headwater::time::SystemClock;
use headwater_connectors::format::{
    CsvColumns, JsonKeys, decode_csv_row, decode_json_line, encode_csv_row, encode_json_line,
};
use headwater_connectors::{CsvFile, JsonLines, TextFile};

const ROWS: u64 = 1_000_000;
const ROUNDS: usize = 5;

#[derive(Record, Clone, Debug)]
struct Bid {
    auction: u64,
    bidder: u64,
    price: u64,
    channel: String,
    url: String,
    date_time: i64,
}

fn mixed(mut state: u64) -> u64 {
    state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// Bid number `index`: numbers of 4 to 9 digits, a short channel, an address of 40 characters.
fn bid(index: u64) -> Bid {
    let random = mixed(index);
    let exponent = random % 20;
    let hot = ["Google", "Facebook", "Baidu", "Apple"];
    let channel = match random & 1 {
        1 => hot[(random >> 8) as usize % hot.len()].to_owned(),
        _ => format!("channel-{}", (random >> 16) % 10_000),
    };
    let mut url = "https://www.nexmark.com/".to_owned();
    let letters = (0..6).map(|place| char::from(b'a' + ((random >> (place * 5)) % 26) as u8));
    url.extend(letters);
    let _ = write!(url, "/item.htm?q={}", (random >> 40) % 100);
    Bid {
        auction: 1000 + index * 3 / 46 + (random >> 20) % 1000,
        bidder: 1000 + (random >> 30) % (1000 + index / 46),
        price: (100 << exponent) + (((100 << exponent) * ((random >> 44) & 0xFFFF)) >> 16),
        channel,
        url,
        date_time: 1_700_000_000_000 + (index / 10) as i64,
    }
}

/// Prints the median CPU time per row of a few rounds, beside its target if it has one.
fn measured(name: &str, bytes: usize, target: Option<f64>, mut round: impl FnMut() -> u64) {
    let times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = thread_cpu_ns();
            let rows = round();
            assert_eq!(rows, ROWS, "{name} lost rows");
            (thread_cpu_ns() - start) as f64 / ROWS as f64
        })
        .collect();
    let (least, ns) = (times.iter().copied().fold(f64::INFINITY, f64::min), median(times));
    let bytes = bytes as f64 / ROWS as f64;
    let target = target.map(|target| verdict(ns, target, true)).unwrap_or_default();
    println!("{name:<20} {ns:>7.1} ns/row, least {least:>7.1}, {bytes:>6.1} B/row   {target}");
}

/// Decodes every line into batches of the default size.
fn decoded(text: &str, mut decode: impl FnMut(&str, &Bump, &mut BatchBuilder<Bid>)) -> u64 {
    let mut arena = Bump::new();
    let mut builder = BatchBuilder::<Bid>::new(BatchLimits::default());
    let (mut start, mut rows) = (0, 0);
    for end in memchr::memchr_iter(b'\n', text.as_bytes()) {
        decode(&text[start..end], &arena, &mut builder);
        start = end + 1;
        if builder.is_full() {
            rows += builder.finish().map_or(0, |batch| black_box(batch).len() as u64);
            arena.reset();
        }
    }
    rows + builder.finish().map_or(0, |batch| black_box(batch).len() as u64)
}

/// Reads all partitions of a source into batches of the default size.
fn read<S: Source>(source: &S) -> u64 {
    let clock = SystemClock::default();
    let mut records = BatchBuilder::<S::Record>::new(BatchLimits::default());
    let mut rejected = BatchBuilder::<Rejected>::new(BatchLimits::default());
    let mut rows = 0;
    for partition in source.partitions().expect("a file") {
        let mut reader = source.open(&partition, None).expect("a file");
        loop {
            let mut watermark = None;
            let mut output = SourceOutput::new(&mut records, &mut rejected, &mut watermark, &clock);
            let poll = reader.poll(&mut output).expect("readable");
            rows += records.finish().map_or(0, |batch| black_box(batch).len() as u64);
            if poll == Poll::Finished {
                break;
            }
        }
    }
    assert!(rejected.is_empty());
    rows
}

fn main() {
    println!("{}; medians of {ROUNDS} rounds\n", Circumstances::now(Path::new(".")));
    let (mut json, mut csv) = (Vec::new(), Vec::new());
    for index in 0..ROWS {
        let bid = bid(index);
        encode_json_line::<Bid>(bid.view(), &mut json);
        encode_csv_row::<Bid>(bid.view(), b',', &mut csv);
    }
    let (json, csv) = (String::from_utf8(json).expect("text"), String::from_utf8(csv).expect("text"));

    let mut keys = JsonKeys::default();
    measured("json line -> batch", json.len(), Some(200.0), || {
        decoded(&json, |line, arena, builder| {
            builder.push(decode_json_line::<Bid>(line, arena, &mut keys).expect("a bid")).expect("room");
        })
    });
    let mut columns = CsvColumns::declared::<Bid>(b',').expect("columns");
    measured("csv row -> batch", csv.len(), None, || {
        decoded(&csv, |row, arena, builder| {
            builder.push(decode_csv_row::<Bid>(row, &mut columns, arena).expect("a bid")).expect("room");
        })
    });
    let mut out = Vec::new();
    let bids: Vec<Bid> = (0..ROWS).map(bid).collect();
    measured("bid -> json line", json.len(), None, || {
        bids.iter().for_each(|bid| {
            out.clear();
            encode_json_line::<Bid>(bid.view(), &mut out);
            black_box(&out);
        });
        ROWS
    });
    measured("bid -> csv row", csv.len(), None, || {
        bids.iter().for_each(|bid| {
            out.clear();
            encode_csv_row::<Bid>(bid.view(), b',', &mut out);
            black_box(&out);
        });
        ROWS
    });
    let folder = std::env::temp_dir().join(format!("headwater-decode-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (json_path, csv_path) = (folder.join("bids.jsonl"), folder.join("bids.csv"));
    std::fs::write(&json_path, &json).expect("written");
    std::fs::write(&csv_path, &csv).expect("written");
    measured("json file -> batch", json.len(), None, || read(&JsonLines::<Bid>::new(&json_path)));
    measured("csv file -> batch", csv.len(), None, || read(&CsvFile::<Bid>::new(&csv_path).header(false)));
    measured("text file -> batch", json.len(), None, || read(&TextFile::new(&json_path)));
    std::fs::remove_dir_all(&folder).expect("removed");
}
