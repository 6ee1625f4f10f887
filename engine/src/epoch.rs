//! What belongs to an epoch: the entries that instances give for the log, and what a later run gets back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::batch::{Record, decode_one, encode_one};
use crate::error::{Error, Result};
use crate::telemetry::Counts;
use crate::time::Epoch;

/// What an entry of the epoch log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    /// Where the partitions of a source stand.
    Positions,
    /// What an operator knows besides its keyed state.
    Operator,
    /// How keyed state changed in this epoch.
    StateDelta,
    /// How keyed state differs from what the store holds; for the store, not for the log.
    StoreChanges,
    /// What a sink needs to show the rows of this epoch.
    Staged,
    /// The counts of a node, since the beginning of the job.
    Counts,
    /// What a source gave that cannot give it again.
    Input,
    /// An answer that another run would get differently.
    Decision,
}

impl EntryKind {
    /// True for what a run begins with. The rest is large, and in the store by then, or for a replay.
    pub(crate) fn is_for_next_run(self) -> bool {
        matches!(self, EntryKind::Positions | EntryKind::Operator | EntryKind::Staged | EntryKind::Counts)
    }
}

/// What one instance says about one of its nodes in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// Name of the node.
    pub(crate) owner: String,
    pub(crate) subtask: u32,
    pub(crate) payload: Payload,
}

/// The bytes of an entry. Staged output is many: it stands behind the others as it is, and is not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    head: Vec<u8>,
    staged: Arc<Vec<u8>>,
}

impl Payload {
    /// Staged output, behind the newest epoch up to which its sink has delivered.
    pub(crate) fn staged(delivered: u64, staged: Arc<Vec<u8>>) -> Self {
        Payload { head: delivered.to_le_bytes().to_vec(), staged }
    }

    /// The bytes, one part behind the other.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.head, &self.staged]
    }

    /// A copy of the bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// The bytes of what is no staged output.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.head
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Payload { head: bytes, staged: Arc::default() }
    }
}

/// The newest epoch up to which a sink has delivered, from an entry of staged output.
pub(crate) fn delivered(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Collects the entries of one instance while a barrier passes through it.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    on: bool,
    subtask: u32,
    marks: StoreMarks,
    entries: Vec<Entry>,
}

/// How far the store of a durable job is, and how far it must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreMarks {
    /// The epoch with which keyed state is to say how it differs from the store.
    pub(crate) asked: Arc<AtomicU64>,
    /// The epoch that the store is at, in memory and on its disk.
    pub(crate) applied: Arc<AtomicU64>,
    /// Keyed state has no room for more until the store is at this epoch.
    pub(crate) needed: Arc<AtomicU64>,
}

impl Journal {
    /// A journal of an instance; one that is not `on` keeps nothing.
    pub(crate) fn new(on: bool, subtask: usize, marks: StoreMarks) -> Self {
        Journal { on, subtask: subtask as u32, marks, entries: Vec::new() }
    }

    /// True when sources must read nothing more until the store has taken what keyed state holds for it.
    pub(crate) fn is_store_behind(&self) -> bool {
        self.on && self.marks.needed.load(SeqCst) > self.marks.applied.load(SeqCst)
    }

    /// True when keyed state must say with this epoch how it differs from what the store holds.
    pub(crate) fn is_for_store(&self, epoch: Epoch) -> bool {
        self.on && self.marks.asked.load(SeqCst) == epoch.0
    }

    /// False when nobody will read it, so that nothing need be encoded.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, kind: EntryKind, owner: &str, payload: impl Into<Payload>) {
        if self.on {
            let (owner, payload) = (owner.to_owned(), payload.into());
            self.entries.push(Entry { kind, owner, subtask: self.subtask, payload });
        }
    }

    /// Adds an entry that is a record.
    ///
    /// # Errors
    /// The record is larger than 2 GiB.
    pub(crate) fn record<R: Record>(&mut self, kind: EntryKind, owner: &str, record: &R) -> Result<()> {
        if self.on {
            self.push(kind, owner, encode_record(record)?);
        }
        Ok(())
    }

    /// What was added since the last call.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }
}

/// The bytes of a record behind the hash of its schema.
///
/// # Errors
/// The record is larger than 2 GiB.
pub(crate) fn encode_record<R: Record>(record: &R) -> Result<Vec<u8>> {
    let mut bytes = R::schema().hash().to_le_bytes().to_vec();
    encode_one::<R>(record.view(), &mut bytes)?;
    Ok(bytes)
}

/// Reads what [`encode_record`] wrote for `owner`.
///
/// # Errors
/// The bytes are damaged, or hold another type: the program that wrote them was another one.
pub(crate) fn decode_record<R: Record>(owner: &str, bytes: &[u8]) -> Result<R> {
    let schema = R::schema();
    match bytes.split_first_chunk::<8>() {
        Some((hash, record)) if *hash == schema.hash().to_le_bytes() => {
            decode_one(record).map_err(|error| Error::from(error).at(owner))
        }
        _ => Err(Error::failed(format!(
            "the state of `{owner}` was written by a program in which it holds something else than `{}`: run \
             that program, give `{owner}` a new name to start it from empty state, or start over with \
             --no-resume",
            schema.name
        ))),
    }
}

/// What the last committed epoch of an earlier run says about one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restored {
    /// The epoch.
    pub(crate) epoch: u64,
    /// How many instances the node had.
    pub(crate) subtasks: usize,
    /// By kind and subtask; staged output is apart, because it is of several epochs.
    pub(crate) entries: BTreeMap<(EntryKind, u32), Vec<u8>>,
    /// Staged output by subtask and epoch, ascending.
    pub(crate) staged: BTreeMap<(u32, u64), Vec<u8>>,
}

impl Restored {
    /// What the subtask `index` of `count` needs: its own record if parallelism is as it was, else those
    /// of all subtasks.
    ///
    /// # Errors
    /// See [`decode_record`].
    pub(crate) fn records<R: Record>(
        &self,
        owner: &str,
        kind: EntryKind,
        index: usize,
        count: usize,
    ) -> Result<Vec<R>> {
        let of_kind = self.entries.iter().filter(|((entry, _), _)| *entry == kind);
        of_kind
            .filter(|((_, subtask), _)| count != self.subtasks || *subtask as usize == index)
            .map(|(_, bytes)| decode_record(owner, bytes))
            .collect()
    }

    /// Counts of all instances. Counts that cannot be read are left out: they are no part of a result.
    pub(crate) fn counts(&self) -> Counts {
        let all = self.entries.iter().filter(|((kind, _), _)| *kind == EntryKind::Counts);
        all.filter_map(|(_, bytes)| decode_record::<Counts>("", bytes).ok()).sum()
    }
}
