//! `FramedSocket` and `FramedClient`: records over TCP that are acknowledged once they can no longer be lost.
//!
//! 1. `reader`: all connections of the source, served in turn
//! 2. `connection`: one client's bytes in and out
//! 3. `clients`: how far each client is
//! 4. `protocol`: the bytes of both directions
//! 5. `client`: [`FramedClient`], the other side

mod client;
mod clients;
mod connection;
mod protocol;
mod reader;

use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;

use bumpalo::Bump;
use headwater::batch::Record;
use headwater::source::{Boundedness, Source, SourceReader};
use headwater::{Error, Result};

pub use self::client::FramedClient;
use self::clients::Clients;
pub use self::clients::{ClientPosition, FramedPosition};
use self::reader::Reader;
use crate::format::PayloadFormat;
use crate::socket::listen;

/// Listens for clients that number their records, and acknowledges a record when its epoch is committed, so
/// that it is counted exactly once although a socket cannot be read again: what was not acknowledged is sent
/// again, and dropped here if it had come. `SocketLines` has none of this, and needs nothing of its peer.
///
/// [`FramedClient`] is the other side. With a state directory an acknowledged record survives whatever
/// happens to the job; without one, an acknowledged record has passed through the whole topology.
///
/// # The protocol
///
/// All numbers are little-endian.
///
/// | who | bytes | meaning |
/// |---|---|---|
/// | client, once | `HWF1`, `u8` n, n bytes, `u64` a | hello: its id in UTF-8; a is acknowledged already |
/// | client | `u32` n, `u64` s, n bytes | record number s |
/// | client | `u32` 4294967295, `u64` s | the client's input ends, with a number of its own |
/// | server | `u8` 1, `u64` s | everything up to s is acknowledged; to a hello, and whenever s grows |
/// | server | `u8` 2, `u16` n, n bytes | refused, with the reason in UTF-8; the connection is closed |
///
/// An id has 1 to 64 bytes, and no two clients have the same. The first record of a client has number 1, each
/// next one more. A client that knows of no acknowledgement says hello with 0, and learns it from the answer.
///
/// A client keeps what is not acknowledged, and when it connects again sends all of it behind the server's
/// first answer, under the same numbers. In Python:
///
/// ```python
/// import socket, struct
///
/// def send_all(address, name, records):
///     acknowledged, name = 0, name.encode()
///     while acknowledged < len(records):
///         try:
///             with socket.create_connection(address) as link:
///                 stream = link.makefile("rwb")
///                 stream.write(b"HWF1" + bytes([len(name)]) + name + struct.pack("<Q", acknowledged))
///                 stream.flush()
///                 begun = False
///                 while acknowledged < len(records):
///                     kind, = stream.read(1)
///                     if kind == 2:
///                         raise SystemExit(stream.read(*struct.unpack("<H", stream.read(2))).decode())
///                     acknowledged, = struct.unpack("<Q", stream.read(8))
///                     if not begun:
///                         for number in range(acknowledged + 1, len(records) + 1):
///                             record = records[number - 1].encode()
///                             stream.write(struct.pack("<IQ", len(record), number) + record)
///                         stream.flush()
///                         begun = True
///         except (OSError, ValueError, struct.error):
///             pass  # the server is away: connect again
/// ```
///
/// # What goes wrong, and what happens then
///
/// | | |
/// |---|---|
/// | a record that cannot be understood | is rejected and acknowledged: it would be no better the next time |
/// | no frame, one that is too long, a number left out | the client is refused, with the reason |
/// | two connections with one id | the newer one stays, the older one is refused |
/// | a client says nothing in the first ten seconds | its connection is closed |
/// | a client sends slowly | nobody waits for it |
/// | a client does not read what it is told | nothing is queued: the newest acknowledgement stands for all |
/// | a client is switched off | the system finds out in minutes; its new connection is taken at any time |
/// | the job is slower than its clients | frames stay in the socket, and the clients wait |
/// | too many connections | a new one is closed and may try again; see [`Self::connections_max`] |
/// | too many clients | who has been silent for longest is forgotten; see [`Self::clients_max`] |
///
/// Whoever can connect can send: there are no passwords and no encryption. Listen on the local computer,
/// or behind something that has both.
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::{Collect, FramedClient, FramedSocket};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?.to_string();
/// let client = std::thread::spawn(move || -> Result<u64> {
///     let mut client = FramedClient::connect(address, "kitchen")?;
///     client.send("21.5")?;
///     client.send("21.7")?;
///     client.end()
/// });
/// let (flow, lines) = (StreamBuilder::new("readings"), Collect::new());
/// flow.source("sensors", FramedSocket::lines("").on(listener).until_ended(1)).sink("lines", lines.clone());
/// flow.build()?.run(EngineConfig::default())?;
/// assert_eq!(lines.take(), ["21.5", "21.7"]);
/// assert_eq!(client.join().ok().transpose()?, Some(3), "two records and the end");
/// # Ok::<(), headwater::Error>(())
/// ```
pub struct FramedSocket<T: Record> {
    address: String,
    listener: Option<Arc<TcpListener>>,
    format: PayloadFormat<T>,
    limits: Limits,
    until_ended: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    frame_bytes_max: usize,
    connections_max: usize,
    clients_max: usize,
}

