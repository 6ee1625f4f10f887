//! The actor that starts epochs, and hands those that are complete to whoever makes them durable.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};

use super::actor::{Inject, StageActor};
use super::epochs::Epochs;
use super::job::{Durable, LogThread};
use super::running::Control;
use super::supervisor::{Ended, Supervisor};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::stage::EpochBoard;
use crate::telemetry;
use crate::time::{Clock, Epoch};

/// How often it is looked whether an epoch cannot wait for its time.
const URGENT_INTERVAL: Duration = Duration::from_millis(5);

/// Starts epochs and notices when they are complete.
pub(crate) struct Coordinator {
    pub(crate) sources: Vec<Addr<StageActor>>,
    pub(crate) epochs: Epochs,
    pub(crate) board: Arc<EpochBoard>,
    pub(crate) control: Arc<Control>,
    pub(crate) supervisor: Addr<Supervisor>,
    /// Makes epochs durable; without one they are as soon as they are complete.
    pub(crate) log: Option<Box<dyn Durable>>,
    /// The thread in which it works.
    pub(crate) thread: Option<LogThread>,
    pub(crate) interval: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Coordinator {
    /// An epoch may be due.
    fn start_epoch(&mut self) {
        if let Some(epoch) = self.epochs.start(self.clock.monotonic_ms()) {
            self.sources.iter().for_each(|source| source.do_send(Inject(epoch)));
        }
    }

    /// Tells whoever looks what an old epoch waits for.
    fn explain(&mut self) {
        let waiting = self.epochs.waiting(self.clock.monotonic_ms());
        if let Some(waiting) = self.control.waiting(waiting) {
            tracing::warn!("{waiting}");
        }
    }

    /// An instance has passed an epoch, or all have ended.
    fn advance(&mut self) {
        while let Some(complete) = self.epochs.complete(&*self.clock) {
            failpoint::pass("epoch.complete");
            if failpoint::bug("shown-early") {
                self.board.commit(complete.epoch, false);
            }
            match &self.thread {
                Some(thread) => thread.commit(complete),
                None => self.committed(complete.epoch),
            }
        }
        if self.epochs.is_urgent() {
            self.start_epoch();
        }
    }

    fn committed(&mut self, epoch: Epoch) {
        let before = self.epochs.committed_epoch();
        metrics::counter!(telemetry::EPOCHS).increment(epoch.0.saturating_sub(before.0));
        failpoint::pass("epoch.committed");
        self.control.completed(epoch);
        self.epochs.commit(epoch);
    }
}

impl Coordinator {
    /// Epochs cannot become durable any more: the attempt is over.
    fn failed(&self, error: Error) {
        self.supervisor.do_send(Ended { label: Arc::from("the epoch log"), outcome: Err(error) });
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let address = context.address();
        if let Some(log) = self.log.take() {
            match LogThread::start(log, address.clone()) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => return self.failed(error),
            }
        }
        self.board.listen(move || address.do_send(Advance));
        context.run_interval(self.interval, |coordinator, _| {
            coordinator.start_epoch();
            coordinator.explain();
        });
        // Nobody says when sources begin to wait for the store, or the store can take more.
        context.run_interval(URGENT_INTERVAL, |coordinator, _| coordinator.advance());
        self.advance();
    }
}

/// Something has happened on the board.
pub(crate) struct Advance;

impl Message for Advance {
    type Result = ();
}

impl Handler<Advance> for Coordinator {
    type Result = ();

    fn handle(&mut self, _: Advance, _: &mut Context<Self>) {
        self.advance();
    }
}

/// An epoch is durable, or cannot be made so.
pub(crate) struct Committed(pub(crate) Result<Epoch>);

impl Message for Committed {
    type Result = ();
}

impl Handler<Committed> for Coordinator {
    type Result = ();

    fn handle(&mut self, Committed(outcome): Committed, _: &mut Context<Self>) {
        match outcome {
            Ok(epoch) => {
                self.committed(epoch);
                self.advance();
            }
            Err(error) => self.failed(error),
        }
    }
}

/// Ends the run with an epoch of its own, to go on another time.
pub(crate) struct Halt;

impl Message for Halt {
    type Result = ();
}

impl Handler<Halt> for Coordinator {
    type Result = ();

    fn handle(&mut self, _: Halt, _: &mut Context<Self>) {
        self.epochs.halt();
        self.advance();
    }
}
