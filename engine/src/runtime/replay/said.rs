//! What an epoch says, in a form in which two runs of it can be compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::batch::{hash_bytes, hash_combine, hash_u64};
use crate::epoch::decode_record;
use crate::error::{Error, Result};
use crate::runtime::job::CommitNote;
use crate::stage::{PartitionPosition, PoisonRecord, Positions};
use crate::state::{Change, namespace_of, read_changes};
use crate::telemetry::Counts;
use crate::wal::RecordKind;

/// How keyed state changed: the same changes in any order are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Digest {
    changes: u64,
    sum: u64,
    /// Whole namespaces that were removed. In how many key groups depends on what was in memory.
    removed: BTreeSet<i64>,
}

/// What an epoch says.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// The run that committed it.
    pub(super) generation: u64,
    pub(super) wall_ms: i64,
    /// By source and partition.
    pub(super) positions: BTreeMap<(String, String), PartitionPosition>,
    /// Names of the partitions of each instance of a source.
    shares: BTreeMap<(String, u32), Vec<String>>,
    /// Instances of the node that has most.
    pub(super) subtasks: usize,
    state: BTreeMap<String, Digest>,
    counts: BTreeMap<String, Counts>,
    operators: BTreeMap<(String, u32), u64>,
    /// Records that were rejected because a closure had panicked at them.
    pub(super) poison: Vec<PoisonRecord>,
}

impl Said {
    /// Adds what an instance says of one of its nodes, or the commit.
    ///
    /// # Errors
    /// Another version of the program wrote it.
    pub(super) fn add(&mut self, kind: RecordKind, owner: &str, subtask: u32, payload: &[u8]) -> Result<()> {
        match kind {
            RecordKind::Commit => self.wall_ms = decode_record::<CommitNote>("the job", payload)?.wall_ms,
            RecordKind::Positions => {
                let positions: Positions = decode_record(owner, payload)?;
                let names = positions.partitions.iter().map(|partition| partition.partition.clone());
                self.shares.insert((owner.to_owned(), subtask), names.collect());
                for partition in positions.partitions {
                    self.positions.insert((owner.to_owned(), partition.partition.clone()), partition);
                }
            }
            RecordKind::StateDelta => {
                let digest = self.state.entry(owner.to_owned()).or_default();
                read_changes(payload, &mut |change| {
                    let (kind, key, value) = match change {
                        Change::Put { key, value } => (1, key, value),
                        Change::Delete { key } => (2, key, &[][..]),
                        Change::DeletePrefix { prefix } => {
                            digest.removed.insert(namespace_of(prefix));
                            return Ok(());
                        }
                    };
                    let hash = hash_combine(hash_combine(hash_u64(kind), hash_bytes(key)), hash_bytes(value));
                    digest.changes += 1;
                    digest.sum = digest.sum.wrapping_add(hash);
                    Ok(())
                })?;
            }
            RecordKind::Counts => {
                let counts: Counts = decode_record(owner, payload)?;
                let all = self.counts.entry(owner.to_owned()).or_default();
                *all = *all + counts;
            }
            RecordKind::Decision => self.poison.push(decode_record(owner, payload)?),
            RecordKind::Operator => {
                self.operators.insert((owner.to_owned(), subtask), hash_bytes(payload));
            }
            _ => {}
        }
        if kind != RecordKind::Commit {
            self.subtasks = self.subtasks.max(subtask as usize + 1);
        }
        Ok(())
    }

    /// Names of the partitions of each source, in the order in which instances share them.
    pub(super) fn partitions(&self) -> HashMap<String, Vec<String>> {
        let mut all = HashMap::<String, Vec<String>>::new();
        let sources: Vec<&String> = self.shares.keys().map(|(source, _)| source).collect();
        for source in sources {
            let shares: Vec<_> = self.shares.iter().filter(|((of, _), _)| of == source).collect();
            let longest = shares.iter().map(|(_, names)| names.len()).max().unwrap_or(0);
            let names = (0..longest)
                .flat_map(|turn| shares.iter().filter_map(move |(_, names)| names.get(turn).cloned()));
            all.insert(source.clone(), names.collect());
        }
        all
    }

    /// How a second run of the epoch differs from this one, in sentences. Between instances that combine
    /// partial results, counts of rows depend on the moment and are not compared.
    pub(super) fn differences(&self, again: &Said, is_end: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for owner in names(&self.state, &again.state) {
            let of = |said: &Said| said.state.get(owner).cloned().unwrap_or_default();
            let (one, two) = (of(self), of(again));
            if one.removed != two.removed {
                found.push(format!(
                    "the state of `{owner}` closes {} windows or tables, and the log {}",
                    two.removed.len(),
                    one.removed.len()
                ));
            } else if one.changes != two.changes {
                found.push(format!(
                    "the state of `{owner}` has {} changes, and the log has {}",
                    two.changes, one.changes
                ));
            } else if one != two {
                let changes = one.changes;
                found.push(format!("the state of `{owner}` has other values in its {changes} changes"));
            }
        }
        for owner in names(&self.counts, &again.counts) {
            let of = |said: &Said| said.counts.get(owner).copied().unwrap_or_default();
            let (one, two) = (of(self), of(again));
            for (what, one, two) in [
                ("rejected", one.rejected, two.rejected),
                ("late", one.late, two.late),
                ("taken", one.records_in, two.records_in),
            ] {
                if one != two && (what != "taken" || is_end(owner)) {
                    found.push(format!("`{owner}` has {two} records {what} so far, and the log has {one}"));
                }
            }
        }
        // With another number of instances each says another part.
        if self.subtasks == again.subtasks {
            for owner in names(&self.operators, &again.operators) {
                if self.operators.get(owner) != again.operators.get(owner) {
                    let (name, subtask) = owner;
                    found.push(format!(
                        "`{name}[{subtask}]` has another watermark or other windows than the log"
                    ));
                }
            }
        }
        found
    }

    /// Refuses an epoch whose sources have other partitions.
    pub(super) fn check_partitions(&self, epoch: u64, before: &Said) -> Result<()> {
        if self.positions.keys().eq(before.positions.keys()) {
            return Ok(());
        }
        Err(Error::failed(format!(
            "the sources have other partitions from epoch {epoch} on: replay up to epoch {}, or from a later \
             epoch on",
            epoch - 1
        )))
    }
}

/// Keys of two maps, each once, in order.
fn names<'a, K: Ord, V>(one: &'a BTreeMap<K, V>, two: &'a BTreeMap<K, V>) -> Vec<&'a K> {
    let mut names: Vec<&K> = one.keys().chain(two.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
