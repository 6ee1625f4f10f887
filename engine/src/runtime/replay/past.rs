//! What snapshots and the log of a job have of the epochs that are to be replayed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::capsule;
use super::said::Said;
use crate::batch::KeyGroup;
use crate::epoch::{EntryKind, decode_record};
use crate::error::{Error, Result};
use crate::runtime::inspect::Inspection;
use crate::runtime::job::{
    CommitNote, Manifest, NodeNote, Snapshots, entry_kind, job_id, manifest_of, read_manifest, write_manifest,
};
use crate::time::Epoch;
use crate::topology::{NodeKind, Topology};
use crate::wal::{LogReader, RecordKind};

/// The epochs of a replay.
pub(super) struct Past {
    /// The job, or the capsule.
    inspection: Inspection,
    /// The input that a capsule has.
    packed: Option<LogReader>,
    /// The epoch behind which it begins; 0 is the beginning.
    pub(super) base: Epoch,
    pub(super) from: Epoch,
    pub(super) to: Epoch,
    pub(super) key_groups: KeyGroup,
    /// What each epoch behind the base says.
    pub(super) epochs: BTreeMap<u64, Said>,
    /// Names of sources and sinks.
    ends: Vec<String>,
    /// What is not as it was when the capsule was made, if it is one.
    pub(super) notes: Vec<String>,
    at_base: Base,
}

/// Where the replay begins.
enum Base {
    /// At the beginning of the job.
    Beginning,
    /// With a snapshot, in this folder.
    Snapshot(PathBuf, Box<Said>),
    /// With an epoch of the log: there is no keyed state.
    Epoch(Box<Manifest>, Box<Said>),
}

impl Past {
    /// Looks for what is needed.
    ///
    /// # Errors
    /// There is no job, it has no such epochs any more, or cannot be read.
    pub(super) fn open(
        topology: &Topology,
        directory: &Path,
        from: Option<u64>,
        to: Option<u64>,
    ) -> Result<Past> {
        let inspection = Inspection::open(topology, directory)?;
        let log = inspection.log();
        let Some(last) = log.last_commit() else {
            let place = directory.display();
            return Err(Error::failed(format!("the job in `{place}` has not committed an epoch yet")));
        };
        let note: CommitNote = decode_record("the job", &last.payload)?;
        let (packed, capsule) = capsule::open(directory)?.unzip();
        let from = from.or(capsule.as_ref().map(|capsule| capsule.from));
        let to = to.or(capsule.as_ref().map(|capsule| capsule.to));
        let to = to.map_or(last.epoch, Epoch);
        if to > last.epoch {
            return Err(Error::Config(format!(
                "epoch {to} is not committed: the last one is epoch {}",
                last.epoch
            )));
        }
        let has_state = topology.graph.stateful() > 0;
        let floor = log.complete_from();
        let least = capsule.as_ref().map_or(floor, |capsule| floor.max(Epoch(capsule.base)));
        let (base, snapshot) = base(directory, (floor, least, last.epoch), from, has_state)?;
        let from = from.map_or(Epoch(base.0 + 1), Epoch);
        if from > to || from == Epoch(0) {
            return Err(Error::Config(format!(
                "there are no epochs from {from} to {to}: epochs count from 1"
            )));
        }
        let is_end = |kind: &NodeKind| matches!(kind, NodeKind::Source { .. } | NodeKind::Sink { .. });
        let nodes = topology.graph.nodes.iter();
        let mut past = Past {
            inspection,
            packed,
            base,
            from,
            to,
            key_groups: note.key_groups,
            epochs: BTreeMap::new(),
            ends: nodes.filter(|node| is_end(&node.kind)).map(|node| node.name.clone()).collect(),
            notes: capsule.map_or(Vec::new(), |capsule| capsule.changes(topology)),
            at_base: Base::Beginning,
        };
        let job = job_id(topology);
        match snapshot {
            Some(place) => {
                let manifest = read_manifest(&place)?;
                let said = Box::new(said_of(&manifest)?);
                past.at_base = Base::Snapshot(place, said);
            }
            None if base > Epoch(0) => {
                let manifest = Manifest {
                    job,
                    epoch: base,
                    note,
                    has_store: false,
                    files: Vec::new(),
                    nodes: Vec::new(),
                };
                past.at_base = Base::Epoch(Box::new(manifest), Box::default());
            }
            None => {}
        }
        past.read(floor)?;
        Ok(past)
    }

