//! Partial aggregates in front of an exchange: hot keys cross threads once per window, not per record.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::batch::{Batch, BatchBuilder, Either, Key, KeyHash, Record};
use crate::epoch::EntryKind;
use crate::error::Result;
use crate::failpoint;
use crate::operator::{Context, Next, Operator, forward};
use crate::state::mean_heap_bytes;
use crate::time::{Epoch, Timestamp, Watermark};
use crate::window::{Aggregate, Window};

/// What crosses the exchange: partial results `(slice, key, accumulator)`, and records that may be late,
/// whose fate the receiver decides because it alone knows the watermark over all inputs.
pub(crate) type Combined<T, K, A> = Either<(Timestamp, K, <A as Aggregate<T>>::Accumulator), T>;

/// Reads the key of every row of a batch: one call per batch.
pub(crate) trait KeyReader<T: Record, K: Key>: Send + Sync {
    /// Calls `visit` once with the keys of all rows, in order.
    fn with_keys(&self, batch: &Batch<T>, visit: &mut dyn FnMut(&[K::View<'_>]));
}

/// A window and how long after its end records are still taken, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowRule {
    pub(crate) window: Window,
    pub(crate) lateness_ms: i64,
    /// Windows are never closed (output mode complete).
    pub(crate) keep_all: bool,
}

impl WindowRule {
    /// True when a window that ends at `end` is closed at this watermark.
    pub(crate) fn is_closed(&self, end: Timestamp, watermark: Timestamp) -> bool {
        !self.keep_all && end.saturating_add(self.lateness_ms) <= watermark
    }
}

/// Without its hash, which is cheap to have again when a table grows: the smaller a row, the more of them
/// the caches hold.
struct Row<K: Key, A> {
    key: K::Stored,
    accumulator: A,
}

/// How much an instance combines before it sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CombineLimits {
    /// Most distinct keys.
    pub(crate) keys_max: usize,
    /// Most memory of the tables.
    pub(crate) bytes_max: usize,
}

/// Rows in the order in which their keys came, found by hash: side by side they take less of the caches than
/// among the empty places of a hash table. Measured only together with the reading of JSON: w2 lost a tenth
/// of its CPU time, 0.27 to 0.23 us per bid.
struct Table<K: Key, A> {
    positions: HashTable<u32>,
    rows: Vec<Row<K, A>>,
}

impl<K: Key, A> Default for Table<K, A> {
    fn default() -> Self {
        Table { positions: HashTable::new(), rows: Vec::new() }
    }
}

impl<K: Key, A> Table<K, A> {
    #[inline(always)]
    fn find(&mut self, hash: KeyHash, key: K::View<'_>) -> Option<&mut A> {
        let Table { positions, rows } = self;
        let same = |position: &u32| K::stored_matches(&rows[*position as usize].key, key);
        let position = *positions.find(hash, same)?;
        Some(&mut rows[position as usize].accumulator)
    }

    /// Adds a key that is not there.
    fn insert(&mut self, hash: KeyHash, row: Row<K, A>) {
        let Table { positions, rows } = self;
        rows.push(row);
        // At most `POSITIONS_MAX` keys and one batch.
        positions.insert_unique(hash, rows.len() as u32 - 1, |position| {
            K::hash(K::stored_view(&rows[*position as usize].key))
        });
    }

    /// Number of rows that fit without growing.
    fn capacity(&self) -> usize {
        self.positions.capacity().min(self.rows.capacity())
    }

