//! `Table`: the entries of one namespace that are in memory, and what is known of those that are not.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::super::filter::Filter;
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

/// One key in memory.
pub(super) struct Entry<K, V> {
    pub(super) hash: KeyHash,
    pub(super) key: K,
    pub(super) value: V,
    pub(super) flags: u8,
}

impl<K, V> Entry<K, V> {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Rows of a namespace in the store.
#[derive(Default)]
pub(super) struct Cold {
    /// How many keys the store holds.
    pub(super) rows: usize,
    /// Which of them it may hold.
    pub(super) filter: Filter,
    /// One bit per key group in which there are any.
    groups: Vec<u64>,
}

impl Cold {
    pub(super) fn add(&mut self, group: KeyGroup, hash: KeyHash, filter_bytes_free: usize) {
        let (word, bit) = (usize::from(group) / 64, group % 64);
        if self.groups.len() <= word {
            self.groups.resize(word + 1, 0);
        }
        self.groups[word] |= 1 << bit;
        self.filter.insert(hash, filter_bytes_free);
        self.rows += 1;
    }

    /// Key groups in which the store holds rows, ascending.
    pub(super) fn groups(&self) -> Vec<KeyGroup> {
        let bits = self.groups.len() * 64;
        let held = |group: &usize| self.groups[group / 64] >> (group % 64) & 1 == 1;
        (0..bits).filter(held).map(|group| group as KeyGroup).collect()
    }
}

/// One namespace.
pub(super) struct Table<K, V> {
    pub(super) namespace: i64,
    pub(super) entries: HashTable<Entry<K, V>>,
    pub(super) cold: Cold,
    /// Entries in memory that the store holds too.
    pub(super) stored: usize,
    /// Hashes of changed entries, if changes are tracked; an entry may have gone since.
    pub(super) changed: Vec<KeyHash>,
    /// Entries when memory was last looked at: how fast the table grows.
    pub(super) entries_before: usize,
    /// Estimated bytes that the keys own outside the table.
    key_heap_bytes: usize,
    scratch: Vec<u8>,
}

impl<K: Key, V> Table<K, V> {
    pub(super) fn new(namespace: i64) -> Self {
        Table {
            namespace,
            entries: HashTable::new(),
            cold: Cold::default(),
            stored: 0,
            changed: Vec::new(),
            entries_before: 0,
            key_heap_bytes: 0,
            scratch: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn find(&self, hash: KeyHash, key: K::View<'_>) -> Option<&Entry<K, V>> {
        self.entries.find(hash, |entry| entry.hash == hash && entry.key.matches(key))
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
        let same = |entry: &Entry<K, V>| entry.hash == hash && entry.key.matches(key);
        match self.entries.entry(hash, same, |entry| entry.hash) {
            Place::Occupied(place) => {
                let entry = place.into_mut();
                if flags & !entry.flags & CHANGED != 0 {
                    self.changed.push(hash);
                }
                entry.flags |= flags;
                &mut entry.value
            }
            Place::Vacant(place) => {
                debug_assert_eq!(hash, K::hash(key), "the hash of a key must be `Key::hash`");
                if flags & CHANGED != 0 {
                    self.changed.push(hash);
                }
                self.key_heap_bytes += key_heap_bytes::<K>(key, &mut self.scratch);
                let entry = Entry { hash, key: K::from_view(key), value: create(), flags };
                &mut place.insert(entry).into_mut().value
            }
        }
    }

    /// Takes in what the store holds, unless the key is in memory already.
    pub(super) fn insert_stored(&mut self, hash: KeyHash, key: K, value: V) {
        if self.find(hash, key.view()).is_some() {
            return;
        }
        self.stored += 1;
        self.key_heap_bytes += key_heap_bytes::<K>(key.view(), &mut self.scratch);
        let entry = Entry { hash, key, value, flags: STORED | USED };
        self.entries.insert_unique(hash, entry, |entry| entry.hash);
    }

    /// Takes an entry out of memory.
    pub(super) fn remove(&mut self, hash: KeyHash, key: K::View<'_>) -> Option<Entry<K, V>> {
        let same = |entry: &Entry<K, V>| entry.hash == hash && entry.key.matches(key);
        let (entry, _) = self.entries.find_entry(hash, same).ok()?.remove();
        self.forget(&entry);
        Some(entry)
    }

    /// Takes the entry of a bucket out of memory if `leaves` says so.
    pub(super) fn remove_bucket(
        &mut self,
        bucket: usize,
        leaves: impl FnOnce(&mut Entry<K, V>) -> bool,
    ) -> Option<Entry<K, V>> {
        if !leaves(self.entries.get_bucket_mut(bucket)?) {
            return None;
        }
        let (entry, _) = self.entries.get_bucket_entry(bucket).ok()?.remove();
        self.forget(&entry);
        Some(entry)
    }

    fn forget(&mut self, entry: &Entry<K, V>) {
        self.stored -= usize::from(entry.has(STORED));
        self.key_heap_bytes -= key_heap_bytes::<K>(entry.key.view(), &mut self.scratch);
    }

    /// Calls `visit` for each entry that changed since the last call.
    pub(super) fn take_changed(&mut self, mut visit: impl FnMut(KeyHash, &K, &V)) {
        for hash in self.changed.drain(..) {
            let changed = |entry: &Entry<K, V>| entry.hash == hash && entry.has(CHANGED);
            // NOTE: it may have been removed since it changed.
            if let Some(entry) = self.entries.find_mut(hash, changed) {
                entry.flags &= !CHANGED;
                visit(hash, &entry.key, &entry.value);
            }
        }
    }

    /// Gives memory back after entries left.
    pub(super) fn shrink(&mut self) {
        let entries = self.entries.len();
        self.entries.shrink_to(entries + entries / 8, |entry| entry.hash);
        self.changed.shrink_to(2 * self.changed.len());
    }

    /// Keys in memory or in the store.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.stored + self.cold.rows
    }

    /// Memory in use, without what the values own outside the table.
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.allocation_size()
            + self.key_heap_bytes
            + self.changed.capacity() * size_of::<KeyHash>()
            + self.cold.filter.bytes()
            + size_of::<Self>()
    }

    /// Memory that the table will take on top if it goes on growing as it did.
    pub(super) fn growth_bytes(&self) -> usize {
        let entries = self.entries.len();
        let expected = entries + 2 * entries.saturating_sub(self.entries_before);
        if expected > self.entries.capacity() { self.entries.allocation_size() } else { 0 }
    }
}

/// Estimated bytes that a key owns outside its table; its canonical bytes are close to what it owns.
fn key_heap_bytes<K: Key>(key: K::View<'_>, scratch: &mut Vec<u8>) -> usize {
    if !std::mem::needs_drop::<K>() {
        return 0;
    }
    scratch.clear();
    K::write_bytes(key, scratch);
    allocation_bytes(scratch.len())
}

/// What an allocator takes for `bytes`: rounding and its own header.
pub(super) fn allocation_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(16) + 16
}
