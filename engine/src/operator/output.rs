//! The last step in front of a sink.

use std::sync::Arc;

use crate::batch::{Batch, Record};
use crate::error::Result;
use crate::operator::{Context, Operator};
use crate::sink::SinkWriter;
use crate::telemetry::Meter;
use crate::time::{Epoch, Watermark};

/// Writes everything that arrives to a sink.
pub(crate) struct SinkOutput<T: Record> {
    pub(crate) name: String,
    pub(crate) writer: Box<dyn SinkWriter<T>>,
    pub(crate) meter: Arc<Meter>,
}

impl<T: Record> Operator<T> for SinkOutput<T> {
    fn on_batch(&mut self, batch: Batch<T>, _: &mut Context) -> Result<()> {
        self.meter.add_in(batch.len());
        self.writer.write(&batch).map_err(|error| error.at(&self.name))
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Context) -> Result<()> {
        if let Watermark::At(time) = watermark {
            self.meter.reach(time);
        }
        Ok(())
    }

    fn on_barrier(&mut self, epoch: Epoch, _: &mut Context) -> Result<()> {
        self.writer.commit(epoch).map_err(|error| error.at(&self.name))
    }

    fn on_end(&mut self, _: &mut Context) -> Result<()> {
        self.writer.finish().map_err(|error| error.at(&self.name))
    }

    fn on_idle(&mut self, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self, _: &mut Context) -> Result<bool> {
        Ok(false)
    }
}
