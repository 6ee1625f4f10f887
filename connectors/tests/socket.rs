//! Lines from real connections on this host.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use headwater::source::{Boundedness, Poll, Rejected, Source, SourceReader};
use headwater::testing::poll_source;
use headwater::time::Clock;
use headwater_connectors::SocketLines;

/// More polls than any of these tests needs; each gives the other side a turn.
const POLLS_MAX: u64 = 5_000_000;

/// A clock that goes a little at every look, so that pauses end without waiting.
#[derive(Debug, Default)]
struct HurryingClock(AtomicU64);

impl Clock for HurryingClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn wall_ms(&self) -> i64 {
        0
    }
}

struct Client {
    reader: Box<dyn SourceReader<String, u64>>,
    clock: HurryingClock,
    lines: Vec<String>,
    rejected: Vec<Rejected>,
}

impl Client {
    fn open(source: &SocketLines) -> Self {
        let partition = source.partitions().unwrap().remove(0);
        let reader = source.open(&partition, None).unwrap();
        Client { reader, clock: HurryingClock::default(), lines: Vec::new(), rejected: Vec::new() }
    }

    fn poll(&mut self) -> headwater::Result<Poll> {
        let (lines, rejected, poll) = poll_source(self.reader.as_mut(), &self.clock, 3)?;
        self.lines.extend(lines);
        self.rejected.extend(rejected);
        std::thread::yield_now();
        Ok(poll)
    }

    /// Polls until `done` says so.
    fn poll_until(&mut self, done: impl Fn(&Self, Poll) -> bool) {
        for _ in 0..POLLS_MAX {
            let poll = self.poll().unwrap();
            if done(self, poll) {
                return;
            }
        }
        panic!("gave up with {} lines", self.lines.len());
    }

    fn poll_to_the_end(&mut self) {
        self.poll_until(|_, poll| poll == Poll::Finished);
    }
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn lines_are_read_until_the_peer_closes() {
    let (listener, address) = listener();
    let mut client = Client::open(&SocketLines::connect(address));
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!(client.poll().unwrap(), Poll::Idle);
    server.write_all(b"one\ntwo\nthree\nfour\nfi").unwrap();
    client.poll_until(|client, poll| client.lines.len() == 4 && poll == Poll::Idle);
    assert_eq!(client.reader.position(), 4);
    server.write_all("ve \u{e9}\r\nlast".as_bytes()).unwrap();
    drop(server);
    client.poll_to_the_end();
    assert_eq!(client.lines, ["one", "two", "three", "four", "five \u{e9}", "last"]);
    assert_eq!(client.reader.position(), 6);
    assert_eq!(client.poll().unwrap(), Poll::Finished);
}

#[test]
fn a_refused_connection_says_what_to_start() {
    let (listener, address) = listener();
    drop(listener);
    let error = SocketLines::connect(&address).open(&address, None).err().unwrap().to_string();
    let port = address.rsplit_once(':').unwrap().1;
    assert!(error.contains(&address) && error.contains(&format!("start it with: nc -lk {port}")), "{error}");
    let error = SocketLines::connect("nonsense").open("nonsense", None).err().unwrap().to_string();
    assert!(error.contains("host:9999"), "{error}");
}

#[test]
fn what_is_not_a_line_of_text_is_rejected() {
    let (listener, address) = listener();
    let mut client = Client::open(&SocketLines::connect(&address));
    let server = std::thread::spawn(move || {
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"good\nbad \xff\n").unwrap();
        server.write_all(&vec![b'x'; (1 << 20) + 1]).unwrap();
        server.write_all(b"\ngood again\n").unwrap();
    });
    client.poll_to_the_end();
    server.join().unwrap();
    assert_eq!(client.lines, ["good", "good again"]);
    let [utf8, long] = client.rejected.as_slice() else { panic!("{:?}", client.rejected) };
    assert_eq!((utf8.origin.as_str(), utf8.line, utf8.offset), (address.as_str(), 2, 5));
    assert!(utf8.reason.contains("UTF-8") && utf8.payload == "bad \u{fffd}", "{utf8:?}");
    assert!(long.reason.contains("longer") && long.line == 3 && long.offset == 11, "{}", long.reason);
    assert!(long.payload.len() <= Rejected::PAYLOAD_BYTES_MAX);
}

#[test]
fn a_lost_connection_is_made_again() {
    let (listener, address) = listener();
    let mut client = Client::open(&SocketLines::connect(&address).reconnect(true));
    listener.accept().unwrap().0.write_all(b"first\n").unwrap();
    client.poll_until(|client, _| client.lines.len() == 1);
    drop(listener);
    // Nobody listens now: attempts fail and are repeated, and the source is idle.
    for _ in 0..2_000 {
        assert_ne!(client.poll().unwrap(), Poll::Finished);
    }
    let listener = TcpListener::bind(&address).unwrap();
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"second\n").unwrap());
    client.poll_until(|client, _| client.lines.len() == 2);
    server.join().unwrap();
    assert_eq!(client.lines, ["first", "second"]);
}

#[test]
fn one_peer_after_the_other_is_listened_to() {
    let (listener, address) = listener();
    drop(listener);
    let mut client = Client::open(&SocketLines::listen(&address));
    assert_eq!(client.poll().unwrap(), Poll::Idle);
    for (index, line) in ["first\n", "second\n"].iter().enumerate() {
        TcpStream::connect(&address).unwrap().write_all(line.as_bytes()).unwrap();
        client.poll_until(|client, _| client.lines.len() == index + 1);
    }
    assert_eq!(client.lines, ["first", "second"]);
    let taken = SocketLines::listen(&address).open(&address, None).err().unwrap().to_string();
    assert!(taken.contains(&format!("cannot listen on {address}")), "{taken}");
}

#[test]
fn until_closed_makes_one_connection_a_bounded_input() {
    assert_eq!(SocketLines::connect("h:1").boundedness(), Boundedness::Unbounded);
    assert_eq!(SocketLines::connect("h:1").until_closed().boundedness(), Boundedness::Bounded);
    let (listener, address) = listener();
    drop(listener);
    let mut client = Client::open(&SocketLines::listen(&address).until_closed());
    TcpStream::connect(&address).unwrap().write_all(b"all\n").unwrap();
    client.poll_to_the_end();
    assert_eq!(client.lines, ["all"]);
}
