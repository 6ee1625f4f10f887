//! The directory of a durable job: what an earlier run left in it, and how epochs get into it.
//!
//! 1. `log_thread`: the thread that makes epochs durable
//! 2. `durable_log`: what it does for an epoch
//! 3. `store_thread`: the state store, which follows the epochs in its own time
//! 4. `snapshots`, `manifest`: copies of the store with what their epoch says
//! 5. `copies`: how they are made while the job runs
//! 6. `restore`: how a damaged store goes back to one
//! 7. `savepoint`: those that are asked for, and jobs that begin with one
//! 8. `schemas`: which state a program can read
//!
//! Recovery, each step of which may be cut short and done again: take the lock and begin a generation of
//! the log (`wal/`); find the last committed epoch; bring the state store up to it; give every node what
//! that epoch says about it, and every sink the output that it may not have shown.

mod copies;
mod durable_log;
mod log_thread;
mod manifest;
mod restore;
mod savepoint;
mod schemas;
mod snapshots;
mod store_thread;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

pub(crate) use self::durable_log::DurableLog;
pub(crate) use self::log_thread::{Durable, LogThread};
#[doc(hidden)]
pub use self::manifest::reread_manifest;
pub(crate) use self::manifest::{Manifest, NodeNote};
use self::restore::Found;
use self::savepoint::Seed;
pub use self::savepoint::create_savepoint;
pub(crate) use self::schemas::{StateSchema, schemas_of, unreadable};
pub(crate) use self::snapshots::{
    Snapshots, copy_snapshot, manifest_of, read_manifest, remove, rename, sync_folder, unfinished, verify,
    write_manifest,
};
pub(crate) use self::store_thread::{StoreHome, StoreThread};
use super::assembly::Beginning;
use super::replay::is_capsule;
use crate::batch::{KeyGroup, hash_bytes};
use crate::config::EngineConfig;
use crate::epoch::{EntryKind, Restored, decode_record, delivered};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::storage::{DirectoryStorage, Storage};
use crate::time::Epoch;
use crate::topology::Topology;
use crate::wal::{
    EpochLog, JobId, LOCK_PATH, LOG_DIRECTORY, LogLimits, LogReader, Lsn, Record as LogRecord, RecordKind,
    Recovery,
};

/// What the commit of an epoch says about the job.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(crate) struct CommitNote {
    pub(crate) topology: String,
    pub(crate) key_groups: KeyGroup,
    /// The input has ended, and everything is in this epoch.
    pub(crate) finished: bool,
    /// When all instances had passed the epoch, in milliseconds since 1970.
    pub(crate) wall_ms: i64,
    /// The schemas that state in the directory may have.
    pub(crate) schemas: Vec<StateSchema>,
}

/// A job whose epochs survive: where it begins, and what makes its epochs durable.
pub(crate) struct Job {
    pub(crate) beginning: Beginning,
    pub(crate) log: DurableLog,
}

pub(super) fn kind_of(kind: EntryKind) -> RecordKind {
    match kind {
        EntryKind::Positions => RecordKind::Positions,
        EntryKind::Operator => RecordKind::Operator,
        EntryKind::StateDelta | EntryKind::StoreChanges => RecordKind::StateDelta,
        EntryKind::Staged => RecordKind::Staged,
        EntryKind::Counts => RecordKind::Counts,
        EntryKind::Input => RecordKind::Input,
        EntryKind::Decision => RecordKind::Decision,
    }
}

pub(super) fn entry_kind(kind: RecordKind) -> Option<EntryKind> {
    Some(match kind {
        RecordKind::Positions => EntryKind::Positions,
        RecordKind::Operator => EntryKind::Operator,
        RecordKind::StateDelta => EntryKind::StateDelta,
        RecordKind::Staged => EntryKind::Staged,
        RecordKind::Counts => EntryKind::Counts,
        RecordKind::Input => EntryKind::Input,
        RecordKind::Decision => EntryKind::Decision,
        _ => return None,
    })
}

/// The job that a topology is, by its name.
pub(super) fn job_id(topology: &Topology) -> JobId {
    JobId(u128::from(hash_bytes(topology.name().as_bytes())))
}

