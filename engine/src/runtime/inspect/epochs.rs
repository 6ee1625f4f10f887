//! What each committed epoch holds: records by kind, staged output, positions, counts.

use std::collections::BTreeMap;

use super::Inspection;
use crate::batch::Value;
use crate::epoch::{decode_record, delivered};
use crate::error::Result;
use crate::runtime::job::CommitNote;
use crate::stage::Positions;
use crate::telemetry::Counts;
use crate::time::Epoch;
use crate::topology::Keeps;
use crate::wal::{Record, RecordKind};

/// Records of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindReport {
    /// What they are.
    pub kind: RecordKind,
    /// How many there are.
    pub records: u64,
    /// Bytes of what they say.
    pub bytes: u64,
}

/// What a sink has to show for an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkReport {
    /// Name of the sink.
    pub sink: String,
    /// Bytes that the log keeps for it.
    pub staged_bytes: u64,
    /// The epoch up to which its output survives without the log, as far as the log knows: an epoch says it
    /// of those before it.
    pub delivered: u64,
}

/// Where a partition of a source stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionReport {
    /// Name of the source.
    pub source: String,
    /// Name of the partition.
    pub partition: String,
    /// It will never give another record.
    pub finished: bool,
    /// Records read, rejected ones included, since the beginning of the job.
    pub records: u64,
    /// The position; `None` when the partition is finished or was never opened, or when this program has no
    /// such source.
    pub position: Option<Value>,
    /// Bytes of the position.
    pub position_bytes: u64,
}

/// A committed epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpochReport {
    /// Its number.
    pub epoch: u64,
    /// The run that committed it: the first has 1.
    pub generation: u64,
    /// The input has ended, and everything is in this epoch.
    pub is_last: bool,
    /// Its records, by kind.
    pub kinds: Vec<KindReport>,
    /// Its staged output, by sink.
    pub sinks: Vec<SinkReport>,
    /// Where the sources stand, by name of source and partition.
    pub partitions: Vec<PartitionReport>,
    /// Counts of each node since the beginning of the job, by name.
    pub counts: Vec<(String, Counts)>,
}

impl EpochReport {
    /// Records of all kinds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.records).sum()
    }

    /// Bytes of all kinds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.bytes).sum()
    }
}

/// An epoch while its records are read.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) report: EpochReport,
    kinds: BTreeMap<RecordKind, (u64, u64)>,
    staged: BTreeMap<String, u64>,
    counts: BTreeMap<String, Counts>,
}

impl Inspection {
    /// The committed epochs that the log holds, ascending.
    ///
    /// # Errors
    /// The disk failed, or the log changed too much while it was read.
    pub fn epochs(&self) -> Result<Vec<EpochReport>> {
        let mut drafts = BTreeMap::<u64, Draft>::new();
        // By sink and subtask: the newest that is said.
        let mut known = BTreeMap::<(String, u32), u64>::new();
        self.log.committed_records(self.log.complete_from(), &mut |generation, record| {
            if record.kind == RecordKind::Staged {
                let newest = known.entry((record.owner.to_owned(), record.subtask)).or_default();
                *newest = delivered(record.payload).max(*newest);
            }
            self.add(drafts.entry(record.epoch.0).or_default(), generation, record);
            Ok(())
        })?;
        let delivered = |sink: &str| {
            let subtasks = known.iter().filter(|((owner, _), _)| owner == sink);
            subtasks.map(|(_, epoch)| *epoch).min().unwrap_or_default()
        };
        Ok(drafts.into_values().map(|draft| draft.finish(delivered)).collect())
    }

    /// One committed epoch; `None` when the log does not hold it, or not any more.
    ///
    /// # Errors
    /// As [`epochs`](Self::epochs).
    pub fn epoch(&self, epoch: Epoch) -> Result<Option<EpochReport>> {
        Ok(self.epochs()?.into_iter().find(|report| report.epoch == epoch.0))
    }

    pub(super) fn add(&self, draft: &mut Draft, generation: u64, record: Record<'_>) {
        let (records, bytes) = draft.kinds.entry(record.kind).or_default();
        *records += 1;
        *bytes += record.payload.len() as u64;
        let owner = record.owner.to_owned();
        match record.kind {
            RecordKind::Commit => {
                draft.report.epoch = record.epoch.0;
                draft.report.generation = generation;
                let note = decode_record::<CommitNote>("the job", record.payload);
                draft.report.is_last = note.is_ok_and(|note| note.finished);
            }
            RecordKind::Staged => {
                // In front of the bytes stands what is delivered.
                *draft.staged.entry(owner).or_default() += record.payload.len().saturating_sub(8) as u64;
            }
            RecordKind::Counts => {
                // Counts are no part of a result: those that cannot be read are left out.
                if let Ok(counts) = decode_record::<Counts>(record.owner, record.payload) {
                    let all = draft.counts.entry(owner).or_default();
                    *all = *all + counts;
                }
            }
            RecordKind::Positions => {
                if let Ok(positions) = decode_record::<Positions>(record.owner, record.payload) {
                    let found = positions.partitions.into_iter().map(|partition| PartitionReport {
                        source: record.owner.to_owned(),
                        finished: partition.finished,
                        records: partition.records,
                        position: self.position(record.owner, &partition.position),
                        position_bytes: partition.position.len() as u64,
                        partition: partition.partition,
                    });
                    draft.report.partitions.extend(found);
                }
            }
            _ => {}
        }
    }

    fn position(&self, source: &str, bytes: &[u8]) -> Option<Value> {
        match self.keeps(source) {
            Some(Keeps::Positions(read)) if !bytes.is_empty() => read(source, bytes).ok(),
            _ => None,
        }
    }
}

impl Draft {
    pub(super) fn finish(self, delivered: impl Fn(&str) -> u64) -> EpochReport {
        let Draft { mut report, kinds, staged, counts } = self;
        let kinds = kinds.into_iter();
        report.kinds = kinds.map(|(kind, (records, bytes))| KindReport { kind, records, bytes }).collect();
        let sinks = staged.into_iter().map(|(sink, staged_bytes)| {
            let delivered = delivered(&sink);
            SinkReport { sink, staged_bytes, delivered }
        });
        report.sinks = sinks.collect();
        report.partitions.sort_by(|a, b| (&a.source, &a.partition).cmp(&(&b.source, &b.partition)));
        report.counts = counts.into_iter().collect();
        report
    }
}
