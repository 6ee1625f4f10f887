//! Gives records their event time and makes watermarks, one per source partition.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Record};
use crate::epoch::EntryKind;
use crate::error::Result;
use crate::operator::{Context, Next, Operator, PartitionStatus, forward};
use crate::telemetry::Meter;
use crate::time::{Epoch, TIME_MAX, Timestamp, Watermark, millis};

/// How event time advances with the records of a partition.
///
/// ```
/// use headwater::prelude::*;
///
/// let watermarks = Watermarks::bounded(secs(5)).idle_after(secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    disorder_ms: i64,
    idle_after_ms: Option<u64>,
    ahead_max_ms: Option<i64>,
}

impl Watermarks {
    /// Records are at most `disorder` behind the newest of their partition: the watermark is that much
    /// behind it.
    #[must_use]
    pub fn bounded(disorder: Duration) -> Self {
        Watermarks { disorder_ms: millis(disorder), idle_after_ms: Some(30_000), ahead_max_ms: None }
    }

    /// Records of a partition come in the order of their event time.
    #[must_use]
    pub fn ascending() -> Self {
        Watermarks::bounded(Duration::ZERO)
    }

    /// A partition that had nothing to give for this long no longer holds the others back (30 seconds
    /// unless set). A partition that has records waiting is never idle.
    #[must_use]
    pub fn idle_after(self, quiet: Duration) -> Self {
        Watermarks { idle_after_ms: Some(quiet.as_millis() as u64), ..self }
    }

    /// A quiet partition holds the others back for ever.
    #[must_use]
    pub fn never_idle(self) -> Self {
        Watermarks { idle_after_ms: None, ..self }
    }

    /// A record more than this ahead of the wall clock does not advance the watermark.
    #[must_use]
    pub fn ahead_max(self, ahead: Duration) -> Self {
        Watermarks { ahead_max_ms: Some(millis(ahead)), ..self }
    }
}

/// Reads the event time of every row of a batch.
pub(crate) trait TimeReader<T: Record>: Send + Sync {
    fn times(&self, batch: &Batch<T>) -> Vec<Timestamp>;
}

impl<T: Record, F> TimeReader<T> for F
where
    F: for<'a> Fn(T::View<'a>) -> Timestamp + Send + Sync,
{
    fn times(&self, batch: &Batch<T>) -> Vec<Timestamp> {
        batch.column(|view| self(view).clamp(-TIME_MAX, TIME_MAX))
    }
}

/// What is known of the event time of a partition.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct PartitionTime {
    /// Empty behind an exchange.
    partition: String,
    newest: Timestamp,
}

/// What an instance knows of event time.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct EventTimeState {
    reached: Timestamp,
    partitions: Vec<PartitionTime>,
}

/// Assigns event times and pushes a watermark behind each batch that advances it.
pub(crate) struct EventTime<T: Record> {
    name: String,
    reader: Arc<dyn TimeReader<T>>,
    watermarks: Watermarks,
    /// Newest event time per partition; a watermark that the source itself gave counts as well.
    newest: Vec<Option<Timestamp>>,
    sent: Watermark,
    reached: Timestamp,
    explained_ms: u64,
    /// What an earlier run knew, until the partitions are known.
    before: Vec<PartitionTime>,
    meter: Arc<Meter>,
    next: Next<T>,
}

/// Distance between two looks at what holds the watermark back, in milliseconds.
const EXPLAIN_MS: u64 = 1_000;

impl<T: Record> EventTime<T> {
    pub(crate) fn new(
        name: String,
        reader: Arc<dyn TimeReader<T>>,
        watermarks: Watermarks,
        meter: Arc<Meter>,
        next: Next<T>,
    ) -> Self {
        let newest = Vec::new();
        EventTime {
            name,
            reader,
            watermarks,
            newest,
            sent: Watermark::START,
            reached: i64::MIN,
            explained_ms: 0,
            before: Vec::new(),
            meter,
            next,
        }
    }

    fn newest(&mut self, partition: usize) -> &mut Option<Timestamp> {
        if self.newest.len() <= partition {
            self.newest.resize(partition + 1, None);
        }
        &mut self.newest[partition]
    }

    /// Goes on behind an epoch of an earlier run. `all` is what its instances knew, `own` what this one did
    /// if there are as many now. A partition may have moved from one to another.
    pub(crate) fn resume_from(&mut self, all: Vec<EventTimeState>, own: Option<EventTimeState>) {
        let reached = all.iter().map(|state| state.reached).min().unwrap_or(i64::MIN);
        self.reached = own.as_ref().map_or(reached, |own| own.reached);
        let named = all.iter().flat_map(|state| &state.partitions).filter(|of| !of.partition.is_empty());
        self.before = named.cloned().collect();
        let unnamed = |states: &[EventTimeState]| {
            let times = states.iter().flat_map(|state| &state.partitions);
            times.filter(|of| of.partition.is_empty()).min_by_key(|of| of.newest).cloned()
        };
        self.before.extend(own.map_or_else(|| unnamed(&all), |own| unnamed(&[own])));
    }

    /// Gives the partitions what an earlier run knew of them.
    fn settle(&mut self, context: &Context) {
        for PartitionTime { partition, newest } in std::mem::take(&mut self.before) {
            let names = &context.partition_names;
            let index =
                if partition.is_empty() { Some(0) } else { names.iter().position(|n| *n == partition) };
            if let Some(index) = index {
                *self.newest(index) = Some(newest);
            }
        }
    }