    /// Reads what the epochs say; with an epoch of the log as the base, also what that says.
    fn read(&mut self, floor: Epoch) -> Result<()> {
        let behind = match self.at_base {
            Base::Epoch(..) => Epoch(self.base.0 - 1),
            _ => self.base,
        };
        self.inspection.log().committed_records(behind.max(floor), &mut |generation, record| {
            let epoch = record.epoch;
            if epoch > self.to {
                return Ok(());
            }
            if epoch > self.base {
                let said = self.epochs.entry(epoch.0).or_default();
                said.generation = generation;
                return said.add(record.kind, record.owner, record.subtask, record.payload);
            }
            let Base::Epoch(manifest, said) = &mut self.at_base else { return Ok(()) };
            said.add(record.kind, record.owner, record.subtask, record.payload)?;
            match record.kind {
                RecordKind::Commit => manifest.note = decode_record("the job", record.payload)?,
                kind if entry_kind(kind).is_some_and(|kind| kind != EntryKind::Staged) => {
                    manifest.nodes.push(NodeNote {
                        kind,
                        owner: record.owner.to_owned(),
                        subtask: record.subtask,
                        epoch: epoch.0,
                        payload: record.payload.to_vec(),
                    });
                }
                _ => {}
            }
            Ok(())
        })?;
        let mut before = self.said_at_base();
        for (epoch, said) in &self.epochs {
            if let Some(before) = before {
                said.check_partitions(*epoch, before)?;
            }
            before = Some(said);
        }
        Ok(())
    }

    /// What the epoch of the base says; nothing at the beginning of the job.
    pub(super) fn said_at_base(&self) -> Option<&Said> {
        match &self.at_base {
            Base::Beginning => None,
            Base::Snapshot(_, said) | Base::Epoch(_, said) => Some(said),
        }
    }

    /// What the epoch before this one says.
    pub(super) fn said_before(&self, epoch: u64) -> Option<&Said> {
        self.epochs.get(&(epoch - 1))
    }

    /// The log of the job.
    pub(super) fn log(&self) -> &LogReader {
        self.inspection.log()
    }

    /// The input that a capsule has; nothing for a job.
    pub(super) fn packed(&self) -> Option<&LogReader> {
        self.packed.as_ref()
    }

    /// True for a source or a sink.
    pub(super) fn is_end(&self, name: &str) -> bool {
        self.ends.iter().any(|end| end == name)
    }

    /// The folder of the snapshot that the replay begins with.
    pub(super) fn snapshot(&self) -> Option<&Path> {
        match &self.at_base {
            Base::Snapshot(place, _) => Some(place),
            _ => None,
        }
    }

    /// The snapshot, or what takes its place, made in `scratch`; nothing at the beginning of the job.
    pub(super) fn place_of_base(&self, scratch: &Path) -> Result<Option<PathBuf>> {
        match &self.at_base {
            Base::Beginning => Ok(None),
            Base::Snapshot(place, _) => Ok(Some(place.clone())),
            Base::Epoch(manifest, _) => {
                std::fs::create_dir_all(scratch).map_err(|error| Error::io(scratch, error))?;
                write_manifest(&manifest_of(scratch), manifest)?;
                Ok(Some(scratch.to_owned()))
            }
        }
    }

    /// Names of the partitions of each source.
    pub(super) fn partitions(&self) -> HashMap<String, Vec<String>> {
        self.epochs.values().next().map_or(HashMap::new(), Said::partitions)
    }

    /// Instances of each stage.
    pub(super) fn parallelism(&self) -> usize {
        self.epochs.values().next().map_or(1, |said| said.subtasks.max(1))
    }
}

/// The epoch to begin behind, the nearest before `from`, and its snapshot if that is needed: not before
/// `least`, which is not before the `floor` of the log.
fn base(
    directory: &Path,
    (floor, least, last): (Epoch, Epoch, Epoch),
    from: Option<u64>,
    has_state: bool,
) -> Result<(Epoch, Option<PathBuf>)> {
    let snapshots = Snapshots::new(directory, 0);
    // In front of the first epoch of a log that begins in the middle nothing says where sources stood.
    let mut bases = vec![(floor, None)];
    if floor > Epoch(0) {
        bases.clear();
    }
    if has_state {
        for epoch in snapshots.epochs()? {
            bases.push((epoch, Some(snapshots.snapshot(epoch))));
        }
    } else {
        bases.extend((floor.0 + 1..last.0).map(|epoch| (Epoch(epoch), None)));
    }
    bases.retain(|(epoch, _)| *epoch >= least && *epoch < last);
    let first = bases.first().map(|(epoch, _)| epoch.0 + 1);
    let fits = |epoch: &Epoch| from.is_none_or(|from| epoch.0 < from);
    let found = match from {
        // Everything that there is.
        None => bases.into_iter().next(),
        Some(_) => bases.into_iter().rfind(|(epoch, _)| fits(epoch)),
    };
    found.ok_or_else(|| {
        let place = directory.display();
        Error::failed(match first {
            Some(first) => format!(
                "`{place}` has nothing from before epoch {} to begin with: the first epoch that can be \
                 replayed is {first}",
                from.unwrap_or_default()
            ),
            None if !has_state => format!(
                "the log in `{place}` has the last epoch only: a job without keyed state has no snapshots, and \
                 keeps no more than it needs to go on"
            ),
            None => format!(
                "`{place}` has no snapshot that the log goes on behind: a replay needs one (--snapshot-ms, \
                 --snapshots), or the whole log"
            ),
        })
    })
}

fn said_of(manifest: &Manifest) -> Result<Said> {
    let mut said = Said::default();
    said.wall_ms = manifest.note.wall_ms;
    for node in manifest.nodes.iter().filter(|node| node.epoch == manifest.epoch.0) {
        said.add(node.kind, &node.owner, node.subtask, &node.payload)?;
    }
    Ok(said)
}
