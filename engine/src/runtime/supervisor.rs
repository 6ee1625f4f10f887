//! The actor that hears how instances end: the run ends when all have, or when one has failed.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message, System};

use super::actor::Stop as StopInput;
use super::actor::{Discard, StageActor};
use super::running::Control;
use crate::error::Result;

/// Watches over the instances of one attempt.
pub(crate) struct Supervisor {
    pub(crate) instances: Vec<Addr<StageActor>>,
    pub(crate) expected: usize,
    pub(crate) control: Arc<Control>,
    pub(crate) ended: usize,
}

impl Supervisor {
    pub(crate) fn new(expected: usize, control: Arc<Control>) -> Self {
        Supervisor { instances: Vec::new(), expected, control, ended: 0 }
    }

    fn finish(&mut self, outcome: Result<()>, context: &mut Context<Self>) {
        self.instances.drain(..).for_each(|instance| instance.do_send(Discard));
        self.control.outcome(outcome);
        context.stop();
        System::current().stop();
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;
}

/// The instances to watch over.
pub(crate) struct Watch(pub(crate) Vec<Addr<StageActor>>);

impl Message for Watch {
    type Result = ();
}

impl Handler<Watch> for Supervisor {
    type Result = ();

    fn handle(&mut self, Watch(instances): Watch, _: &mut Context<Self>) {
        self.instances = instances;
    }
}

/// An instance has ended.
pub(crate) struct Ended {
    pub(crate) label: Arc<str>,
    pub(crate) outcome: Result<()>,
}

impl Message for Ended {
    type Result = ();
}

impl Handler<Ended> for Supervisor {
    type Result = ();

    fn handle(&mut self, Ended { label, outcome }: Ended, context: &mut Context<Self>) {
        self.control.forget(&label);
        match outcome {
            Ok(()) => {
                self.ended += 1;
                if self.ended == self.expected {
                    self.finish(Ok(()), context);
                }
            }
            // The others would only report that their neighbour is gone.
            Err(error) => {
                tracing::error!(instance = &*label, %error, "a stage instance failed");
                self.finish(Err(error), context);
            }
        }
    }
}

/// Ends the input of all sources; the run then ends by itself.
pub(crate) struct Drain;

impl Message for Drain {
    type Result = ();
}

impl Handler<Drain> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {
        self.instances.iter().for_each(|instance| instance.do_send(StopInput));
    }
}
