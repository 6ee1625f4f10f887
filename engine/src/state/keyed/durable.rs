//! Keyed state that survives: what changed goes to the epoch log with every epoch, and now and then to the
//! store; what the store does not hold stays in memory.
//!
//! The store is at some committed epoch, and memory has everything that changed since. So an entry may leave
//! memory when the store holds it as it is: it was captured for the store, and that epoch was applied.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::super::{Changes, StateBackend, encode_put, state_key, state_prefix};
use super::KeyedState;
use super::table::{DIRTY, Entry, HELD, STORED, Table, UNLOGGED};
use crate::batch::{Key, KeyGroup, KeyHash, Record, group_of};
use crate::error::Result;
use crate::failpoint;

/// How the keyed state of an instance follows the epochs of its job.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// Key groups of the instance.
    pub(crate) owned: Range<KeyGroup>,
    /// The epoch for which changes are captured, and the epoch that the store is at.
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) applied: Arc<AtomicU64>,
    /// Sources read on when the store is at this epoch.
    pub(crate) needed: Arc<AtomicU64>,
    /// Most memory of what the store does not have.
    pub(crate) held_bytes_max: usize,
    /// Set when there is no room left for what the store does not have.
    pub(crate) is_pressed: Arc<AtomicBool>,
}

/// What a durable state keeps beside its entries.
#[derive(Debug)]
pub(super) struct Durable {
    follower: Follower,
    /// Deletes that the log and the store have not seen.
    unlogged: Changes,
    unstored: Changes,
    /// The epoch for which changes were captured and that the store is not at yet.
    in_flight: Option<u64>,
    /// The last epoch for which changes were captured.
    captured: u64,
    /// State keys and namespaces that were deleted here and may still be in the store, and whether their
    /// delete was captured.
    gone_keys: HashSet<Vec<u8>>,
    gone_namespaces: HashSet<i64>,
    /// The same, not captured yet.
    going_keys: HashSet<Vec<u8>>,
    going_namespaces: HashSet<i64>,
}

/// Bytes of one piece of what goes to the log or the store: both copy piece by piece.
const PIECE_BYTES: usize = 256 << 10;

/// Of what may be held for the store, the part with which it is asked to take some: what comes meanwhile has
/// the rest, and the less often it takes all, the more changes of one key are one.
const PRESSED_PART: (usize, usize) = (3, 4);

/// How often what is held is in memory while it goes to the log and the store.
const HELD_COPIES: usize = 4;

/// What may be held at least: with less there would be an epoch for every batch.
const HELD_BYTES_MIN: usize = 256 << 10;

impl<K: Key, V: Record + Clone> KeyedState<K, V> {
    /// Empty state that survives; `backend` only reads what epochs have brought to the store.
    #[must_use]
    pub(crate) fn durable(
        backend: Option<Box<dyn StateBackend>>,
        share_bytes: usize,
        groups: KeyGroup,
        follower: Follower,
    ) -> Self {
        let mut state = KeyedState::new(backend, share_bytes, groups);
        state.entry_flags |= HELD | UNLOGGED;
        state.durable = Some(Box::new(Durable {
            follower,
            unlogged: Changes::new(),
            unstored: Changes::new(),
            in_flight: None,
            captured: 0,
            gone_keys: HashSet::new(),
            gone_namespaces: HashSet::new(),
            going_keys: HashSet::new(),
            going_namespaces: HashSet::new(),
        }));
        state
    }

    /// Namespaces with their number of keys: what a later run needs to know to begin.
    pub(crate) fn namespace_rows(&self) -> Vec<(i64, u64)> {
        let rows = |(namespace, position): (&i64, &usize)| (*namespace, self.tables[*position].len() as u64);
        self.positions.iter().map(rows).filter(|(_, rows)| *rows > 0).collect()
    }

    /// Goes on with the namespaces of an earlier run, whose rows are all in the store. Costs nothing per row.
    pub(crate) fn resume(&mut self, namespaces: &[(i64, u64)]) {
        let Some(durable) = &self.durable else { return };
        let groups = durable.follower.owned.clone();
        for (namespace, rows) in namespaces {
            let position = self.open(*namespace);
            let table = &mut self.tables[position];
            table.cold.assume(*rows as usize, groups.clone());
            groups.clone().for_each(|group| table.logged.add(group));
        }
    }

