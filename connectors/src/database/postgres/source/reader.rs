//! `Reader`: gives the rows of portions as records; what is no record goes to the rejected stream.

use std::time::Duration;

use bumpalo::Bump;
use headwater::Result;
use headwater::batch::{DecodeError, Record};
use headwater::source::{Poll, Rejected, SourceOutput, SourceReader};
use tokio_postgres::Row;

use super::PostgresPosition;
use super::decode::decode_row;
use super::scan::{Portions, key_of};
use crate::format::JsonKeys;

pub(super) struct Reader {
    portions: Portions,
    /// For rejected rows.
    pub(super) origin: String,
    /// How many columns the key has; they come first.
    pub(super) width: usize,
    pub(super) base: usize,
    /// How often new rows are asked for; `None`: there is an end.
    every: Option<Duration>,
    rows: Vec<Row>,
    /// The next row.
    at: usize,
    /// The key of the last row of the portion before.
    before: Vec<String>,
    is_asked: bool,
    /// No portion follows.
    is_ended: bool,
    /// When the next portion is asked for.
    ask_at_ms: u64,
    keys: JsonKeys,
    arena: Bump,
}

impl Reader {
    pub(super) fn new(
        portions: Portions,
        origin: String,
        width: usize,
        base: usize,
        every: Option<Duration>,
        before: Vec<String>,
    ) -> Self {
        Reader {
            portions,
            origin,
            width,
            base,
            every,
            rows: Vec::new(),
            at: 0,
            before,
            is_asked: false,
            is_ended: false,
            ask_at_ms: 0,
            keys: JsonKeys::default(),
            arena: Bump::new(),
        }
    }

    /// The key of the last row that was given.
    fn last(&self) -> Vec<String> {
        let given = self.at.checked_sub(1).and_then(|at| self.rows.get(at));
        // A key that is none has stopped the scan.
        given.and_then(|row| key_of(row, self.width).ok()).unwrap_or_else(|| self.before.clone())
    }

    /// Takes the portion that was asked for, if it is there, and asks for the next.
    fn take(&mut self, now_ms: u64) -> Result<bool> {
        let Some(portion) = self.portions.take()? else { return Ok(false) };
        self.before = self.last();
        (self.rows, self.at, self.is_asked) = (portion.rows, 0, false);
        match self.every {
            _ if !portion.is_last => self.ask(),
            None => self.is_ended = true,
            Some(every) => {
                self.ask_at_ms = now_ms.saturating_add(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
            }
        }
        Ok(true)
    }

    fn ask(&mut self) {
        self.portions.ask();
        self.is_asked = true;
    }

    #[cold]
    fn rejected(&self, row: &Row, error: &DecodeError) -> Rejected {
        let texts = (self.width..row.len())
            .map(|at| row.try_get::<_, Option<&str>>(at).ok().flatten().unwrap_or("NULL"))
            .collect::<Vec<_>>();
        Rejected {
            origin: format!("{}, key {}", self.origin, self.last().join(", ")),
            line: 0,
            offset: 0,
            reason: error.to_string(),
            payload: Rejected::text(texts.join(", ").as_bytes()),
        }
    }
}

impl<T: Record> SourceReader<T, PostgresPosition> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        self.arena.reset();
        loop {
            while let Some(row) = self.rows.get(self.at) {
                if out.is_full() {
                    return Ok(Poll::More);
                }
                self.at += 1;
                match decode_row::<T>(row, self.width, self.base, &mut self.keys, &self.arena) {
                    Ok(view) => out.push(view)?,
                    Err(error) => out.reject(&self.rejected(row, &error))?,
                }
            }
            if self.is_ended {
                return Ok(Poll::Finished);
            }
            let now_ms = out.clock().monotonic_ms();
            if !self.is_asked {
                if now_ms < self.ask_at_ms {
                    return Ok(Poll::Idle);
                }
                self.ask();
            }
            if !self.take(now_ms)? {
                return Ok(Poll::Idle);
            }
        }
    }

    fn position(&self) -> PostgresPosition {
        PostgresPosition { key: self.last() }
    }
}
