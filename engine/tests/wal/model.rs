//! What a log must hold, kept in a plain vector, and scripts that drive both.

use std::sync::Arc;

use headwater::error::{Error, Result};
use headwater::storage::{MemoryStorage, Storage};
use headwater::time::Epoch;
use headwater::wal::{EpochLog, LogLimits, LogReader, RecordKind, Recovery};

pub(crate) use crate::body::{JOB, path, small};

pub(crate) fn open(storage: &MemoryStorage, limits: &LogLimits) -> Result<(EpochLog, Recovery)> {
    EpochLog::open(Arc::new(storage.clone()), JOB, limits.clone())
}

/// One thing that the owner of a log does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Appends to the open epoch, or to the one after it.
    Append {
        ahead: bool,
        bytes: usize,
    },
    Commit,
    Flush,
    Sync,
    /// Says that a sink delivered the last epoch.
    Deliver,
    /// Truncates, keeping so many epochs.
    Truncate {
        kept: u64,
    },
}

/// A record as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) epoch: u64,
    pub(crate) kind: RecordKind,
    pub(crate) owner: String,
    pub(crate) subtask: u32,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// In the order of writing, commits included, uncommitted ones too.
    pub(crate) rows: Vec<Row>,
    pub(crate) committed: u64,
    /// A commit that was asked for and not answered.
    pub(crate) attempted: Option<u64>,
    /// Readers begin after this epoch.
    pub(crate) truncated: u64,
    pub(crate) generation: u64,
    /// The last epoch that the sink said to have delivered, and the last that a commit made durable.
    delivered: (u64, u64),
    counter: u8,
}

impl Model {
    fn push(&mut self, epoch: u64, kind: RecordKind, owner: &str, payload: Vec<u8>) {
        let row = Row { epoch, kind, owner: owner.to_owned(), subtask: epoch as u32 % 3, payload };
        self.rows.push(Row { subtask: if owner.is_empty() { 0 } else { row.subtask }, ..row });
    }

    /// The run is over: what was not committed is gone. An unanswered commit is settled by what is there.
    pub(crate) fn settle(&mut self, recovery: &Recovery) {
        let found = recovery.committed().map_or(0, |committed| committed.epoch.0);
        if self.attempted == Some(found) {
            self.committed = found;
        }
        self.attempted = None;
        assert_eq!(found, self.committed, "the last committed epoch");
        let committed = self.committed;
        self.rows.retain(|row| row.epoch <= committed);
        let delivered = recovery.delivered("sink-a", 0).map_or(0, |epoch| epoch.0);
        let (most, least) = self.delivered;
        assert!(least <= delivered && delivered <= most, "delivered {delivered} of {least} to {most}");
        // A hint may be lost, and what was found in memory only may be lost with the next crash.
        self.delivered.0 = delivered;
        let payload = recovery.committed().map(|committed| committed.payload);
        let expected = self.rows.iter().rev().find(|row| row.kind == RecordKind::Commit);
        assert_eq!(payload, expected.map(|row| row.payload.clone()), "the payload of the last commit");
    }

    pub(crate) fn check(&self, recovery: &Recovery) -> Result<()> {
        for from in [self.truncated, self.committed.saturating_sub(1).max(self.truncated), self.committed] {
            let expected: Vec<Row> = self.rows.iter().filter(|row| row.epoch > from).cloned().collect();
            assert_eq!(rows(recovery, from)?, expected, "the records after epoch {from}");
        }
        Ok(())
    }
}

pub(crate) fn rows(recovery: &Recovery, from: u64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    recovery.read(Epoch(from), &mut |record| {
        let (owner, payload) = (record.owner.to_owned(), record.payload.to_vec());
        let (epoch, kind) = (record.epoch.0, record.kind);
        rows.push(Row { epoch, kind, owner, subtask: record.subtask, payload });
        Ok(())
    })?;
    Ok(rows)
}

/// Opens the log, compares it with the model, and plays the steps on both until one fails.
pub(crate) fn run(
    storage: &MemoryStorage,
    limits: &LogLimits,
    model: &mut Model,
    steps: &[Step],
) -> Result<()> {
    let (mut log, recovery) = open(storage, limits)?;
    assert!(recovery.generation() > model.generation, "a generation is never used twice");
    model.generation = recovery.generation();
    model.settle(&recovery);
    model.check(&recovery)?;
    steps.iter().try_for_each(|step| play(&mut log, model, *step))
}

pub(crate) fn play(log: &mut EpochLog, model: &mut Model, step: Step) -> Result<()> {
    let open = model.committed + 1;
    match step {
        Step::Append { ahead, bytes } => {
            model.counter = model.counter.wrapping_add(1);
            let epoch = open + u64::from(ahead);
            let payload = vec![model.counter; bytes];
            let kind = if bytes % 2 == 0 { RecordKind::Staged } else { RecordKind::StateDelta };
            log.append(Epoch(epoch), kind, "sink-a", epoch as u32 % 3, &payload)?;
            model.push(epoch, kind, "sink-a", payload);
        }
        Step::Commit => {
            let payload = open.to_le_bytes().to_vec();
            model.attempted = Some(open);
            model.push(open, RecordKind::Commit, "", payload.clone());
            if let Err(error) = log.commit(Epoch(open), &payload) {
                if matches!(error, Error::DiskFull { .. }) {
                    model.rows.pop();
                    model.attempted = None;
                }
                return Err(error);
            }
            (model.committed, model.attempted) = (open, None);
            model.delivered.1 = model.delivered.0;
        }
        Step::Flush => log.flush()?,
        Step::Sync => log.sync()?,
        Step::Deliver if model.committed > 0 => {
            model.delivered.0 = model.committed;
            log.append(Epoch(model.committed), RecordKind::Delivered, "sink-a", 0, &[])?;
        }
        Step::Deliver => {}
        Step::Truncate { kept } => {
            model.truncated = model.truncated.max(model.committed.saturating_sub(kept));
            log.truncate_before(Epoch(model.truncated))?;
        }
    }
    Ok(())
}

/// A run with everything in it: splits, rotations, epochs that overlap, truncation.
pub(crate) fn script() -> Vec<Step> {
    let append = |bytes| Step::Append { ahead: false, bytes };
    let ahead = |bytes| Step::Append { ahead: true, bytes };
    vec![
        append(10),
        append(300),
        ahead(21),
        Step::Commit,
        append(0),
        Step::Flush,
        Step::Deliver,
        ahead(200),
        Step::Commit,
        Step::Commit,
        append(64),
        append(250),
        Step::Sync,
        append(250),
        Step::Commit,
        Step::Truncate { kept: 1 },
        ahead(33),
        append(170),
        Step::Commit,
        append(90),
    ]
}

/// The storage after the run that wrote `script` ended by itself.
pub(crate) fn written() -> (MemoryStorage, Model) {
    let (storage, mut model) = (MemoryStorage::new(), Model::default());
    run(&storage, &small(), &mut model, &script()).unwrap();
    (storage, model)
}

pub(crate) fn reader(storage: &MemoryStorage) -> LogReader {
    LogReader::open(Arc::new(storage.clone())).unwrap()
}

pub(crate) fn segments(storage: &MemoryStorage) -> Vec<String> {
    let names = storage.list("wal").unwrap_or_default();
    names.iter().filter(|name| name.ends_with(".log")).map(|name| format!("wal/{name}")).collect()
}