    /// Goes on with key groups that other instances had: looks what the store has of them.
    ///
    /// # Errors
    /// The store cannot be read, or holds values of another type.
    pub(crate) fn resume_by_looking(&mut self) -> Result<()> {
        let owned = self.durable.as_ref().map(|durable| durable.follower.owned.clone());
        let Some(owned) = owned else { return Ok(()) };
        self.restore(owned.clone())?;
        for table in &mut self.tables {
            owned.clone().for_each(|group| table.logged.add(group));
        }
        Ok(())
    }

    /// How the state has changed since the last call, for the log, in order and in pieces; see
    /// [`Changes::to_bytes`].
    ///
    /// # Errors
    /// A value is larger than 2 GiB.
    pub(crate) fn take_delta(&mut self) -> Result<Vec<Vec<u8>>> {
        let Some(durable) = &mut self.durable else { return Ok(Vec::new()) };
        let mut pieces = vec![std::mem::take(&mut durable.unlogged).to_bytes()];
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        for table in &mut self.tables {
            let namespace = table.namespace;
            let (envelope, groups) = (&self.envelope, self.groups);
            table.take_unlogged(groups, |hash, stored, entry| {
                if outcome.is_ok() {
                    let view = K::stored_view(stored);
                    key.clear();
                    value.clear();
                    state_key::<K>(group_of(hash, groups), namespace, view, &mut key);
                    outcome = envelope.encode((view, entry.view()), &mut value);
                    encode_put(&key, &value, last_piece(&mut pieces, key.len() + value.len()));
                }
            });
        }
        outcome?;
        pieces.retain(|piece| !piece.is_empty());
        Ok(pieces)
    }

    /// How the state differs from what the store holds, to be applied with this epoch, in order and in pieces;
    /// see [`Changes::to_bytes`].
    ///
    /// # Errors
    /// A value is larger than 2 GiB.
    pub(crate) fn take_store_changes(&mut self, epoch: u64) -> Result<Vec<Vec<u8>>> {
        // The epoch before is in the store, or there would not be one now.
        self.notice_applied();
        let mut filter_bytes = self.filter_bytes();
        let Some(durable) = &mut self.durable else { return Ok(Vec::new()) };
        durable.in_flight = Some(epoch);
        durable.captured = epoch;
        durable.gone_keys.extend(durable.going_keys.drain());
        durable.gone_namespaces.extend(durable.going_namespaces.drain());
        // Deletes come first; of the rest each concerns another key.
        let mut pieces = vec![std::mem::take(&mut durable.unstored).to_bytes()];
        let mut changes = Changes::new();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for position in 0..self.tables.len() {
            let namespace = self.tables[position].namespace;
            let mut added = Vec::new();
            let table = &mut self.tables[position];
            for entry in table.pieces.iter_mut().flatten().filter(|entry| entry.has(DIRTY)) {
                let view = K::stored_view(&entry.key);
                key.clear();
                value.clear();
                state_key::<K>(group_of(entry.hash, self.groups), namespace, view, &mut key);
                self.envelope.encode((view, entry.value.view()), &mut value)?;
                changes.put(&key, &value);
                if changes.bytes() >= PIECE_BYTES {
                    pieces.push(changes.take_sorted());
                }
                if !entry.has(STORED) {
                    added.push(entry.hash);
                }
                entry.flags = entry.flags & !DIRTY | STORED;
            }
            table.stored += added.len();
            for hash in added {
                self.add_cold(position, hash, &mut filter_bytes);
            }
        }
        pieces.push(changes.take_sorted());
        pieces.retain(|piece| !piece.is_empty());
        Ok(pieces)
    }

    /// Looks whether the store has taken what was captured for it: those entries may leave memory.
    pub(super) fn notice_applied(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let applied = durable.follower.applied.load(SeqCst);
        if durable.in_flight.is_none_or(|epoch| epoch > applied) {
            return;
        }
        durable.in_flight = None;
        durable.gone_keys.clear();
        durable.gone_namespaces.clear();
        for table in &mut self.tables {
            table.held = 0;
            for entry in table.pieces.iter_mut().flatten() {
                if entry.has(DIRTY) {
                    table.held += 1;
                } else {
                    entry.flags &= !HELD;
                }
            }
        }
    }

    /// Entries in memory, and how many of them stay there for the store.
    fn entries_and_held(&self) -> (usize, usize) {
        let tables = self.tables.iter();
        tables.fold((0, 0), |(entries, held), table| (entries + table.entries, held + table.held))
    }