    fn bytes(&self) -> usize {
        self.positions.allocation_size() + self.rows.capacity() * size_of::<Row<K, A>>()
    }
}

/// Most keys of a table, whatever the limit, so that positions fit 32 bits with much to spare.
const POSITIONS_MAX: usize = 1 << 30;

struct Slice<K: Key, A> {
    start: Timestamp,
    table: Table<K, A>,
}

/// Combines records by key and slice until a watermark, a barrier, the end or its size says otherwise.
pub(crate) struct Combine<T: Record, K: Key, A: Aggregate<T>> {
    name: String,
    keys: Arc<dyn KeyReader<T, K>>,
    aggregate: A,
    /// `None`: one rolling aggregate per key, all in slice 0.
    rule: Option<WindowRule>,
    slices: Vec<Slice<K, A::Accumulator>>,
    /// Emptied tables, kept because growing one again costs more than the rows in it.
    spare: Vec<Table<K, A::Accumulator>>,
    limits: CombineLimits,
    /// Estimated bytes that the keys own outside the tables.
    key_heap_bytes: usize,
    watermark: Timestamp,
    rows: BatchBuilder<Combined<T, K, A>>,
    next: Next<Combined<T, K, A>>,
}

impl<T: Record, K: Key, A: Aggregate<T>> Combine<T, K, A> {
    pub(crate) fn new(
        name: String,
        keys: Arc<dyn KeyReader<T, K>>,
        aggregate: A,
        rule: Option<WindowRule>,
        limits: CombineLimits,
        rows: BatchBuilder<Combined<T, K, A>>,
        next: Next<Combined<T, K, A>>,
    ) -> Self {
        Combine {
            name,
            keys,
            aggregate,
            rule,
            slices: Vec::new(),
            spare: Vec::new(),
            limits: CombineLimits { keys_max: limits.keys_max.min(POSITIONS_MAX), ..limits },
            key_heap_bytes: 0,
            watermark: i64::MIN,
            rows,
            next,
        }
    }

    /// Goes on behind an epoch of an earlier run, whose instances had reached these watermarks.
    pub(crate) fn resume_from(&mut self, watermarks: &[Timestamp]) {
        self.watermark = watermarks.iter().copied().min().unwrap_or(i64::MIN);
    }

    /// Memory of all tables when `rows` more have come: a table that grows doubles, and is there twice
    /// while it is copied.
    fn expected_bytes(&self, rows: usize) -> usize {
        let (mut sum, mut growth, mut entries) = (self.key_heap_bytes, 0, 0);
        for Slice { table, .. } in &self.slices {
            let bytes = table.bytes();
            sum += bytes;
            entries += table.rows.len();
            if table.rows.len() + rows > table.capacity() {
                growth = growth.max(2 * bytes);
            }
        }
        sum + growth + entries * self.value_heap_bytes()
    }

    fn value_heap_bytes(&self) -> usize {
        let largest = self.slices.iter().map(|slice| &slice.table.rows).max_by_key(|rows| rows.len());
        let values = largest.into_iter().flatten().map(|row| &row.accumulator);
        mean_heap_bytes(values).unwrap_or(0)
    }

    /// Sends what there is if the tables would become too large with `rows` more.
    fn make_room(&mut self, rows: usize, context: &mut Context) -> Result<()> {
        let spare = |spare: &[Table<_, _>]| spare.iter().map(Table::bytes).sum::<usize>();
        let bytes = self.expected_bytes(rows);
        if bytes + spare(&self.spare) > self.limits.bytes_max {
            self.spare.clear();
            if bytes > self.limits.bytes_max {
                self.release_all(context)?;
            }
            if spare(&self.spare) > self.limits.bytes_max {
                self.spare.clear();
            }
        }
        Ok(())
    }

    /// Sends and forgets the partial results of the slices that `which` names.
    fn release(&mut self, which: impl Fn(Timestamp) -> bool, context: &mut Context) -> Result<()> {
        let mut index = 0;
        while index < self.slices.len() {
            if !which(self.slices[index].start) {
                index += 1;
                continue;
            }
            let Slice { start, mut table } = self.slices.swap_remove(index);
            table.positions.clear();
            for row in table.rows.drain(..) {
                self.key_heap_bytes -= K::stored_heap_bytes(&row.key);
                self.rows.push_at(
                    Either::Left((start, K::stored_view(&row.key), row.accumulator.view())),
                    start,
                )?;
                if self.rows.is_full()
                    && let Some(full) = self.rows.finish()
                {
                    self.next.on_batch(full, context)?;
                }
            }
            if self.spare.len() < 4 {
                self.spare.push(table);
            }
        }
        self.send(context)
    }

