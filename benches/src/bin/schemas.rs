//! CPU time to read one bid from Avro or Protobuf into a batch, and to write it.
//!
//! `cargo run --release -p benches --features avro,protobuf --bin schemas`
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement prints, and fails where it stands"
)]

use std::hint::black_box;
use std::path::Path;

use benches::machine::Circumstances;
use benches::meter::{median, thread_cpu_ns};
use bumpalo::Bump;
use headwater::batch::{BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater_connectors::format::{
    AvroReader, AvroSchema, AvroWriter, JsonKeys, ProtobufReader, ProtobufSchema, ProtobufWriter,
    decode_json_line, encode_json_line,
};

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

fn bid(index: u64) -> Bid {
    let random = index.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    Bid {
        auction: 1000 + index * 3 / 46 + (random >> 20) % 1000,
        bidder: 1000 + (random >> 30) % (1000 + index / 46),
        price: 100 << (random % 20),
        channel: format!("channel-{}", (random >> 16) % 10_000),
        url: format!("https://www.nexmark.com/{:06}/item.htm?q={}", random % 1_000_000, (random >> 40) % 100),
        date_time: 1_700_000_000_000 + (index / 10) as i64,
    }
}

/// Prints the median CPU time per row of a few rounds.
fn measured(name: &str, bytes: usize, mut round: impl FnMut() -> u64) {
    let times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = thread_cpu_ns();
            assert_eq!(round(), ROWS, "{name} lost rows");
            (thread_cpu_ns() - start) as f64 / ROWS as f64
        })
        .collect();
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    let bytes = bytes as f64 / ROWS as f64;
    println!("{name:<20} {:>7.1} ns/row, least {least:>7.1}, {bytes:>6.1} B/row", median(times));
}

/// Payloads side by side, and where each ends.
struct Payloads {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Payloads {
    fn written(bids: &[Bid], mut write: impl FnMut(BidView<'_>, &mut Vec<u8>)) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for bid in bids {
            write(bid.view(), &mut bytes);
            ends.push(bytes.len());
        }
        Payloads { bytes, ends }
    }

    /// Reads every payload into batches of the default size.
    fn read(&self, mut read: impl FnMut(&[u8], &Bump, &mut BatchBuilder<Bid>)) -> u64 {
        let mut arena = Bump::new();
        let mut builder = BatchBuilder::<Bid>::new(BatchLimits::default());
        let (mut start, mut rows) = (0, 0);
        for end in &self.ends {
            read(&self.bytes[start..*end], &arena, &mut builder);
            start = *end;
            if builder.is_full() {
                rows += builder.finish().map_or(0, |batch| black_box(batch).len() as u64);
                arena.reset();
            }
        }
        rows + builder.finish().map_or(0, |batch| black_box(batch).len() as u64)
    }
}

fn write_all(bids: &[Bid], mut write: impl FnMut(BidView<'_>, &mut Vec<u8>)) -> u64 {
    let mut out = Vec::new();
    for bid in bids {
        out.clear();
        write(bid.view(), &mut out);
        black_box(&out);
    }
    ROWS
}

fn main() {
    println!("{}; medians of {ROUNDS} rounds\n", Circumstances::now(Path::new(".")));
    let bids: Vec<Bid> = (0..ROWS).map(bid).collect();
    let json = Payloads::written(&bids, encode_json_line::<Bid>);
    let mut keys = JsonKeys::default();
    measured("json line -> batch", json.bytes.len(), || {
        json.read(|line, arena, builder| {
            let line = std::str::from_utf8(line).expect("text");
            builder.push(decode_json_line::<Bid>(line, arena, &mut keys).expect("a bid")).expect("room");
        })
    });
    let schema = AvroSchema::of::<Bid>().expect("a schema");
    let mut writer = AvroWriter::<Bid>::new(&schema).expect("a writer");
    let mut write = |bid: BidView<'_>, out: &mut Vec<u8>| writer.write(bid, out).expect("written");
    let avro = Payloads::written(&bids, &mut write);
    measured("bid -> avro", avro.bytes.len(), || write_all(&bids, &mut write));
    let mut reader = AvroReader::<Bid>::new(&schema).expect("a reader");
    measured("avro -> batch", avro.bytes.len(), || {
        avro.read(|bytes, arena, builder| {
            builder.push(reader.read(bytes, arena).expect("a bid")).expect("room");
        })
    });
    let schema = ProtobufSchema::of::<Bid>().expect("a schema");
    let mut writer = ProtobufWriter::<Bid>::new(&schema).expect("a writer");
    let mut write = |bid: BidView<'_>, out: &mut Vec<u8>| writer.write(bid, out).expect("written");
    let protobuf = Payloads::written(&bids, &mut write);
    measured("bid -> protobuf", protobuf.bytes.len(), || write_all(&bids, &mut write));
    let mut reader = ProtobufReader::<Bid>::new(&schema).expect("a reader");
    measured("protobuf -> batch", protobuf.bytes.len(), || {
        protobuf.read(|bytes, arena, builder| {
            builder.push(reader.read(bytes, arena).expect("a bid")).expect("room");
        })
    });
}