    /// Asks the store to take more when much is held for it, and sources to wait when it is too much: nothing
    /// else keeps memory bounded that the store cannot free yet.
    pub(super) fn watch_held(&self) {
        let Some(durable) = &self.durable else { return };
        let (_, held) = self.entries_and_held();
        let bytes = held * (size_of::<Entry<K, V>>() + self.value_heap_bytes);
        let Follower { asked, needed, is_pressed, held_bytes_max, .. } = &durable.follower;
        // A table that is far from full has room for more, and nobody need wait.
        let free = self.share_bytes.saturating_sub(self.state_bytes()) / HELD_COPIES;
        let bytes_max = (*held_bytes_max).max(HELD_BYTES_MIN).max(free);
        if bytes > bytes_max / PRESSED_PART.1 * PRESSED_PART.0 {
            is_pressed.store(true, SeqCst);
        }
        if bytes > bytes_max {
            // What is held now goes with the epoch that is asked for, or went with the one that the store is
            // taking; or the next one takes it.
            let asked = asked.load(SeqCst);
            let is_on_the_way = durable.captured < asked || durable.in_flight.is_some();
            needed.fetch_max(if is_on_the_way { asked } else { asked + 1 }, SeqCst);
        }
    }

    /// True when memory can be brought under the share.
    pub(super) fn may_evict(&self) -> bool {
        if self.durable.is_none() {
            return true;
        }
        let (entries, held) = self.entries_and_held();
        // Below that, looking for what may leave costs more than what is found.
        (entries - held) * 4 > entries
    }

    /// A key was removed that the store may hold.
    pub(super) fn note_removed(&mut self, state_key: &[u8]) {
        if let Some(durable) = &mut self.durable {
            durable.unlogged.delete(state_key);
            durable.unstored.delete(state_key);
            durable.going_keys.insert(state_key.to_vec());
        }
    }

    /// A namespace was taken out; these are the key groups in which the store may hold rows.
    pub(super) fn note_drained(&mut self, namespace: i64, table: &Table<K, V>) {
        let Some(durable) = &mut self.durable else { return };
        for group in table.logged.groups() {
            if !failpoint::bug("removed-namespaces-unlogged") {
                durable.unlogged.delete_prefix(&state_prefix(group, namespace));
            }
        }
        let stored = table.cold.groups();
        if !stored.is_empty() {
            stored.iter().for_each(|group| durable.unstored.delete_prefix(&state_prefix(*group, namespace)));
            durable.going_namespaces.insert(namespace);
        }
    }

    /// True when what the store holds of a namespace or key is outdated: it was deleted here.
    pub(super) fn is_gone(&self, namespace: i64) -> bool {
        self.durable.as_ref().is_some_and(|durable| {
            durable.gone_namespaces.contains(&namespace) || durable.going_namespaces.contains(&namespace)
        })
    }

    /// As [`is_gone`](Self::is_gone), for one key.
    pub(super) fn is_gone_key(durable: Option<&Durable>, state_key: &[u8]) -> bool {
        durable.is_some_and(|durable| durable.has_gone(state_key))
    }
}

impl Durable {
    /// True when what the store holds of a key is outdated: it was deleted here.
    pub(super) fn has_gone(&self, state_key: &[u8]) -> bool {
        self.gone_keys.contains(state_key) || self.going_keys.contains(state_key)
    }
}

/// The piece into which so many bytes go.
fn last_piece(pieces: &mut Vec<Vec<u8>>, bytes: usize) -> &mut Vec<u8> {
    if pieces.last().is_none_or(|last| last.len() + bytes > PIECE_BYTES) {
        pieces.push(Vec::new());
    }
    let last = pieces.len() - 1;
    &mut pieces[last]
}

/// Key groups of which something was written.
#[derive(Debug, Default)]
pub(super) struct GroupSet(Vec<u64>);

