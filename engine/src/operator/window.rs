//! Windowed aggregates: one table per slice, a window is the merge of its slices, and it fires when the
//! watermark passes its end.

use std::collections::HashSet;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::batch::{Batch, BatchBuilder, Either, Key, KeyHash, Record};
use crate::epoch::EntryKind;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::operator::combine::{Combined, KeyReader, WindowRule};
use crate::operator::keep::{NamespaceRows, keep_state, namespaces, resume_state};
use crate::operator::{Context, Next, Operator, WindowResult, WindowResultView};
use crate::sink::OutputMode;
use crate::state::{Drain, KeyedState};
use crate::telemetry::Meter;
use crate::time::{Epoch, Timestamp, Watermark};
use crate::window::Aggregate;

/// Rows that one step sends of a large window.
const CHUNK_ROWS: usize = 2048;

/// What a windowed aggregate knows besides its keyed state.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct WindowState {
    watermark: Timestamp,
    next_start: Timestamp,
    namespaces: Vec<NamespaceRows>,
}

/// What a windowed aggregate is made of.
pub(crate) struct WindowParts<T: Record, K: Key, A: Aggregate<T>> {
    pub(crate) name: String,
    pub(crate) rule: WindowRule,
    pub(crate) mode: OutputMode,
    pub(crate) aggregate: A,
    pub(crate) keys: Arc<dyn KeyReader<T, K>>,
    /// Namespace = start of the slice.
    pub(crate) state: KeyedState<K, A::Accumulator>,
    pub(crate) rows: BatchBuilder<WindowResult<K, A::Output>>,
    pub(crate) records: BatchBuilder<T>,
    pub(crate) next: Next<WindowResult<K, A::Output>>,
    pub(crate) late: Next<T>,
    pub(crate) meter: Arc<Meter>,
}

/// One key of a window that is being put together from its slices.
struct Merged<K: Key, A> {
    hash: KeyHash,
    key: K::Stored,
    accumulator: A,
}

/// The window that is being sent.
#[expect(clippy::large_enum_variant, reason = "there is one per instance")]
enum Firing<K: Key, A> {
    None,
    /// A window of one slice: read straight out of the state.
    Slice(Timestamp, Drain<K, A>),
    Merged(Timestamp, std::vec::IntoIter<Merged<K, A>>),
}

/// Aggregates per key and window.
pub(crate) struct WindowAggregate<T: Record, K: Key, A: Aggregate<T>> {
    parts: WindowParts<T, K, A>,
    watermark: Timestamp,
    /// Start of the first window that has not fired.
    next_start: Timestamp,
    firing: Firing<K, A::Accumulator>,
    /// Follows the rows of the windows that it closes.
    held: Option<Watermark>,
    /// Something changed since the whole result was last sent.
    changed: bool,
}

impl<T: Record, K: Key, A: Aggregate<T>> WindowAggregate<T, K, A> {
    pub(crate) fn new(parts: WindowParts<T, K, A>) -> Self {
        WindowAggregate {
            parts,
            watermark: i64::MIN,
            next_start: i64::MIN,
            firing: Firing::None,
            held: None,
            changed: false,
        }
    }

