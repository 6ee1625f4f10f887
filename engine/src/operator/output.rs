//! The last step in front of a sink: two phases, so that rows are shown when their epoch is durable.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::batch::{Batch, Record};
use crate::epoch::{EntryKind, Payload, Restored};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::operator::{Context, Operator};
use crate::sink::{Cut, Delivery, SinkWriter, Staged};
use crate::telemetry::Meter;
use crate::time::{Epoch, Watermark};

/// What must happen in an instance when an epoch is durable: a sink shows its rows.
pub(crate) trait OnCommit: Send {
    /// All epochs up to this one are durable.
    fn on_commit(&mut self, epoch: Epoch) -> Result<()>;
}

/// A writer and the epochs that it has prepared and not shown.
struct Share<T: Record> {
    name: String,
    writer: Box<dyn SinkWriter<T>>,
    prepared: VecDeque<(Epoch, Staged)>,
    /// The newest epoch up to which all output survives by itself.
    delivered: u64,
}

impl<T: Record> Share<T> {
    fn prepare(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        failpoint::pass("sink.prepare");
        let cut = Cut { epoch, is_last: context.ended, now_ms: context.clock.monotonic_ms() };
        let staged = self.writer.prepare(cut).map_err(|error| error.at(&self.name))?;
        if context.journal.is_on() {
            let payload = Payload::staged(self.delivered, staged.share());
            context.journal.push(EntryKind::Staged, &self.name, payload);
        }
        self.prepared.push_back((epoch, staged));
        failpoint::pass("sink.prepared");
        Ok(())
    }

    /// Shows what an earlier run had committed and may not have shown.
    fn recover(&mut self, restored: &Restored, index: usize, count: usize) -> Result<()> {
        let mut epochs = Vec::new();
        let mut delivered = None;
        for ((subtask, epoch), payload) in &restored.staged {
            if *subtask as usize % count == index {
                let (before, staged) = payload.split_first_chunk::<8>().ok_or_else(|| {
                    Error::failed("its staged output is damaged: run `wal verify`").at(&self.name)
                })?;
                let before = u64::from_le_bytes(*before);
                delivered = Some(delivered.map_or(before, |all: u64| all.min(before)));
                epochs.push((Epoch(*epoch), Staged::bytes(staged.to_vec())));
            }
        }
        epochs.sort_by_key(|(epoch, _)| *epoch);
        if epochs.last().is_none_or(|(Epoch(epoch), _)| *epoch < restored.epoch) {
            epochs.push((Epoch(restored.epoch), Staged::nothing()));
        }
        let last = restored.epoch;
        failpoint::pass("recover.sink");
        let delivery = self.writer.recover(epochs).map_err(|error| error.at(&self.name))?;
        self.delivered = if delivery == Delivery::Final { last } else { delivered.unwrap_or(0) };
        failpoint::pass("recover.sink.done");
        Ok(())
    }
}

impl<T: Record> OnCommit for Share<T> {
    fn on_commit(&mut self, epoch: Epoch) -> Result<()> {
        while let Some((next, staged)) = self.prepared.pop_front_if(|(next, _)| *next <= epoch) {
            failpoint::pass("sink.commit");
            let delivery = self.writer.commit(next, &staged).map_err(|error| error.at(&self.name))?;
            if delivery == Delivery::Final || failpoint::bug("delivered-early") {
                self.delivered = next.0;
            }
            failpoint::pass("sink.committed");
        }
        Ok(())
    }
}

/// Writes everything that arrives to a sink.
pub(crate) struct SinkOutput<T: Record> {
    share: Arc<Mutex<Share<T>>>,
    meter: Arc<Meter>,
}

impl<T: Record> SinkOutput<T> {
    /// The step, and what is to be told when an epoch is durable. `restored` is what an earlier run left,
    /// and which of how many instances this is.
    ///
    /// # Errors
    /// The output of an earlier run cannot be shown.
    pub(crate) fn new(
        name: String,
        writer: Box<dyn SinkWriter<T>>,
        meter: Arc<Meter>,
        restored: Option<(&Restored, usize, usize)>,
    ) -> Result<(Self, Arc<Mutex<dyn OnCommit>>)> {
        let mut share = Share { name, writer, prepared: VecDeque::new(), delivered: 0 };
        if let Some((restored, index, count)) = restored {
            share.recover(restored, index, count)?;
        }
        let share = Arc::new(Mutex::new(share));
        Ok((SinkOutput { share: Arc::clone(&share), meter }, share))
    }

    fn share(&self) -> Result<MutexGuard<'_, Share<T>>> {
        self.share.lock().map_err(|_| Error::failed("a sink was left in disorder by a panic"))
    }
}

impl<T: Record> Operator<T> for SinkOutput<T> {
    fn on_batch(&mut self, batch: Batch<T>, _: &mut Context) -> Result<()> {
        self.meter.add_in(batch.len());
        let mut share = self.share()?;
        share.writer.write(&batch).map_err(|error| error.at(&share.name))
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Context) -> Result<()> {
        if let Watermark::At(time) = watermark {
            self.meter.reach(time);
        }
        Ok(())
    }

    fn on_barrier(&mut self, epoch: Epoch, context: &mut Context) -> Result<()> {
        self.share()?.prepare(epoch, context)
    }

    /// The last rows are prepared with the last epoch.
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
