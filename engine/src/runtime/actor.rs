//! A stage instance as an actix actor: control by messages, data by its own loop.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::clock::{Sleep, sleep};
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};

use super::steps::step;
use super::supervisor::{Ended, Supervisor};
use crate::error::Result;
use crate::stage::{Progress, StageInstance};
use crate::time::Epoch;

/// Steps before other actors of the same arbiter get their turn.
const STEPS_PER_TURN: u32 = 8;

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It has work.
    Busy,
    /// It waits for input.
    Idle,
    /// It waits for room behind it.
    Blocked,
    /// It has finished.
    Done,
}

/// Hosts one stage instance.
pub(crate) struct StageActor {
    label: String,
    instance: Box<dyn StageInstance>,
    supervisor: Addr<Supervisor>,
    activity: Activity,
}

impl StageActor {
    pub(crate) fn new(label: String, instance: Box<dyn StageInstance>, supervisor: Addr<Supervisor>) -> Self {
        StageActor { label, instance, supervisor, activity: Activity::Busy }
    }

    fn step(&mut self) -> Result<Progress> {
        step(&mut *self.instance, &self.label)
    }
}

impl Actor for StageActor {
    type Context = Context<Self>;
}

/// Starts the data loop.
pub(crate) struct Start;

impl Message for Start {
    type Result = ();
}

impl Handler<Start> for StageActor {
    type Result = ();

    fn handle(&mut self, _: Start, context: &mut Context<Self>) {
        context.spawn(DataLoop { timer: None });
    }
}

/// Ends the input of a source.
pub(crate) struct Stop;

impl Message for Stop {
    type Result = ();
}

impl Handler<Stop> for StageActor {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Context<Self>) {
        self.instance.stop();
        self.instance.waker().wake();
    }
}

/// Tells a source that the board asks for an epoch.
pub(crate) struct Inject(pub(crate) Epoch);

impl Message for Inject {
    type Result = ();
}

impl Handler<Inject> for StageActor {
    type Result = ();

    fn handle(&mut self, Inject(epoch): Inject, _: &mut Context<Self>) {
        tracing::trace!(instance = self.label, %epoch, "an epoch was asked for");
        self.instance.waker().wake();
    }
}

/// Asks what the instance is doing.
pub(crate) struct Inspect;

impl Message for Inspect {
    type Result = Activity;
}

impl Handler<Inspect> for StageActor {
    type Result = actix::MessageResult<Inspect>;

    fn handle(&mut self, _: Inspect, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(self.activity)
    }
}

/// Drops the instance, and with it its channels, state and files.
pub(crate) struct Discard;

impl Message for Discard {
    type Result = ();
}

impl Handler<Discard> for StageActor {
    type Result = ();

    fn handle(&mut self, _: Discard, context: &mut Context<Self>) {
        context.stop();
    }
}

/// Steps the instance whenever a channel or a timer wakes it; never touches the mailbox while there is work.
struct DataLoop {
    timer: Option<Pin<Box<Sleep>>>,
}

impl DataLoop {
    /// True when the wait is over already.
    fn wait(&mut self, retry_ms: u64, task: &mut task::Context<'_>) -> bool {
        let timer = self.timer.insert(Box::pin(sleep(Duration::from_millis(retry_ms))));
        timer.as_mut().poll(task).is_ready()
    }
}

impl ActorFuture<StageActor> for DataLoop {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut StageActor,
        _: &mut Context<StageActor>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        let this = self.get_mut();
        // Registered before looking, so that a message between the look and the return is not missed.
        actor.instance.waker().register(task.waker());
        for _ in 0..STEPS_PER_TURN {
            let outcome = match actor.step() {
                Ok(Progress::Ran) => {
                    actor.activity = Activity::Busy;
                    continue;
                }
                Ok(Progress::Idle { retry_ms }) => {
                    actor.activity = Activity::Idle;
                    if this.wait(retry_ms, task) {
                        continue;
                    }
                    return Poll::Pending;
                }
                Ok(Progress::Blocked) => {
                    actor.activity = Activity::Blocked;
                    return Poll::Pending;
                }
                Ok(Progress::Done) => Ok(()),
                Err(error) => Err(error),
            };
            actor.activity = Activity::Done;
            actor.supervisor.do_send(Ended { label: Arc::from(actor.label.as_str()), outcome });
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
