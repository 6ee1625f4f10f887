//! `KeyedState`: one value per namespace and key, in memory while it is used, in the store when not.
//!
//! 1. `table`: the entries of one namespace
//! 2. `maintain`: keeps to the share of memory, evicts and spills
//! 3. `read`: `Drain` and `Scan`, whole namespaces in chunks
//! 4. `durable`: what goes to the epoch log, and from there to the store
//!
//! The legal order of calls:
//! `restore? (load (entry | get | remove)* changed? maintain | drain | scan)*`.
//! The key of an `entry`, `get` or `remove` must be among those of the `load` before. Only `restore`,
//! `load`, `maintain`, `drain` and `scan` touch the store, each with one call for many keys.

mod durable;
mod maintain;
mod read;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use self::durable::Durable;
pub(crate) use self::durable::Follower;
use self::maintain::Spill;
pub(crate) use self::maintain::mean_heap_bytes;
pub use self::read::{Drain, Scan};
use self::table::{CHANGED, DIRTY, Piece, STORED, Table, USED};
use super::codec::VERSION;
use super::layout::PREFIX_BYTES;
use super::{Changes, Envelope, Migrations, StateBackend, state_key};
use crate::batch::{Key, KeyGroup, KeyHash, Record, group_of};
use crate::error::Result;

/// No table.
const NOWHERE: usize = usize::MAX;

/// The keyed state of one operator instance.
///
/// A namespace is whatever divides the keys' state in time: the start of a window or slice, or always
/// 0. Hashes are those of [`Key::hash`]; they are never computed again.
///
/// ```
/// use headwater::batch::Key;
/// use headwater::state::KeyedState;
///
/// let mut counts = KeyedState::<String, u64>::new(None, 1 << 20, 128);
/// for word in ["a", "b", "a"] {
///     *counts.entry(0, String::hash(word), word, || 0) += 1;
/// }
/// assert_eq!(counts.get(0, String::hash("a"), "a"), Some(&2));
/// ```
pub struct KeyedState<K: Key, V: Record + Clone> {
    tables: Vec<Table<K, V>>,
    /// Position in `tables` of each namespace.
    positions: BTreeMap<i64, usize>,
    /// Position of the last namespace used: runs of records share one.
    last: usize,
    /// What `entry` sets on an entry.
    entry_flags: u8,
    groups: KeyGroup,
    share_bytes: usize,
    /// Estimated bytes that a value owns outside its table.
    value_heap_bytes: usize,
    backend: Option<Box<dyn StateBackend>>,
    envelope: Envelope<(K, V)>,
    /// Deletes that the store has not seen yet.
    removed: Changes,
    /// Namespaces being drained: their ranges will be deleted, so nothing may be spilled into them.
    draining: Vec<i64>,
    /// The piece that is looked at next for entries to let go: namespace and number.
    hand: (i64, usize),
    /// Empty pieces, into which others are copied without the entries that leave.
    spares: Vec<Piece<K, V>>,
    spill: Spill,
    /// Keys to be looked up in the store: their bytes, and where those of each are.
    wanted: Vec<u8>,
    misses: Vec<(KeyHash, Range<usize>)>,
    /// Where the next values are looked at for their size.
    next_sample: usize,
    /// `None`: nothing survives, and what is spilled is written to the backend at once.
    durable: Option<Box<Durable>>,
}

impl<K: Key, V: Record + Clone> fmt::Debug for KeyedState<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedState")
            .field("backend", &self.backend)
            .field("namespaces", &self.positions.len())
            .field("len", &self.len())
            .field("memory_bytes", &self.memory_bytes())
            .field("share_bytes", &self.share_bytes)
            .finish_non_exhaustive()
    }
}

impl<K: Key, V: Record + Clone> KeyedState<K, V> {
    /// Empty state that keeps to `share_bytes` of memory by spilling to `backend`; without one it
    /// grows, and [`over_budget`](Self::over_budget) tells.
    ///
    /// `groups` is the number of key groups of the whole job. A table that is not empty must be
    /// [restored](Self::restore).
    #[must_use]
    pub fn new(backend: Option<Box<dyn StateBackend>>, share_bytes: usize, groups: KeyGroup) -> Self {
        let operator = backend.as_ref().map_or("", |backend| backend.table()).to_owned();
        KeyedState {
            tables: Vec::new(),
            positions: BTreeMap::new(),
            last: NOWHERE,
            entry_flags: USED | DIRTY,
            groups,
            share_bytes,
            value_heap_bytes: 0,
            backend,
            envelope: Envelope::new(operator, VERSION),
            removed: Changes::new(),
            draining: Vec::new(),
            hand: (i64::MIN, 0),
            spares: Vec::new(),
            spill: Spill::default(),
            wanted: Vec::new(),
            misses: Vec::new(),
            next_sample: 0,
            durable: None,
        }
    }

    /// Reads values of earlier versions of the program by way of these functions, too.
    #[must_use]
    pub(crate) fn migrating(mut self, migrations: Migrations) -> Self {
        self.envelope = self.envelope.migrating(migrations);
        self
    }

    /// Remembers which entries change, for [`changed`](Self::changed), which must then be called
    /// before every [`maintain`](Self::maintain): unreported changes stay in memory.
    #[must_use]
    pub fn tracking_changes(mut self) -> Self {
        self.entry_flags |= CHANGED;
        self
    }

