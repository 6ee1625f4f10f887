//! Rows that follow from a record and from what is kept of its key.

use std::sync::Arc;

use crate::batch::{Batch, BatchBuilder, Key, Record};
use crate::epoch::EntryKind;
use crate::error::Result;
use crate::operator::combine::KeyReader;
use crate::operator::keep::{keep_state, namespaces};
use crate::operator::refusals::Outputs;
use crate::operator::rolling::RollingState;
use crate::operator::transform::Emit;
use crate::operator::{Context, Operator, forward};
use crate::state::KeyedState;
use crate::telemetry::Meter;
use crate::time::Epoch;

/// All values live in one namespace.
const NAMESPACE: i64 = 0;

/// Calls `work` with the value of each record's key, and passes on what it emits.
pub(crate) struct Stateful<T: Record, K: Key, V: Record + Clone, O: Record, F> {
    pub(crate) name: String,
    pub(crate) keys: Arc<dyn KeyReader<T, K>>,
    pub(crate) initial: V,
    pub(crate) work: F,
    pub(crate) state: KeyedState<K, V>,
    pub(crate) rows: BatchBuilder<O>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) next: Outputs<O>,
}

impl<T: Record, K: Key, V: Record + Clone, O: Record, F> Operator<T> for Stateful<T, K, V, O, F>
where
    F: for<'a> FnMut(&mut V, T::View<'a>, &mut Emit<'_, O>) + Send,
{
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        self.meter.add_in(batch.len());
        let Stateful { keys, initial, work, state, rows, meter, next, .. } = self;
        let times = batch.times();
        let Outputs { next, refusals } = next;
        let mut emit = Emit { rows, time: None, failure: None, refusals: refusals.as_mut(), position: 0 };
        let mut outcome = Ok(());
        keys.with_keys(&batch, &mut |keys| {
            if state.is_spilled() {
                let hashed: Vec<_> = keys.iter().map(|key| (K::hash(*key), *key)).collect();
                outcome = state.load(NAMESPACE, &hashed);
            }
            batch.for_each(|position, view| {
                if outcome.is_err() {
                    return;
                }
                let key = keys[position];
                emit.time = times.map(|times| times.at(position));
                emit.position = position;
                work(state.entry(NAMESPACE, K::hash(key), key, || initial.clone()), view, &mut emit);
                if emit.rows.is_full()
                    && let Some(full) = emit.rows.finish()
                {
                    meter.add_out(full.len());
                    outcome = next.on_batch(full, context);
                }
            });
        });
        if let Some(failure) = emit.failure {
            return Err(failure.at(&self.name));
        }
        outcome?;
        self.next.send_refused(batch.len(), context)?;
        if let Some(rest) = self.rows.finish() {
            self.meter.add_out(rest.len());
            self.next.on_batch(rest, context)?;
        }
        self.state.maintain()
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        if context.journal.is_on() {
            keep_state(&self.name, &mut self.state, epoch, context)?;
            let state = RollingState { namespaces: namespaces(&self.state) };
            context.journal.record(EntryKind::Operator, &self.name, &state)?;
        }
        self.state.maintain()?;
        self.next.on_barrier(epoch, context)
    }

    forward!(watermark, end, idle, resume);
}
