//! The records: every key once, then keys at random, and what the counts and sums per key must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use headwater::prelude::*;
use headwater::source::{Poll, Source, SourceOutput, SourceReader};

/// A record of the input.
#[derive(Record, Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) customer: String,
    pub(crate) cents: u64,
    pub(crate) at: i64,
}

/// Count, sum and maximum of one customer.
pub(crate) type Totals = (u64, u64, u64);

/// What the window keeps per customer: sums are kept wide.
pub(crate) type Accumulator = (u64, u128, u64);

/// Two primes above any number of keys: in which order the keys are loaded, and which ranks are which keys.
const LOAD_STEP: u64 = 2_147_483_647;
const RANK_STEP: u64 = 4_294_967_291;

/// The name of a key.
pub(crate) fn customer(number: u64) -> String {
    format!("customer-{number:015}")
}

fn cents(index: u64) -> u64 {
    index * 31 % 100_000
}

/// A random number from a seed and a counter.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Ranks from 1 to `count` by Zipf's law, drawn by rejection from the integral of the law.
struct Zipf {
    exponent: f64,
    count: f64,
    low: f64,
    high: f64,
    sure: f64,
}

impl Zipf {
    fn new(exponent: f64, count: u64) -> Self {
        let mut zipf = Zipf { exponent, count: count as f64, low: 0.0, high: 0.0, sure: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    fn weight(&self, x: f64) -> f64 {
        x.powf(-self.exponent)
    }

    fn integral(&self, x: f64) -> f64 {
        (x.powf(1.0 - self.exponent) - 1.0) / (1.0 - self.exponent)
    }

    fn inverse(&self, y: f64) -> f64 {
        (1.0 + y * (1.0 - self.exponent)).powf(1.0 / (1.0 - self.exponent))
    }

    fn rank(&self, seed: u64) -> u64 {
        let mut random = seed;
        loop {
            random = mix(random);
            let part = (random >> 11) as f64 / (1_u64 << 53) as f64;
            let place = self.high + part * (self.low - self.high);
            let x = self.inverse(place);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.sure || place >= self.integral(rank + 0.5) - self.weight(rank) {
                return rank as u64;
            }
        }
    }
}

/// All keys of a run, drawn before it begins: drawing them is no part of what is measured.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) keys: u64,
    drawn: Vec<u32>,
}

impl Data {
    /// Every key once, then `records` at random: uniform, or by Zipf's law with this exponent.
    pub(crate) fn draw(keys: u64, records: u64, zipf: Option<f64>) -> Self {
        let law = zipf.map(|exponent| Zipf::new(exponent, keys));
        let drawn = (0..records).map(|at| {
            let rank = law.as_ref().map_or_else(|| mix(at) % keys, |law| law.rank(at << 20) - 1);
            (rank * (RANK_STEP % keys) % keys) as u32
        });
        Data { keys, drawn: drawn.collect() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.keys + self.drawn.len() as u64
    }

    /// The key of a record.
    pub(crate) fn key(&self, index: u64) -> u64 {
        match index.checked_sub(self.keys) {
            None => index * (LOAD_STEP % self.keys) % self.keys,
            Some(at) => self.drawn.get(at as usize).copied().map_or(0, u64::from),
        }
    }
}

/// What is not yet known to be right: count and sum that are expected of each key.
#[derive(Debug)]
pub(crate) struct Checked {
    counts: Vec<AtomicU32>,
    sums: Vec<AtomicU32>,
    rows: AtomicU64,
    wrong: AtomicU64,
}

/// In place of a count: the key was seen.
const SEEN: u32 = u32::MAX;

impl Checked {
    pub(crate) fn new(data: &Data) -> Self {
        let zeros = || (0..data.keys).map(|_| AtomicU32::new(0)).collect();
        let checked =
            Checked { counts: zeros(), sums: zeros(), rows: AtomicU64::new(0), wrong: AtomicU64::new(0) };
        for index in 0..data.len() {
            let key = data.key(index) as usize;
            checked.counts[key].fetch_add(1, Relaxed);
            checked.sums[key].fetch_add(cents(index) as u32, Relaxed);
        }
        checked
    }

    pub(crate) fn check(&self, key: &str, totals: Totals) {
        self.rows.fetch_add(1, Relaxed);
        let number = key.strip_prefix("customer-").and_then(|number| number.parse::<usize>().ok());
        let right = number.is_some_and(|number| {
            let count = self.counts.get(number).map(|count| count.swap(SEEN, Relaxed));
            let sum = self.sums.get(number).map(|sum| sum.load(Relaxed));
            count.map(u64::from) == Some(totals.0) && sum == Some(totals.1 as u32)
        });
        if !right {
            self.wrong.fetch_add(1, Relaxed);
        }
    }

    /// Every key was seen once, with the right count and sum.
    pub(crate) fn is_right(&self) -> bool {
        self.wrong.load(Relaxed) == 0 && self.rows.load(Relaxed) == self.counts.len() as u64
    }
}

/// Behind which records the source waits until it is told to go on.
#[derive(Debug)]
pub(crate) struct Gates {
    /// Numbers of records, ascending; each waits for the gate of its place to open.
    holds: Vec<(u64, AtomicBool)>,
    /// Something was polled.
    pub(crate) began: AtomicBool,
}

impl Gates {
    pub(crate) fn new(holds: &[u64]) -> Self {
        let holds = holds.iter().map(|hold| (*hold, AtomicBool::new(false))).collect();
        Gates { holds, began: AtomicBool::new(false) }
    }

    /// Opens the gate behind so many records.
    pub(crate) fn open(&self, behind: u64) {
        let gates = self.holds.iter().filter(|(hold, _)| *hold == behind);
        gates.for_each(|(_, open)| open.store(true, Relaxed));
    }

    /// The first record that is held back.
    fn end(&self) -> u64 {
        let shut = self.holds.iter().find(|(_, open)| !open.load(Relaxed));
        shut.map_or(u64::MAX, |(hold, _)| *hold)
    }
}

/// The records as a source; record `i` is in partition `i % partitions`.
pub(crate) struct Payments {
    pub(crate) data: Arc<Data>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) partitions: u64,
}

struct Reader {
    data: Arc<Data>,
    gates: Arc<Gates>,
    step: u64,
    next: u64,
    record: Payment,
}

impl Source for Payments {
    type Record = Payment;
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        Ok((0..self.partitions).map(|partition| partition.to_string()).collect())
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<Payment, u64>>> {
        let next = match position {
            Some(position) => position,
            None => partition.parse().map_err(Error::failed)?,
        };
        let record = Payment { customer: String::new(), cents: 0, at: 0 };
        let (data, gates) = (Arc::clone(&self.data), Arc::clone(&self.gates));
        Ok(Box::new(Reader { data, gates, step: self.partitions, next, record }))
    }
}

impl SourceReader<Payment, u64> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, Payment>) -> Result<Poll> {
        use std::fmt::Write;
        self.gates.began.store(true, Relaxed);
        let (all, allowed) = (self.data.len(), self.gates.end());
        while self.next < all.min(allowed) && !out.is_full() {
            self.record.customer.clear();
            // Writing to a string does not fail.
            let _ = write!(self.record.customer, "customer-{:015}", self.data.key(self.next));
            self.record.cents = cents(self.next);
            out.push(self.record.view())?;
            self.next += self.step;
        }
        Ok(if self.next >= all && allowed > all {
            Poll::Finished
        } else if self.next < all.min(allowed) {
            Poll::More
        } else {
            Poll::Idle
        })
    }

    fn position(&self) -> u64 {
        self.next
    }
}
