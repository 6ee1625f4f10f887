//! Reads everything that a job has, and says what is wrong with it.

use std::collections::BTreeSet;

use super::Inspection;
use crate::epoch::decode_record;
use crate::error::{Error, Result};
use crate::runtime::job::{CommitNote, verify};
use crate::stage::Positions;
use crate::state::read_changes;
use crate::telemetry::Counts;
use crate::time::Epoch;
use crate::topology::Keeps;
use crate::wal::{LogEnd, Record, RecordKind};

/// Most problems that are told: the others are of the same kind.
const PROBLEMS_MAX: usize = 20;

/// What was read, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The last committed epoch.
    pub epoch: Epoch,
    /// Committed epochs in the log.
    pub epochs: u64,
    /// Committed records in the log, and their bytes.
    pub records: u64,
    /// Bytes of these records.
    pub bytes: u64,
    /// The epoch that the state store is at; `None` when there is none.
    pub store_epoch: Option<Epoch>,
    /// Keys of all tables.
    pub rows: u64,
    /// Snapshots and savepoints that were read.
    pub snapshots: u64,
    /// What a next run repairs by itself, in sentences.
    pub notes: Vec<String>,
    /// What is wrong, in sentences that say the way out. Empty when all is well.
    pub problems: Vec<String>,
}

impl Verification {
    fn problem(&mut self, what: impl ToString) {
        let what = what.to_string();
        if self.problems.len() < PROBLEMS_MAX && !self.problems.contains(&what) {
            self.problems.push(what);
        }
    }

    fn check<T>(&mut self, outcome: Result<T>) {
        if let Err(error) = outcome {
            self.problem(error);
        }
    }
}

impl Inspection {
    /// Reads the whole log and the whole state, and decodes all of it.
    ///
    /// # Errors
    /// The disk failed. Everything else that is wrong is said in [`Verification::problems`].
    pub fn verify(&self) -> Result<Verification> {
        let mut found =
            Verification { epoch: self.log.committed().unwrap_or_default(), ..Default::default() };
        match self.log.end() {
            LogEnd::Clean => {}
            LogEnd::Torn { path, offset, bytes, .. } => found.notes.push(format!(
                "`{}` ends at byte {offset} in {bytes} bytes of a write that is not complete: a run that writes \
                 now is in the middle of it, and a write that a crash cut short is removed by the next run",
                path.display()
            )),
            LogEnd::Damaged { path, offset, lsn, reason } => {
                found.problem(Error::LogDamaged { path, offset, lsn: lsn.0, reason });
            }
        }
        let mut missing = BTreeSet::new();
        let read = self.log.committed_records(self.log.complete_from(), &mut |_, record| {
            found.records += 1;
            found.bytes += record.payload.len() as u64;
            found.epochs += u64::from(record.kind == RecordKind::Commit);
            if !record.owner.is_empty() && self.keeps(record.owner).is_none() {
                missing.insert(format!("`{}`", record.owner));
            }
            let outcome = self.check_record(&record, &mut found);
            found.check(outcome);
            Ok(())
        });
        found.check(read);
        if !missing.is_empty() {
            let missing: Vec<_> = missing.into_iter().collect();
            found.problem(format!(
                "the log holds what another version of the topology kept for {}: give the nodes their former \
                 names back, or start over with --no-resume",
                missing.join(", ")
            ));
        }
        self.check_state(&mut found);
        self.check_snapshots(&mut found)?;
        Ok(found)
    }

    fn check_record(&self, record: &Record<'_>, found: &mut Verification) -> Result<()> {
        let owner = record.owner;
        match record.kind {
            RecordKind::Commit => decode_record::<CommitNote>("the job", record.payload).map(drop),
            RecordKind::Counts => decode_record::<Counts>(owner, record.payload).map(drop),
            RecordKind::Positions => {
                let positions = decode_record::<Positions>(owner, record.payload)?;
                let Some(Keeps::Positions(read)) = self.keeps(owner) else { return Ok(()) };
                for partition in positions.partitions.iter().filter(|one| !one.position.is_empty()) {
                    found.check(read(owner, &partition.position));
                }
                Ok(())
            }
            RecordKind::StateDelta => {
                let Some(Keeps::State(codec)) = self.keeps(owner) else { return Ok(()) };
                read_changes(record.payload, &mut |change| {
                    if let crate::state::Change::Put { value, .. } = change {
                        found.check(codec.entry(owner, value));
                    }
                    Ok(())
                })
            }
            _ => Ok(()),
        }
    }

    fn check_snapshots(&self, found: &mut Verification) -> Result<()> {
        for snapshot in self.snapshots()? {
            match verify(&snapshot.path) {
                Ok(_) => found.snapshots += 1,
                // The run that is going on has removed it meanwhile.
                Err(_) if !snapshot.path.exists() => {}
                Err(error) => found.problem(format!("{error}: {}", snapshot.way_out())),
            }
        }
        Ok(())
    }

    fn check_state(&self, found: &mut Verification) {
        let state = match self.state() {
            Ok(state) => state,
            Err(error) => return found.problem(error),
        };
        found.store_epoch = state.store_epoch;
        for operator in self.operators() {
            let mut rows = 0;
            let mut wrong = Vec::new();
            let read = state.check(operator, &mut |outcome| {
                rows += 1;
                if let (Err(error), true) = (outcome, wrong.len() < PROBLEMS_MAX) {
                    wrong.push(error);
                }
            });
            found.rows += rows;
            found.check(read);
            wrong.into_iter().for_each(|error| found.problem(error));
        }
    }
}
