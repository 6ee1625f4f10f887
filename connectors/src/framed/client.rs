//! `FramedClient`: sends numbered records to a `FramedSocket`, and keeps them until they are acknowledged.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use headwater::{Error, Result};

use super::connection::prepare;
use super::protocol::{Answer, END, Frame, Hello, ID_BYTES_MAX};

/// Frames are written together, up to so many bytes.
const WRITE_BYTES: usize = 32 << 10;
/// How many bytes may wait to be acknowledged, unless said; then sending waits.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// The pause before the second attempt to connect; each further one is twice as long.
const PAUSE_MS: (u64, u64) = (5, 500);
/// How long one attempt to connect may take.
const CONNECT_MS_MAX: u64 = 5_000;

/// Sends records to a [`FramedSocket`](super::FramedSocket), each of which counts exactly once.
///
/// It keeps what is not acknowledged, and when the connection breaks or the job restarts, connects again
/// and sends that again. Its calls wait: for the network, for a job that is slower, and for a job that is
/// away, up to [`patience`](Self::patience).
///
/// What it keeps is gone when this process ends. A program that starts over under the same id learns from
/// [`acknowledged`](Self::acknowledged) how many of its records are safe, and goes on with the next: it must
/// send the same records in the same order as before, because some of them may have arrived.
///
/// ```no_run
/// use headwater_connectors::FramedClient;
///
/// let readings = ["21.5", "21.7", "21.4"];
/// let mut client = FramedClient::connect("collector:9999", "kitchen")?;
/// for reading in readings.iter().skip(client.acknowledged() as usize) {
///     client.send(reading)?;
/// }
/// client.flush()?; // all of them are committed
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Debug)]
pub struct FramedClient {
    address: String,
    id: String,
    link: Option<Link>,
    /// Frames with their numbers, as they are written.
    kept: VecDeque<(u64, Vec<u8>)>,
    kept_bytes: usize,
    kept_bytes_max: usize,
    /// How many of them have gone into the connection.
    written: usize,
    /// How many bytes of the others there are.
    unwritten_bytes: usize,
    last: u64,
    acknowledged: u64,
    patience_ms: u64,
}

/// A connection that has said hello.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    answers: Vec<u8>,
}

/// Why a connection is over.
#[derive(Debug)]
enum Broken {
    /// The next may be better.
    Io(io::Error),
    /// It will not.
    Refused(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Io(error)
    }
}

impl FramedClient {
    /// Connects to `host:port`, and learns how much of what this client sent before is acknowledged. The id
    /// is the client's own: two that have the same one would take each other's numbers.
    ///
    /// # Errors
    /// Nobody listens there, also after a minute; or the client is refused.
    pub fn connect(address: impl Into<String>, id: impl Into<String>) -> Result<Self> {
        let (address, id) = (address.into(), id.into());
        if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains(char::is_control) {
            let rule = format!("1 to {ID_BYTES_MAX} bytes of text without control characters");
            return Err(Error::Config(format!("{id:?} cannot be the id of a client: that is {rule}")));
        }
        let mut client = FramedClient {
            address,
            id,
            link: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_bytes_max: KEPT_BYTES_MAX,
            written: 0,
            unwritten_bytes: 0,
            last: 0,
            acknowledged: 0,
            patience_ms: 60_000,
        };
        client.with_link(|_| Ok(()))?;
        client.last = client.acknowledged;
        Ok(client)
    }

