//! Keeping to the share of memory: a piece of a table that is full grows while the share allows, then
//! lets entries go.
//!
//! What leaves first was not used since its piece was last looked at, and of that what the store holds
//! already. A piece that lets entries go is copied into an empty one of its size, which is then the next
//! spare: nothing is allocated or freed, and no hash table has to make room for twice its size. Memory that
//! is freed between blocks that the store keeps is soon in pieces too small for the next table.

use std::ops::Bound::{Excluded, Unbounded};

use hashbrown::HashTable;

use super::super::Changes;
use super::super::layout::state_key;
use super::KeyedState;
use super::table::{DIRTY, Entry, Leaving, STORED, Table, allocation_bytes, first_to_leave};
use crate::batch::{Key, KeyHash, Record, encode_one, group_of};
use crate::error::Result;

/// Bytes of one spilling write: large enough to be cheap per entry; the store holds it three times.
const SPILL_BYTES: usize = 64 << 10;

/// Most of the share that it may take, as a divisor.
const SPILL_SHARE: usize = 32;

/// Empty pieces that are kept: pieces of a table have one of two sizes.
const SPARES_MAX: usize = 2;

/// A table is divided when it is larger than this part of the share, as a divisor, and these limits: most
/// tables are small, and one piece is found faster.
const WHOLE_PART: usize = 32;
const WHOLE_BYTES: (usize, usize) = (64 << 10, 8 << 20);

/// Of a full piece, the part that leaves, as a divisor: the work is spread over all entries that come in
/// until it is full again.
const LEAVING_PART: usize = 4;

/// Values whose size is looked at per batch.
const SAMPLES: usize = 4;

/// Buckets in which they are looked for, and how far apart two batches look.
const SAMPLE_BUCKETS: usize = 64;
const SAMPLE_STEP: usize = 7919;

/// Most of the share that filters may take, as a divisor.
const FILTER_SHARE: usize = 8;

