//! One running result per key: mergeable aggregates, and folds over the records themselves.

use std::sync::Arc;

use crate::batch::{Batch, BatchBuilder, Either, Key, Record};
use crate::epoch::EntryKind;
use crate::error::{Error, Result};
use crate::operator::combine::{Combined, KeyReader};
use crate::operator::keep::{NamespaceRows, keep_state, namespaces};
use crate::operator::{Context, KeyedResult, KeyedResultView, Next, Operator};
use crate::sink::OutputMode;
use crate::state::{Drain, KeyedState};
use crate::telemetry::Meter;
use crate::time::{Epoch, Watermark};
use crate::window::Aggregate;

/// Rows that one step sends of a large result.
const CHUNK_ROWS: usize = 2048;

/// All results of a rolling operator live in one namespace.
const NAMESPACE: i64 = 0;

/// Makes the row of a value.
pub(crate) type Finish<V, O> = Box<dyn Fn(&V) -> Result<O> + Send>;

/// What an operator with a value per key knows besides its keyed state.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct RollingState {
    pub(crate) namespaces: Vec<NamespaceRows>,
}

/// What the rolling operators share: state, and when its rows go out.
pub(crate) struct Rolling<K: Key, V: Record + Clone, O: Record> {
    pub(crate) name: String,
    pub(crate) mode: OutputMode,
    pub(crate) state: KeyedState<K, V>,
    pub(crate) finish: Finish<V, O>,
    pub(crate) rows: BatchBuilder<KeyedResult<K, O>>,
    pub(crate) next: Next<KeyedResult<K, O>>,
    pub(crate) meter: Arc<Meter>,
    /// Something changed since the whole result was last sent.
    pub(crate) changed: bool,
    pub(crate) ending: Option<Drain<K, V>>,
}

impl<K: Key, V: Record + Clone, O: Record> Rolling<K, V, O> {
    fn sent(&mut self, rows: Batch<KeyedResult<K, O>>, context: &mut Context) -> Result<()> {
        self.meter.add_out(rows.len());
        self.next.on_batch(rows, context)
    }

    fn send(&mut self, context: &mut Context) -> Result<()> {
        match self.rows.finish() {
            Some(rows) => self.sent(rows, context),
            None => Ok(()),
        }
    }

    fn send_changed(&mut self, context: &mut Context) -> Result<()> {
        let Rolling { state, rows, finish, .. } = self;
        let mut outcome = Ok(());
        let mut full = Vec::new();
        state.changed(|_, _, key, value| {
            if outcome.is_ok() {
                outcome = push(rows, key, value, finish);
                if rows.is_full() {
                    full.extend(rows.finish());
                }
            }
        });
        outcome.map_err(|error: Error| error.at(&self.name))?;
        full.into_iter().try_for_each(|rows| self.sent(rows, context))?;
        self.send(context)
    }

    fn send_all(&mut self, context: &mut Context) -> Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let mut scan = self.state.scan(NAMESPACE)?;
        loop {
            let Rolling { state, rows, finish, .. } = self;
            let mut outcome = Ok(());
            let more = scan.next_chunk(state, CHUNK_ROWS, |_, key, value| {
                if outcome.is_ok() {
                    outcome = push(rows, key, value, finish);
                }
            })?;
            outcome.map_err(|error: Error| error.at(&self.name))?;
            self.send(context)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        self.send_due(context)?;
        if context.journal.is_on() {
            keep_state(&self.name, &mut self.state, epoch, context)?;
            let state = RollingState { namespaces: namespaces(&self.state) };
            context.journal.record(EntryKind::Operator, &self.name, &state)?;
        }
        self.state.maintain()?;
        self.next.on_barrier(epoch, context)
    }

    fn send_due(&mut self, context: &mut Context) -> Result<()> {
        match self.mode {
            OutputMode::Append => Ok(()),
            OutputMode::Update => self.send_changed(context),
            OutputMode::Complete => self.send_all(context),
        }
    }

    fn on_end(&mut self, context: &mut Context) -> Result<()> {
        if self.mode == OutputMode::Append {
            // The rows are final now; they go out in pieces, by `resume`.
            self.ending = Some(self.state.drain(NAMESPACE)?);
            return Ok(());
        }
        self.send_due(context)?;
        self.next.on_end(context)
    }

