//! What a stream can be keyed by, and the stable hash that decides where a key lives.

use std::fmt;

use compact_str::CompactString;

use xxhash_rust::xxh3::xxh3_64;

use super::super::Batch;
use super::Record;

/// The 64-bit hash of a key: unseeded xxh3-64, the same on every machine and in every version.
pub type KeyHash = u64;

/// The slice of the key space that a key belongs to; state is stored and moved by key group.
pub type KeyGroup = u16;

/// Number of key groups unless configured otherwise; fixed for the life of a state directory.
pub const GROUPS_DEFAULT: KeyGroup = 128;

/// A record that a stream can be keyed by: integers, `bool`, `String`, tuples of them, and derived
/// records with `#[record(key)]`. Floats are not keys: equal values may differ in bits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a stream key",
    note = "use an integer, `bool`, `String`, a tuple of them, or a record with `#[record(key)]`",
    note = "for a string field without an allocation per record: `.key_by_field(Type::FIELD)`"
)]
pub trait Key: Record + Clone + Eq {
    /// The form in which a hash table holds a key: short strings lie in the table itself.
    type Stored: Send + 'static;

    /// Makes the stored form.
    fn store(view: Self::View<'_>) -> Self::Stored;

    /// Borrows the stored form.
    fn stored_view(stored: &Self::Stored) -> Self::View<'_>;

    /// Bytes that a stored key owns outside the table.
    fn stored_heap_bytes(stored: &Self::Stored) -> usize;

    /// True when a stored key equals a borrowed one.
    fn stored_matches(stored: &Self::Stored, view: Self::View<'_>) -> bool;

    /// The stable hash of a key.
    fn hash(view: Self::View<'_>) -> KeyHash;

    /// True when this owned key equals the borrowed one.
    fn matches(&self, view: Self::View<'_>) -> bool;

    /// Appends the canonical bytes of a key; equal keys give equal bytes, and no key's bytes are a
    /// prefix of another's of the same type.
    fn write_bytes(view: Self::View<'_>, out: &mut Vec<u8>);
}

/// xxh3-64 of bytes.
#[inline]
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> KeyHash {
    xxh3_64(bytes)
}

/// xxh3-64 of the eight little-endian bytes of `value`, without the call.
#[inline(always)]
#[must_use]
pub fn hash_u64(value: u64) -> KeyHash {
    // The `len == 8` path of XXH3 with the default secret and seed 0 (xxHash specification, "XXH3
    // algorithm for small inputs"); a test holds it against the crate.
    const FLIP: u64 = 0xc73a_b174_c5ec_d5a2;
    let mixed = value.rotate_left(32) ^ FLIP;
    let mixed = mixed ^ mixed.rotate_left(49) ^ mixed.rotate_left(24);
    let mixed = mixed.wrapping_mul(0x9fb2_1c65_1e98_df25);
    let mixed = mixed ^ ((mixed >> 35).wrapping_add(8));
    let mixed = mixed.wrapping_mul(0x9fb2_1c65_1e98_df25);
    mixed ^ (mixed >> 28)
}

/// Folds the hash of one more part into the hash of a compound key.
#[inline]
#[must_use]
pub fn hash_combine(hash: KeyHash, part: KeyHash) -> KeyHash {
    hash_u64(hash.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part)
}

/// The key group of a key hash. Taken from the middle bits: a hash table uses the others, which would
/// otherwise be equal for all keys of one instance.
#[inline(always)]
#[must_use]
pub fn group_of(hash: KeyHash, groups: KeyGroup) -> KeyGroup {
    ((u64::from((hash >> 24) as u32) * u64::from(groups)) >> 32) as KeyGroup
}

/// The subtask that owns a key group: contiguous ranges of groups.
#[inline(always)]
#[must_use]
pub fn subtask_of(group: KeyGroup, groups: KeyGroup, count: usize) -> usize {
    usize::from(group) * count / usize::from(groups)
}

macro_rules! integer_key {
    ($hash:expr; $($type:ty),+) => {
        $(impl Key for $type {
            type Stored = $type;

            #[inline(always)]
            fn store(view: $type) -> $type {
                view
            }

            #[inline(always)]
            fn stored_view(stored: &$type) -> $type {
                *stored
            }

            #[inline(always)]
            fn stored_heap_bytes(_: &$type) -> usize {
                0
            }

            #[inline(always)]
            fn stored_matches(stored: &$type, view: $type) -> bool {
                *stored == view
            }

            #[inline(always)]
            fn hash(view: $type) -> KeyHash {
                $hash(view)
            }

            #[inline(always)]
            fn matches(&self, view: $type) -> bool {
                *self == view
            }

            fn write_bytes(view: $type, out: &mut Vec<u8>) {
                out.extend_from_slice(&view.to_be_bytes());
            }
        })+
    };
}

integer_key!(hash_u64; u64);
integer_key!(|view| hash_u64(view as u64); u8, u16, u32, i8, i16, i32, i64);
integer_key!(|view: u128| hash_bytes(&view.to_le_bytes()); u128);
integer_key!(|view: i128| hash_bytes(&view.to_le_bytes()); i128);

impl Key for bool {
    type Stored = bool;

    fn store(view: bool) -> bool {
        view
    }

    fn stored_view(stored: &bool) -> bool {
        *stored
    }

    fn stored_heap_bytes(_: &bool) -> usize {
        0
    }

    fn stored_matches(stored: &bool, view: bool) -> bool {
        *stored == view
    }

    #[inline]
    fn hash(view: bool) -> KeyHash {
        hash_u64(u64::from(view))
    }

    #[inline]
    fn matches(&self, view: bool) -> bool {
        *self == view
    }

    fn write_bytes(view: bool, out: &mut Vec<u8>) {
        out.push(u8::from(view));
    }
}

impl Key for String {
    type Stored = CompactString;

    fn store(view: &str) -> CompactString {
        CompactString::new(view)
    }

    #[inline]
    fn stored_view(stored: &CompactString) -> &str {
        stored.as_str()
    }

    #[inline]
    fn stored_heap_bytes(stored: &CompactString) -> usize {
        if stored.is_heap_allocated() { stored.capacity() } else { 0 }
    }

    #[inline]
    fn stored_matches(stored: &CompactString, view: &str) -> bool {
        stored.as_bytes() == view.as_bytes()
    }

    #[inline]
    fn hash(view: &str) -> KeyHash {
        hash_bytes(view.as_bytes())
    }

    #[inline]
    fn matches(&self, view: &str) -> bool {
        self == view
    }

    fn write_bytes(view: &str, out: &mut Vec<u8>) {
        // A length, so that ("a", "b") and ("ab", "") differ.
        out.extend_from_slice(&(view.len() as u32).to_be_bytes());
        out.extend_from_slice(view.as_bytes());
    }
}

impl Key for () {
    type Stored = ();

    fn store((): ()) {}

    fn stored_view((): &()) {}

    fn stored_heap_bytes((): &()) -> usize {
        0
    }

    fn stored_matches((): &(), (): ()) -> bool {
        true
    }

    fn hash((): ()) -> KeyHash {
        0
    }

    fn matches(&self, (): ()) -> bool {
        true
    }

    fn write_bytes((): (), _: &mut Vec<u8>) {}
}

/// A field of a record as a value: the derive makes one per field (`Bid::CHANNEL`).
///
/// A closure cannot return data that it borrows from its argument; a field can.
pub struct Field<T: Record, F: Record> {
    name: &'static str,
    column: for<'a> fn(&'a Batch<T>) -> Vec<F::View<'a>>,
}

impl<T: Record, F: Record> Clone for Field<T, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record, F: Record> Copy for Field<T, F> {}

impl<T: Record, F: Record> fmt::Debug for Field<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name).finish()
    }
}

impl<T: Record, F: Record> Field<T, F> {
    /// A field with its name and the function that reads it from all rows of a batch.
    pub const fn new(name: &'static str, column: for<'a> fn(&'a Batch<T>) -> Vec<F::View<'a>>) -> Self {
        Field { name, column }
    }

    /// Name of the field.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Reads the field of every row.
    #[must_use]
    pub fn column<'a>(&self, batch: &'a Batch<T>) -> Vec<F::View<'a>> {
        (self.column)(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_key_hashes_as_xxh3_of_its_bytes() {
        for value in [0, 1, 7, 0xff, 1 << 32, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(hash_u64(value), xxh3_64(&value.to_le_bytes()), "{value:#x}");
        }
    }
}
