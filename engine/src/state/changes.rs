//! `Changes`: puts and deletes of one write, in one block of bytes instead of two per entry.

use std::ops::Range;

use crate::error::{Error, Result};

/// One change of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Sets the value of a key.
    Put {
        /// The key.
        key: &'a [u8],
        /// The new value.
        value: &'a [u8],
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Deletes every key that starts with these bytes.
    DeletePrefix {
        /// How the keys start.
        prefix: &'a [u8],
    },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Delete,
    DeletePrefix,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    kind: Kind,
    start: usize,
    key_end: usize,
    end: usize,
}

impl Place {
    fn key(&self) -> Range<usize> {
        self.start..self.key_end
    }
}

/// What one write changes, in order.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Changes {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Changes::default()
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(Kind::Put, key, value);
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.push(Kind::Delete, key, &[]);
    }

    /// Deletes every key that starts with `prefix`, at the cost of one change.
    pub fn delete_prefix(&mut self, prefix: &[u8]) {
        self.push(Kind::DeletePrefix, prefix, &[]);
    }

    fn push(&mut self, kind: Kind, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.places.push(Place { kind, start, key_end, end: self.bytes.len() });
    }

    /// Sorts changes that each concern another key: an ordered store takes sorted writes faster.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by(|a, b| bytes[a.key()].cmp(&bytes[b.key()]));
    }

    /// The bytes of the changes, [sorted](Self::sort); forgets them and keeps the memory.
    pub(crate) fn take_sorted(&mut self) -> Vec<u8> {
        self.sort();
        let bytes = self.to_bytes();
        self.clear();
        bytes
    }

    /// The changes in order.
    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.places.iter().map(|place| {
            let key = &self.bytes[place.key()];
            match place.kind {
                Kind::Put => Change::Put { key, value: &self.bytes[place.key_end..place.end] },
                Kind::Delete => Change::Delete { key },
                Kind::DeletePrefix => Change::DeletePrefix { prefix: key },
            }
        })
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True when nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Memory in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Place>()
    }

    /// Forgets the changes, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }
}

/// In front of an encoded change: what it is, length of the key, length of the value.
const HEADER_BYTES: usize = 9;

impl Changes {
    /// The changes as bytes, for the epoch log; [`read_changes`] reads them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + self.places.len() * HEADER_BYTES);
        for place in &self.places {
            let (key, value) = (&self.bytes[place.key()], &self.bytes[place.key_end..place.end]);
            encode(place.kind, key, value, &mut bytes);
        }
        bytes
    }
}

fn encode(kind: Kind, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(kind as u8);
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// Appends a put to the bytes of changes.
pub(crate) fn encode_put(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    encode(Kind::Put, key, value, out);
}

/// Calls `visit` with each change in the bytes that [`Changes::to_bytes`] gave, in order.
///
/// # Errors
/// The bytes are damaged, or `visit` failed.
pub fn read_changes(mut bytes: &[u8], visit: &mut dyn FnMut(Change<'_>) -> Result<()>) -> Result<()> {
    let damaged = || Error::failed("changes of keyed state are damaged: run `wal verify`");
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(damaged)?;
        let [kind, a, b, c, d, e, f, g, h] = *header;
        let (key, value) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let (key, rest) = rest.split_at_checked(key as usize).ok_or_else(damaged)?;
        let (value, rest) = rest.split_at_checked(value as usize).ok_or_else(damaged)?;
        visit(match kind {
            kind if kind == Kind::Put as u8 => Change::Put { key, value },
            kind if kind == Kind::Delete as u8 => Change::Delete { key },
            kind if kind == Kind::DeletePrefix as u8 => Change::DeletePrefix { prefix: key },
            _ => return Err(damaged()),
        })?;
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written_and_no_cut_is_taken_for_them() {
        let mut changes = Changes::new();
        changes.delete_prefix(b"a");
        changes.put(b"ab", b"1");
        changes.delete(b"b");
        changes.put(b"c", b"");
        let bytes = changes.to_bytes();
        let mut read = Changes::new();
        let mut copy = |change: Change<'_>| {
            match change {
                Change::Put { key, value } => read.put(key, value),
                Change::Delete { key } => read.delete(key),
                Change::DeletePrefix { prefix } => read.delete_prefix(prefix),
            }
            Ok(())
        };
        read_changes(&bytes, &mut copy).unwrap();
        assert!(read.iter().eq(changes.iter()));
        let whole = [0, 10, 22, 32, 42];
        for end in 0..bytes.len() {
            let outcome = read_changes(&bytes[..end], &mut |_| Ok(()));
            assert_eq!(outcome.is_ok(), whole.contains(&end), "cut to {end} of {}", bytes.len());
        }
    }
}