/// Opens the log of a topology; that of another one is refused by name.
fn open_log(
    topology: &Topology,
    storage: Arc<dyn Storage>,
    limits: LogLimits,
) -> Result<(EpochLog, Recovery)> {
    EpochLog::open(Arc::clone(&storage), job_id(topology), limits).map_err(|error| {
        let place = storage.place("");
        // What cannot be looked at has its error already.
        let log = LogReader::open(storage).ok();
        log.and_then(|log| check_owner(topology, &log, &place).err()).unwrap_or(error)
    })
}

/// Refuses a log that another topology wrote.
///
/// # Errors
/// It did.
pub(crate) fn check_owner(topology: &Topology, log: &LogReader, place: &Path) -> Result<()> {
    let Some(job) = log.job().filter(|job| *job != job_id(topology)) else { return Ok(()) };
    let note = log.last_commit().map(|commit| decode_record::<CommitNote>("the job", &commit.payload));
    let owner = match note {
        Some(Ok(note)) => format!("the topology `{}`", note.topology),
        _ => format!("job {job}"),
    };
    Err(Error::failed(format!(
        "`{}` was written by {owner}, and this program is `{}`: use the program that wrote it, or name another \
         directory",
        place.display(),
        topology.name()
    )))
}

impl Job {
    /// Opens the job in `directory`, or begins one.
    ///
    /// # Errors
    /// The directory is in use, damaged, of another topology, or cannot be read or written.
    pub(crate) fn open(topology: &Topology, config: &EngineConfig, directory: &Path) -> Result<Self> {
        refuse_capsule(directory)?;
        std::fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
        let storage: Arc<dyn Storage> = Arc::new(DirectoryStorage::new(directory));
        let store = StoreThread::of_directory(directory, config)?;
        let snapshots = Snapshots::new(directory, config.snapshots_kept);
        let limits = LogLimits { truncate_at: config.log_truncate_at.map(Lsn), ..LogLimits::default() };
        Job::open_in(topology, config, storage, limits, store, Some(snapshots))
    }

    /// Opens the job whose log is in `storage` and whose state store is behind `store`.
    ///
    /// # Errors
    /// As [`Job::open`].
    pub(crate) fn open_in(
        topology: &Topology,
        config: &EngineConfig,
        storage: Arc<dyn Storage>,
        mut limits: LogLimits,
        store: StoreThread,
        snapshots: Option<Snapshots>,
    ) -> Result<Self> {
        let id = job_id(topology);
        limits.segment_bytes = failpoint::limit("HEADWATER_SEGMENT_BYTES", limits.segment_bytes);
        let mut note = CommitNote::of(topology, config);
        let seed = config.start_from.as_ref().map(|place| Seed::read(place, id, &note));
        let seed = seed.transpose()?.map(|seed| if config.new_output { seed.without_output() } else { seed });
        if let Some(seed) = &seed {
            note.schemas = schemas::go_on(topology, &seed.manifest.note.schemas)?;
        }
        limits.begin = seed.as_ref().map(Seed::begin);
        let (mut log, recovery) = open_log(topology, storage, limits)?;
        failpoint::pass("recover.log");
        let mut beginning = Beginning { is_durable: true, ..Beginning::default() };
        let has_state = topology.graph.stateful() > 0;
        let place = config.state_dir.as_deref().unwrap_or(Path::new(""));
        if let Some(snapshots) = &snapshots {
            snapshots.tidy()?;
        }
        match (last_commit(&recovery)?, seed) {
            (Some((last, _)), Some(_)) => return Err(savepoint::has_job(place, last)),
            (None, Some(seed)) => {
                let snapshots =
                    snapshots.as_ref().ok_or_else(|| Error::failed("no place for a savepoint"))?;
                check_nodes(topology, &seed.manifest.restored())?;
                // Another start may have got so far; from the same savepoint it is done again.
                if ![Epoch(0), seed.manifest.epoch].contains(&recovery.complete_from()) {
                    return Err(savepoint::cut_short(place));
                }
                store.clear()?;
                snapshots.clear()?;
                seed.plant(&mut log, &store, snapshots, has_state)?;
                store.found(seed.manifest.epoch);
                beginning.begin(seed.manifest.epoch, &seed.manifest.note, seed.manifest.restored());
            }
            (None, None) if recovery.complete_from() > Epoch(0) => return Err(savepoint::cut_short(place)),
            (None, None) => {
                snapshots.as_ref().map_or(Ok(()), Snapshots::clear)?;
                store.clear()?;
            }
            (Some((last, before)), None) => {
                note.check(&before)?;
                note.schemas = schemas::go_on(topology, &before.schemas)?;
                beginning.begin(last, &before, nodes(&recovery, last)?);
                check_nodes(topology, &beginning.nodes)?;
                failpoint::pass("recover.nodes");
                // Without keyed state there is no store, and the log may begin anywhere.
                if has_state {
                    let gives_up = config.log_truncate_at.is_some();
                    let (job, recovery, store) = (id, &recovery, &store);
                    beginning.restored = match &snapshots {
                        Some(snapshots) => {
                            Found { job, recovery, store, snapshots, last, gives_up }.bring_up()?
                        }
                        None => replay(recovery, store, last).map(|()| None)?,
                    };
                }
                failpoint::pass("recover.store");
            }
        }
        beginning.store = has_state.then(|| store.home());
        let log = DurableLog::new(log, store, snapshots, note, has_state)?;
        Ok(Job { beginning, log })
    }
}