impl FramedSocket<String> {
    /// Listens on `host:port`; each record is a text.
    #[must_use]
    pub fn lines(address: impl Into<String>) -> Self {
        FramedSocket::new(address.into(), PayloadFormat::text())
    }
}

impl<T: Record> FramedSocket<T> {
    /// Listens on `host:port`; each record is a JSON object, as a line of `JsonLines` is.
    #[must_use]
    pub fn json(address: impl Into<String>) -> Self {
        FramedSocket::new(address.into(), PayloadFormat::json())
    }

    /// Listens on `host:port`; each record is a row of comma-separated cells, one for each field in the
    /// declared order.
    #[must_use]
    pub fn csv(address: impl Into<String>) -> Self {
        FramedSocket::new(address.into(), PayloadFormat::csv())
    }

    /// Listens on `host:port`; each record is Avro, of a schema that is given or in a registry, as for
    /// `KafkaSource::avro`.
    #[cfg(feature = "avro")]
    #[must_use]
    pub fn avro(address: impl Into<String>, schemas: impl Into<crate::format::AvroSchemas>) -> Self {
        FramedSocket::new(address.into(), PayloadFormat::avro(schemas.into()))
    }

    /// Listens on `host:port`; each record is a message of Protocol Buffers, of a schema that is given or in a
    /// registry, as for `KafkaSource::protobuf`.
    #[cfg(feature = "protobuf")]
    #[must_use]
    pub fn protobuf(address: impl Into<String>, schemas: impl Into<crate::format::ProtobufSchemas>) -> Self {
        FramedSocket::new(address.into(), PayloadFormat::protobuf(schemas.into()))
    }

    fn new(address: String, format: PayloadFormat<T>) -> Self {
        let limits = Limits { frame_bytes_max: 1 << 20, connections_max: 256, clients_max: 1_000 };
        FramedSocket { address, listener: None, format, limits, until_ended: None }
    }

    /// Serves a socket that listens already, in place of the address: clients can connect before the run
    /// begins and between two runs, and wait.
    #[must_use]
    pub fn on(self, listener: TcpListener) -> Self {
        FramedSocket { listener: Some(Arc::new(listener)), ..self }
    }

    /// Longest record in bytes (1 MiB). A client that sends a longer one is refused, because nobody could
    /// tell it what became of the record. Each connection may take that much memory.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.frame_bytes_max = bytes;
        self
    }

    /// Most connections at a time (256). Beyond that a new one is closed at once; clients try again.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.limits.connections_max = connections;
        self
    }

    /// Most clients that are remembered (1,000); each takes its id and some 20 bytes of every epoch.
    ///
    /// The client that has been silent for longest is forgotten for a new one. If it comes back, it is
    /// refused, not counted twice; only a client that never got any acknowledgement is taken for a new one
    /// then, and what it sends again counts again. Choose the limit larger than the number of clients that
    /// may come back.
    #[must_use]
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.limits.clients_max = clients;
        self
    }

    /// Ends when so many clients have ended their input and everything is committed, and counts as bounded.
    /// Without it the source goes on until it is stopped.
    ///
    /// It waits up to a minute for clients that do not know yet that they were committed.
    #[must_use]
    pub fn until_ended(self, clients: usize) -> Self {
        FramedSocket { until_ended: Some(clients), ..self }
    }
}

impl<T: Record> Clone for FramedSocket<T> {
    fn clone(&self) -> Self {
        FramedSocket {
            address: self.address.clone(),
            listener: self.listener.clone(),
            format: self.format.clone(),
            ..*self
        }
    }
}

impl<T: Record> fmt::Debug for FramedSocket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedSocket")
            .field("address", &self.address)
            .field("listener", &self.listener)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<T: Record> Source for FramedSocket<T> {
    type Record = T;
    type Position = FramedPosition;

    fn boundedness(&self) -> Boundedness {
        if self.until_ended.is_some() { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn partitions(&self) -> Result<Vec<String>> {
        let Limits { frame_bytes_max, connections_max, clients_max } = self.limits;
        if frame_bytes_max == 0 || connections_max == 0 || clients_max == 0 || self.until_ended == Some(0) {
            return Err(Error::Config("every limit of a framed socket must be at least 1".to_owned()));
        }
        if frame_bytes_max >= protocol::END as usize {
            return Err(Error::Config("a frame can have up to 4294967294 bytes".to_owned()));
        }
        // The address is not its name: a job may listen elsewhere the next time.
        Ok(vec!["clients".to_owned()])
    }

    fn open(
        &self,
        _: &str,
        position: Option<FramedPosition>,
    ) -> Result<Box<dyn SourceReader<T, FramedPosition>>> {
        let decoder = self.format.decoder()?;
        let listener = listen(&self.address, self.listener.as_deref())?;
        Ok(Box::new(Reader::<T> {
            listener,
            connections: Vec::new(),
            turn: 0,
            clients: Clients::new(position, self.limits.clients_max),
            limits: self.limits,
            decoder,
            arena: Bump::new(),
            until_ended: self.until_ended,
            ended_ms: None,
        }))
    }
}
