//! `Connection`: one client's bytes in and out, within bounds and without ever waiting.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::protocol::Answer;

/// How long a client may take to say hello, and a refused one to go.
pub(super) const PATIENCE_MS: u64 = 10_000;
/// How many bytes are read at once.
const READ_BYTES: usize = 64 << 10;
/// A buffer that grew beyond this for a long frame is given back.
const KEPT_BYTES_MAX: usize = 4 * READ_BYTES;

/// How far a connection is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody knows yet who it is.
    Hello {
        until_ms: u64,
    },
    /// The connection of this client.
    Ready {
        id: String,
    },
    /// Refused: what still comes is passed over, because otherwise the reason might not arrive.
    Refused {
        until_ms: u64,
    },
    Gone,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    Bytes,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) stage: Stage,
    buffer: Vec<u8>,
    /// Where what was not taken begins.
    start: usize,
    /// Bytes on their way out, at most one answer.
    leaving: Vec<u8>,
    /// The number in them.
    leaving_number: Option<u64>,
    /// The newest number to be acknowledged behind them; older ones need not be said.
    next_number: Option<u64>,
}

/// What both ends want of the system.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // An answer is a few bytes that somebody waits for.
    stream.set_nodelay(true)?;
    // A peer that was switched off says nothing: the system finds out.
    let probes = TcpKeepalive::new().with_time(Duration::from_secs(30));
    SockRef::from(stream).set_tcp_keepalive(&probes.with_interval(Duration::from_secs(10)))
}

impl Connection {
    /// `None` when the peer has gone already.
    pub(super) fn new(stream: TcpStream, now_ms: u64) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        prepare(&stream).ok()?;
        Some(Connection {
            stream,
            stage: Stage::Hello { until_ms: now_ms + PATIENCE_MS },
            buffer: Vec::new(),
            start: 0,
            leaving: Vec::new(),
            leaving_number: None,
            next_number: None,
        })
    }

    /// What came and was not taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
    }

    pub(super) fn id(&self) -> Option<&str> {
        match &self.stage {
            Stage::Ready { id } => Some(id),
            _ => None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// Reads once. The buffer never holds more than one frame that is not whole, and one read.
    pub(super) fn feed(&mut self) -> Fed {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let read = self.stream.read(&mut self.buffer[filled..]);
        self.buffer.truncate(filled + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => self.stage = Stage::Gone,
            Ok(_) => return Fed::Bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // Whatever was not acknowledged will be sent again.
            Err(_) => self.stage = Stage::Gone,
        }
        Fed::Nothing
    }

    /// Passes over what a refused client still sends.
    pub(super) fn pass_over(&mut self, now_ms: u64) {
        self.start = self.buffer.len();
        if matches!(self.stage, Stage::Refused { until_ms } if now_ms >= until_ms) {
            self.stage = Stage::Gone;
        } else {
            self.feed();
        }
    }

    /// Says why this connection is of no use, and takes nothing more from it.
    pub(super) fn refuse(&mut self, reason: &str, now_ms: u64) {
        self.next_number = None;
        Answer::Refused(reason).write(&mut self.leaving);
        self.flush();
        // Best effort: a client that does not read will find the connection closed.
        let _ = self.stream.shutdown(Shutdown::Write);
        if self.stage != Stage::Gone {
            self.stage = Stage::Refused { until_ms: now_ms + PATIENCE_MS };
        }
    }

    /// Everything up to this number is committed.
    pub(super) fn acknowledge(&mut self, number: u64) {
        self.next_number = Some(number);
    }

    /// Writes what fits; gives the newest number that has left since the last call.
    pub(super) fn flush(&mut self) -> Option<u64> {
        let mut left = None;
        loop {
            if self.leaving.is_empty() {
                left = self.leaving_number.take().or(left);
                let Some(number) = self.next_number.take() else { return left };
                Answer::Acknowledged(number).write(&mut self.leaving);
                self.leaving_number = Some(number);
            }
            match self.stream.write(&self.leaving) {
                Ok(0) => self.stage = Stage::Gone,
                Ok(count) => {
                    self.leaving.drain(..count);
                    continue;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => self.stage = Stage::Gone,
            }
            return left;
        }
    }
}
