//! `Table`: the entries of one namespace that are in memory, and what is known of those that are not.
//!
//! A large table lies in pieces, told apart by bits of the hash. A hash table grows by copying itself
//! into one twice as large: in pieces that takes little memory at a time, and where memory is short some
//! pieces grow and others let entries go instead.

use std::ops::Range;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::super::filter::Filter;
use super::durable::GroupSet;
use crate::batch::{Key, KeyGroup, KeyHash};

/// Used since the last eviction looked at it.
pub(super) const USED: u8 = 1;

/// Differs from what the store holds. The set of dirty entries is also what an epoch adds to the log:
/// it is to be taken where `maintain` writes, before anything of the epoch is spilled.
pub(super) const DIRTY: u8 = 2;

/// Changed since the last `changed`; stays in memory until it was reported.
pub(super) const CHANGED: u8 = 4;

/// The store holds this key, in this or an older form.
pub(super) const STORED: u8 = 8;

/// The store of a durable job does not hold it as it is, or may not yet: it stays in memory.
pub(super) const HELD: u8 = 16;

/// Changed since the last epoch that the log has seen.
pub(super) const UNLOGGED: u8 = 32;

/// Used again since it was used: what is hot stays longer than what came by once.
pub(super) const USED_AGAIN: u8 = 64;

/// Pieces of a large table.
const PIECES: usize = 64;

/// One key in memory.
pub(super) struct Entry<K: Key, V> {
    pub(super) hash: KeyHash,
    pub(super) key: K::Stored,
    pub(super) value: V,
    pub(super) flags: u8,
}

impl<K: Key, V> Entry<K, V> {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What leaves first: the clean before the dirty, both before what was used, and that before what was
    /// used again. `None` stays.
    pub(super) fn rank(&self) -> Option<usize> {
        let uses = usize::from(self.has(USED)) + usize::from(self.has(USED_AGAIN));
        (!self.has(CHANGED | HELD)).then(|| uses * 2 + usize::from(self.has(DIRTY)))
    }

    /// Time goes by: it has to be used to stay as it is.
    pub(super) fn age(&mut self) {
        let kept = if self.has(USED_AGAIN) { USED } else { 0 };
        self.flags = self.flags & !(USED | USED_AGAIN) | kept;
    }

    /// Estimated bytes that the key owns outside the table.
    fn key_heap_bytes(&self) -> usize {
        match K::stored_heap_bytes(&self.key) {
            0 => 0,
            bytes => allocation_bytes(bytes),
        }
    }
}

/// One piece of a table.
pub(super) type Piece<K, V> = HashTable<Entry<K, V>>;

/// Entries that leave a piece, by rank.
pub(super) type Leaving = [usize; 6];

/// The first `count` of the entries that may leave a piece.
pub(super) fn first_to_leave<K: Key, V>(piece: &Piece<K, V>, mut count: usize) -> Leaving {
    let mut leaving = [0; 6];
    piece.iter().filter_map(Entry::rank).for_each(|rank| leaving[rank] += 1);
    for entries in &mut leaving {
        *entries = count.min(*entries);
        count -= *entries;
    }
    leaving
}

/// Rows of a namespace in the store.
#[derive(Default)]
pub(super) struct Cold {
    /// How many keys the store holds.
    pub(super) rows: usize,
    /// Which of them it may hold.
    pub(super) filter: Filter,
    /// Key groups in which there are any.
    groups: GroupSet,
}

impl Cold {
    pub(super) fn add(&mut self, group: KeyGroup, hash: KeyHash, filter_bytes_free: usize) {
        self.groups.add(group);
        self.filter.insert(hash, filter_bytes_free);
        self.rows += 1;
    }

    /// There are so many rows in these key groups, and which is not known.
    pub(super) fn assume(&mut self, rows: usize, groups: Range<KeyGroup>) {
        groups.for_each(|group| self.groups.add(group));
        self.filter.give_up();
        self.rows += rows;
    }

    /// Key groups in which the store holds rows, ascending.
    pub(super) fn groups(&self) -> Vec<KeyGroup> {
        self.groups.groups()
    }
}

