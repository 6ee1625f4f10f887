//! `InputGate`: many inputs as one: the lowest watermark, aligned barriers, one end.

use crate::batch::{Batch, Record};
use crate::channel::{Received, Receiver};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::message::Message;
use crate::time::{Epoch, Watermark};

/// What the gate lets through.
#[derive(Debug)]
pub(crate) enum Arrival<T: Record> {
    Batch(Batch<T>),
    /// The lowest over all inputs that are neither idle nor ended; never goes back.
    Watermark(Watermark),
    /// All live inputs have delivered the barrier of this epoch.
    Barrier(Epoch),
    /// All inputs have ended.
    End,
    /// Nothing can be taken now.
    Nothing,
}

#[derive(Debug)]
struct Input<T: Record> {
    receiver: Receiver<T>,
    watermark: Watermark,
    /// The newest barrier it delivered; while that epoch is being aligned nothing more is taken from it.
    barrier: Option<Epoch>,
    ended: bool,
}

/// The receiving side of a stage instance.
#[derive(Debug)]
pub(crate) struct InputGate<T: Record> {
    inputs: Vec<Input<T>>,
    next: usize,
    watermark: Watermark,
    reached: i64,
    aligning: Option<Epoch>,
    passed: Option<Epoch>,
    ended: bool,
}

impl<T: Record> InputGate<T> {
    pub(crate) fn new(receivers: Vec<Receiver<T>>) -> Self {
        let inputs = receivers
            .into_iter()
            .map(|receiver| Input { receiver, watermark: Watermark::START, barrier: None, ended: false })
            .collect();
        InputGate {
            inputs,
            next: 0,
            watermark: Watermark::START,
            reached: i64::MIN,
            aligning: None,
            passed: None,
            ended: false,
        }
    }

    /// Takes the next message that may be taken.
    pub(crate) fn poll(&mut self) -> Result<Arrival<T>> {
        loop {
            if let Some(epoch) = self.aligned() {
                return Ok(Arrival::Barrier(epoch));
            }
            if !self.ended && self.inputs.iter().all(|input| input.ended) {
                self.ended = true;
                return Ok(Arrival::End);
            }
            let Some((index, message)) = self.receive()? else { return Ok(Arrival::Nothing) };
            // A barrier that waits for others and a watermark that changes nothing are absorbed.
            if let Some(arrival) = self.take(index, message) {
                return Ok(arrival);
            }
        }
    }

    /// The next message in turn from an input that is not held back by its barrier.
    fn receive(&mut self) -> Result<Option<(usize, Message<T>)>> {
        for offset in 0..self.inputs.len() {
            let index = (self.next + offset) % self.inputs.len();
            let input = &self.inputs[index];
            let is_held = self.aligning.is_some() && input.barrier == self.aligning;
            if input.ended || (is_held && !failpoint::bug("read-past-barrier")) {
                continue;
            }
            match input.receiver.try_recv() {
                Received::Message(message) => {
                    self.next = (index + 1) % self.inputs.len();
                    return Ok(Some((index, message)));
                }
                Received::Empty => {}
                Received::Disconnected => {
                    return Err(Error::failed("the stage in front of it stopped without ending its stream"));
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, index: usize, message: Message<T>) -> Option<Arrival<T>> {
        let input = &mut self.inputs[index];
        match message {
            Message::Batch(batch) => Some(Arrival::Batch(batch)),
            Message::Watermark(watermark) => {
                input.watermark = watermark;
                self.advance().map(Arrival::Watermark)
            }
            Message::Barrier(epoch) => {
                // An epoch that was given up is known by its number.
                if self.passed.is_none_or(|passed| epoch > passed) {
                    input.barrier = Some(epoch);
                    self.aligning = self.aligning.max(Some(epoch));
                }
                self.aligned().map(Arrival::Barrier)
            }
            Message::EndOfStream => {
                input.ended = true;
                self.advance().map(Arrival::Watermark)
            }
        }
    }

    /// The epoch whose barrier all live inputs have delivered, once.
    fn aligned(&mut self) -> Option<Epoch> {
        let epoch = self.aligning?;
        let complete = self.inputs.iter().all(|input| input.ended || input.barrier == Some(epoch));
        complete.then(|| {
            self.aligning = None;
            self.passed = Some(epoch);
            epoch
        })
    }

    /// The new watermark, if it changed.
    fn advance(&mut self) -> Option<Watermark> {
        let mut lowest: Option<i64> = None;
        let mut live = false;
        for input in self.inputs.iter().filter(|input| !input.ended) {
            live = true;
            if let Watermark::At(time) = input.watermark {
                lowest = Some(lowest.map_or(time, |lowest| lowest.min(time)));
            }
        }
        let watermark = match lowest {
            Some(time) => Watermark::At(time.max(self.reached)),
            None if live => Watermark::Idle,
            // All have ended; the end of event time stands only where a source said so.
            None if self.inputs.iter().any(|input| input.watermark == Watermark::END) => Watermark::END,
            None => return None,
        };
        if let Watermark::At(time) = watermark {
            self.reached = time;
        }
        (watermark != self.watermark).then(|| {
            self.watermark = watermark;
            watermark
        })
    }
}
