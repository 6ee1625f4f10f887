//! `Link`: a connection that is made, used and made again without ever waiting.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use headwater::{Error, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Role, SocketLines};

/// How long the other side may take to accept a connection.
const CONNECT_MS_MAX: u64 = 5_000;
/// The pause before the first attempt to connect again; each further one is twice as long.
const PAUSE_MS_MIN: u64 = 100;
/// The longest pause between two attempts.
const PAUSE_MS_MAX: u64 = 10_000;

/// Listens on an address, or on a socket that is bound already, without ever waiting.
pub(crate) fn listen(address: &str, given: Option<&TcpListener>) -> Result<TcpListener> {
    let listener = given.map_or_else(|| TcpListener::bind(address), TcpListener::try_clone);
    let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.map_err(|error| {
        let place = given.map_or(address, |_| "the socket that it was given");
        let way_out = "choose another port, or end the program that has it";
        Error::failed(format!("cannot listen on {place}: {error}; {way_out}"))
    })
}

/// One end of a connection that may come and go.
#[derive(Debug)]
pub(super) struct Link {
    state: State,
    /// Where to connect to; resolved once, because asking a name server waits.
    addresses: Vec<SocketAddr>,
    listener: Option<TcpListener>,
    reconnect: bool,
    attempts: usize,
}

#[derive(Debug)]
enum State {
    Connected(TcpStream),
    /// Asked for a connection, no answer yet.
    Connecting {
        socket: Socket,
        until_ms: u64,
    },
    /// The last attempt failed; the next is not due.
    Pausing {
        until_ms: u64,
    },
    /// Ready for the next attempt, or for the next peer.
    Apart,
    /// There will be no other connection.
    Ended,
}

/// What reading from a link gave.
#[derive(Debug)]
pub(super) enum Event {
    /// So many bytes came.
    Bytes,
    /// A new connection begins.
    Connected,
    /// The peer closed the connection.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// Nothing happened.
    Nothing,
    /// There will be no other connection.
    Ended,
}

impl Link {
    /// Connects, or begins to listen.
    ///
    /// # Errors
    /// The address is wrong, nobody listens there, or it is taken.
    pub(super) fn open(config: &SocketLines) -> Result<Self> {
        let address = config.address.as_str();
        let mut link = Link {
            state: State::Apart,
            addresses: Vec::new(),
            listener: None,
            reconnect: config.reconnect && !config.until_closed,
            attempts: 0,
        };
        match config.role {
            Role::Listen => {
                link.listener = Some(listen(address, None)?);
                link.reconnect = !config.until_closed;
            }
            Role::Connect => {
                let resolved = address.to_socket_addrs();
                let unknown =
                    |error| Error::failed(format!("{address} is not an address like host:9999: {error}"));
                link.addresses = resolved.map_err(unknown)?.collect();
                let connected = connect_first(&link.addresses);
                link.state = State::Connected(connected.map_err(|error| nobody_there(address, &error))?);
            }
        }
        Ok(link)
    }

    /// Does what can be done now: `read` is called with a connection that may have bytes.
    pub(super) fn advance(
        &mut self,
        now_ms: u64,
        read: impl FnOnce(&mut TcpStream) -> io::Result<usize>,
    ) -> Event {
        match &mut self.state {
            State::Connected(stream) => match read(stream) {
                Ok(0) => {
                    self.part(now_ms);
                    Event::Closed
                }
                Ok(_) => Event::Bytes,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    Event::Nothing
                }
                Err(error) => {
                    self.part(now_ms);
                    Event::Broken(error)
                }
            },
            State::Connecting { socket, until_ms } => match answer(socket) {
                Answer::Yes(stream) => self.connected(stream),
                Answer::NotYet if now_ms < *until_ms => Event::Nothing,
                Answer::NotYet | Answer::No => self.pause(now_ms),
            },
            State::Pausing { until_ms } => {
                if now_ms >= *until_ms {
                    self.state = State::Apart;
                }
                Event::Nothing
            }
            State::Apart if self.listener.is_some() => self.accept(),
            State::Apart => self.connect(now_ms),
            State::Ended => Event::Ended,
        }
    }

    /// The connection is over; what comes then.
    fn part(&mut self, now_ms: u64) {
        self.attempts = 0;
        if !self.reconnect {
            self.state = State::Ended;
        } else if self.listener.is_some() {
            self.state = State::Apart;
        } else {
            self.pause(now_ms);
        }
    }

    fn pause(&mut self, now_ms: u64) -> Event {
        let pause_ms = PAUSE_MS_MIN.saturating_mul(1 << self.attempts.min(10)).min(PAUSE_MS_MAX);
        self.attempts += 1;
        self.state = State::Pausing { until_ms: now_ms + pause_ms };
        Event::Nothing
    }

    fn connected(&mut self, stream: TcpStream) -> Event {
        self.attempts = 0;
        self.state = State::Connected(stream);
        Event::Connected
    }

    fn accept(&mut self) -> Event {
        let Some(listener) = &self.listener else { return Event::Nothing };
        // A peer that went away before it was accepted is no reason to fail: the next may come.
        let accepted =
            listener.accept().and_then(|(stream, _)| stream.set_nonblocking(true).map(|()| stream));
        accepted.map_or(Event::Nothing, |stream| self.connected(stream))
    }

    /// Asks for a connection; a name with several addresses has its turns.
    fn connect(&mut self, now_ms: u64) -> Event {
        let Some(address) = self.addresses.get(self.attempts % self.addresses.len().max(1)) else {
            return Event::Nothing;
        };
        match ask(*address) {
            Ok(socket) => {
                self.state = State::Connecting { socket, until_ms: now_ms + CONNECT_MS_MAX };
                Event::Nothing
            }
            Err(_) => self.pause(now_ms),
        }
    }
}

fn connect_first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, Duration::from_millis(CONNECT_MS_MAX)) {
            Ok(stream) => return stream.set_nonblocking(true).map(|()| stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn nobody_there(address: &str, error: &io::Error) -> Error {
    let port = address.rsplit_once(':').map_or("PORT", |(_, port)| port);
    Error::failed(format!("cannot connect to {address}: {error}; start it with: nc -lk {port}"))
}

/// Asks for a connection without waiting for the answer.
fn ask(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // The usual answer is the error "in progress". Whatever it is, `answer` will find out.
    let _ = socket.connect(&address.into());
    Ok(socket)
}

enum Answer {
    Yes(TcpStream),
    NotYet,
    No,
}

fn answer(socket: &Socket) -> Answer {
    match socket.take_error() {
        Ok(None) => match (socket.peer_addr(), socket.local_addr(), socket.try_clone()) {
            // NOTE: where nobody listens, a system may connect a socket of this host to itself.
            (Ok(peer), Ok(local), _) if peer.as_socket() == local.as_socket() => Answer::No,
            (Ok(_), Ok(_), Ok(socket)) => Answer::Yes(socket.into()),
            _ => Answer::NotYet,
        },
        Ok(Some(_)) | Err(_) => Answer::No,
    }
}