/// The last committed epoch and its note; nothing when a start from a savepoint was cut short.
fn last_commit(recovery: &Recovery) -> Result<Option<(Epoch, CommitNote)>> {
    let Some(committed) = recovery.committed() else { return Ok(None) };
    let note: CommitNote = decode_record("the job", &committed.payload)?;
    Ok((note != CommitNote::of_seed()).then_some((committed.epoch, note)))
}

impl Beginning {
    /// Goes on behind this epoch.
    fn begin(&mut self, epoch: Epoch, note: &CommitNote, nodes: HashMap<String, Arc<Restored>>) {
        self.epoch = epoch;
        self.had_ended = note.finished;
        self.nodes = nodes;
    }
}

/// Forgets what a job left in `directory`: the next run begins at the beginning.
///
/// # Errors
/// The directory is in use or not accessible.
pub fn discard(directory: impl AsRef<Path>) -> Result<()> {
    let directory = directory.as_ref();
    refuse_capsule(directory)?;
    let storage = DirectoryStorage::new(directory);
    let failed = |error| Error::io(directory, error);
    if !storage.exists(LOG_DIRECTORY).map_err(failed)? {
        return Ok(());
    }
    let Some(_lock) = storage.try_lock(LOCK_PATH).map_err(failed)? else {
        return Err(Error::failed(format!(
            "{}: is in use by another run; stop that run",
            directory.display()
        )));
    };
    // The log last: state without its log is cleared by the next run, a log without its state is not. Before
    // the state its snapshots: the state would be taken for lost.
    let snapshots = Snapshots::new(directory, 0);
    snapshots.clear()?;
    snapshots.tidy()?;
    restore::clear_aside(directory)?;
    StoreThread::of_directory(directory, &EngineConfig::default())?.clear()?;
    for name in storage.list(LOG_DIRECTORY).map_err(failed)? {
        let path = format!("{LOG_DIRECTORY}/{name}");
        if path != LOCK_PATH {
            storage.remove(&path).map_err(failed)?;
        }
    }
    storage.sync_directory(LOG_DIRECTORY).map_err(failed)
}

impl CommitNote {
    fn of(topology: &Topology, config: &EngineConfig) -> Self {
        CommitNote {
            topology: topology.name().to_owned(),
            key_groups: config.key_groups,
            finished: false,
            wall_ms: 0,
            schemas: schemas_of(topology),
        }
    }

    /// That of an epoch of which only staged output is known, in front of the epoch of a savepoint.
    fn of_seed() -> Self {
        CommitNote {
            topology: String::new(),
            key_groups: 0,
            finished: false,
            wall_ms: 0,
            schemas: Vec::new(),
        }
    }

    /// Whether a run with this note may go on behind `before`.
    fn check(&self, before: &CommitNote) -> Result<()> {
        if before.key_groups != self.key_groups {
            return Err(Error::Config(format!(
                "`key_groups` is {}, and the state was written with {}: the number is fixed for the life of \
                 a state directory",
                self.key_groups, before.key_groups
            )));
        }
        Ok(())
    }
}

