//! The bytes of a state key.
//!
//! ```text
//! 0   key group  u16 be
//! 2   namespace  i64 be, sign bit flipped: negative namespaces sort first
//! 10  key        `Key::write_bytes`
//! ```
//!
//! The key group comes first, so that the state of some groups is a few ranges: parallelism changes by
//! moving ranges. The namespace comes next, so that closing one is a range per group.

use crate::batch::{Key, KeyGroup};

/// Bytes in front of the key.
pub(super) const PREFIX_BYTES: usize = 10;

/// How all state keys of a namespace in a key group start.
#[must_use]
pub fn state_prefix(group: KeyGroup, namespace: i64) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..2].copy_from_slice(&group.to_be_bytes());
    prefix[2..].copy_from_slice(&(namespace ^ i64::MIN).to_be_bytes());
    prefix
}

/// The namespace in a state key.
pub(crate) fn namespace_of(state_key: &[u8]) -> i64 {
    let bytes = state_key.get(2..PREFIX_BYTES).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| i64::from_be_bytes(*bytes) ^ i64::MIN)
}

/// Appends the state key of a key.
pub fn state_key<K: Key>(group: KeyGroup, namespace: i64, key: K::View<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&state_prefix(group, namespace));
    K::write_bytes(key, out);
}