/// One namespace.
pub(super) struct Table<K: Key, V> {
    pub(super) namespace: i64,
    /// One piece, or `PIECES`.
    pub(super) pieces: Vec<Piece<K, V>>,
    pub(super) cold: Cold,
    /// Entries in memory.
    pub(super) entries: usize,
    /// Entries in memory that the store holds too.
    pub(super) stored: usize,
    /// Hashes of changed entries, if changes are tracked; an entry may have gone since.
    pub(super) changed: Vec<KeyHash>,
    /// Hashes of entries that the log has not seen, where there is one.
    pub(super) unlogged: Vec<KeyHash>,
    /// Key groups of which the log has seen something.
    pub(super) logged: GroupSet,
    /// Entries that stay in memory for the store.
    pub(super) held: usize,
    /// Entries when memory was last looked at.
    entries_before: usize,
    /// Entries that a batch may add: the most that one did, forgotten slowly.
    growth: usize,
    /// Memory of the pieces when it was last looked at.
    piece_bytes: usize,
    /// Estimated bytes that the keys own outside the table.
    key_heap_bytes: usize,
}

impl<K: Key, V> Table<K, V> {
    pub(super) fn new(namespace: i64) -> Self {
        Table {
            namespace,
            pieces: vec![HashTable::new()],
            cold: Cold::default(),
            entries: 0,
            stored: 0,
            changed: Vec::new(),
            unlogged: Vec::new(),
            logged: GroupSet::default(),
            held: 0,
            entries_before: 0,
            growth: 0,
            piece_bytes: 0,
            key_heap_bytes: 0,
        }
    }

    /// The piece of a hash. Its bits are neither those that choose a place in the piece (the low ones)
    /// nor those that chose this instance (see `group_of`).
    #[inline(always)]
    pub(super) fn piece_of(&self, hash: KeyHash) -> usize {
        (hash >> 16) as usize & (self.pieces.len() - 1)
    }

    #[inline]
    pub(super) fn find(&self, hash: KeyHash, key: K::View<'_>) -> Option<&Entry<K, V>> {
        let same = |entry: &Entry<K, V>| entry.hash == hash && K::stored_matches(&entry.key, key);
        self.pieces[self.piece_of(hash)].find(hash, same)
    }

    /// The value of a key, created if absent; `flags` are set on it.
    #[inline]
    pub(super) fn entry(
        &mut self,
        hash: KeyHash,
        key: K::View<'_>,
        flags: u8,
        create: impl FnOnce() -> V,
    ) -> &mut V {
        let same = |entry: &Entry<K, V>| entry.hash == hash && K::stored_matches(&entry.key, key);
        let piece = self.piece_of(hash);
        match self.pieces[piece].entry(hash, same, |entry| entry.hash) {
            Place::Occupied(place) => {
                let entry = place.into_mut();
                let new = flags & !entry.flags;
                let again = if entry.has(USED) { USED_AGAIN } else { 0 };
                entry.flags |= flags | again;
                if new & (CHANGED | UNLOGGED | HELD) != 0 {
                    self.changed.extend((new & CHANGED != 0).then_some(hash));
                    self.unlogged.extend((new & UNLOGGED != 0).then_some(hash));
                    self.held += usize::from(new & HELD != 0);
                }
                &mut entry.value
            }
            Place::Vacant(place) => {
                debug_assert_eq!(hash, K::hash(key), "the hash of a key must be `Key::hash`");
                self.changed.extend((flags & CHANGED != 0).then_some(hash));
                self.unlogged.extend((flags & UNLOGGED != 0).then_some(hash));
                self.held += usize::from(flags & HELD != 0);
                let entry = Entry { hash, key: K::store(key), value: create(), flags };
                self.entries += 1;
                self.key_heap_bytes += entry.key_heap_bytes();
                &mut place.insert(entry).into_mut().value
            }
        }
    }

    /// Takes in what the store holds, about to be used, unless the key is in memory already.
    pub(super) fn insert_stored(&mut self, hash: KeyHash, key: K::View<'_>, value: V) {
        if self.find(hash, key).is_some() {
            return;
        }
        let entry = Entry { hash, key: K::store(key), value, flags: STORED };
        self.entries += 1;
        self.stored += 1;
        self.key_heap_bytes += entry.key_heap_bytes();
        let piece = self.piece_of(hash);
        self.pieces[piece].insert_unique(hash, entry, |entry| entry.hash);
    }

