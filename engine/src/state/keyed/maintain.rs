//! Keeping to the share of memory: clean entries are evicted, then dirty ones are spilled.
//!
//! Entries leave in the order of a clock with a second chance: the hand walks over all buckets, lets
//! stay what was used since it last came by, and takes the rest.

use super::super::Changes;
use super::super::layout::state_key;
use super::KeyedState;
use super::table::{CHANGED, DIRTY, Entry, STORED, Table, USED, allocation_bytes};
use crate::batch::{Key, KeyHash, Record, encode_one, group_of};
use crate::error::Result;

/// Bytes of one spilling write: large enough to be cheap per entry, small beside any share.
const SPILL_BYTES: usize = 4 << 20;

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

    /// Brings memory back under the share; to be called after each batch.
    ///
    /// Evicts at least a quarter of the entries when it evicts, so that the work is spread over all
    /// that come in until the share is full again. An epoch's dirty set is to be taken here, before
    /// anything is spilled.
    ///
    /// # Errors
    /// The store cannot be written; what was being spilled is lost with the run.
    pub fn maintain(&mut self) -> Result<()> {
        self.write_removed()?;
        self.sample_values();
        if self.backend.is_some() && self.expected_bytes() > self.share_bytes {
            self.evict()?;
        }
        for table in &mut self.tables {
            table.entries_before = table.entries.len();
        }
        Ok(())
    }

    /// Number of entries in memory.
    fn entries(&self) -> usize {
        self.tables.iter().map(|table| table.entries.len()).sum()
    }

    /// Memory in use before the next `maintain` if tables go on growing: a hash table doubles at once.
    fn expected_bytes(&self) -> usize {
        self.memory_bytes() + self.tables.iter().map(Table::growth_bytes).sum::<usize>()
    }

    /// Estimates what values own outside their table from a few of them: they change behind our back.
    fn sample_values(&mut self) {
        if !std::mem::needs_drop::<V>() || self.tables.is_empty() {
            return;
        }
        let entries = &self.tables[self.next_sample % self.tables.len()].entries;
        let start = self.next_sample % entries.num_buckets();
        let buckets = (start..entries.num_buckets()).chain(0..start).take(SAMPLE_BUCKETS);
        let (mut bytes, mut samples) = (Vec::new(), 0);
        for entry in buckets.filter_map(|bucket| entries.get_bucket(bucket)).take(SAMPLES) {
            // NOTE: a value too large to encode is an error when it is spilled, not here.
            let _ = encode_one::<V>(entry.value.view(), &mut bytes);
            samples += 1;
        }
        self.next_sample = self.next_sample.wrapping_add(SAMPLE_STEP);
        if let Some(mean) = bytes.len().checked_div(samples) {
            let sample = allocation_bytes(mean);
            let before = if self.value_heap_bytes == 0 { sample } else { self.value_heap_bytes };
            self.value_heap_bytes = (3 * before + sample) / 4;
        }
    }

    #[cold]
    fn evict(&mut self) -> Result<()> {
        let mut keep = self.entries();
        loop {
            let before = self.entries();
            keep -= keep.div_ceil(4);
            self.sweep(keep, Sweep::Clean)?;
            self.sweep(keep, Sweep::All)?;
            for table in &mut self.tables {
                table.shrink();
            }
            if self.expected_bytes() <= self.share_bytes || self.entries() == before {
                return Ok(());
            }
        }
    }

    /// Lets entries leave until only `keep` are in memory or none may leave.
    fn sweep(&mut self, keep: usize, sweep: Sweep) -> Result<()> {
        let mut entries = self.entries();
        let mut spill = Spill { filter_bytes: self.filter_bytes(), ..Spill::default() };
        let (start_namespace, start_bucket) = self.hand;
        let behind = self.positions.range(start_namespace..).map(|(_, position)| *position);
        let before = self.positions.range(..start_namespace).map(|(_, position)| *position);
        let order: Vec<usize> = behind.chain(before).collect();
        // The second lap finds no second chances; the first table comes once more for its first part.
        let laps = order.repeat(sweep.laps());
        let mut bucket = start_bucket;
        'laps: for position in laps.into_iter().chain(order.first().copied()) {
            let namespace = self.tables[position].namespace;
            if sweep.skips(&self.tables[position]) || self.draining.contains(&namespace) {
                bucket = 0;
                continue;
            }
            for bucket in bucket..self.tables[position].entries.num_buckets() {
                if entries <= keep {
                    self.hand = (namespace, bucket);
                    break 'laps;
                }
                let leaving = self.tables[position].remove_bucket(bucket, |entry| sweep.leaves(entry));
                let Some(entry) = leaving else { continue };
                entries -= 1;
                self.let_go(position, &entry, &mut spill)?;
            }
            bucket = 0;
        }
        self.write_spill(&mut spill)
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
        spill.key.clear();
        spill.value.clear();
        state_key::<K>(group, namespace, entry.key.view(), &mut spill.key);
        self.envelope.encode((entry.key.view(), entry.value.view()), &mut spill.value)?;
        spill.changes.put(&spill.key, &spill.value);
        if spill.changes.bytes() >= SPILL_BYTES { self.write_spill(spill) } else { Ok(()) }
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

/// Entries on their way to the store.
#[derive(Default)]
struct Spill {
    changes: Changes,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Memory of the filters of all tables.
    filter_bytes: usize,
}

/// What may leave memory.
#[derive(Clone, Copy)]
enum Sweep {
    /// Only what the store holds as it is.
    Clean,
    /// Everything that was reported.
    All,
}

impl Sweep {
    fn laps(self) -> usize {
        match self {
            Sweep::Clean => 1,
            Sweep::All => 2,
        }
    }

    fn skips<K, V>(self, table: &Table<K, V>) -> bool {
        matches!(self, Sweep::Clean) && table.stored == 0
    }

    /// Says whether the entry leaves; takes away its second chance if not.
    fn leaves<K, V>(self, entry: &mut Entry<K, V>) -> bool {
        let stays = match self {
            Sweep::Clean => entry.has(DIRTY | CHANGED),
            Sweep::All => entry.has(CHANGED),
        };
        if stays {
            return false;
        }
        let used = entry.has(USED);
        entry.flags &= !USED;
        !used
    }
}
