//! The actor that starts epochs: a barrier at every source, at a fixed interval.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context};

use super::actor::{Inject, StageActor};
use super::running::Control;
use crate::stage::EpochBoard;
use crate::telemetry;
use crate::time::Epoch;

/// Most epochs on their way through the topology; a slow sink delays the next, and memory stays bounded.
const IN_FLIGHT_MAX: u64 = 2;

/// Starts epochs and notices when they are complete.
pub(crate) struct Coordinator {
    pub(crate) sources: Vec<Addr<StageActor>>,
    pub(crate) board: Arc<EpochBoard>,
    pub(crate) control: Arc<Control>,
    pub(crate) interval: Duration,
    pub(crate) started: u64,
    pub(crate) complete: u64,
}

impl Coordinator {
    fn tick(&mut self) {
        // No epoch any more: everything has finished.
        let Some(Epoch(complete)) = self.board.complete() else { return };
        if complete > self.complete {
            metrics::counter!(telemetry::EPOCHS).increment(complete - self.complete);
            self.complete = complete;
            self.control.completed(Epoch(complete));
        }
        if self.started < complete + IN_FLIGHT_MAX {
            self.started += 1;
            self.sources.iter().for_each(|source| source.do_send(Inject(Epoch(self.started))));
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(self.interval, |coordinator, _| coordinator.tick());
    }
}
