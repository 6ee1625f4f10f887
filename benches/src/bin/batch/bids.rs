//! Bids whose fields were made before the measurement: what is measured is moving them.

use headwater::batch::hash_u64;
use headwater::prelude::*;

/// Keys of the aggregate.
pub(crate) const KEYS: u64 = 10_000;

/// Partitions, and instances of each stage.
pub(crate) const THREADS: usize = 2;

/// Bids per millisecond of event time: a window of ten seconds holds 400,000.
const PER_MS: u64 = 40;

/// Bids made beforehand; they come again and again with new numbers.
const MADE: u64 = 1 << 12;

/// A bid as in the Nexmark benchmark.
#[derive(Record, Clone, Debug)]
pub(crate) struct Bid {
    pub(crate) auction: u64,
    pub(crate) bidder: u64,
    pub(crate) price: u64,
    pub(crate) channel: String,
    pub(crate) url: String,
    pub(crate) date_time: i64,
}

/// Three of four bids.
pub(crate) fn is_kept(price: u64) -> bool {
    !price.is_multiple_of(4)
}

/// What the map makes of a price.
pub(crate) fn in_euros(price: u64) -> u64 {
    price * 89 / 100
}

/// The strings of the bids, and the numbers by rule.
#[derive(Clone, Debug)]
pub(crate) struct MadeBids {
    bids: Vec<(u64, String, String)>,
}

impl MadeBids {
    pub(crate) fn new() -> Self {
        let bids = (0..MADE).map(|number| {
            let random = hash_u64(number);
            let channel = format!("chan-{:03}", random % 1000);
            (random >> 40, channel, format!("https://www.nexmark.com/item/{:011}", random % 10_000_000_000))
        });
        MadeBids { bids: bids.collect() }
    }

    /// Bid number `index`.
    #[inline]
    pub(crate) fn view(&self, index: u64) -> BidView<'_> {
        let (random, channel, url) = &self.bids[(index % MADE) as usize];
        BidView {
            auction: (index.wrapping_mul(0x9E37_79B9) ^ random) % KEYS,
            bidder: *random,
            price: 100 + (index ^ random) % 10_000,
            channel,
            url,
            date_time: (index / PER_MS) as i64,
        }
    }
}
