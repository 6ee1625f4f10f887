//! A reader of a framed socket that a test polls, and a client that writes every byte itself.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use headwater::batch::Record;
use headwater::source::{Poll, Rejected, Source, SourceReader};
use headwater::testing::{ManualClock, poll_source};
use headwater_connectors::{FramedPosition, FramedSocket};

/// More polls than any of these tests needs; each gives the other side a turn.
const POLLS_MAX: u64 = 5_000_000;

pub(crate) struct Server<T: Record> {
    source: FramedSocket<T>,
    reader: Box<dyn SourceReader<T, FramedPosition>>,
    pub(crate) address: String,
    pub(crate) clock: ManualClock,
    pub(crate) records: Vec<T>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) last: Poll,
}

impl<T: Record> Server<T> {
    pub(crate) fn new(source: FramedSocket<T>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let source = source.on(listener);
        assert_eq!(source.partitions().unwrap(), ["clients"]);
        let reader = source.open("clients", None).unwrap();
        let (clock, last) = (ManualClock::new(), Poll::More);
        Server { source, reader, address, clock, records: Vec::new(), rejected: Vec::new(), last }
    }

    pub(crate) fn poll(&mut self) {
        let (records, rejected, poll) = poll_source(&mut *self.reader, &self.clock, 100).unwrap();
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
        self.until(|server| server.records.len() + server.rejected.len() >= count);
        assert_eq!(self.records.len() + self.rejected.len(), count);
    }

    pub(crate) fn position(&self) -> FramedPosition {
        self.reader.position()
    }

    /// An epoch that journalled where the reader stands is durable.
    pub(crate) fn commit(&mut self) {
        let position = self.reader.position();
        self.reader.committed(&position).unwrap();
    }

    /// The process ends and another one goes on at a position.
    pub(crate) fn restart(&mut self, position: FramedPosition) {
        self.reader = self.source.open("clients", Some(position.clone())).unwrap();
        self.reader.committed(&position).unwrap();
        (self.records, self.rejected) = (Vec::new(), Vec::new());
    }

    /// Polls until this client has an answer.
    pub(crate) fn answer(&mut self, client: &mut Wire) -> Answer {
        let mut answer = None;
        self.until(|_| {
            answer = client.answer();
            answer.is_some()
        });
        answer.unwrap()
    }

    pub(crate) fn connect(&mut self, id: &str, acknowledged: u64) -> Wire {
        let mut client = Wire::connect(&self.address);
        client.hello(id, acknowledged);
        client
    }

    /// Connects and takes the first answer.
    pub(crate) fn welcome(&mut self, id: &str, acknowledged: u64, expected: u64) -> Wire {
        let mut client = self.connect(id, acknowledged);
        assert_eq!(self.answer(&mut client), Answer::Acknowledged(expected));
        client
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Acknowledged(u64),
    Refused(String),
    /// The connection ended.
    Closed,
}

pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        Wire { stream, read: Vec::new() }
    }

    pub(crate) fn hello(&mut self, id: &str, acknowledged: u64) {
        let bytes = [b"HWF1", &[id.len() as u8][..], id.as_bytes(), &acknowledged.to_le_bytes()].concat();
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn frame(sequence: u64, record: &str) -> Vec<u8> {
        [&(record.len() as u32).to_le_bytes()[..], &sequence.to_le_bytes(), record.as_bytes()].concat()
    }

    pub(crate) fn send(&mut self, sequence: u64, record: &str) {
        self.stream.write_all(&Self::frame(sequence, record)).unwrap();
    }

    pub(crate) fn end(&mut self, sequence: u64) {
        let bytes = [&u32::MAX.to_le_bytes()[..], &sequence.to_le_bytes()].concat();
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// What the server has said, if it is there.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Some(answer);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Some(Answer::Closed),
                Ok(count) => self.read.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Some(Answer::Closed);
                }
                Err(_) => return None,
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    match bytes.first()? {
        1 => {
            let (number, _) = bytes[1..].split_first_chunk()?;
            Some((Answer::Acknowledged(u64::from_le_bytes(*number)), 9))
        }
        2 => {
            let (length, rest) = bytes[1..].split_first_chunk()?;
            let length = usize::from(u16::from_le_bytes(*length));
            let reason = String::from_utf8(rest.get(..length)?.to_vec()).unwrap();
            Some((Answer::Refused(reason), 3 + length))
        }
        other => panic!("the server said {other}"),
    }
}