    /// Takes an entry out of memory.
    pub(super) fn remove(&mut self, hash: KeyHash, key: K::View<'_>) -> Option<Entry<K, V>> {
        let same = |entry: &Entry<K, V>| entry.hash == hash && K::stored_matches(&entry.key, key);
        let piece = self.piece_of(hash);
        let (entry, _) = self.pieces[piece].find_entry(hash, same).ok()?.remove();
        self.forget(&entry);
        Some(entry)
    }

    /// Counts an entry out that left its piece.
    pub(super) fn forget(&mut self, entry: &Entry<K, V>) {
        self.entries -= 1;
        self.stored -= usize::from(entry.has(STORED));
        self.held -= usize::from(entry.has(HELD));
        self.key_heap_bytes -= entry.key_heap_bytes();
    }

    /// Calls `visit` for each entry that changed since the last call.
    pub(super) fn take_changed(&mut self, mut visit: impl FnMut(KeyHash, &K::Stored, &V)) {
        let mut hashes = std::mem::take(&mut self.changed);
        for hash in hashes.drain(..) {
            let changed = |entry: &Entry<K, V>| entry.hash == hash && entry.has(CHANGED);
            let piece = self.piece_of(hash);
            // NOTE: it may have been removed since it changed.
            if let Some(entry) = self.pieces[piece].find_mut(hash, changed) {
                entry.flags &= !CHANGED;
                visit(hash, &entry.key, &entry.value);
            }
        }
        self.changed = hashes;
    }

    /// Keys in memory or in the store.
    pub(super) fn len(&self) -> usize {
        self.entries - self.stored + self.cold.rows
    }

    /// Looks at what a batch added, and divides a table that has become larger than `whole_bytes_max`.
    pub(super) fn measure(&mut self, whole_bytes_max: usize) {
        let added = self.entries.saturating_sub(self.entries_before);
        self.growth = added.max(self.growth - self.growth.div_ceil(8));
        if self.entries == self.entries_before {
            return;
        }
        self.remeasure();
        if let ([whole], true) = (&mut self.pieces[..], self.piece_bytes > whole_bytes_max) {
            let whole = std::mem::take(whole);
            let room = self.entries / PIECES * 5 / 4;
            self.pieces = (0..PIECES).map(|_| HashTable::with_capacity(room)).collect();
            for entry in whole {
                let piece = self.piece_of(entry.hash);
                self.pieces[piece].insert_unique(entry.hash, entry, |entry| entry.hash);
            }
            self.remeasure();
        }
    }

    /// Looks at the memory of the pieces after some were replaced.
    pub(super) fn remeasure(&mut self) {
        self.entries_before = self.entries;
        self.piece_bytes = self.allocated();
    }

    fn allocated(&self) -> usize {
        self.pieces.iter().map(HashTable::allocation_size).sum()
    }

    /// Memory in use, without what the values own outside the table.
    pub(super) fn memory_bytes(&self) -> usize {
        let known = self.entries == self.entries_before;
        let pieces = if known { self.piece_bytes } else { self.allocated() };
        pieces
            + self.key_heap_bytes
            + (self.changed.capacity() + self.unlogged.capacity()) * size_of::<KeyHash>()
            + self.cold.filter.bytes()
            + self.pieces.len() * size_of::<Piece<K, V>>()
            + size_of::<Self>()
    }

    /// Entries that a piece needs room for in the next batch.
    pub(super) fn room(&self) -> usize {
        match (self.growth, self.pieces.len()) {
            (0, _) => 0,
            (growth, 1) => growth,
            // Twice the mean and a little: pieces do not grow evenly.
            (growth, pieces) => 2 * growth / pieces + 8,
        }
    }

    /// True when a piece may have to grow in the next batch.
    pub(super) fn is_tight(&self, piece: usize) -> bool {
        self.pieces[piece].len() + self.room() > self.pieces[piece].capacity()
    }

    /// The pieces that may have to grow in the next batch.
    pub(super) fn tight_pieces(&self) -> impl Iterator<Item = usize> {
        // Most tables do not grow: they are not looked at.
        let pieces = if self.growth == 0 { 0 } else { self.pieces.len() };
        (0..pieces).filter(|piece| self.is_tight(*piece))
    }
}

/// What an allocator takes for `bytes`: rounding and its own header.
pub(super) fn allocation_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(16) + 16
}
