//! A reader of an HTTP source that a test polls.

use headwater::batch::Record;
use headwater_connectors::HttpSource;

use super::listening::{self, POLLS_MAX, listener};
use super::wire::{Answer, Wire};

pub(crate) type Polled<T> = listening::Polled<HttpSource<T>>;

impl<T: Record> Polled<T> {
    pub(crate) fn new(source: HttpSource<T>) -> Self {
        let (listener, address) = listener();
        Polled::open(source.on(listener), address, "requests")
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(&self.address)
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(&self, request: &str) -> Wire {
        let mut wire = self.connect();
        wire.send(request);
        wire
    }

    /// Polls until this sender has an answer.
    pub(crate) fn answer(&mut self, wire: &mut Wire) -> Answer {
        self.until_some(|| wire.answer())
    }

    /// Sends, and polls until the answer is there.
    pub(crate) fn ask(&mut self, request: &str) -> Answer {
        let mut wire = self.send(request);
        self.answer(&mut wire)
    }

    /// The same, with a commit behind every poll.
    pub(crate) fn ask_and_commit(&mut self, request: &str) -> Answer {
        let mut wire = self.send(request);
        for _ in 0..POLLS_MAX {
            if let Some(answer) = wire.answer() {
                return answer;
            }
            self.poll();
            self.commit();
        }
        panic!("no answer");
    }
}