    fn load(&mut self, batch: &Batch<Combined<T, K, A>>) -> Result<()> {
        let mut keys: Vec<(Timestamp, KeyHash, K::View<'_>)> = Vec::with_capacity(batch.len());
        batch.for_each(|_, row| {
            if let Either::Left((slice, key, _)) = row {
                keys.push((slice, K::hash(key), key));
            }
        });
        keys.sort_unstable_by_key(|(slice, _, _)| *slice);
        for slice in keys.chunk_by(|a, b| a.0 == b.0) {
            let hashed: Vec<_> = slice.iter().map(|(_, hash, key)| (*hash, *key)).collect();
            self.parts.state.load(slice[0].0, &hashed)?;
        }
        Ok(())
    }

    /// Adds partial results; keeps the records that may be late for `judge`.
    fn merge(&mut self, batch: &Batch<Combined<T, K, A>>) -> Result<()> {
        let WindowParts { state, aggregate, records, .. } = &mut self.parts;
        let times = batch.times();
        let mut outcome = Ok(());
        batch.for_each(|position, row| match row {
            Either::Left((slice, key, partial)) => {
                let mut created = false;
                let accumulator = state.entry(slice, K::hash(key), key, || {
                    created = true;
                    A::Accumulator::from_view(partial)
                });
                if !created {
                    aggregate.merge(accumulator, partial);
                }
            }
            Either::Right(record) => {
                let time = times.map_or(i64::MIN, |times| times.at(position));
                if let Err(error) = records.push_at(record, time) {
                    outcome = Err(error.into());
                }
            }
        });
        outcome
    }

    /// Decides about records behind their partition's watermark: late when all their windows are closed.
    fn judge(&mut self, batch: &Batch<T>, context: &mut Context) -> Result<()> {
        let (rule, watermark) = (self.parts.rule, self.watermark);
        let WindowParts { state, aggregate, keys, .. } = &mut self.parts;
        let Some(times) = batch.times() else { return Ok(()) };
        let mut late = Vec::new();
        let mut outcome = Ok(());
        keys.with_keys(batch, &mut |keys| {
            for (position, record) in batch.iter().enumerate() {
                let slice = rule.window.slice(times.at(position));
                if rule.is_closed(rule.window.end(rule.window.last_window(slice)), watermark) {
                    late.push(position as u32);
                    continue;
                }
                let key = keys[position];
                let hash = K::hash(key);
                if let Err(error) = state.load(slice, &[(hash, key)]) {
                    outcome = Err(error);
                    return;
                }
                let mut created = false;
                let accumulator = state.entry(slice, hash, key, || {
                    created = true;
                    aggregate.create(record)
                });
                if !created {
                    aggregate.add(accumulator, record);
                }
            }
        });
        outcome?;
        if late.is_empty() {
            return Ok(());
        }
        self.parts.meter.add_late(late.len());
        self.parts.late.on_batch(batch.select(&late), context)
    }

    /// Start of the next window that the watermark has closed.
    fn closed(&self) -> Option<Timestamp> {
        let rule = self.parts.rule;
        let start = self.parts.rule.window.first_window(self.parts.state.first_namespace()?);
        let start = start.max(self.next_start);
        rule.is_closed(rule.window.end(start), self.watermark).then_some(start)
    }

    /// A window that closed without a record stays closed: a record that comes after that counts only in
    /// the windows that are still open, whatever other keys of the instance have fired.
    fn skip_closed(&mut self) {
        let WindowRule { window, lateness_ms, keep_all } = self.parts.rule;
        let length = window.size_ms().saturating_add(lateness_ms);
        if let (false, Some(last)) = (keep_all, self.watermark.checked_sub(length)) {
            let open = window.last_window(last).saturating_add(window.slide_ms());
            self.next_start = self.next_start.max(open);
        }
    }

    /// Sends one piece of what the watermark has closed; true when there may be more.
    fn fire(&mut self, context: &mut Context) -> Result<bool> {
        let rule = self.parts.rule;
        let WindowParts { state, rows, aggregate, .. } = &mut self.parts;
        let mut outcome = Ok(());
        let (start, more) = match &mut self.firing {
            Firing::None => return self.begin(),
            Firing::Slice(start, drain) => {
                let end = rule.window.end(*start);
                let more = drain.next_chunk(state, CHUNK_ROWS, |_, key, accumulator| {
                    if outcome.is_ok() {
                        outcome = push(rows, *start, end, key, &accumulator, aggregate);
                    }
                })?;
                (*start, more)
            }
            Firing::Merged(start, merged) => {
                let end = rule.window.end(*start);
                for row in merged.by_ref().take(CHUNK_ROWS) {
                    outcome =
                        outcome.and_then(|()| push(rows, *start, end, &row.key, &row.accumulator, aggregate));
                }
                (*start, merged.len() > 0)
            }
        };
        outcome.map_err(|error: Error| error.at(&self.parts.name))?;
        if !more {
            self.firing = Firing::None;
            self.next_start = start.saturating_add(rule.window.slide_ms());
        }
        self.send(context)?;
        Ok(true)
    }

    /// Starts on the next closed window; false when there is none.
    fn begin(&mut self) -> Result<bool> {
        let Some(start) = self.closed() else {
            self.skip_closed();
            return Ok(false);
        };
        if self.parts.mode != OutputMode::Append {
            // Its rows went out when they changed.
            self.next_start = start.saturating_add(self.parts.rule.window.slide_ms());
            self.drop_slices()?;
        } else if self.parts.rule.window.is_tumbling() {
            self.firing = Firing::Slice(start, self.parts.state.drain(start)?);
        } else {
            let merged = self.merged(start, true)?;
            self.firing = Firing::Merged(start, merged.into_iter());
        }
        Ok(true)
    }

    /// Forgets the slices that no window to come covers.
    fn drop_slices(&mut self) -> Result<()> {
        while let Some(slice) = self.parts.state.first_namespace() {
            if self.parts.rule.window.last_window(slice) >= self.next_start {
                break;
            }
            let mut drain = self.parts.state.drain(slice)?;
            while drain.next_chunk(&mut self.parts.state, CHUNK_ROWS, |_, _, _| {})? {}
        }
        Ok(())
    }

    /// The keys of the window at `start`, merged over its slices. With `consume`, slices that no later
    /// window covers are taken out of the state.
    fn merged(&mut self, start: Timestamp, consume: bool) -> Result<Vec<Merged<K, A::Accumulator>>> {
        let window = self.parts.rule.window;
        let end = window.end(start);
        let WindowParts { state, aggregate, .. } = &mut self.parts;
        let slices: Vec<_> = state.namespaces().filter(|slice| *slice >= start && *slice < end).collect();
        let mut table = HashTable::new();
        for slice in slices {
            if consume && window.last_window(slice) <= start {
                let mut drain = state.drain(slice)?;
                while drain.next_chunk(state, CHUNK_ROWS, |hash, key, accumulator| {
                    add(&mut table, aggregate, hash, key, &accumulator);
                })? {}
            } else {
                let mut scan = state.scan(slice)?;
                while scan.next_chunk(state, CHUNK_ROWS, |hash, key, accumulator| {
                    add(&mut table, aggregate, hash, key, accumulator);
                })? {}
            }
        }
        Ok(table.into_iter().collect())
    }

    fn send(&mut self, context: &mut Context) -> Result<()> {
        match self.parts.rows.finish() {
            Some(rows) => {
                self.parts.meter.add_out(rows.len());
                self.parts.next.on_batch(rows, context)
            }
            None => Ok(()),
        }
    }

    /// Sends everything that the watermark has closed, then the watermark.
    fn finish(&mut self, context: &mut Context) -> Result<()> {
        while self.fire(context)? {}
        match self.held.take() {
            Some(watermark) => self.parts.next.on_watermark(watermark, context),
            None => Ok(()),
        }
    }

    /// Says what a later run needs to go on behind this epoch.
    fn keep(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        if !context.journal.is_on() {
            return Ok(());
        }
        keep_state(&self.parts.name, &mut self.parts.state, epoch, context)?;
        let namespaces = namespaces(&self.parts.state);
        let state = WindowState { watermark: self.watermark, next_start: self.next_start, namespaces };
        context.journal.record(EntryKind::Operator, &self.parts.name, &state)
    }

    /// Goes on behind an epoch of an earlier run. Its instances had all seen the same watermark; `same` says
    /// that there are as many now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn resume_from(&mut self, before: &[WindowState], same: bool) -> Result<()> {
        if let Some(watermark) = before.iter().map(|state| state.watermark).min() {
            if !failpoint::bug("watermark-lost") {
                self.watermark = watermark;
            }
            if !failpoint::bug("next-start-lost") {
                self.next_start = before.iter().map(|state| state.next_start).max().unwrap_or(i64::MIN);
            }
        }
        let namespaces = before.iter().map(|state| &state.namespaces[..]);
        resume_state(&mut self.parts.state, namespaces, same)
    }

