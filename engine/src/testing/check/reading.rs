//! What a reader gave, and how it differs from what it should have given.

use std::time::Duration;

use super::super::clock::ManualClock;
use super::super::parts::poll_source;
use crate::epoch::{decode_record, encode_record};
use crate::error::{Error, Result};
use crate::source::{Poll, Rejected, Source, SourceReader};

/// Records and rejected records, as bytes that can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) records: Vec<Vec<u8>>,
    pub(super) rejected: Vec<Vec<u8>>,
}

/// How much was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) records: usize,
    pub(super) rejected: usize,
}

impl Count {
    /// In words: what stands in front of a position.
    pub(super) fn behind(self) -> String {
        match self {
            Count { records: 0, rejected: 0 } => "in front of the first record".to_owned(),
            Count { records, rejected: 0 } => format!("behind record {records}"),
            Count { records, rejected } => format!("behind record {records} and rejected record {rejected}"),
        }
    }
}

impl Given {
    pub(super) fn count(&self) -> Count {
        Count { records: self.records.len(), rejected: self.rejected.len() }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len() + self.rejected.len()
    }

    pub(super) fn append(&mut self, mut more: Given) {
        self.records.append(&mut more.records);
        self.rejected.append(&mut more.rejected);
    }

    /// How what a reader gave that was opened at `from` differs from what is behind that in `self`. With
    /// `is_cut` it need not be all.
    pub(super) fn differs(&self, from: Count, found: &Given, is_cut: bool) -> Option<String> {
        differs("record", &self.records, from.records, &found.records, is_cut)
            .or_else(|| differs("rejected record", &self.rejected, from.rejected, &found.rejected, is_cut))
    }
}

fn differs(what: &str, all: &[Vec<u8>], from: usize, found: &[Vec<u8>], is_cut: bool) -> Option<String> {
    let expected = all.get(from..).unwrap_or_default();
    let same = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
    let number = from + same + 1;
    match (expected.get(same), found.get(same)) {
        (None, None) => None,
        (None, Some(_)) | (Some(_), None) if is_cut => None,
        (None, Some(_)) => Some(format!("it gives {} {what}s more than there are", found.len() - same)),
        (Some(_), None) => Some(format!(
            "it does not give {what} {number} and what follows: {} are lost",
            expected.len() - same
        )),
        (Some(_), Some(other)) if number > 1 && all.get(number - 2) == Some(other) => {
            Some(format!("it gives {what} {} again", number - 1))
        }
        (Some(_), Some(other)) => Some(match expected.iter().skip(same).position(|later| later == other) {
            Some(left_out) => format!("it leaves out {left_out} {what}s, from number {number} on"),
            None => format!("it gives another {what} in place of number {number}"),
        }),
    }
}

/// A partition that is being read.
pub(super) struct Reading<'a, S: Source> {
    partition: &'a str,
    reader: Box<dyn SourceReader<S::Record, S::Position>>,
    clock: ManualClock,
    pub(super) given: Given,
    pub(super) is_finished: bool,
}

impl<'a, S: Source> Reading<'a, S> {
    /// Opens a partition as a run does.
    pub(super) fn open(source: &S, partition: &'a str, position: Option<&[u8]>) -> Result<Self> {
        let decoded =
            || position.map(|position| decode_record::<S::Position>(partition, position)).transpose();
        let failed = |error: Error| {
            let at = if position.is_some() { " at a position that it has given" } else { "" };
            Error::failed(format!("a partition must open{at}; `open` failed: {error}")).at(partition)
        };
        let reader = source.open(partition, decoded()?).map_err(failed)?;
        let mut reading = Reading {
            partition,
            reader,
            clock: ManualClock::new(),
            given: Given::default(),
            is_finished: false,
        };
        if let Some(position) = position {
            reading.commit(position)?;
        }
        Ok(reading)
    }

    /// Polls once; true when it gave something.
    pub(super) fn poll(&mut self, rows_max: usize) -> Result<bool> {
        self.clock.advance(Duration::from_millis(100));
        let (records, rejected, poll) = poll_source(&mut *self.reader, &self.clock, rows_max)
            .map_err(|error| Error::failed(format!("`poll` failed: {error}")).at(self.partition))?;
        let given = Given {
            records: records.iter().map(encode_record).collect::<Result<_>>()?,
            rejected: rejected.iter().map(|of: &Rejected| encode_record(of)).collect::<Result<_>>()?,
        };
        if given.len() > rows_max {
            let count = given.len();
            return Err(self.broken(format!(
                "`poll` must return when the output is full: it wrote {count} records where there was room for \
                 {rows_max}; ask `SourceOutput::is_full` before each"
            )));
        }
        let gave = given.len() > 0;
        self.given.append(given);
        self.is_finished = poll == Poll::Finished;
        Ok(gave)
    }

    /// Where it stands, in bytes that survive.
    pub(super) fn position(&self) -> Result<Vec<u8>> {
        let position = encode_record(&self.reader.position())?;
        if encode_record(&self.reader.position())? != position {
            return Err(self.broken("`position` must be the same until the next `poll`".to_owned()));
        }
        let again = encode_record(&decode_record::<S::Position>(self.partition, &position)?)?;
        if again != position {
            return Err(self.broken("a position must be the same when it was written and read".to_owned()));
        }
        Ok(position)
    }

    pub(super) fn commit(&mut self, position: &[u8]) -> Result<()> {
        let position = decode_record::<S::Position>(self.partition, position)?;
        self.reader.committed(&position).map_err(|error| {
            Error::failed(format!(
                "`committed` may be called late, and again for the same position; it failed: {error}"
            ))
            .at(self.partition)
        })
    }

    pub(super) fn broken(&self, promise: String) -> Error {
        Error::failed(promise).at(self.partition)
    }
}