impl<K: Key, V: Record + Clone> KeyedState<K, V> {
    /// Estimated memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.state_bytes() + self.spares.iter().map(HashTable::allocation_size).sum::<usize>()
    }

    /// Memory in use without spares.
    pub(super) fn state_bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(Table::memory_bytes).sum();
        tables + self.entries() * self.value_heap_bytes + self.removed.bytes()
    }

    /// The share of memory that this state keeps to.
    #[must_use]
    pub fn share_bytes(&self) -> usize {
        self.share_bytes
    }

    /// Changes the share; the next [`maintain`](Self::maintain) keeps to it.
    pub fn set_share_bytes(&mut self, share_bytes: usize) {
        self.share_bytes = share_bytes;
    }

    /// True when the share is exceeded: there is no store to spill to.
    #[must_use]
    pub fn over_budget(&self) -> bool {
        self.memory_bytes() > self.share_bytes
    }

    /// Brings memory back under the share, and makes room for what the next batch may add; to be called
    /// after each batch. An epoch's dirty set is to be taken here, before anything is spilled.
    ///
    /// # Errors
    /// The store cannot be written; what was being spilled is lost with the run.
    pub fn maintain(&mut self) -> Result<()> {
        self.write_removed()?;
        self.notice_applied();
        self.sample_values();
        let whole_bytes_max = (self.share_bytes / WHOLE_PART).clamp(WHOLE_BYTES.0, WHOLE_BYTES.1);
        self.tables.iter_mut().for_each(|table| table.measure(whole_bytes_max));
        self.watch_held();
        let expected = self.state_bytes() + self.growth_bytes();
        if self.backend.is_some() && expected > self.share_bytes && self.may_evict() {
            self.keep_to_share()?;
        }
        Ok(())
    }

    /// Memory that the next batch may take on top: pieces double, one after the other is there twice while
    /// it is copied, and spares of the new size have to fit.
    fn growth_bytes(&self) -> usize {
        let (mut sum, mut most) = (0, 0);
        for table in &self.tables {
            for bytes in table.tight_pieces().map(|piece| table.pieces[piece].allocation_size()) {
                (sum, most) = (sum + bytes, most.max(bytes));
            }
        }
        sum + most + SPARES_MAX * 2 * most
    }

    /// Number of entries in memory.
    fn entries(&self) -> usize {
        self.tables.iter().map(|table| table.entries).sum()
    }

    /// Estimates what values own outside their table from a few of them: they change behind our back.
    fn sample_values(&mut self) {
        if !std::mem::needs_drop::<V>() || self.tables.is_empty() {
            return;
        }
        let pieces = &self.tables[self.next_sample % self.tables.len()].pieces;
        let entries = &pieces[self.next_sample % pieces.len()];
        let start = self.next_sample % entries.num_buckets();
        let buckets = (start..entries.num_buckets()).chain(0..start).take(SAMPLE_BUCKETS);
        let values = buckets.filter_map(|bucket| entries.get_bucket(bucket)).map(|entry| &entry.value);
        self.next_sample = self.next_sample.wrapping_add(SAMPLE_STEP);
        if let Some(sample) = mean_heap_bytes(values) {
            let before = if self.value_heap_bytes == 0 { sample } else { self.value_heap_bytes };
            self.value_heap_bytes = (3 * before + sample) / 4;
        }
    }

    #[cold]
    fn keep_to_share(&mut self) -> Result<()> {
        let bytes_max = SPILL_BYTES.min(self.share_bytes / SPILL_SHARE);
        let filter_bytes = self.filter_bytes();
        let mut spill = Spill { bytes_max, filter_bytes, ..std::mem::take(&mut self.spill) };
        let largest = self.largest_piece_bytes();
        let mut bytes_used = self.state_bytes();
        for position in 0..self.tables.len() {
            for piece in 0..self.tables[position].pieces.len() {
                if !self.tables[position].is_tight(piece) {
                    continue;
                }
                let bytes = self.tables[position].pieces[piece].allocation_size();
                let spares = SPARES_MAX * largest.max(2 * bytes);
                if bytes_used + 2 * bytes + spares <= self.share_bytes {
                    bytes_used += bytes;
                    continue;
                }
                let before = self.state_bytes();
                self.let_some_go(position, piece, &mut spill)?;
                self.look_elsewhere(position, &mut spill)?;
                bytes_used = (bytes_used + self.state_bytes()).saturating_sub(before);
            }
        }
        self.squeeze(&mut spill)?;
        self.write_spill(&mut spill)?;
        self.spill = spill;
        Ok(())
    }

    fn largest_piece_bytes(&self) -> usize {
        let pieces = self.tables.iter().flat_map(|table| &table.pieces);
        pieces.map(HashTable::allocation_size).max().unwrap_or(0)
    }

    /// Makes room in a full piece.
    fn let_some_go(&mut self, position: usize, piece: usize, spill: &mut Spill) -> Result<()> {
        let table = &self.tables[position];
        let entries = &table.pieces[piece];
        let over = (entries.len() + table.room()).saturating_sub(entries.capacity());
        let leaving = first_to_leave(entries, over.max(entries.len().div_ceil(LEAVING_PART)));
        // Seven eighths of the buckets can be filled; removed entries may hide some of them.
        let capacity = entries.capacity().max(entries.num_buckets() / 8 * 7);
        self.copy_without(position, piece, leaving, capacity, spill)
    }

    /// Takes memory from another namespace whose entries are not used any more.
    fn look_elsewhere(&mut self, position: usize, spill: &mut Spill) -> Result<()> {
        if self.tables.len() == 1 {
            return Ok(());
        }
        if self.positions.get(&self.hand.0) == Some(&position) {
            self.hand.1 = usize::MAX;
        }
        match self.next_piece() {
            Some((other, piece)) if other != position => {
                let entries = &mut self.tables[other].pieces[piece];
                let unused = entries.iter().filter_map(Entry::rank).filter(|rank| *rank < 2).count();
                let leaving = first_to_leave(entries, unused);
                if (entries.len() - unused) * 2 <= entries.capacity() && entries.capacity() > 0 {
                    return self.shrink_without(other, piece, leaving, spill);
                }
                entries.iter_mut().for_each(Entry::age);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Halves piece after piece while the share, with room for spares, is exceeded.
    fn squeeze(&mut self, spill: &mut Spill) -> Result<()> {
        let pieces: usize = self.tables.iter().map(|table| table.pieces.len()).sum();
        let mut in_vain = 0;
        while self.state_bytes() + SPARES_MAX * self.largest_piece_bytes() > self.share_bytes
            && in_vain <= pieces
        {
            let Some((position, piece)) = self.next_piece() else { break };
            let before = self.state_bytes();
            let entries = &self.tables[position].pieces[piece];
            let leaving = first_to_leave(entries, entries.len().div_ceil(2));
            self.shrink_without(position, piece, leaving, spill)?;
            in_vain = if self.state_bytes() < before { 0 } else { in_vain + 1 };
        }
        if self.memory_bytes() > self.share_bytes {
            self.spares.clear();
        }
        Ok(())
    }

    /// The piece behind the hand, which moves on.
    fn next_piece(&mut self) -> Option<(usize, usize)> {
        let (namespace, piece) = self.hand;
        if let Some(position) = self.positions.get(&namespace)
            && piece < self.tables[*position].pieces.len()
        {
            self.hand.1 += 1;
            return Some((*position, piece));
        }
        let mut behind = self.positions.range((Excluded(namespace), Unbounded));
        let (namespace, position) = behind.next().or_else(|| self.positions.iter().next())?;
        self.hand = (*namespace, 1);
        Some((*position, 0))
    }

    /// Copies a piece into a smaller one.
    fn shrink_without(
        &mut self,
        position: usize,
        piece: usize,
        leaving: Leaving,
        spill: &mut Spill,
    ) -> Result<()> {
        let entries = &self.tables[position].pieces[piece];
        let capacity = entries.len() - leaving.iter().sum::<usize>();
        self.copy_without(position, piece, leaving, capacity, spill)
    }

    /// Copies a piece without the entries that leave; what stays has to be used again to stay longer.
    fn copy_without(
        &mut self,
        position: usize,
        piece: usize,
        mut leaving: Leaving,
        capacity: usize,
        spill: &mut Spill,
    ) -> Result<()> {
        if self.draining.contains(&self.tables[position].namespace) {
            return Ok(());
        }
        let spare = self.spares.iter().position(|spare| spare.capacity() == capacity);
        let spare = spare.map(|spare| self.spares.swap_remove(spare));
        let mut kept = spare.unwrap_or_else(|| HashTable::with_capacity(capacity));
        let mut left = std::mem::take(&mut self.tables[position].pieces[piece]);
        for mut entry in left.drain() {
            match entry.rank() {
                Some(rank) if leaving[rank] > 0 => {
                    leaving[rank] -= 1;
                    self.tables[position].forget(&entry);
                    self.let_go(position, &entry, spill)?;
                }
                _ => {
                    entry.age();
                    kept.insert_unique(entry.hash, entry, |entry| entry.hash);
                }
            }
        }
        if kept.capacity() == left.capacity() {
            self.spares.push(left);
            if self.spares.len() > SPARES_MAX {
                self.spares.remove(0);
            }
        }
        self.tables[position].pieces[piece] = kept;
        self.tables[position].remeasure();
        Ok(())
    }

    /// Puts a leaving entry into the write, if the store does not hold it as it is.
    fn let_go(&mut self, position: usize, entry: &Entry<K, V>, spill: &mut Spill) -> Result<()> {
        if !entry.has(DIRTY) {
            return Ok(());
        }
        if !entry.has(STORED) {
            self.add_cold(position, entry.hash, &mut spill.filter_bytes);
        }
        let group = group_of(entry.hash, self.groups);
        let namespace = self.tables[position].namespace;
        let key = K::stored_view(&entry.key);
        spill.key.clear();
        spill.value.clear();
        state_key::<K>(group, namespace, key, &mut spill.key);
        self.envelope.encode((key, entry.value.view()), &mut spill.value)?;
        spill.changes.put(&spill.key, &spill.value);
        if spill.changes.bytes() >= spill.bytes_max { self.write_spill(spill) } else { Ok(()) }
    }

    /// Memory of the filters of all tables.
    pub(super) fn filter_bytes(&self) -> usize {
        self.tables.iter().map(|table| table.cold.filter.bytes()).sum()
    }

    /// Notes that the store holds one more key of a table, and what that adds to `filter_bytes`.
    pub(super) fn add_cold(&mut self, position: usize, hash: KeyHash, filter_bytes: &mut usize) {
        let cold = &mut self.tables[position].cold;
        let before = cold.filter.bytes();
        let free = (self.share_bytes / FILTER_SHARE).saturating_sub(*filter_bytes);
        cold.add(group_of(hash, self.groups), hash, free);
        *filter_bytes = *filter_bytes - before + cold.filter.bytes();
    }

    fn write_spill(&mut self, spill: &mut Spill) -> Result<()> {
        let changes = &mut spill.changes;
        if let (Some(backend), false) = (&mut self.backend, changes.is_empty()) {
            changes.sort();
            backend.write(changes)?;
            changes.clear();
        }
        Ok(())
    }
}

/// Estimated bytes that a value owns on the heap, from the first few.
pub(crate) fn mean_heap_bytes<'a, V: Record>(values: impl Iterator<Item = &'a V>) -> Option<usize> {
    if !std::mem::needs_drop::<V>() {
        return None;
    }
    let (mut bytes, mut samples) = (Vec::new(), 0);
    for value in values.take(SAMPLES) {
        // NOTE: a value too large to encode is an error where it is stored or sent, not here.
        let _ = encode_one::<V>(value.view(), &mut bytes);
        samples += 1;
    }
    bytes.len().checked_div(samples).map(allocation_bytes)
}

/// Entries on their way to the store.
#[derive(Default)]
pub(super) struct Spill {
    changes: Changes,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Size of a write.
    bytes_max: usize,
    /// Memory of the filters of all tables.
    filter_bytes: usize,
}
