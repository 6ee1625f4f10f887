//! The same pipeline by hand: vectors of structs over bounded channels into hash tables. No barriers, no
//! late records, no state beyond memory, no names for what goes wrong.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::mpsc::{Receiver, SyncSender};

use headwater::batch::{BatchLimits, GROUPS_DEFAULT, group_of, hash_u64, subtask_of};
use headwater::prelude::*;

use crate::Totals;
use crate::bids::{Bid, MadeBids, THREADS, in_euros, is_kept};

const WINDOW_MS: i64 = 10_000;

/// Vectors on their way to a worker.
const CHANNEL_VECTORS: usize = 16;

/// Bids of one source, and how far its event time has come.
struct Message {
    from: usize,
    bids: Vec<Bid>,
    reached: i64,
}

/// The engine's hash of an integer, as the hasher of a map.
#[derive(Default)]
struct IntegerHasher(u64);

impl Hasher for IntegerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = hash_u64(self.0 ^ value);
    }
}

type Table = HashMap<u64, (u64, u64, u64), BuildHasherDefault<IntegerHasher>>;

fn source(from: usize, bids: &MadeBids, events: u64, targets: &[SyncSender<Message>]) {
    let rows_max = BatchLimits::default().rows_max;
    let mut index = from as u64;
    while index < events {
        let mut batch = Vec::with_capacity(rows_max);
        while batch.len() < rows_max && index < events {
            batch.push(Bid::from_view(bids.view(index)));
            index += THREADS as u64;
        }
        let reached = batch.last().map_or(i64::MIN, |bid: &Bid| bid.date_time);
        batch.retain(|bid| is_kept(bid.price));
        batch.iter_mut().for_each(|bid| bid.price = in_euros(bid.price));
        let mut parts: Vec<_> = (0..targets.len()).map(|_| Vec::with_capacity(rows_max * 5 / 8)).collect();
        for bid in batch {
            let group = group_of(hash_u64(bid.auction), GROUPS_DEFAULT);
            parts[subtask_of(group, GROUPS_DEFAULT, targets.len())].push(bid);
        }
        for (target, bids) in targets.iter().zip(parts) {
            // NOTE: fails only when the worker is gone, and then its panic is what is reported.
            let _ = target.send(Message { from, bids, reached });
        }
    }
    for target in targets {
        let _ = target.send(Message { from, bids: Vec::new(), reached: i64::MAX });
    }
}

fn worker(input: &Receiver<Message>) -> Totals {
    let mut windows: BTreeMap<i64, Table> = BTreeMap::new();
    let mut reached = [i64::MIN; THREADS];
    let mut totals = Totals::default();
    for message in input {
        // Neighbours are most often in the same window.
        for bids in message.bids.chunk_by(|a, b| a.date_time / WINDOW_MS == b.date_time / WINDOW_MS) {
            let start = bids[0].date_time / WINDOW_MS * WINDOW_MS;
            let table = windows.entry(start).or_default();
            for bid in bids {
                let (count, sum, max) = table.entry(bid.auction).or_default();
                *count += 1;
                *sum += bid.price;
                *max = bid.price.max(*max);
            }
        }
        reached[message.from] = message.reached;
        let watermark = reached.into_iter().min().unwrap_or(i64::MAX);
        while let Some(window) = windows.first_entry()
            && window.key() + WINDOW_MS <= watermark
        {
            let (start, table) = window.remove_entry();
            table.into_iter().for_each(|(key, value)| totals.add(start, key, value));
        }
    }
    totals
}

/// Runs the pipeline over `events` bids.
#[allow(clippy::disallowed_methods, reason = "this is the program without an engine")]
pub(crate) fn run(bids: &MadeBids, events: u64) -> Totals {
    let channels: Vec<_> = (0..THREADS).map(|_| std::sync::mpsc::sync_channel(CHANNEL_VECTORS)).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            receivers.into_iter().map(|input| scope.spawn(move || worker(&input))).collect();
        for from in 0..THREADS {
            let senders = senders.clone();
            scope.spawn(move || source(from, bids, events, &senders));
        }
        drop(senders);
        let mut totals = Totals::default();
        for worker in workers {
            if let Ok(part) = worker.join() {
                totals.merge(part);
            }
        }
        totals
    })
}
