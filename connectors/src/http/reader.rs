//! The reader of an `HttpSource`: requests one after the other, and answers when they are durable.

use bumpalo::Bump;
use headwater::Result;
use headwater::batch::Record;
use headwater::source::{Poll, Rejected, SourceOutput, SourceReader};
use hyper::StatusCode;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::body::Pieces;
use super::front::Request;
use super::known::{HttpPosition, Known, Verdict};
use super::server::Server;
use crate::format::PayloadDecoder;

/// How long a job that was at its end when it was started waits for senders who do not know that.
const FAREWELL_MS: u64 = 10_000;

/// A request that is being read.
struct Current {
    request: Request,
    pieces: Pieces,
    /// Records that an earlier process has read.
    before: u32,
}

/// A sender who waits until a request is durable.
struct Waiting {
    number: u64,
    answer: Answer,
    sender: oneshot::Sender<Answer>,
}

pub(super) struct Reader<T: Record> {
    current: Option<Current>,
    waiting: Vec<Waiting>,
    pub(super) known: Known,
    /// How many requests are durable.
    committed: u64,
    decoder: Box<dyn PayloadDecoder<T>>,
    arena: Bump,
    until_requests: Option<u64>,
    /// Until when it waits although it has ended: set by the first poll of a reader that was opened at the end.
    farewell: Farewell,
    // Last, so that senders are told before it waits for them to go.
    server: Server,
}

#[derive(Clone, Copy, Debug)]
enum Farewell {
    None,
    Wanted,
    Until(u64),
}

impl<T: Record> Reader<T> {
    pub(super) fn new(
        known: Known,
        decoder: Box<dyn PayloadDecoder<T>>,
        until_requests: Option<u64>,
        server: Server,
    ) -> Self {
        let farewell = match until_requests {
            Some(wanted) if known.taken >= wanted => Farewell::Wanted,
            _ => Farewell::None,
        };
        let (current, waiting, arena) = (None, Vec::new(), Bump::new());
        Reader { current, waiting, known, committed: 0, decoder, arena, until_requests, farewell, server }
    }

    /// It has as many requests as it was to take.
    fn has_all(&self) -> bool {
        self.until_requests.is_some_and(|wanted| self.known.taken >= wanted)
    }

    /// Decides what becomes of a request.
    fn begin(&mut self, request: Request, second: u32) {
        let is_new = |known: &Known| request.name.is_none_or(|name| !known.remembers(name));
        if self.has_all() && is_new(&self.known) {
            self.tell(request.sender, Answer::error(StatusCode::SERVICE_UNAVAILABLE, ENDED));
            return;
        }
        let verdict = match request.name {
            None => Verdict::Read { from: 0 },
            Some(name) => self.known.judge(name, second),
        };
        match verdict {
            Verdict::Read { from } => {
                let pieces = Pieces::new(request.shape);
                self.current = Some(Current { request, pieces, before: from });
            }
            Verdict::Known { number } => self.wait(number, request.answer, request.sender),
            Verdict::Other => {
                self.tell(request.sender, Answer::error(StatusCode::UNPROCESSABLE_ENTITY, OTHER));
            }
        }
    }

    fn wait(&mut self, number: u64, answer: Answer, sender: oneshot::Sender<Answer>) {
        if number <= self.committed {
            self.tell(sender, answer);
        } else {
            self.waiting.push(Waiting { number, answer, sender });
        }
    }

    fn tell(&self, sender: oneshot::Sender<Answer>, answer: Answer) {
        // Who has gone will come again.
        let _ = sender.send(answer);
    }

    /// Reads on in the current request while there is room; true when it has ended.
    fn read(&mut self, current: &mut Current, out: &mut SourceOutput<'_, T>) -> Result<bool> {
        while !out.is_full() {
            let Current { request, pieces, before } = &mut *current;
            let Some(piece) = pieces.next(&request.body) else { return Ok(true) };
            if *before > 0 {
                *before -= 1;
                continue;
            }
            match self.decoder.decode(piece.bytes, &self.arena)? {
                // Of a refused request no record counts, and those that are wrong are there to be seen.
                Ok(_) if request.is_refused => {}
                Ok(view) => out.push(view)?,
                Err(error) => out.reject(&Rejected {
                    origin: request.origin.clone(),
                    line: piece.line,
                    offset: piece.offset as u64,
                    reason: error.to_string(),
                    payload: Rejected::text(piece.bytes),
                })?,
            }
            self.arena.reset();
            self.known.advance(request.name);
        }
        Ok(false)
    }

    /// True when nobody is left to be told anything.
    fn is_over(&mut self, now_ms: u64) -> bool {
        if !self.has_all() || self.committed < self.known.requests || !self.waiting.is_empty() {
            return false;
        }
        match self.farewell {
            Farewell::Wanted => {
                self.farewell = Farewell::Until(now_ms + FAREWELL_MS);
                return false;
            }
            Farewell::Until(end_ms) if now_ms < end_ms => return false,
            _ => {}
        }
        self.server.close();
        self.server.is_over()
    }
}

const OTHER: &str =
    "another request, with another body, has had this Idempotency-Key: a key belongs to one request";
const ENDED: &str =
    "the job has all the requests that it was to take, and ends: nothing of this one was taken";

impl<T: Record> SourceReader<T, HttpPosition> for Reader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        let now_ms = out.clock().monotonic_ms();
        let second = u32::try_from(out.clock().wall_ms().div_euclid(1_000)).unwrap_or(0);
        while !out.is_full() {
            if let Some(mut current) = self.current.take() {
                if self.read(&mut current, out)? {
                    let Request { name, is_refused, answer, sender, .. } = current.request;
                    let number = self.known.finish(name, is_refused);
                    self.wait(number, answer, sender);
                } else {
                    self.current = Some(current);
                }
                continue;
            }
            match self.server.next()? {
                Some(request) => self.begin(request, second),
                None if self.is_over(now_ms) => return Ok(Poll::Finished),
                None => return Ok(Poll::Idle),
            }
        }
        Ok(Poll::More)
    }

    fn position(&self) -> HttpPosition {
        self.known.position()
    }

    fn committed(&mut self, position: &HttpPosition) -> Result<()> {
        self.committed = self.committed.max(position.requests.min(self.known.requests));
        let committed = self.committed;
        for waiting in self.waiting.extract_if(.., |waiting| waiting.number <= committed) {
            let _ = waiting.sender.send(waiting.answer);
        }
        Ok(())
    }
}
