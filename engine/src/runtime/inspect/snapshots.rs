//! The snapshots and savepoints of a job: what they are of, and what their epoch says.

use std::path::PathBuf;

use super::Inspection;
use super::epochs::{Draft, EpochReport};
use crate::epoch::delivered;
use crate::error::Result;
use crate::runtime::job::{Manifest, Snapshots, read_manifest};
use crate::time::Epoch;
use crate::wal::{Lsn, Record, RecordKind};

/// A snapshot or a savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The name of a savepoint; a snapshot has none.
    pub savepoint: Option<String>,
    /// Its epoch.
    pub epoch: u64,
    /// The input had ended.
    pub is_last: bool,
    /// Files of its store.
    pub files: u64,
    /// Their bytes; the live store shares most of them.
    pub bytes: u64,
    /// Its folder.
    pub path: PathBuf,
    /// What is wrong with its manifest. The files are only read by [`Inspection::verify`].
    pub problem: Option<String>,
}

impl SnapshotReport {
    pub(super) fn way_out(&self) -> &'static str {
        match self.savepoint {
            None => {
                "a damaged store would go back to an older snapshot; remove this one, the next run makes another"
            }
            Some(_) => "no job can begin with this savepoint; remove it, and create another",
        }
    }
}

impl Inspection {
    /// The snapshots, ascending by epoch, then the savepoints by name.
    ///
    /// # Errors
    /// The disk failed.
    pub fn snapshots(&self) -> Result<Vec<SnapshotReport>> {
        let all = Snapshots::new(&self.directory, 0);
        let mut reports = Vec::new();
        for epoch in all.epochs()? {
            reports.push(report(None, all.snapshot(epoch), epoch));
        }
        for name in all.savepoints()? {
            let path = all.savepoint(&name);
            reports.push(report(Some(name), path, Epoch(0)));
        }
        Ok(reports)
    }

    /// What the epoch of a snapshot or savepoint says; `None` when there is none of that name: that of a
    /// savepoint, or the epoch of a snapshot.
    ///
    /// # Errors
    /// The disk failed, or the manifest is damaged.
    pub fn snapshot(&self, name: &str) -> Result<Option<(SnapshotReport, EpochReport)>> {
        let is_named = |report: &SnapshotReport| match &report.savepoint {
            Some(savepoint) => savepoint == name,
            None => report.epoch.to_string() == name,
        };
        let Some(report) = self.snapshots()?.into_iter().find(is_named) else { return Ok(None) };
        let epoch = self.epoch_of(&read_manifest(&report.path)?);
        Ok(Some((report, epoch)))
    }

    fn epoch_of(&self, manifest: &Manifest) -> EpochReport {
        let mut draft = Draft::default();
        for node in manifest.nodes.iter().filter(|node| node.epoch == manifest.epoch.0) {
            let record = Record {
                lsn: Lsn(0),
                epoch: manifest.epoch,
                kind: node.kind,
                owner: &node.owner,
                subtask: node.subtask,
                payload: &node.payload,
            };
            self.add(&mut draft, 0, record);
        }
        draft.report.epoch = manifest.epoch.0;
        draft.report.is_last = manifest.note.finished;
        let staged = manifest.nodes.iter().filter(|node| node.kind == RecordKind::Staged);
        let staged: Vec<_> = staged.map(|node| (&node.owner, delivered(&node.payload))).collect();
        draft.finish(|sink| {
            let of_sink = staged.iter().filter(|(owner, _)| owner.as_str() == sink);
            of_sink.map(|(_, epoch)| *epoch).max().unwrap_or_default()
        })
    }
}

fn report(savepoint: Option<String>, path: PathBuf, Epoch(epoch): Epoch) -> SnapshotReport {
    let (files, bytes) = (0, 0);
    let unread = SnapshotReport { savepoint, epoch, is_last: false, files, bytes, path, problem: None };
    match read_manifest(&unread.path) {
        Ok(manifest) => SnapshotReport {
            epoch: manifest.epoch.0,
            is_last: manifest.note.finished,
            files: manifest.files.len() as u64,
            bytes: manifest.bytes(),
            ..unread
        },
        Err(error) => SnapshotReport { problem: Some(error.to_string()), ..unread },
    }
}