    fn send_due(&mut self, context: &mut Context) -> Result<()> {
        match self.parts.mode {
            OutputMode::Append => Ok(()),
            OutputMode::Update => self.send_changed(context),
            OutputMode::Complete => self.send_all(context),
        }
    }

    /// Sends each window of each key that changed since the last call.
    fn send_changed(&mut self, context: &mut Context) -> Result<()> {
        let window = self.parts.rule.window;
        let mut changed: Vec<(Timestamp, KeyHash, K::Stored)> = Vec::new();
        let mut seen = HashSet::new();
        let next_start = self.next_start;
        self.parts.state.changed(|slice, hash, key, _| {
            let (mut start, last) = (window.first_window(slice).max(next_start), window.last_window(slice));
            while start <= last {
                let mut bytes = start.to_be_bytes().to_vec();
                K::write_bytes(K::stored_view(key), &mut bytes);
                if window.is_tumbling() || seen.insert(bytes) {
                    changed.push((start, hash, K::store(K::stored_view(key))));
                }
                start += window.slide_ms();
            }
        });
        for (start, hash, key) in changed {
            let view = K::stored_view(&key);
            let end = window.end(start);
            let WindowParts { state, aggregate, rows, .. } = &mut self.parts;
            let mut total: Option<A::Accumulator> = None;
            let mut slice = start;
            while slice < end {
                state.load(slice, &[(hash, view)])?;
                if let Some(part) = state.get(slice, hash, view) {
                    match &mut total {
                        Some(total) => aggregate.merge(total, part.view()),
                        None => total = Some(part.clone()),
                    }
                }
                slice += window.slice_ms();
            }
            if let Some(total) = total {
                push(rows, start, end, &key, &total, aggregate).map_err(|e| e.at(&self.parts.name))?;
                if self.parts.rows.is_full() {
                    self.send(context)?;
                }
            }
        }
        self.send(context)
    }

