//! A reader of an HTTP source that a test polls.

use std::net::TcpListener;

use headwater::batch::Record;
use headwater::source::{Poll, Rejected, Source, SourceReader};
use headwater::testing::{ManualClock, poll_source};
use headwater_connectors::{HttpPosition, HttpSource};

use super::wire::{Answer, Wire};

/// More polls than any of these tests needs; each gives the other side a turn.
const POLLS_MAX: u64 = 5_000_000;

pub(crate) struct Polled<T: Record> {
    source: HttpSource<T>,
    reader: Option<Box<dyn SourceReader<T, HttpPosition>>>,
    pub(crate) address: String,
    pub(crate) clock: ManualClock,
    pub(crate) rows_max: usize,
    pub(crate) records: Vec<T>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) last: Poll,
}

impl<T: Record> Polled<T> {
    pub(crate) fn new(source: HttpSource<T>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let source = source.on(listener);
        assert_eq!(source.partitions().unwrap(), ["requests"]);
        let reader = Some(source.open("requests", None).unwrap());
        Polled {
            source,
            reader,
            address,
            clock: ManualClock::new(),
            rows_max: 100,
            records: Vec::new(),
            rejected: Vec::new(),
            last: Poll::More,
        }
    }

    pub(crate) fn poll(&mut self) {
        let reader = self.reader.as_deref_mut().unwrap();
        let (records, rejected, poll) = poll_source(reader, &self.clock, self.rows_max).unwrap();
        self.records.extend(records);
        self.rejected.extend(rejected);
        self.last = poll;
        std::thread::yield_now();
    }

    /// Polls until `done` says so.
    pub(crate) fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..POLLS_MAX {
            if done(self) {
                return;
            }
            self.poll();
        }
        panic!("nothing happened: {} records, {:?}", self.records.len(), self.rejected);
    }

    pub(crate) fn until_records(&mut self, count: usize) {
        self.until(|polled| polled.records.len() + polled.rejected.len() >= count);
        assert_eq!(self.records.len() + self.rejected.len(), count);
    }

    pub(crate) fn position(&self) -> HttpPosition {
        self.reader.as_deref().unwrap().position()
    }

    /// An epoch that journalled where the reader stands is durable.
    pub(crate) fn commit(&mut self) {
        let position = self.position();
        self.committed(&position);
    }

    pub(crate) fn committed(&mut self, position: &HttpPosition) {
        self.reader.as_deref_mut().unwrap().committed(position).unwrap();
    }

    /// The reader ends, and nobody polls any more.
    pub(crate) fn stop(&mut self) {
        self.reader = None;
    }

    /// The process ends and another one goes on at a position.
    pub(crate) fn restart(&mut self, position: HttpPosition) {
        self.stop();
        let mut reader = self.source.open("requests", Some(position.clone())).unwrap();
        reader.committed(&position).unwrap();
        self.reader = Some(reader);
        (self.records, self.rejected) = (Vec::new(), Vec::new());
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
        let mut answer = None;
        self.until(|_| {
            answer = wire.answer();
            answer.is_some()
        });
        answer.unwrap()
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
