//! A reader of a framed socket that a test polls, and a client that writes every byte itself.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use headwater::batch::Record;
use headwater_connectors::FramedSocket;

use super::listening::{Polled, listener};

pub(crate) type Server<T> = Polled<FramedSocket<T>>;

impl<T: Record> Server<T> {
    pub(crate) fn new(source: FramedSocket<T>) -> Self {
        let (listener, address) = listener();
        Polled::open(source.on(listener), address, "clients")
    }

    /// Polls until this client has an answer.
    pub(crate) fn answer(&mut self, client: &mut Wire) -> Answer {
        self.until_some(|| client.answer())
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
