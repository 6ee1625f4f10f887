//! Reading whole namespaces, in chunks, what is in memory merged with what is in the store.

use std::fmt;
use std::iter::Flatten;
use std::ops::Range;
use std::vec;

use super::super::layout::namespace_of;
use super::super::{Changes, Envelope, StateBackend, state_prefix};
use super::KeyedState;
use super::durable::Durable;
use super::table::{Piece, Table};
use crate::batch::{Key, KeyGroup, KeyHash, Record};
use crate::error::Result;

/// Rows of one chunk of [`KeyedState::restore`].
const RESTORE_ROWS: usize = 1024;

impl<K: Key, V: Record + Clone> KeyedState<K, V> {
    /// Finds out what the store holds of these key groups from an earlier run; to be called before
    /// anything else, unless the table is empty.
    ///
    /// # Errors
    /// The store cannot be read, or holds values of another type.
    pub fn restore(&mut self, groups: Range<KeyGroup>) -> Result<()> {
        for group in groups {
            let prefix = group.to_be_bytes();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let (mut found, mut last) = (Vec::new(), Vec::new());
                let Some(backend) = &mut self.backend else { return Ok(()) };
                let rows = backend.scan(&prefix, after.as_deref(), RESTORE_ROWS, &mut |key, value| {
                    let (owned, _) = self.envelope.decode(value)?;
                    found.push((namespace_of(key), K::hash(owned.view())));
                    last.clear();
                    last.extend_from_slice(key);
                    Ok(())
                })?;
                let mut filter_bytes = self.filter_bytes();
                for (namespace, hash) in found {
                    let position = self.open(namespace);
                    self.add_cold(position, hash, &mut filter_bytes);
                }
                if rows < RESTORE_ROWS {
                    break;
                }
                after = Some(last);
            }
        }
        Ok(())
    }

    /// Takes a namespace out: it is gone from this state, and [`Drain::next_chunk`] hands out its
    /// entries. What the store holds is deleted by the last chunk, with one range per key group.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn drain(&mut self, namespace: i64) -> Result<Drain<K, V>> {
        self.write_removed()?;
        let is_gone = self.is_gone(namespace);
        let table = self.close(namespace).unwrap_or_else(|| Table::new(namespace));
        let groups = if is_gone { Vec::new() } else { table.cold.groups() };
        if self.durable.is_some() {
            self.note_drained(namespace, &table);
        } else if !groups.is_empty() {
            self.draining.push(namespace);
        }
        Ok(Drain { namespace, cursor: Cursor::new(groups), hot: Hot::Table(table) })
    }

    /// Reads a namespace in chunks with [`Scan::next_chunk`], and leaves it as it is.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn scan(&mut self, namespace: i64) -> Result<Scan> {
        self.write_removed()?;
        let position = self.position(namespace).filter(|_| !self.is_gone(namespace));
        let table = position.map(|position| &self.tables[position]);
        let cursor = Cursor::new(table.map_or(Vec::new(), |table| table.cold.groups()));
        Ok(Scan { namespace, cursor, piece: 0, bucket: 0 })
    }
}

/// A namespace on its way out of a [`KeyedState`].
///
/// New entries of the same namespace are other entries; they stay in memory until the drain has ended.
#[must_use = "the namespace is gone; its entries are in the chunks"]
pub struct Drain<K: Key, V> {
    namespace: i64,
    cursor: Cursor,
    hot: Hot<K, V>,
}

enum Hot<K: Key, V> {
    /// Still needed to know which stored rows are outdated.
    Table(Table<K, V>),
    /// How many entries are left, and they: a piece that was read is freed.
    Rest(usize, Flatten<vec::IntoIter<Piece<K, V>>>),
}

impl<K: Key, V> fmt::Debug for Drain<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl<K: Key, V: Record + Clone> Drain<K, V> {
    /// The namespace being drained.
    #[must_use]
    pub fn namespace(&self) -> i64 {
        self.namespace
    }

    /// Calls `visit` with hash, key and value of up to `rows_max` entries; true when more may follow.
    ///
    /// # Errors
    /// The store cannot be read or written, or holds values of another type.
    pub fn next_chunk(
        &mut self,
        state: &mut KeyedState<K, V>,
        rows_max: usize,
        mut visit: impl FnMut(KeyHash, &K::Stored, V),
    ) -> Result<bool> {
        let mut rows = 0;
        if let Hot::Table(table) = &mut self.hot {
            if let Some(backend) = &mut state.backend {
                let mut reader = Reader {
                    backend: &mut **backend,
                    envelope: &state.envelope,
                    table,
                    durable: state.durable.as_deref(),
                };
                rows = reader.read(&mut self.cursor, rows_max, &mut visit)?;
                if rows >= rows_max {
                    return Ok(true);
                }
            }
            self.delete_range(state)?;
            if let Hot::Table(table) = &mut self.hot {
                self.hot = Hot::Rest(table.entries, std::mem::take(&mut table.pieces).into_iter().flatten());
            }
        }
        if let Hot::Rest(left, entries) = &mut self.hot {
            for entry in entries.take(rows_max - rows) {
                visit(entry.hash, &entry.key, entry.value);
                *left -= 1;
            }
            return Ok(*left > 0);
        }
        Ok(false)
    }

