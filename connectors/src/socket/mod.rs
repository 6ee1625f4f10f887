//! `SocketLines`: lines of text from a TCP connection.
//!
//! 1. `link`: a connection that is made, used and made again without ever waiting
//! 2. `buffer`: bytes cut into lines, within a bound

mod buffer;
mod link;

use headwater::Result;
use headwater::source::{Boundedness, Poll, Rejected, Source, SourceOutput, SourceReader};

use self::buffer::{LINE_BYTES_MAX, Line, LineBuffer};
pub(crate) use self::link::listen;
use self::link::{Event, Link};

/// Most reads in one poll: a peer that sends without pause must not keep the stage to itself.
const READS_PER_POLL_MAX: usize = 16;

/// Reads lines of UTF-8 text from a TCP connection, such as one served by `nc -lk 9999`.
///
/// At-most-once: a socket cannot be asked to send again, so a line that was read and whose epoch was not
/// committed when the run ended is lost, and so is what the system had received for a process that is gone.
/// What is committed counts once. Where every line must count, let the peer speak the protocol of
/// [`FramedSocket`](crate::FramedSocket). The position counts the lines that were read.
///
/// Lines over 1 MiB and lines that are not UTF-8 are rejected. When the peer closes the connection, the
/// source ends, unless it is told to [connect again](Self::reconnect). It still counts as unbounded,
/// because nobody knows beforehand whether a peer ever closes; see [`Self::until_closed`].
///
/// ```
/// use headwater_connectors::SocketLines;
///
/// let lines = SocketLines::connect("127.0.0.1:9999").reconnect(true);
/// ```
#[derive(Clone, Debug)]
pub struct SocketLines {
    address: String,
    role: Role,
    reconnect: bool,
    until_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Connect,
    Listen,
}

impl SocketLines {
    /// Connects to `host:port` when the run starts; the run fails to start when nobody listens there.
    #[must_use]
    pub fn connect(address: impl Into<String>) -> Self {
        SocketLines { address: address.into(), role: Role::Connect, reconnect: false, until_closed: false }
    }

    /// Listens on `host:port` and reads one connection after the other, without end.
    #[must_use]
    pub fn listen(address: impl Into<String>) -> Self {
        SocketLines { role: Role::Listen, ..SocketLines::connect(address) }
    }

    /// Whether to connect again when the connection is closed or breaks (no): after 100 ms, and while
    /// that fails after pauses that grow to 10 s. The address of a name is looked up only at the start.
    #[must_use]
    pub fn reconnect(self, reconnect: bool) -> Self {
        SocketLines { reconnect, ..self }
    }

    /// Takes one connection for the whole input: ends when it is closed, and counts as bounded, so that
    /// rolling results may wait for its end. Overrules [`Self::reconnect`].
    #[must_use]
    pub fn until_closed(self) -> Self {
        SocketLines { until_closed: true, ..self }
    }
}

impl Source for SocketLines {
    type Record = String;
    /// How many lines were read, rejected ones included; a socket cannot go back to one.
    type Position = u64;

    fn boundedness(&self) -> Boundedness {
        if self.until_closed { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(vec![self.address.clone()])
    }

    fn open(&self, _: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<String, u64>>> {
        Ok(Box::new(Reader {
            origin: self.address.clone(),
            link: Link::open(self)?,
            fails_when_broken: self.role == Role::Connect && (!self.reconnect || self.until_closed),
            buffer: LineBuffer::new(),
            lines_read: position.unwrap_or(0),
        }))
    }
}

struct Reader {
    origin: String,
    link: Link,
    /// True when a connection that breaks cannot be replaced.
    fails_when_broken: bool,
    buffer: LineBuffer,
    lines_read: u64,
}

impl SourceReader<String, u64> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, String>) -> Result<Poll> {
        for _ in 0..READS_PER_POLL_MAX {
            while !out.is_full() {
                let Some(line) = self.buffer.next_line() else { break };
                self.lines_read += 1;
                give(&line, &self.origin, self.lines_read, out)?;
            }
            if out.is_full() {
                return Ok(Poll::More);
            }
            let now_ms = out.clock().monotonic_ms();
            match self.link.advance(now_ms, |stream| self.buffer.read_from(stream)) {
                Event::Bytes => {}
                Event::Connected => self.buffer.clear(),
                Event::Closed => self.give_last(None, out)?,
                Event::Broken(error) => {
                    let reason = format!("the connection broke: {error}");
                    self.give_last(Some(&reason), out)?;
                    if self.fails_when_broken {
                        return Err(headwater::Error::failed(format!("{}: {reason}", self.origin)));
                    }
                }
                Event::Nothing => return Ok(Poll::Idle),
                Event::Ended => return Ok(Poll::Finished),
            }
        }
        Ok(Poll::More)
    }

    fn position(&self) -> u64 {
        self.lines_read
    }
}

impl Reader {
    /// Gives what came behind the last line feed; a connection that broke has not sent all of it.
    fn give_last(&mut self, broken: Option<&str>, out: &mut SourceOutput<'_, String>) -> Result<()> {
        let Some(line) = self.buffer.last_line() else { return Ok(()) };
        self.lines_read += 1;
        match broken {
            Some(reason) => out.reject(&rejected(&line, &self.origin, self.lines_read, reason)),
            None => give(&line, &self.origin, self.lines_read, out),
        }
    }
}

fn give(line: &Line<'_>, origin: &str, number: u64, out: &mut SourceOutput<'_, String>) -> Result<()> {
    if line.too_long {
        let reason = format!("the line is longer than {LINE_BYTES_MAX} bytes");
        return out.reject(&rejected(line, origin, number, &reason));
    }
    match std::str::from_utf8(line.bytes) {
        Ok(text) => out.push(text),
        Err(error) => out.reject(&rejected(line, origin, number, &format!("not UTF-8: {error}"))),
    }
}

fn rejected(line: &Line<'_>, origin: &str, number: u64, reason: &str) -> Rejected {
    Rejected {
        origin: origin.to_owned(),
        line: number,
        offset: line.offset,
        reason: reason.to_owned(),
        payload: Rejected::text(line.bytes),
    }
}
