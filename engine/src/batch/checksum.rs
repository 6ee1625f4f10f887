//! `Checksum`: xxh3-128 of a whole file, taken piece by piece.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The checksum of what was added so far. 128 bits, because 32 are too few for many gigabytes.
pub(crate) struct Checksum(Box<Xxh3>);

impl Checksum {
    /// Of nothing.
    pub(crate) fn new() -> Self {
        Checksum(Box::new(Xxh3::new()))
    }

    /// Of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> u128 {
        xxh3_128(bytes)
    }

    /// Goes on with these bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum.
    pub(crate) fn value(&self) -> u128 {
        self.0.digest128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_to_the_same_as_the_whole() {
        let bytes: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut checksum = Checksum::new();
        bytes.chunks(77).for_each(|piece| checksum.add(piece));
        assert_eq!(checksum.value(), Checksum::of(&bytes));
    }
}
