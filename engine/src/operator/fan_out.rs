//! One stream to many consumers, or to none.

use crate::batch::{Batch, Record};
use crate::error::Result;
use crate::operator::{Context, Next, Operator};
use crate::time::{Epoch, Watermark};

/// Gives everything to each of its consumers; rows are shared, not copied.
pub(crate) struct FanOut<T: Record> {
    pub(crate) consumers: Vec<Next<T>>,
}

impl<T: Record> Operator<T> for FanOut<T> {
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        self.consumers.iter_mut().try_for_each(|next| next.on_batch(batch.clone(), context))
    }

    fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()> {
        self.consumers.iter_mut().try_for_each(|next| next.on_watermark(watermark, context))
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        self.consumers.iter_mut().try_for_each(|next| next.on_barrier(epoch, context))
    }

    fn on_end(&mut self, context: &mut Context) -> Result<()> {
        self.consumers.iter_mut().try_for_each(|next| next.on_end(context))
    }

    fn on_idle(&mut self, context: &mut Context) -> Result<()> {
        self.consumers.iter_mut().try_for_each(|next| next.on_idle(context))
    }

    fn resume(&mut self, context: &mut Context) -> Result<bool> {
        let mut more = false;
        for next in &mut self.consumers {
            more |= next.resume(context)?;
        }
        Ok(more)
    }
}

/// The end of a stream that nobody reads. `build()` refuses it except for the late and rejected streams,
/// which are counted where they arise.
pub(crate) struct Unread;

impl<T: Record> Operator<T> for Unread {
    fn on_batch(&mut self, _: Batch<T>, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn on_watermark(&mut self, _: Watermark, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn on_barrier(&mut self, _: Epoch, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn on_end(&mut self, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn on_idle(&mut self, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self, _: &mut Context) -> Result<bool> {
        Ok(false)
    }
}