    /// Says what a later run needs to go on behind this epoch.
    fn keep(&mut self, context: &mut Context) -> Result<()> {
        let name = |index: usize| context.partition_names.get(index).cloned().unwrap_or_default();
        let known = self.newest.iter().enumerate();
        let partitions = known
            .filter_map(|(index, newest)| Some(PartitionTime { partition: name(index), newest: (*newest)? }));
        let state = EventTimeState { reached: self.reached, partitions: partitions.collect() };
        context.journal.record(EntryKind::Operator, &self.name, &state)
    }

    /// Watermark of one partition: the newest time less the disorder.
    fn partition_watermark(&self, partition: usize) -> Timestamp {
        let newest = self.newest.get(partition).copied().flatten();
        newest.map_or(i64::MIN, |newest| newest.saturating_sub(self.watermarks.disorder_ms))
    }

    /// Says which partition holds the watermark back; looked at when nothing comes out.
    fn explain(&mut self, context: &Context) {
        let now = context.clock.monotonic_ms();
        if now.saturating_sub(self.explained_ms) < EXPLAIN_MS {
            return;
        }
        self.explained_ms = now;
        let open =
            (0..context.partitions.len()).filter(|p| context.partitions[*p] != PartitionStatus::Finished);
        let slowest = open.min_by_key(|partition| self.partition_watermark(*partition));
        self.meter.hold(slowest.map(|partition| {
            let name = context.partition_names.get(partition).map_or("its input", String::as_str);
            let quiet = match context.partitions[partition] {
                PartitionStatus::QuietSince(since) => {
                    format!(", quiet for {} s", now.saturating_sub(since) / 1000)
                }
                _ => String::new(),
            };
            match self.partition_watermark(partition) {
                i64::MIN => format!("has seen no event time from {name} yet{quiet}"),
                time => format!("is at watermark {time} ms, held back by {name}{quiet}"),
            }
        }));
    }

    /// The minimum over the partitions that are still being read and not idle.
    fn watermark(&self, context: &Context) -> Option<Watermark> {
        let now = context.clock.monotonic_ms();
        let mut lowest = None;
        let mut live = false;
        for (partition, status) in context.partitions.iter().enumerate() {
            match (*status, self.watermarks.idle_after_ms) {
                (PartitionStatus::Finished, _) => continue,
                (PartitionStatus::QuietSince(since), Some(limit)) if now.saturating_sub(since) >= limit => {
                    live = true;
                }
                _ => {
                    let time = self.partition_watermark(partition);
                    lowest = Some(lowest.map_or(time, |lowest: Timestamp| lowest.min(time)));
                    live = true;
                }
            }
        }
        match lowest {
            Some(time) => Some(Watermark::At(time.max(self.reached))),
            None if live => Some(Watermark::Idle),
            // The end is announced by `on_end`.
            None => None,
        }
    }

    fn advance(&mut self, context: &mut Context) -> Result<()> {
        self.settle(context);
        self.explain(context);
        let Some(watermark) = self.watermark(context) else { return Ok(()) };
        if watermark == self.sent {
            return Ok(());
        }
        self.sent = watermark;
        if let Watermark::At(time) = watermark {
            self.reached = time;
            self.meter.reach(time);
        }
        self.next.on_watermark(watermark, context)
    }
}

impl<T: Record> Operator<T> for EventTime<T> {
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        self.settle(context);
        let times = self.reader.times(&batch);
        let disorder = self.watermarks.disorder_ms;
        let ahead = self.watermarks.ahead_max_ms.map(|ahead| context.clock.wall_ms().saturating_add(ahead));
        let partition = context.partition;
        let mut newest = *self.newest(partition);
        // A record behind its partition's watermark may be late: what precedes it is sent first, so that
        // whether it is late does not depend on where batches were cut.
        let mut cuts = Vec::new();
        let mut newest_at_cut = newest;
        for (position, time) in times.iter().enumerate() {
            let behind = newest.is_some_and(|newest| *time < newest.saturating_sub(disorder));
            if behind && newest != newest_at_cut {
                cuts.push((position, newest));
                newest_at_cut = newest;
            }
            if ahead.is_none_or(|ahead| *time <= ahead) {
                newest = newest.max(Some(*time));
            }
        }
        let rows = batch.len();
        let batch = batch.with_times(times);
        let mut start = 0;
        for (position, newest) in cuts {
            if position > start {
                self.next.on_batch(batch.slice(start..position), context)?;
            }
            *self.newest(partition) = newest;
            self.advance(context)?;
            start = position;
        }
        let rest = if start == 0 { batch } else { batch.slice(start..rows) };
        self.next.on_batch(rest, context)?;
        *self.newest(partition) = newest;
        self.advance(context)
    }

    /// A watermark from in front of it: the source knows more than the records show.
    fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()> {
        if let Watermark::At(time) = watermark {
            self.settle(context);
            let disorder = self.watermarks.disorder_ms;
            let partition = context.partition;
            let newest = self.newest(partition);
            *newest = (*newest).max(Some(time.saturating_add(disorder)));
        }
        self.advance(context)
    }

    fn on_idle(&mut self, context: &mut Context) -> Result<()> {
        self.advance(context)?;
        self.next.on_idle(context)
    }

    fn on_end(&mut self, context: &mut Context) -> Result<()> {
        self.next.on_watermark(Watermark::END, context)?;
        self.next.on_end(context)
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        self.settle(context);
        if context.journal.is_on() {
            self.keep(context)?;
        }
        self.next.on_barrier(epoch, context)
    }

    forward!(resume);
}