/// What the last epoch says about each node, and the staged output of those before that sinks still need.
fn nodes(recovery: &Recovery, last: Epoch) -> Result<HashMap<String, Arc<Restored>>> {
    let mut nodes = HashMap::<String, Restored>::new();
    let mut shown = HashMap::<(String, u32), u64>::new();
    let mut needed = last.0.saturating_sub(1);
    // A job that began with a savepoint has the epoch of it without the state: not everything.
    recovery.read_held(Epoch(needed), &mut |record| {
        let Some(kind) = entry_kind(record.kind) else { return Ok(()) };
        let node = nodes.entry(record.owner.to_owned()).or_default();
        node.epoch = last.0;
        node.subtasks = node.subtasks.max(record.subtask as usize + 1);
        match kind {
            EntryKind::Staged => {
                let delivered = delivered(record.payload);
                needed = needed.min(delivered);
                shown.insert((record.owner.to_owned(), record.subtask), delivered);
                keep_staged(node, &record);
            }
            kind if kind.is_for_next_run() => {
                drop(node.entries.insert((kind, record.subtask), record.payload.to_vec()));
            }
            _ => {}
        }
        Ok(())
    })?;
    if needed + 1 < last.0 && !failpoint::bug("older-output-forgotten") {
        recovery.read_held(Epoch(needed), &mut |record| {
            if record.kind != RecordKind::Staged {
                return Ok(());
            }
            let owner = (record.owner.to_owned(), record.subtask);
            // Output of a subtask that is no more is on its way with another, nobody knows with which.
            let least = || shown.iter().filter(|((of, _), _)| *of == owner.0).map(|(_, shown)| *shown).min();
            let shown = shown.get(&owner).copied().or_else(least);
            if shown.is_some_and(|shown| record.epoch.0 > shown) {
                keep_staged(nodes.entry(owner.0).or_default(), &record);
            }
            Ok(())
        })?;
    }
    Ok(nodes.into_iter().map(|(name, node)| (name, Arc::new(node))).collect())
}

fn keep_staged(node: &mut Restored, record: &LogRecord<'_>) {
    node.staged.insert((record.subtask, record.epoch.0), record.payload.to_vec());
}

/// A node that had something must still be there: what it had would be lost in silence.
fn check_nodes(topology: &Topology, nodes: &HashMap<String, Arc<Restored>>) -> Result<()> {
    let known: BTreeSet<&str> = topology.graph.nodes.iter().map(|node| node.name.as_str()).collect();
    let had_something = |node: &Restored| {
        !node.staged.is_empty() || node.entries.keys().any(|(kind, _)| *kind != EntryKind::Counts)
    };
    let mut missing: Vec<_> = nodes
        .iter()
        .filter(|(name, node)| !known.contains(name.as_str()) && had_something(node))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    missing.sort_unstable();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the state directory was written by another version of the topology `{}`, which had {}: give the \
         nodes their former names back, or start over with --no-resume",
        topology.name(),
        missing.join(", ")
    )))
}

fn refuse_capsule(directory: &Path) -> Result<()> {
    if !is_capsule(directory) {
        return Ok(());
    }
    Err(Error::failed(format!(
        "`{}` is a capsule, and no run goes on in one: `wal replay` runs its epochs again",
        directory.display()
    )))
}

#[cold]
pub(super) fn log_is_behind(applied: Epoch, last: Epoch) -> Error {
    Error::failed(format!(
        "the state store is at epoch {applied}, and the log ends at epoch {last}: the log has lost committed \
         epochs; restore a snapshot, or start over with --no-resume"
    ))
}

/// Brings the store up to the last committed epoch.
fn replay(recovery: &Recovery, store: &StoreThread, last: Epoch) -> Result<()> {
    let applied = store.applied()?;
    if applied > last {
        return Err(log_is_behind(applied, last));
    }
    let floor = recovery.complete_from();
    if applied < floor {
        return Err(Error::StateDamaged {
            path: "state".into(),
            reason: format!("it is at epoch {applied}, and the log begins behind epoch {floor}"),
        });
    }
    store.found(applied);
    if applied == last {
        return Ok(());
    }
    let applied = if failpoint::bug("not-replayed") { last } else { applied };
    let mut replay = store.replay(last);
    recovery.read(applied, &mut |record| match record.kind {
        RecordKind::StateDelta => replay.push(record.owner, record.payload),
        _ => Ok(()),
    })?;
    replay.finish()
}
