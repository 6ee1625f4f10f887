//! Stateless words: map, filter, flat_map, try_map, inspect.

use std::fmt;
use std::sync::Arc;

use crate::batch::{Batch, BatchBuilder, Record};
use crate::error::{Error, Result};
use crate::operator::refusals::{Outputs, Refusals};
use crate::operator::{Context, Next, Operator, forward};
use crate::telemetry::Meter;

/// Where a closure writes the records that follow from one record.
pub struct Emit<'a, O: Record> {
    pub(super) rows: &'a mut BatchBuilder<O>,
    pub(super) time: Option<i64>,
    pub(super) failure: Option<Error>,
    pub(super) refusals: Option<&'a mut Refusals>,
    /// Of the record that is being worked on, in its batch.
    pub(super) position: usize,
}

impl<O: Record> fmt::Debug for Emit<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emit")
    }
}

impl<O: Record> Emit<'_, O> {
    /// Writes one record; it has the event time of the record that it follows from.
    #[inline]
    pub fn push(&mut self, record: O::View<'_>) {
        let pushed = match self.time {
            Some(time) => self.rows.push_at(record, time),
            None => self.rows.push(record),
        };
        if let Err(error) = pushed {
            self.failure.get_or_insert(error.into());
        }
    }

    /// Sends the record that is being worked on to the second output, if there is one.
    pub(crate) fn refuse(&mut self, record: &dyn fmt::Debug, reason: &dyn fmt::Display) {
        let Some(refusals) = &mut self.refusals else { return };
        if let Err(error) = refusals.push((self.position, record), reason, self.time) {
            self.failure.get_or_insert(error);
        }
    }
}

/// One batch in, a batch of other rows out: what all row-making words share.
pub(crate) struct Transform<T: Record, O: Record, F> {
    work: F,
    rows: BatchBuilder<O>,
    next: Next<O>,
    name: String,
    _record: std::marker::PhantomData<fn(T)>,
}

impl<T: Record, O: Record, F> Transform<T, O, F> {
    pub(crate) fn new(name: String, work: F, rows: BatchBuilder<O>, next: Next<O>) -> Self {
        Transform { work, rows, next, name, _record: std::marker::PhantomData }
    }
}

impl<T: Record, O: Record, F> Operator<T> for Transform<T, O, F>
where
    F: for<'a> FnMut(T::View<'a>, &mut Emit<'_, O>) + Send,
{
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        let times = batch.times();
        let (work, rows, next) = (&mut self.work, &mut self.rows, &mut self.next);
        let mut emit = Emit { rows, time: None, failure: None, refusals: None, position: 0 };
        let mut outcome = Ok(());
        batch.for_each(|position, view| {
            emit.time = times.map(|times| times.at(position));
            work(view, &mut emit);
            if emit.rows.is_full()
                && outcome.is_ok()
                && let Some(full) = emit.rows.finish()
            {
                outcome = next.on_batch(full, context);
            }
        });
        if let Some(failure) = emit.failure {
            return Err(failure.at(&self.name));
        }
        outcome?;
        match self.rows.finish() {
            Some(rest) => self.next.on_batch(rest, context),
            None => Ok(()),
        }
    }

    forward!(watermark, barrier, end, idle, resume);
}

/// Keeps the rows for which a predicate holds: changes the selection, copies nothing.
pub(crate) struct Filter<T: Record, F> {
    pub(crate) predicate: F,
    pub(crate) positions: Vec<u32>,
    pub(crate) next: Next<T>,
}

impl<T: Record, F> Operator<T> for Filter<T, F>
where
    F: for<'a> FnMut(T::View<'a>) -> bool + Send,
{
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        // Written without a branch: whether a row stays is unpredictable.
        self.positions.clear();
        self.positions.resize(batch.len(), 0);
        let (positions, predicate) = (&mut self.positions, &mut self.predicate);
        let mut kept = 0;
        batch.for_each(|position, view| {
            positions[kept] = position as u32;
            kept += usize::from(predicate(view));
        });
        match kept {
            0 => Ok(()),
            _ if kept == batch.len() => self.next.on_batch(batch, context),
            _ => self.next.on_batch(batch.select(&self.positions[..kept]), context),
        }
    }

    forward!(watermark, barrier, end, idle, resume);
}

/// Looks at every row and passes it on.
pub(crate) struct Inspect<T: Record, F> {
    pub(crate) look: F,
    pub(crate) next: Next<T>,
}

impl<T: Record, F> Operator<T> for Inspect<T, F>
where
    F: for<'a> FnMut(T::View<'a>) + Send,
{
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        batch.for_each(|_, view| (self.look)(view));
        self.next.on_batch(batch, context)
    }

    forward!(watermark, barrier, end, idle, resume);
}

/// Maps rows; those for which that fails go to a second stream with the reason.
pub(crate) struct TryMap<T: Record, O: Record, F> {
    pub(crate) work: F,
    pub(crate) rows: BatchBuilder<O>,
    pub(crate) next: Outputs<O>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) _record: std::marker::PhantomData<fn(T)>,
}

impl<T: Record, O: Record, E: fmt::Display, F> Operator<T> for TryMap<T, O, F>
where
    F: for<'a> FnMut(T::View<'a>) -> Result<O, E> + Send,
    for<'a> T::View<'a>: fmt::Debug,
{
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        let times = batch.times();
        for (position, view) in batch.iter().enumerate() {
            let time = times.map(|times| times.at(position));
            match ((self.work)(view), time) {
                (Ok(row), Some(time)) => self.rows.push_at(row.view(), time)?,
                (Ok(row), None) => self.rows.push(row.view())?,
                (Err(reason), _) => {
                    if let Some(refusals) = &mut self.next.refusals {
                        refusals.push((position, &view), &reason, time)?;
                    }
                }
            }
        }
        self.meter.add_in(batch.len());
        self.next.send_refused(batch.len(), context)?;
        match self.rows.finish() {
            Some(rows) => self.next.on_batch(rows, context),
            None => Ok(()),
        }
    }

    forward!(watermark, barrier, end, idle, resume);
}