    fn delete_range(&mut self, state: &mut KeyedState<K, V>) -> Result<()> {
        state.draining.retain(|namespace| *namespace != self.namespace);
        let groups = std::mem::take(&mut self.cursor.groups);
        // The store of a durable job is told with an epoch.
        let own = state.backend.as_mut().filter(|_| !groups.is_empty() && state.durable.is_none());
        let Some(backend) = own else { return Ok(()) };
        let mut changes = Changes::new();
        for group in groups {
            changes.delete_prefix(&state_prefix(group, self.namespace));
        }
        backend.write(&changes)
    }
}

/// A place in a namespace of a [`KeyedState`] that is being read.
///
/// The state must not change between the first and the last chunk.
#[derive(Debug)]
pub struct Scan {
    namespace: i64,
    cursor: Cursor,
    piece: usize,
    bucket: usize,
}

impl Scan {
    /// The namespace being read.
    #[must_use]
    pub fn namespace(&self) -> i64 {
        self.namespace
    }

    /// Calls `visit` with hash, key and value of up to `rows_max` entries; true when more may follow.
    ///
    /// # Errors
    /// The store cannot be read, or holds values of another type.
    pub fn next_chunk<K: Key, V: Record + Clone>(
        &mut self,
        state: &mut KeyedState<K, V>,
        rows_max: usize,
        mut visit: impl FnMut(KeyHash, &K::Stored, &V),
    ) -> Result<bool> {
        let Some(position) = state.position(self.namespace) else { return Ok(false) };
        let table = &state.tables[position];
        let mut rows = 0;
        if let Some(backend) = &mut state.backend {
            let mut reader = Reader {
                backend: &mut **backend,
                envelope: &state.envelope,
                table,
                durable: state.durable.as_deref(),
            };
            rows =
                reader.read(&mut self.cursor, rows_max, &mut |hash, key, value| visit(hash, key, &value))?;
        }
        while let (true, Some(piece)) = (rows < rows_max, table.pieces.get(self.piece)) {
            if let Some(entry) = piece.get_bucket(self.bucket) {
                visit(entry.hash, &entry.key, &entry.value);
                rows += 1;
            }
            self.bucket += 1;
            if self.bucket >= piece.num_buckets() {
                (self.piece, self.bucket) = (self.piece + 1, 0);
            }
        }
        Ok(self.piece < table.pieces.len())
    }
}

/// A place among the stored rows of a namespace.
#[derive(Debug)]
struct Cursor {
    groups: Vec<KeyGroup>,
    /// Which of `groups` is being read.
    group: usize,
    /// The last key read in that group; empty before the first.
    after: Vec<u8>,
}

impl Cursor {
    fn new(groups: Vec<KeyGroup>) -> Self {
        Cursor { groups, group: 0, after: Vec::new() }
    }
}

/// Reads stored rows, except those that a table in memory has in a newer form.
struct Reader<'a, K: Key, V: Record> {
    backend: &'a mut dyn StateBackend,
    envelope: &'a Envelope<(K, V)>,
    table: &'a Table<K, V>,
    durable: Option<&'a Durable>,
}

impl<K: Key, V: Record> Reader<'_, K, V> {
    /// Reads up to `rows_max` rows, the outdated ones included, and returns how many there were.
    fn read(
        &mut self,
        cursor: &mut Cursor,
        rows_max: usize,
        visit: &mut dyn FnMut(KeyHash, &K::Stored, V),
    ) -> Result<usize> {
        let Reader { envelope, table, durable, .. } = *self;
        let mut rows = 0;
        while rows < rows_max && cursor.group < cursor.groups.len() {
            let prefix = state_prefix(cursor.groups[cursor.group], table.namespace);
            let mut last = std::mem::take(&mut cursor.after);
            let after = (!last.is_empty()).then(|| last.clone());
            let found =
                self.backend.scan(&prefix, after.as_deref(), rows_max - rows, &mut |key, value| {
                    let (owned, value) = envelope.decode(value)?;
                    let hash = K::hash(owned.view());
                    let is_gone = durable.is_some_and(|durable| durable.has_gone(key));
                    if is_gone {
                        // Deleted here; the store does not know yet.
                    } else if table.stored == 0 || table.find(hash, owned.view()).is_none() {
                        visit(hash, &K::store(owned.view()), value);
                    }
                    last.clear();
                    last.extend_from_slice(key);
                    Ok(())
                })?;
            if found < rows_max - rows {
                cursor.group += 1;
            } else {
                cursor.after = last;
            }
            rows += found;
        }
        Ok(rows)
    }
}
