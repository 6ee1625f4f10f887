//! `Filter`: remembers which keys were spilled, so that a new key costs no look-up in the store.

use crate::batch::KeyHash;

/// Bits per key and bits set per key: about one wrong "maybe" in a hundred.
const BITS_PER_KEY: usize = 16;

/// Keys that the first layer has room for; every further layer doubles.
const FIRST_KEYS: usize = 1024;

/// A set of key hashes that may claim too much, never too little.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Each layer holds twice the keys of the one before; the last is being filled.
    layers: Vec<Box<[u64]>>,
    /// Keys that the last layer has room for.
    room: usize,
    /// It would have grown too large: it answers "maybe" from now on.
    dropped: bool,
}

impl Filter {
    /// Adds a key; a filter that needs more than `bytes_free` to grow gives up instead.
    pub(super) fn insert(&mut self, hash: KeyHash, bytes_free: usize) {
        if self.dropped {
            return;
        }
        if self.room == 0 {
            let keys = FIRST_KEYS << self.layers.len();
            let words = keys * BITS_PER_KEY / 64;
            if words * 8 > bytes_free {
                self.give_up();
                return;
            }
            self.layers.push(vec![0; words].into_boxed_slice());
            self.room = keys;
        }
        self.room -= 1;
        if let Some(layer) = self.layers.last_mut() {
            let word = position(hash, layer.len());
            layer[word] |= mask(hash);
        }
    }

    /// Answers "maybe" from now on.
    pub(super) fn give_up(&mut self) {
        *self = Filter { dropped: true, ..Filter::default() };
    }

    /// False when the key was certainly never added.
    pub(super) fn may_hold(&self, hash: KeyHash) -> bool {
        let mask = mask(hash);
        self.dropped || self.layers.iter().any(|layer| layer[position(hash, layer.len())] & mask == mask)
    }

    /// Memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.len() * 8).sum()
    }
}

fn position(hash: KeyHash, words: usize) -> usize {
    ((u128::from(hash) * words as u128) >> 64) as usize
}

/// Four bits of one word, from the low bits of the hash; the word comes from the high ones.
fn mask(hash: KeyHash) -> u64 {
    1 << (hash & 63) | 1 << ((hash >> 6) & 63) | 1 << ((hash >> 12) & 63) | 1 << ((hash >> 18) & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::hash_u64;

    #[test]
    fn every_added_key_is_found_and_few_others() {
        let mut filter = Filter::default();
        (0..100_000).for_each(|key| filter.insert(hash_u64(key), usize::MAX));
        assert!((0..100_000).all(|key| filter.may_hold(hash_u64(key))));
        let wrong = (100_000..200_000).filter(|key| filter.may_hold(hash_u64(*key))).count();
        assert!(wrong < 5_000, "{wrong} of 100000 unknown keys look known");
    }

    #[test]
    fn a_filter_that_may_not_grow_says_maybe() {
        let mut filter = Filter::default();
        (0..10_000).for_each(|key| filter.insert(hash_u64(key), 4096));
        assert!((0..20_000).all(|key| filter.may_hold(hash_u64(key))));
        assert_eq!(filter.bytes(), 0);
    }
}