impl GroupSet {
    pub(super) fn add(&mut self, group: KeyGroup) {
        let (word, bit) = (usize::from(group) / 64, group % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    /// Ascending.
    pub(super) fn groups(&self) -> Vec<KeyGroup> {
        let held = |group: &usize| self.0[group / 64] >> (group % 64) & 1 == 1;
        (0..self.0.len() * 64).filter(held).map(|group| group as KeyGroup).collect()
    }
}

impl<K: Key, V> Table<K, V> {
    /// Calls `visit` for each entry that the log has not seen as it is.
    fn take_unlogged(&mut self, groups: KeyGroup, mut visit: impl FnMut(KeyHash, &K::Stored, &V)) {
        let hashes = std::mem::take(&mut self.unlogged);
        for hash in hashes {
            let piece = self.piece_of(hash);
            // NOTE: it may have been removed since it changed; of two keys with one hash both are listed.
            let unlogged =
                self.pieces[piece].find_mut(hash, |entry| entry.hash == hash && entry.has(UNLOGGED));
            if let Some(entry) = unlogged {
                entry.flags &= !UNLOGGED;
                self.logged.add(group_of(hash, groups));
                visit(hash, &entry.key, &entry.value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Change, MemoryBackend, read_changes};

    const GROUPS: KeyGroup = 8;

    fn state(share_bytes: usize, bytes_max: usize) -> (KeyedState<u64, u64>, Follower) {
        let follower = Follower {
            owned: 0..GROUPS,
            asked: Arc::default(),
            applied: Arc::default(),
            needed: Arc::default(),
            is_pressed: Arc::default(),
            held_bytes_max: bytes_max,
        };
        let backend = Some(Box::new(MemoryBackend::new("t")) as Box<dyn StateBackend>);
        (KeyedState::durable(backend, share_bytes, GROUPS, follower.clone()), follower)
    }

    fn add(state: &mut KeyedState<u64, u64>, keys: Range<u64>) {
        keys.for_each(|key| *state.entry(0, u64::hash(key), key, || 0) += 1);
        state.maintain().unwrap();
    }

    fn needed(follower: &Follower) -> u64 {
        follower.needed.load(SeqCst)
    }

    #[test]
    fn sources_wait_for_the_epoch_that_takes_what_is_held() {
        let entries = HELD_BYTES_MIN as u64 / size_of::<Entry<u64, u64>>() as u64;
        let (mut state, follower) = state(1 << 20, 0);
        add(&mut state, 0..entries / 3);
        assert!(!follower.is_pressed.load(SeqCst) && needed(&follower) == 0);
        add(&mut state, 0..entries * 7 / 8);
        assert!(follower.is_pressed.load(SeqCst) && needed(&follower) == 0);
        add(&mut state, 0..entries + 2);
        assert_eq!(needed(&follower), 1, "the next epoch that is asked for");
        // Asked for, and not captured yet: that epoch takes all.
        follower.asked.store(7, SeqCst);
        add(&mut state, 0..1);
        assert_eq!(needed(&follower), 7);
        // Captured, and not in the store yet: nothing else has to happen.
        assert!(!state.take_store_changes(7).unwrap().is_empty());
        add(&mut state, 0..1);
        assert_eq!(needed(&follower), 7);
        follower.applied.store(7, SeqCst);
        add(&mut state, 0..1);
        assert_eq!((needed(&follower), state.entries_and_held().1), (7, 1), "nothing more is too much");
        // No batch comes between two epochs: the second finds out that the first has arrived.
        add(&mut state, 0..entries + 2);
        assert_eq!(needed(&follower), 8);
        for epoch in 8..10 {
            follower.asked.store(epoch, SeqCst);
            state.take_store_changes(epoch).unwrap();
            follower.applied.store(epoch, SeqCst);
        }
        state.maintain().unwrap();
        assert_eq!((needed(&follower), state.entries_and_held().1), (8, 0), "nobody waits for ever");
    }

    #[test]
    fn nobody_waits_while_the_table_has_room() {
        let (mut state, follower) = state(64 << 20, 0);
        add(&mut state, 0..100_000);
        assert!(!follower.is_pressed.load(SeqCst) && needed(&follower) == 0);
    }

    #[test]
    fn pieces_say_in_order_what_changed() {
        let (mut state, _) = state(16 << 20, 64 << 20);
        add(&mut state, 0..20_000);
        assert_eq!(state.remove(0, u64::hash(3), 3), Some(1));
        let read = |pieces: &[Vec<u8>]| {
            let mut rows = std::collections::BTreeMap::new();
            for piece in pieces {
                assert!(!piece.is_empty() && piece.len() < 2 * PIECE_BYTES);
                read_changes(piece, &mut |change| {
                    match change {
                        Change::Put { key, value } => {
                            rows.insert(key.to_vec(), value.to_vec());
                        }
                        Change::Delete { key } => drop(rows.remove(key)),
                        Change::DeletePrefix { .. } => rows.clear(),
                    }
                    Ok(())
                })
                .unwrap();
            }
            rows
        };
        let (delta, stored) = (state.take_delta().unwrap(), state.take_store_changes(1).unwrap());
        assert!(delta.len() > 1 && stored.len() > 1);
        assert_eq!(read(&delta).len(), 19_999);
        assert_eq!(read(&delta), read(&stored));
        assert!(state.take_delta().unwrap().is_empty());
    }
}
