//! `Changes`: puts and deletes of one write, in one block of bytes instead of two per entry.

use std::ops::Range;

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
