//! A receiver that honours keys, and does to its senders what receivers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    /// It is taken, and answered twice.
    TakenTwice,
    /// It is taken, and the connection breaks.
    TakenAndBroken,
    /// It is taken, and no answer comes.
    TakenAndSilent,
    Broken,
    Silent,
    Status(u16),
    /// Busy for so many seconds.
    Busy(u64),
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) key: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// All requests, those that came again included.
    pub(crate) came: Vec<Came>,
    /// Those that were taken, each key once.
    pub(crate) taken: Vec<Came>,
}

impl Seen {
    /// The lines of all bodies that were taken.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.taken.iter().flat_map(|came| came.body.lines().map(str::to_owned)).collect()
    }
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
}

type Decide = dyn Fn(u64, &Came) -> Fate + Send + Sync;

impl Receiver {
    /// Decides by the number of the request, from 0.
    pub(crate) fn start(decide: impl Fn(u64, &Came) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?token=secret-of-the-url", listener.local_addr().unwrap());
        let (seen, decide): (Arc<Mutex<Seen>>, Arc<Decide>) = (Arc::default(), Arc::new(decide));
        let receiver = Receiver { url, seen };
        let all = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (receiver, decide) = (all.clone(), Arc::clone(&decide));
                thread::spawn(move || receiver.serve(&stream, &*decide));
            }
        });
        receiver
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn serve(&self, stream: &TcpStream, decide: &Decide) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let came = read(&mut reader)?;
            let fate = {
                let mut seen = self.seen();
                let fate = decide(seen.came.len() as u64, &came);
                seen.came.push(came.clone());
                let is_taken = matches!(
                    fate,
                    Fate::Taken | Fate::TakenTwice | Fate::TakenAndBroken | Fate::TakenAndSilent
                );
                match seen.taken.iter().find(|of| of.key == came.key) {
                    Some(before) => assert_eq!(before.body, came.body, "a key belongs to one body"),
                    None if is_taken => seen.taken.push(came),
                    None => {}
                }
                fate
            };
            let answer = |status: u16, more: &str| {
                let body = format!("said {status}");
                format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
            };
            let text = match fate {
                Fate::Taken => answer(200, ""),
                Fate::TakenTwice => answer(200, "").repeat(2),
                Fate::TakenAndBroken | Fate::Broken => return None,
                Fate::TakenAndSilent | Fate::Silent => {
                    // Until the sender has had enough.
                    let _ = reader.read(&mut [0]);
                    return None;
                }
                Fate::Status(status) => answer(status, "Location: /elsewhere\r\n"),
                Fate::Busy(seconds) => answer(503, &format!("Retry-After: {seconds}\r\n")),
            };
            (&*stream).write_all(text.as_bytes()).ok()?;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Came> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let value = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
        Some(line[name.len()..].trim().to_owned())
    };
    let mut body = vec![0; value("content-length:")?.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    let (key, body) = (value("idempotency-key:")?, String::from_utf8(body).unwrap());
    Some(Came { key, head: head.clone(), body })
}
