//! Two ways out of an operator: its rows, and the records that it refuses with the reason.

use std::fmt;
use std::sync::Arc;

use crate::batch::{Batch, BatchBuilder, Record};
use crate::error::Result;
use crate::operator::{Context, Next};
use crate::source::Rejected;
use crate::telemetry::Meter;
use crate::time::{Epoch, Watermark};

/// Records that an operator refuses, on their way to its second output.
pub(crate) struct Refusals {
    pub(crate) name: String,
    pub(crate) rows: BatchBuilder<Rejected>,
    pub(crate) next: Next<Rejected>,
    pub(crate) meter: Arc<Meter>,
    /// Records of earlier batches: with the position in this one, the place of a record.
    pub(crate) before: u64,
}

impl Refusals {
    /// Refuses the record at a position of the current batch.
    #[cold]
    pub(crate) fn push(
        &mut self,
        (position, record): (usize, &dyn fmt::Debug),
        reason: &dyn fmt::Display,
        time: Option<i64>,
    ) -> Result<()> {
        let rejected = Rejected {
            origin: self.name.clone(),
            line: self.before + position as u64 + 1,
            offset: 0,
            reason: reason.to_string(),
            payload: Rejected::text(format!("{record:?}").as_bytes()),
        };
        match time {
            Some(time) => self.rows.push_at(rejected.view(), time)?,
            None => self.rows.push(rejected.view())?,
        }
        Ok(())
    }
}

/// What follows an operator: the next step for its rows, and one for what it refuses if there is such an output.
pub(crate) struct Outputs<O: Record> {
    pub(crate) next: Next<O>,
    pub(crate) refusals: Option<Refusals>,
}

impl<O: Record> Outputs<O> {
    pub(crate) fn on_batch(&mut self, batch: Batch<O>, context: &mut Context) -> Result<()> {
        self.next.on_batch(batch, context)
    }

    /// A batch of so many records is done: sends what was refused of it.
    pub(crate) fn send_refused(&mut self, records: usize, context: &mut Context) -> Result<()> {
        let Some(refusals) = &mut self.refusals else { return Ok(()) };
        refusals.before += records as u64;
        let Some(refused) = refusals.rows.finish() else { return Ok(()) };
        refusals.meter.add_rejected(refused.len());
        refusals.next.on_batch(refused, context)
    }

    pub(crate) fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()> {
        self.next.on_watermark(watermark, context)?;
        self.refused(|next| next.on_watermark(watermark, context))
    }

    pub(crate) fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        self.next.on_barrier(epoch, context)?;
        self.refused(|next| next.on_barrier(epoch, context))
    }

    pub(crate) fn on_end(&mut self, context: &mut Context) -> Result<()> {
        self.next.on_end(context)?;
        self.refused(|next| next.on_end(context))
    }

    pub(crate) fn on_idle(&mut self, context: &mut Context) -> Result<()> {
        self.next.on_idle(context)?;
        self.refused(|next| next.on_idle(context))
    }

    pub(crate) fn resume(&mut self, context: &mut Context) -> Result<bool> {
        let mut more = self.next.resume(context)?;
        self.refused(|next| next.resume(context).map(|too| more |= too))?;
        Ok(more)
    }

    fn refused(&mut self, pass: impl FnOnce(&mut Next<Rejected>) -> Result<()>) -> Result<()> {
        self.refusals.as_mut().map_or(Ok(()), |refusals| pass(&mut refusals.next))
    }
}