    /// Brings into memory whichever of these keys the store holds, with one look-up; free when nothing
    /// of the namespace was ever spilled.
    ///
    /// # Errors
    /// The store cannot be read, or holds values of another type.
    pub fn load(&mut self, namespace: i64, keys: &[(KeyHash, K::View<'_>)]) -> Result<()> {
        let Some(position) = self.position(namespace) else { return Ok(()) };
        if self.tables[position].cold.rows == 0 || self.is_gone(namespace) {
            return Ok(());
        }
        self.write_removed()?;
        let Some(backend) = &mut self.backend else { return Ok(()) };
        let table = &mut self.tables[position];
        let KeyedState { wanted: bytes, misses, durable, .. } = self;
        bytes.clear();
        misses.clear();
        for &(hash, key) in keys {
            if table.cold.filter.may_hold(hash) && table.find(hash, key).is_none() {
                let start = bytes.len();
                state_key::<K>(group_of(hash, self.groups), namespace, key, bytes);
                if Self::is_gone_key(durable.as_deref(), &bytes[start..]) {
                    bytes.truncate(start);
                } else {
                    misses.push((hash, start..bytes.len()));
                }
            }
        }
        if misses.is_empty() {
            return Ok(());
        }
        misses.sort_unstable_by(|(_, a), (_, b)| bytes[a.clone()].cmp(&bytes[b.clone()]));
        misses.dedup_by(|(_, a), (_, b)| bytes[a.clone()] == bytes[b.clone()]);
        let slices: Vec<&[u8]> = misses.iter().map(|(_, range)| &bytes[range.clone()]).collect();
        let envelope = &self.envelope;
        backend.get_many(&slices, &mut |at, value| {
            let (key, value) = envelope.decode(value)?;
            table.insert_stored(misses[at].0, key.view(), value);
            Ok(())
        })
    }

    /// The value of a key that was loaded, created if there is none; it counts as changed.
    #[inline]
    pub fn entry(
        &mut self,
        namespace: i64,
        hash: KeyHash,
        key: K::View<'_>,
        create: impl FnOnce() -> V,
    ) -> &mut V {
        if self.tables.get(self.last).is_none_or(|table| table.namespace != namespace) {
            self.last = self.open(namespace);
        }
        self.tables[self.last].entry(hash, key, self.entry_flags, create)
    }

    /// The value of a key that was loaded.
    #[inline]
    #[must_use]
    pub fn get(&self, namespace: i64, hash: KeyHash, key: K::View<'_>) -> Option<&V> {
        self.tables[self.position(namespace)?].find(hash, key).map(|entry| &entry.value)
    }

    /// Takes out the value of a key that was loaded.
    pub fn remove(&mut self, namespace: i64, hash: KeyHash, key: K::View<'_>) -> Option<V> {
        let position = self.position(namespace)?;
        let table = &mut self.tables[position];
        let entry = table.remove(hash, key)?;
        table.cold.rows -= usize::from(entry.has(STORED));
        if entry.has(STORED) || self.durable.is_some() {
            let mut bytes = Vec::with_capacity(PREFIX_BYTES + size_of::<K>());
            state_key::<K>(group_of(hash, self.groups), namespace, key, &mut bytes);
            match self.durable {
                Some(_) => self.note_removed(&bytes),
                None => self.removed.delete(&bytes),
            }
        }
        if self.tables[position].len() == 0 {
            self.close(namespace);
        }
        Some(entry.value)
    }

    /// Calls `visit` with namespace, hash, key and value of each entry that changed since the last
    /// call, namespaces ascending.
    pub fn changed(&mut self, mut visit: impl FnMut(i64, KeyHash, &K::Stored, &V)) {
        for (namespace, position) in &self.positions {
            self.tables[*position].take_changed(|hash, key, value| visit(*namespace, hash, key, value));
        }
    }

    /// Namespaces that have state, in memory or in the store, ascending.
    pub fn namespaces(&self) -> impl Iterator<Item = i64> {
        self.positions.keys().copied()
    }

    /// The smallest namespace that has state.
    #[must_use]
    pub fn first_namespace(&self) -> Option<i64> {
        self.positions.keys().next().copied()
    }

    /// True when the store holds rows, so that keys must be loaded before they are used.
    #[must_use]
    pub fn is_spilled(&self) -> bool {
        self.tables.iter().any(|table| table.cold.rows > 0)
    }

    /// True when there is no state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Number of keys, in memory or in the store.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    fn position(&self, namespace: i64) -> Option<usize> {
        match self.tables.get(self.last) {
            Some(table) if table.namespace == namespace => Some(self.last),
            _ => self.positions.get(&namespace).copied(),
        }
    }

    /// Position of a namespace's table, new if need be.
    #[cold]
    fn open(&mut self, namespace: i64) -> usize {
        *self.positions.entry(namespace).or_insert_with(|| {
            self.tables.push(Table::new(namespace));
            self.tables.len() - 1
        })
    }

    /// Takes out a namespace's table.
    fn close(&mut self, namespace: i64) -> Option<Table<K, V>> {
        let position = self.positions.remove(&namespace)?;
        let table = self.tables.swap_remove(position);
        if let Some(moved) = self.tables.get(position) {
            self.positions.insert(moved.namespace, position);
        }
        self.last = NOWHERE;
        Some(table)
    }

    /// Tells the store what was removed: before it is read, and before new values are spilled.
    fn write_removed(&mut self) -> Result<()> {
        if let (Some(backend), false) = (&mut self.backend, self.removed.is_empty()) {
            backend.write(&self.removed)?;
            self.removed.clear();
        }
        Ok(())
    }
}
