//! The two hash tables of the workloads: totals per pane and auction, and counts per word.

use crate::parse::Bid;
use ahash::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::RawEntryMut;

const START_MS: i64 = 1_700_000_000_000;

#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub count: u64,
    pub sum: u64,
    pub max: u64,
}

impl Totals {
    fn merge(&mut self, other: &Totals) {
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }
}

type Table = HashMap<u64, Totals, RandomState>;

fn hash() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

/// Totals per auction, one table per pane of time since the start.
pub struct Panes {
    pane_ms: i64,
    tables: Vec<Table>,
}

impl Panes {
    pub fn new(pane_ms: i64) -> Self {
        Panes { pane_ms, tables: Vec::new() }
    }

    #[inline(always)]
    pub fn add(&mut self, bid: &Bid) {
        let pane = ((bid.ts - START_MS) / self.pane_ms) as usize;
        while self.tables.len() <= pane {
            self.tables.push(Table::with_capacity_and_hasher(8_192, hash()));
        }
        let one = Totals { count: 1, sum: bid.price, max: bid.price };
        self.tables[pane].entry(bid.auction).or_default().merge(&one);
    }
}

/// Calls `each` with every window and auction of one half of the auctions; the first windows begin before the first pane.
pub fn for_each_window(
    parts: &[Panes],
    pane_ms: i64,
    window_ms: i64,
    half: u64,
    mut each: impl FnMut(i64, u64, &Totals),
) {
    let panes = parts.iter().map(|part| part.tables.len()).max().unwrap_or(0) as i64;
    let span = window_ms / pane_ms;
    let mut window = Table::with_capacity_and_hasher(1 << 14, hash());
    for first in 1 - span..panes {
        window.clear();
        for pane in first.max(0)..(first + span).min(panes) {
            for table in parts.iter().filter_map(|part| part.tables.get(pane as usize)) {
                for (auction, totals) in table.iter().filter(|(auction, _)| **auction & 1 == half) {
                    window.entry(*auction).or_default().merge(totals);
                }
            }
        }
        for (auction, totals) in &window {
            each(START_MS + first * pane_ms, *auction, totals);
        }
    }
}

/// Counts per word.
pub struct Words {
    hash: RandomState,
    table: HashMap<Box<[u8]>, u64, RandomState>,
}

impl Words {
    pub fn new() -> Self {
        Words { hash: hash(), table: HashMap::with_capacity_and_hasher(1 << 17, hash()) }
    }

    #[inline(always)]
    pub fn add(&mut self, word: &[u8], count: u64) {
        let hash = self.hash.hash_one(word);
        match self.table.raw_entry_mut().from_hash(hash, |known| **known == *word) {
            RawEntryMut::Occupied(mut entry) => *entry.get_mut() += count,
            RawEntryMut::Vacant(entry) => {
                entry.insert_hashed_nocheck(hash, word.into(), count);
            }
        }
    }

    pub fn for_each(&self, mut each: impl FnMut(&[u8], u64)) {
        for (word, count) in &self.table {
            each(word, *count);
        }
    }
}
