//! Poison: records at which a closure panics, how they are found, and how they are kept away from it.
//!
//! A run that panics in a source's stage is done again with one record at a time. The record at which it panics
//! again is poison: from then on its source rejects it, and nothing that the panic left half done is used.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::error::guard;
use crate::source::Rejected;

/// A record of a partition of a source, by its number from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, headwater_derive::Record)]
pub(crate) struct PoisonRecord {
    pub(crate) source: String,
    pub(crate) partition: String,
    pub(crate) number: u64,
    /// What the panic said.
    pub(crate) message: String,
}

impl PoisonRecord {
    /// As the rejected stream has it; `payload` is the record as text.
    pub(crate) fn rejected(&self, payload: &str) -> Rejected {
        let PoisonRecord { source, partition, number, message } = self;
        Rejected {
            origin: partition.clone(),
            line: 0,
            offset: 0,
            reason: format!("record {number} of `{source}` (from 0): a panic at it, twice: {message}"),
            payload: Rejected::text(payload.as_bytes()),
        }
    }
}

/// What a run knows of its poison.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    /// Records go one at a time, so that a panic tells which.
    pub(crate) is_careful: bool,
    /// Each as it is written, ascending.
    known: Vec<PoisonRecord>,
    /// The record that each instance is at.
    at: Mutex<HashMap<String, PoisonRecord>>,
}

impl Poison {
    /// A run that keeps these records away.
    pub(crate) fn new(is_careful: bool, known: &[PoisonRecord]) -> Self {
        let mut known = known.to_vec();
        known.sort_unstable();
        Poison { is_careful, known, ..Poison::default() }
    }

    /// The next poison of a partition from record `number` on.
    pub(crate) fn next(&self, source: &str, partition: &str, number: u64) -> Option<&PoisonRecord> {
        let is_of = |known: &PoisonRecord| known.source == source && known.partition == partition;
        self.known.iter().find(|known| is_of(known) && known.number >= number)
    }

    /// An instance is at this record; at none any more.
    pub(crate) fn at(&self, instance: &str, record: Option<PoisonRecord>) {
        let mut at = guard(&self.at);
        match record {
            Some(record) => drop(at.insert(instance.to_owned(), record)),
            None => drop(at.remove(instance)),
        }
    }

    /// The record that an instance was at when it panicked.
    pub(crate) fn culprit(&self, instance: &str, message: &str) -> Option<PoisonRecord> {
        guard(&self.at)
            .get(instance)
            .map(|record| PoisonRecord { message: message.to_owned(), ..record.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_poison_is_of_the_same_partition() {
        let record = |partition: &str, number| PoisonRecord {
            source: "lines".to_owned(),
            partition: partition.to_owned(),
            number,
            message: "on purpose".to_owned(),
        };
        let poison = Poison::new(false, &[record("a", 5), record("a", 9), record("b", 2)]);
        let next =
            |source, partition, number| poison.next(source, partition, number).map(|found| found.number);
        assert_eq!([0, 5, 6, 10].map(|number| next("lines", "a", number)), [Some(5), Some(5), Some(9), None]);
        assert_eq!(next("lines", "b", 0), Some(2));
        assert_eq!(next("other", "a", 0), None);
    }
}