    fn send(&mut self, context: &mut Context) -> Result<()> {
        match self.rows.finish() {
            Some(rows) => self.next.on_batch(rows, context),
            None => Ok(()),
        }
    }

    fn release_all(&mut self, context: &mut Context) -> Result<()> {
        self.release(|_| true, context)
    }

    /// Adds the rows of a batch to the tables; rows that may be late go to the output builder.
    fn add(&mut self, batch: &Batch<T>) -> Result<()> {
        let Combine { keys, aggregate, rule, slices, spare, key_heap_bytes, watermark, rows, .. } = self;
        let times = batch.times();
        let mut failure = Ok(());
        keys.with_keys(batch, &mut |keys| {
            // The slice of the last row, because its neighbour is most often in the same one.
            let (mut from, mut to, mut index) = (i64::MAX, i64::MIN, 0);
            batch.for_each(|position, view| {
                let time = times.map_or(0, |times| times.at(position));
                if time < from || time >= to {
                    if let Some(rule) = rule {
                        let slice = rule.window.slice(time);
                        let last = rule.window.last_window(slice);
                        if rule.is_closed(rule.window.end(last), *watermark) {
                            if let Err(error) = rows.push_at(Either::Right(view), time) {
                                failure = Err(error.into());
                            }
                            return;
                        }
                        (from, to) = (slice, slice.saturating_add(rule.window.slice_ms()));
                    } else {
                        (from, to) = (0, 1);
                    }
                    index = find_or_open(slices, spare, from);
                }
                let key = keys[position];
                let hash = K::hash(key);
                let table = &mut slices[index].table;
                // Found nearly always: a look that cannot grow the table is the shorter path.
                match table.find(hash, key) {
                    Some(accumulator) => aggregate.add(accumulator, view),
                    None => {
                        let accumulator = aggregate.create(view);
                        let row = Row { key: K::store(key), accumulator };
                        *key_heap_bytes += K::stored_heap_bytes(&row.key);
                        table.insert(hash, row);
                    }
                }
            });
        });
        failure
    }
}

fn find_or_open<K: Key, A>(
    slices: &mut Vec<Slice<K, A>>,
    spare: &mut Vec<Table<K, A>>,
    start: Timestamp,
) -> usize {
    slices.iter().position(|slice| slice.start == start).unwrap_or_else(|| {
        slices.push(Slice { start, table: spare.pop().unwrap_or_default() });
        slices.len() - 1
    })
}

impl<T: Record, K: Key, A: Aggregate<T>> Operator<T> for Combine<T, K, A> {
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        self.make_room(batch.len(), context)?;
        self.add(&batch)?;
        self.send(context)?;
        if self.slices.iter().map(|slice| slice.table.rows.len()).sum::<usize>() >= self.limits.keys_max {
            self.release_all(context)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()> {
        if let Watermark::At(time) = watermark {
            self.watermark = self.watermark.max(time);
            if let Some(rule) = self.rule {
                // Whatever a window that closes now covers must arrive before the watermark does.
                self.release(
                    |slice| {
                        let first = rule.window.end(rule.window.first_window(slice));
                        rule.is_closed(first, time) || time == i64::MAX
                    },
                    context,
                )?;
            }
        }
        self.next.on_watermark(watermark, context)
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        if !failpoint::bug("partials-kept") {
            self.release_all(context)?;
        }
        context.journal.record(EntryKind::Operator, &self.name, &self.watermark)?;
        self.next.on_barrier(epoch, context)
    }

    fn on_end(&mut self, context: &mut Context) -> Result<()> {
        self.release_all(context)?;
        self.next.on_end(context)
    }

    forward!(idle, resume);
}