    /// How long to go on trying while nobody listens (a minute); zero tries once.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        FramedClient { patience_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), ..self }
    }

    /// How many bytes may wait to be acknowledged (16 MiB) before [`send`](Self::send) waits.
    #[must_use]
    pub fn kept_bytes_max(self, bytes: usize) -> Self {
        FramedClient { kept_bytes_max: bytes, ..self }
    }

    /// The number of the newest record that is committed; all before it are, too.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Sends a record and gives its number; records that are sent one after the other leave together, at the
    /// latest with [`flush`](Self::flush).
    ///
    /// # Errors
    /// The job is away for too long, or has refused the client.
    pub fn send(&mut self, record: impl AsRef<[u8]>) -> Result<u64> {
        let record = record.as_ref();
        if record.len() >= END as usize {
            return Err(Error::failed("a record of 4 GiB does not fit into a frame: send it in parts"));
        }
        self.push(Some(record))
    }

    /// Waits until everything that was sent is committed.
    ///
    /// # Errors
    /// The job is away for too long, or has refused the client.
    pub fn flush(&mut self) -> Result<()> {
        while !self.kept.is_empty() {
            self.with_link(Self::exchange)?;
        }
        Ok(())
    }

    /// Ends the input of this client for good, and waits until everything is committed; gives the last
    /// number, which is that of the end.
    ///
    /// # Errors
    /// The job is away for too long, or has refused the client.
    pub fn end(mut self) -> Result<u64> {
        let last = self.push(None)?;
        self.flush()?;
        Ok(last)
    }

    fn push(&mut self, record: Option<&[u8]>) -> Result<u64> {
        while self.kept_bytes >= self.kept_bytes_max && !self.kept.is_empty() {
            self.with_link(Self::exchange)?;
        }
        self.last += 1;
        let mut frame = Vec::new();
        Frame { sequence: self.last, record }.write(&mut frame);
        self.kept_bytes += frame.len();
        self.unwritten_bytes += frame.len();
        self.kept.push_back((self.last, frame));
        if self.unwritten_bytes >= WRITE_BYTES {
            self.with_link(|client| {
                client.write()?;
                client.look()
            })?;
        }
        Ok(self.last)
    }

    /// Does something with a connection, on another one if this one breaks.
    fn with_link(&mut self, mut action: impl FnMut(&mut Self) -> Result<(), Broken>) -> Result<()> {
        let (mut waited_ms, mut pause_ms) = (0, 0);
        loop {
            pause(pause_ms);
            waited_ms += pause_ms;
            pause_ms = (pause_ms * 2).clamp(PAUSE_MS.0, PAUSE_MS.1);
            let known = self.acknowledged;
            let done = if self.link.is_none() { self.open() } else { Ok(()) };
            let broken = match done.and_then(|()| action(self)) {
                Ok(()) => return Ok(()),
                Err(broken) => broken,
            };
            // What the server said last is worth more than how the connection ended.
            let broken = match (broken, self.look()) {
                (_, Err(Broken::Refused(reason))) => Broken::Refused(reason),
                (broken, _) => broken,
            };
            self.link = None;
            if self.acknowledged > known {
                waited_ms = 0;
            }
            let (address, id) = (&self.address, &self.id);
            match broken {
                Broken::Refused(reason) => {
                    return Err(Error::failed(format!("{address} refused client `{id}`: {reason}")));
                }
                Broken::Io(error) if waited_ms >= self.patience_ms => {
                    return Err(Error::failed(format!(
                        "{address} did not answer client `{id}`: {error}; {} records are not acknowledged: start \
                         the job that listens there, and send them again",
                        self.kept.len()
                    )));
                }
                Broken::Io(_) => {}
            }
        }
    }

    /// Connects, says hello and learns from where to go on.
    fn open(&mut self) -> Result<(), Broken> {
        let mut stream = connect(&self.address)?;
        stream.write_all(&Hello { id: &self.id, acknowledged: self.acknowledged }.write())?;
        self.link = Some(Link { stream, answers: Vec::new() });
        self.written = 0;
        self.unwritten_bytes = self.kept_bytes;
        self.read()
    }

    /// Writes, and waits for an answer if there will be one.
    fn exchange(&mut self) -> Result<(), Broken> {
        self.write()?;
        // The first answer of a new connection may have been about everything.
        if self.kept.is_empty() { Ok(()) } else { self.read() }
    }

    /// Writes what was not written on this connection.
    fn write(&mut self) -> Result<(), Broken> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let mut bytes = Vec::with_capacity(2 * WRITE_BYTES);
        while let Some((_, frame)) = self.kept.get(self.written) {
            bytes.extend_from_slice(frame);
            self.written += 1;
            if bytes.len() >= WRITE_BYTES {
                link.stream.write_all(&bytes)?;
                bytes.clear();
            }
        }
        link.stream.write_all(&bytes)?;
        self.unwritten_bytes = 0;
        Ok(())
    }

    /// Waits for an answer.
    fn read(&mut self) -> Result<(), Broken> {
        while !self.take_answer()? {
            let Some(link) = &mut self.link else { return Ok(()) };
            let mut bytes = [0; 256];
            match link.stream.read(&mut bytes) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended").into()),
                Ok(count) => link.answers.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what the server has said, without waiting.
    fn look(&mut self) -> Result<(), Broken> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.stream.set_nonblocking(true)?;
        let result = loop {
            match self.read() {
                Ok(()) => {}
                Err(Broken::Io(error)) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(broken) => break Err(broken),
            }
        };
        if let Some(link) = &mut self.link {
            link.stream.set_nonblocking(false)?;
        }
        result
    }

    /// Takes one answer from what was read; false when there is none.
    fn take_answer(&mut self) -> Result<bool, Broken> {
        let Some(link) = &mut self.link else { return Ok(true) };
        let Some((answer, length)) = Answer::parse(&link.answers).map_err(Broken::Refused)? else {
            return Ok(false);
        };
        match answer {
            Answer::Refused(reason) => return Err(Broken::Refused(reason.to_owned())),
            Answer::Acknowledged(number) => self.acknowledged = self.acknowledged.max(number),
        }
        link.answers.drain(..length);
        while let Some((_, frame)) = self.kept.pop_front_if(|(number, _)| *number <= self.acknowledged) {
            self.kept_bytes -= frame.len();
            match self.written.checked_sub(1) {
                Some(written) => self.written = written,
                // Acknowledged by what an earlier connection had sent.
                None => self.unwritten_bytes -= frame.len(),
            }
        }
        Ok(true)
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS_MAX)) {
            // NOTE: where nobody listens, a system may connect a socket of this host to itself.
            Ok(stream) if stream.local_addr()? == stream.peer_addr()? => {
                refused = io::Error::new(ErrorKind::ConnectionRefused, "nobody listens there");
            }
            Ok(stream) => {
                prepare(&stream)?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[allow(clippy::disallowed_methods, reason = "a client is no part of a topology: its caller wants to wait")]
fn pause(pause_ms: u64) {
    if pause_ms > 0 {
        std::thread::sleep(Duration::from_millis(pause_ms));
    }
}
