//! The workloads on renoir: `peer-renoir WORKLOAD INPUT OUTPUT`.
//!
//! `w2` and `w3` are folds by (window, auction) that answer at the end of the input: equal rows, nothing on time.
//! `group_by_fold` totals on both sides of the exchange; it is as fast as or faster than `group_by` and `fold`.
//! `w2windows` and `w3windows` are renoir's event-time windows. They start at each key's first element, so their rows
//! differ from everybody else's by design. `kc1000000` counts that many keys; `source` and `empty` are the overheads.

use peer_common::{Arguments, Sink, or_exit, score};
use peer_data::{DISORDER_MS_MAX, NumBid, mix};
use renoir::prelude::*;

const WINDOW_MS: i64 = 10_000;
const SLIDE_MS: i64 = 2_000;
const BATCH: usize = 1_024;

type Totals = (u64, u64, u64);

fn add(totals: &mut Totals, bid: &NumBid) {
    totals.0 += 1;
    totals.1 += bid.price;
    totals.2 = totals.2.max(bid.price);
}

fn merge(totals: &mut Totals, part: Totals) {
    totals.0 += part.0;
    totals.1 += part.1;
    totals.2 = totals.2.max(part.2);
}

fn main() {
    let arguments = Arguments::from_command_line();
    let workers = arguments.input.workers() as u64;
    let context = StreamContext::new(or_exit(RuntimeConfig::local(workers), "configuration"));
    match arguments.workload.as_str() {
        "empty" => context.stream_par_iter(0..0u64).for_each(|_| ()),
        "w1" | "w2" | "w3" | "w2windows" | "w3windows" | "source" => bids(&context, &arguments),
        "w4" | "w5" => lines(&context, &arguments),
        other => match other.strip_prefix("kc").and_then(|keys| keys.parse().ok()) {
            Some(keys) => count_keys(&context, &arguments, keys),
            None => {
                eprintln!("renoir: workload {other} is not written");
                std::process::exit(2);
            }
        },
    }
    context.execute_blocking();
}

fn bids(context: &StreamContext, arguments: &Arguments) {
    let input = arguments.input.clone();
    let mut sink = Sink::new(&arguments.output);
    let stream = context
        .stream_par_iter(move |worker: u64, _| input.bids(worker as usize))
        .batch_mode(BatchMode::fixed(BATCH));
    match arguments.workload.as_str() {
        "source" => stream
            .fold_assoc(0u64, |sum, b| *sum ^= b.auction ^ b.price ^ b.ts as u64, |sum, part| *sum ^= part)
            .for_each(|sum| println!("{sum}")),
        "w1" => {
            stream.filter(|b| b.auction % 123 == 0).for_each(move |b| sink.numbers(&[b.auction, b.price]))
        }
        "w2" => stream
            .group_by_fold(|b| (b.ts / WINDOW_MS * WINDOW_MS, b.auction), (0, 0, 0), |t, b| add(t, &b), merge)
            .for_each(move |((start, auction), t)| sink.numbers(&[start as u64, auction, t.0, t.1, t.2])),
        "w3" => stream
            .flat_map(|b| {
                let last = b.ts / SLIDE_MS * SLIDE_MS;
                (0..WINDOW_MS / SLIDE_MS).map(move |i| (last - i * SLIDE_MS, b.auction))
            })
            .group_by_count(|key| *key)
            .for_each(move |((start, auction), count)| sink.numbers(&[start as u64, auction, count as u64])),
        "w2windows" => stream
            .add_timestamps(|b| b.ts, watermarks())
            .group_by(|b| b.auction)
            .window(EventTimeWindow::tumbling(WINDOW_MS))
            .fold((0, 0, 0), add)
            .for_each(move |(auction, t)| sink.numbers(&[auction, t.0, t.1, t.2])),
        _ => stream
            .add_timestamps(|b| b.ts, watermarks())
            .group_by(|b| b.auction)
            .window(EventTimeWindow::sliding(WINDOW_MS, SLIDE_MS))
            .count()
            .for_each(move |(auction, count)| sink.numbers(&[auction, count as u64])),
    }
}

fn watermarks() -> impl FnMut(&NumBid, &i64) -> Option<i64> + Clone + Send + 'static {
    let (mut newest, mut seen) = (0, 0u32);
    move |_, ts| {
        newest = newest.max(*ts);
        seen += 1;
        seen.is_multiple_of(1_000).then_some(newest - DISORDER_MS_MAX as i64)
    }
}

fn lines(context: &StreamContext, arguments: &Arguments) {
    let input = arguments.input.clone();
    let mut sink = Sink::new(&arguments.output);
    let stream = context
        .stream_par_iter(move |worker: u64, _| input.lines(worker as usize))
        .batch_mode(BatchMode::fixed(BATCH));
    if arguments.workload == "w5" {
        return stream.map(|line| score(&line)).for_each(move |(id, score)| sink.score(id, score));
    }
    stream
        .flat_map(|line| line.split(' ').map(str::to_string).collect::<Vec<_>>())
        .group_by_count(|word| word.clone())
        .for_each(move |(word, count)| sink.count(&word, count as u64));
}

fn count_keys(context: &StreamContext, arguments: &Arguments, keys: u64) {
    let events = arguments.input.events();
    context
        .stream_par_iter(move |worker: u64, workers: u64| {
            (worker..events).step_by(workers as usize).map(move |i| mix(i) % keys)
        })
        .batch_mode(BatchMode::fixed(BATCH))
        .group_by(|key| *key)
        .fold(0u64, |count, _| *count += 1)
        .unkey()
        .fold_assoc(
            (0u64, 0u64),
            |sum, (_, count)| {
                sum.0 += 1;
                sum.1 += count;
            },
            |sum, part| {
                sum.0 += part.0;
                sum.1 += part.1;
            },
        )
        .for_each(|(distinct, total)| println!("{distinct} keys, {total} events"));
}