    /// Sends every window of every key.
    fn send_all(&mut self, context: &mut Context) -> Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let window = self.parts.rule.window;
        let mut starts: Vec<_> = self
            .parts
            .state
            .namespaces()
            .flat_map(|slice| {
                let count = (window.last_window(slice) - window.first_window(slice)) / window.slide_ms();
                (0..=count).map(move |n| window.first_window(slice) + n * window.slide_ms())
            })
            .collect();
        starts.dedup();
        starts.sort_unstable();
        starts.dedup();
        for start in starts {
            for row in self.merged(start, false)? {
                let WindowParts { aggregate, rows, .. } = &mut self.parts;
                push(rows, start, window.end(start), &row.key, &row.accumulator, aggregate)
                    .map_err(|e| e.at(&self.parts.name))?;
                if self.parts.rows.is_full() {
                    self.send(context)?;
                }
            }
        }
        self.send(context)
    }
}

fn add<T: Record, K: Key, A: Aggregate<T>>(
    table: &mut HashTable<Merged<K, A::Accumulator>>,
    aggregate: &A,
    hash: KeyHash,
    key: &K::Stored,
    accumulator: &A::Accumulator,
) {
    let key = K::stored_view(key);
    match table.entry(hash, |row| K::stored_matches(&row.key, key), |row| row.hash) {
        Entry::Occupied(mut row) => aggregate.merge(&mut row.get_mut().accumulator, accumulator.view()),
        Entry::Vacant(place) => {
            place.insert(Merged { hash, key: K::store(key), accumulator: accumulator.clone() });
        }
    }
}

fn push<T: Record, K: Key, A: Aggregate<T>>(
    rows: &mut BatchBuilder<WindowResult<K, A::Output>>,
    window_start: Timestamp,
    window_end: Timestamp,
    key: &K::Stored,
    accumulator: &A::Accumulator,
    aggregate: &A,
) -> Result<()> {
    let value = aggregate.finish(accumulator)?;
    let row = WindowResultView { window_start, window_end, key: K::stored_view(key), value: value.view() };
    // The newest time that a record of the window can have: a window behind this one takes it from here.
    Ok(rows.push_at(row, window_end.saturating_sub(1))?)
}

impl<T: Record, K: Key, A: Aggregate<T>> Operator<Combined<T, K, A>> for WindowAggregate<T, K, A> {
    fn on_batch(&mut self, batch: Batch<Combined<T, K, A>>, context: &mut Context) -> Result<()> {
        self.finish(context)?;
        self.parts.meter.add_in(batch.len());
        self.changed = true;
        if self.parts.state.is_spilled() {
            self.load(&batch)?;
        }
        self.merge(&batch)?;
        if let Some(records) = self.parts.records.finish() {
            self.judge(&records, context)?;
        }
        self.parts.state.maintain()
    }

    fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()> {
        self.finish(context)?;
        self.parts.late.on_watermark(watermark, context)?;
        if let Watermark::At(time) = watermark {
            self.watermark = self.watermark.max(time);
            self.parts.meter.reach(time);
            if self.parts.mode == OutputMode::Update && self.closed().is_some() {
                self.send_changed(context)?;
            }
        }
        // The rows of a window come as long after its end as records may be late.
        self.held = Some(match watermark {
            Watermark::At(time) if watermark != Watermark::END => {
                Watermark::At(time.saturating_sub(self.parts.rule.lateness_ms))
            }
            other => other,
        });
        // Large windows go out piece by piece, by `resume`; the watermark follows the last piece.
        if self.fire(context)? { Ok(()) } else { self.finish(context) }
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        self.finish(context)?;
        self.send_due(context)?;
        self.keep(epoch, context)?;
        self.parts.state.maintain()?;
        self.parts.next.on_barrier(epoch, context)?;
        self.parts.late.on_barrier(epoch, context)
    }

    fn on_end(&mut self, context: &mut Context) -> Result<()> {
        self.finish(context)?;
        self.send_due(context)?;
        self.parts.next.on_end(context)?;
        self.parts.late.on_end(context)
    }

    fn on_idle(&mut self, context: &mut Context) -> Result<()> {
        self.parts.next.on_idle(context)?;
        self.parts.late.on_idle(context)
    }

    fn resume(&mut self, context: &mut Context) -> Result<bool> {
        if self.held.is_some() {
            if !self.fire(context)? {
                self.finish(context)?;
            }
            return Ok(true);
        }
        let more = self.parts.next.resume(context)?;
        Ok(self.parts.late.resume(context)? || more)
    }
}
