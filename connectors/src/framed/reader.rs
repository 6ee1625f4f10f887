//! The reader of a `FramedSocket`: all connections, served in turn.

use std::net::TcpListener;

use bumpalo::Bump;
use headwater::Result;
use headwater::batch::Record;
use headwater::source::{Poll, Rejected, SourceOutput, SourceReader};

use super::Limits;
use super::clients::{Clients, FramedPosition, Verdict};
use super::connection::{Connection, Fed, Stage};
use super::protocol::{Frame, Hello};
use crate::format::PayloadDecoder;

/// Most reads from one connection before it is the next one's turn.
const READS_PER_TURN_MAX: usize = 4;
/// Most connections that are taken up in one poll.
const ACCEPTS_PER_POLL_MAX: usize = 16;
/// How long the end waits for clients that do not know that they are committed.
const FAREWELL_MS_MAX: u64 = 60_000;

pub(super) struct Reader<T: Record> {
    pub(super) listener: TcpListener,
    pub(super) connections: Vec<Connection>,
    /// The connection that is served first.
    pub(super) turn: usize,
    pub(super) clients: Clients,
    pub(super) limits: Limits,
    pub(super) decoder: Box<dyn PayloadDecoder<T>>,
    pub(super) arena: Bump,
    pub(super) until_ended: Option<usize>,
    /// Since when everything is committed.
    pub(super) ended_ms: Option<u64>,
}

impl<T: Record> SourceReader<T, FramedPosition> for Reader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        let now_ms = out.clock().monotonic_ms();
        self.tell();
        if self.is_over(now_ms) {
            return Ok(Poll::Finished);
        }
        let mut moved = false;
        for _ in 0..self.connections.len() {
            if out.is_full() {
                moved = true;
                break;
            }
            self.turn = (self.turn + 1) % self.connections.len();
            moved |= self.serve(self.turn, now_ms, out)?;
        }
        self.connections.retain(|connection| !connection.is_gone());
        // Behind the others, because who has gone has left a place.
        moved |= self.accept(now_ms);
        Ok(if moved { Poll::More } else { Poll::Idle })
    }

    fn position(&self) -> FramedPosition {
        self.clients.position()
    }

    fn committed(&mut self, position: &FramedPosition) -> Result<()> {
        let committed = |clients: &Clients, of: &Connection| of.id().map_or(0, |id| clients.committed(id));
        let before: Vec<u64> = self.connections.iter().map(|of| committed(&self.clients, of)).collect();
        self.clients.commit(position);
        for (connection, before) in self.connections.iter_mut().zip(before) {
            let committed = committed(&self.clients, connection);
            if committed > before {
                connection.acknowledge(committed);
            }
        }
        self.tell();
        Ok(())
    }
}

impl<T: Record> Reader<T> {
    /// Sends acknowledgements on their way.
    fn tell(&mut self) {
        for connection in &mut self.connections {
            if let Some(number) = connection.flush()
                && let Some(id) = connection.id()
            {
                self.clients.told(id, number);
            }
        }
    }

    /// True when all clients have ended, and know it or do not ask.
    fn is_over(&mut self, now_ms: u64) -> bool {
        let (ended, told) = self.clients.ended();
        let Some(wanted) = self.until_ended.filter(|wanted| ended >= *wanted) else { return false };
        let since_ms = *self.ended_ms.get_or_insert(now_ms);
        told >= wanted || now_ms.saturating_sub(since_ms) >= FAREWELL_MS_MAX
    }

    fn accept(&mut self, now_ms: u64) -> bool {
        let mut accepted = false;
        for _ in 0..ACCEPTS_PER_POLL_MAX {
            // Whatever is wrong with a peer that wants to connect, the others are none the worse for it.
            let Ok((stream, _)) = self.listener.accept() else { break };
            accepted = true;
            // Closed at once: it may try again.
            if self.connections.len() < self.limits.connections_max {
                self.connections.extend(Connection::new(stream, now_ms));
            }
        }
        accepted
    }

    /// Takes what one connection has; true if it had something.
    fn serve(&mut self, index: usize, now_ms: u64, out: &mut SourceOutput<'_, T>) -> Result<bool> {
        for reads in 0.. {
            match &self.connections[index].stage {
                Stage::Hello { until_ms } => {
                    let is_late = now_ms >= *until_ms;
                    if let Err(reason) = self.greet(index, now_ms) {
                        self.connections[index].refuse(&reason, now_ms);
                    } else if is_late && self.connections[index].id().is_none() {
                        self.connections[index].refuse("no hello came: is this another protocol?", now_ms);
                    }
                }
                Stage::Ready { .. } => {}
                Stage::Refused { .. } => {
                    self.connections[index].pass_over(now_ms);
                    return Ok(false);
                }
                Stage::Gone => return Ok(reads > 0),
            }
            if self.connections[index].id().is_some()
                && let Err(reason) = self.take_frames(index, out)?
            {
                self.connections[index].refuse(&reason, now_ms);
                return Ok(true);
            }
            if out.is_full() || reads == READS_PER_TURN_MAX {
                return Ok(true);
            }
            if self.connections[index].feed() == Fed::Nothing {
                return Ok(reads > 0);
            }
        }
        Ok(true)
    }

    /// Takes the beginning of a connection, once it is there.
    fn greet(&mut self, index: usize, now_ms: u64) -> Result<(), String> {
        let connection = &self.connections[index];
        let Some((hello, length)) = Hello::parse(connection.bytes())? else { return Ok(()) };
        self.clients.greet(hello.id, hello.acknowledged)?;
        let (id, committed) = (hello.id.to_owned(), self.clients.committed(hello.id));
        for other in &mut self.connections {
            if other.id() == Some(&id) {
                other.refuse(&format!("another connection of client `{id}` has taken over"), now_ms);
            }
        }
        let connection = &mut self.connections[index];
        connection.take(length);
        connection.stage = Stage::Ready { id: id.clone() };
        connection.acknowledge(committed);
        if let Some(number) = connection.flush() {
            self.clients.told(&id, number);
        }
        Ok(())
    }

    /// Takes frames until there is none, or no room.
    fn take_frames(&mut self, index: usize, out: &mut SourceOutput<'_, T>) -> Result<Result<(), String>> {
        while !out.is_full() {
            let connection = &self.connections[index];
            let Some(id) = connection.id() else { break };
            let (frame, length) = match Frame::parse(connection.bytes(), self.limits.frame_bytes_max) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(reason) => return Ok(Err(reason)),
            };
            match self.clients.judge(id, frame.sequence) {
                Ok(Verdict::Drop) => {}
                Ok(Verdict::Take) => {
                    let connected = |other: &str| self.connections.iter().any(|of| of.id() == Some(other));
                    if let Err(reason) = self.clients.admit(id, connected) {
                        return Ok(Err(reason));
                    }
                    if let Some(record) = frame.record {
                        match self.decoder.decode(record, &self.arena)? {
                            Ok(view) => out.push(view)?,
                            Err(error) => out.reject(&Rejected {
                                origin: format!("client {id}"),
                                line: frame.sequence,
                                offset: 0,
                                reason: error.to_string(),
                                payload: Rejected::text(record),
                            })?,
                        }
                        self.arena.reset();
                    }
                    self.clients.take(id, frame.sequence, frame.record.is_none());
                }
                Err(reason) => return Ok(Err(reason)),
            }
            self.connections[index].take(length);
        }
        Ok(Ok(()))
    }
}