    fn resume(&mut self, context: &mut Context) -> Result<bool> {
        let Some(drain) = &mut self.ending else { return self.next.resume(context) };
        let Rolling { state, rows, finish, .. } = self;
        let mut outcome = Ok(());
        let more = drain.next_chunk(state, CHUNK_ROWS, |_, key, value| {
            if outcome.is_ok() {
                outcome = push(rows, key, &value, finish);
            }
        })?;
        outcome.map_err(|error: Error| error.at(&self.name))?;
        self.send(context)?;
        if !more {
            self.ending = None;
            self.next.on_end(context)?;
        }
        Ok(true)
    }
}

fn push<K: Key, V, O: Record>(
    rows: &mut BatchBuilder<KeyedResult<K, O>>,
    key: &K::Stored,
    value: &V,
    finish: &dyn Fn(&V) -> Result<O>,
) -> Result<()> {
    let value = finish(value)?;
    Ok(rows.push(KeyedResultView { key: K::stored_view(key), value: value.view() })?)
}

/// How a batch changes the values of its keys.
pub(crate) trait Update<T: Record, K: Key, V: Record + Clone>: Send {
    /// Adds the rows of a batch to the state.
    fn update(&mut self, batch: &Batch<T>, state: &mut KeyedState<K, V>) -> Result<()>;
}

/// Changes state by [`Update`], sends rows by [`Rolling`].
pub(crate) struct RollingOperator<U, K: Key, V: Record + Clone, O: Record> {
    pub(crate) update: U,
    pub(crate) rolling: Rolling<K, V, O>,
}

impl<T, U, K, V, O> Operator<T> for RollingOperator<U, K, V, O>
where
    T: Record,
    U: Update<T, K, V>,
    K: Key,
    V: Record + Clone,
    O: Record,
{
    fn on_batch(&mut self, batch: Batch<T>, _: &mut Context) -> Result<()> {
        let rolling = &mut self.rolling;
        rolling.meter.add_in(batch.len());
        rolling.changed = true;
        self.update.update(&batch, &mut rolling.state)?;
        rolling.state.maintain()
    }

    fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()> {
        self.rolling.next.on_watermark(watermark, context)
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        self.rolling.on_barrier(epoch, context)
    }

    fn on_end(&mut self, context: &mut Context) -> Result<()> {
        self.rolling.on_end(context)
    }

    fn on_idle(&mut self, context: &mut Context) -> Result<()> {
        self.rolling.next.on_idle(context)
    }

    fn resume(&mut self, context: &mut Context) -> Result<bool> {
        self.rolling.resume(context)
    }
}

/// Merges partial aggregates per key.
pub(crate) struct Merge<A>(pub(crate) A);

impl<T: Record, K: Key, A: Aggregate<T>> Update<Combined<T, K, A>, K, A::Accumulator> for Merge<A> {
    fn update(
        &mut self,
        batch: &Batch<Combined<T, K, A>>,
        state: &mut KeyedState<K, A::Accumulator>,
    ) -> Result<()> {
        if state.is_spilled() {
            let mut keys = Vec::with_capacity(batch.len());
            batch.for_each(|_, row| {
                if let Either::Left((_, key, _)) = row {
                    keys.push((K::hash(key), key));
                }
            });
            state.load(NAMESPACE, &keys)?;
        }
        batch.for_each(|_, row| {
            // The other side does not occur: without windows no record is late.
            let Either::Left((_, key, partial)) = row else { return };
            let mut created = false;
            let accumulator = state.entry(NAMESPACE, K::hash(key), key, || {
                created = true;
                A::Accumulator::from_view(partial)
            });
            if !created {
                self.0.merge(accumulator, partial);
            }
        });
        Ok(())
    }
}

/// Folds the records of a key, in the order in which they arrive, into one value.
pub(crate) struct Fold<T: Record, K: Key, V, F> {
    pub(crate) keys: Arc<dyn KeyReader<T, K>>,
    pub(crate) initial: V,
    pub(crate) fold: F,
}

impl<T: Record, K: Key, V: Record + Clone, F> Update<T, K, V> for Fold<T, K, V, F>
where
    F: for<'a> FnMut(&mut V, T::View<'a>) + Send,
{
    fn update(&mut self, batch: &Batch<T>, state: &mut KeyedState<K, V>) -> Result<()> {
        let Fold { keys, initial, fold } = self;
        let mut outcome = Ok(());
        keys.with_keys(batch, &mut |keys| {
            if state.is_spilled() {
                let hashed: Vec<_> = keys.iter().map(|key| (K::hash(*key), *key)).collect();
                outcome = state.load(NAMESPACE, &hashed);
            }
            if outcome.is_ok() {
                batch.for_each(|position, view| {
                    let key = keys[position];
                    fold(state.entry(NAMESPACE, K::hash(key), key, || initial.clone()), view);
                });
            }
        });
        outcome
    }
}
