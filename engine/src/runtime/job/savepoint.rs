//! Savepoints: asking a job for one, and beginning a job with one.
//!
//! A run that is asked finds `DIR/savepoints/.request` at a commit. It answers with the savepoint, or with
//! the reason in `DIR/savepoints/.refused`; either way the request is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::copies::shown;
use super::manifest::{Manifest, NodeNote};
use super::snapshots::{
    Purpose, Snapshots, check_name, copy_snapshot, copy_store, explain, manifest_of, remove, rename,
    store_of, unfinished, verify,
};
use super::{CommitNote, Job, StoreThread, job_id};
use crate::config::EngineConfig;
use crate::epoch::{decode_record, encode_record};
use crate::error::{Error, Result, guard};
use crate::failpoint;
use crate::runtime::inspect::Inspection;
use crate::storage::{DirectoryStorage, Storage};
use crate::time::Epoch;
use crate::topology::Topology;
use crate::wal::{EpochLog, JobId, LOCK_PATH, LogBegin, RecordKind};

/// How often a request is looked at.
const LOOK_MS: u64 = 20;

/// The requests for savepoints in the directory of a job.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    folder: PathBuf,
}

impl Requests {
    pub(crate) fn new(directory: &Path) -> Self {
        Requests { folder: directory.join("savepoints") }
    }

    fn request(&self) -> PathBuf {
        self.folder.join(".request")
    }

    fn refusal(&self) -> PathBuf {
        self.folder.join(".refused")
    }

    /// The name that is asked for.
    pub(crate) fn pending(&self) -> Option<String> {
        let name = fs::read_to_string(self.request()).ok()?;
        match check_name(&name) {
            Ok(()) => Some(name),
            Err(error) => {
                self.refuse(&name, &error.to_string());
                None
            }
        }
    }

    /// The savepoint is there.
    pub(crate) fn done(&self) {
        self.answered(remove(&self.request()));
    }

    /// There will be none, for this reason.
    pub(crate) fn refuse(&self, name: &str, reason: &str) {
        let refusal = self.refusal();
        let said = fs::write(&refusal, format!("{name}\n{reason}"));
        self.answered(said.map_err(|error| explain(&refusal, error)).and_then(|()| remove(&self.request())));
    }

    /// The run ends, and whoever waits need not wait on.
    pub(crate) fn refuse_pending(&self) {
        if let Some(name) = self.pending() {
            self.refuse(&name, "the run has ended before it could: run the same command again");
        }
    }

    fn answered(&self, answered: Result<()>) {
        if let Err(error) = answered {
            tracing::warn!(%error, "a request for a savepoint cannot be answered");
        }
    }

    /// Asks the run that is going on for a savepoint, and waits for it.
    fn ask(&self, name: &str, limit: Duration) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|error| explain(&self.folder, error))?;
        let (request, refusal) = (self.request(), self.refusal());
        if request.exists() {
            return Err(Error::failed(format!(
                "somebody else is asking for a savepoint; if nobody is, remove `{}`",
                request.display()
            )));
        }
        remove(&refusal)?;
        let draft = unfinished(&request);
        fs::write(&draft, name).map_err(|error| explain(&draft, error))?;
        rename(&draft, &request)?;
        let looks = limit.as_millis() as u64 / LOOK_MS;
        for _ in 0..looks {
            if !request.exists() {
                return match fs::read_to_string(&refusal) {
                    Ok(said) if said.lines().next() == Some(name) => {
                        let reason = said.lines().skip(1).collect::<Vec<_>>().join(" ");
                        Err(Error::failed(format!("the run could not make the savepoint `{name}`: {reason}")))
                    }
                    _ => Ok(()),
                };
            }
            pause();
        }
        remove(&request)?;
        Err(Error::failed(format!(
            "the run has not made the savepoint `{name}` within {limit:?}: see whether it commits epochs with \
             `checkpoints list`, or stop it and run the same command again"
        )))
    }
}

/// Waits for a file that another process makes: nothing can wake this one.
fn pause() {
    let never = Mutex::new(());
    let waiting = guard(&never);
    let _ = Condvar::new().wait_timeout(waiting, Duration::from_millis(LOOK_MS));
}

/// Makes a savepoint of the job in `directory`: its state, the positions of its sources and what its sinks
/// have not shown, all as of one epoch. A job that is running is asked for it, and `limit` is how long it may
/// take; of a job that is not, this takes the place of a run. Returns the folder of the savepoint.
///
/// ```
/// use std::time::Duration;
/// use headwater::prelude::*;
/// use headwater::runtime::create_savepoint;
/// use headwater_connectors::{Collect, MemorySource};
///
/// # if !cfg!(feature = "rocksdb") {
/// #     return Ok(());
/// # }
/// # let place = std::env::temp_dir().join(format!("headwater-doc-savepoint-{}", std::process::id()));
/// let topology = || {
///     let flow = StreamBuilder::new("job");
///     let words = MemorySource::from(vec!["a".to_owned(), "b".to_owned()]);
///     flow.source("words", words).key_by_value().count().sink("out", Collect::new());
///     flow.build()
/// };
/// topology()?.run(EngineConfig::default().state_dir(place.join("one")))?;
/// let savepoint = create_savepoint(&topology()?, place.join("one"), Some("before"), Duration::from_secs(60))?;
///
/// let config = EngineConfig::default().state_dir(place.join("two")).start_from(savepoint);
/// assert!(topology()?.run(config)?.had_ended);
/// # std::fs::remove_dir_all(&place)?;
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
/// There is no job, it is another topology's, there is a savepoint of this name, the run did not answer, or
/// the disk is full or failing.
pub fn create_savepoint(
    topology: &Topology,
    directory: impl AsRef<Path>,
    name: Option<&str>,
    limit: Duration,
) -> Result<PathBuf> {
    let directory = directory.as_ref();
    let last = Inspection::open(topology, directory)?.log().last_commit();
    let snapshots = Snapshots::new(directory, usize::MAX);
    let name = match name {
        Some(name) => name.to_owned(),
        None => free_name(&snapshots),
    };
    check_name(&name)?;
    let target = snapshots.savepoint(&name);
    if target.exists() {
        return Err(Error::failed(format!("`{}` is there already: choose another name", target.display())));
    }
    let lock = DirectoryStorage::new(directory).try_lock(LOCK_PATH);
    match lock.map_err(|error| Error::io(directory, error))? {
        None => Requests::new(directory).ask(&name, limit)?,
        Some(lock) => {
            drop(lock);
            let last = last.ok_or_else(|| {
                let place = directory.display();
                Error::failed(format!("the job in `{place}` has not committed an epoch yet: run it first"))
            })?;
            let note: CommitNote = decode_record("the job", &last.payload)?;
            let config = EngineConfig {
                key_groups: note.key_groups,
                // Those that there are stay.
                snapshots_kept: usize::MAX,
                ..EngineConfig::default()
            };
            of_stopped(topology, config, &snapshots, name)?;
        }
    }
    Ok(target)
}

fn free_name(snapshots: &Snapshots) -> String {
    let mut number = 1_u64;
    loop {
        let name = format!("savepoint-{number}");
        if !snapshots.savepoint(&name).exists() {
            return name;
        }
        number += 1;
    }
}

/// Opens the job as a run would, and makes the savepoint of its last epoch.
fn of_stopped(topology: &Topology, config: EngineConfig, snapshots: &Snapshots, name: String) -> Result<()> {
    let directory = snapshots.directory();
    let job = Job::open(topology, &config, directory)?;
    let epoch = job.beginning.epoch;
    let mut nodes = Vec::new();
    for (owner, restored) in &job.beginning.nodes {
        let note = |kind, subtask, epoch, payload: &Vec<u8>| NodeNote {
            kind,
            owner: owner.clone(),
            subtask,
            epoch,
            payload: payload.clone(),
        };
        let entries = restored.entries.iter();
        nodes.extend(
            entries.map(|((kind, subtask), payload)| note(super::kind_of(*kind), *subtask, epoch.0, payload)),
        );
        let staged = restored.staged.iter();
        nodes.extend(staged.map(|((subtask, of), payload)| note(RecordKind::Staged, *subtask, *of, payload)));
    }
    let note = CommitNote { finished: job.beginning.had_ended, ..job.log.note.clone() };
    let has_store = job.beginning.store.is_some();
    let manifest = Manifest { job: job_id(topology), epoch, note, has_store, files: Vec::new(), nodes };
    let purpose = Purpose::Savepoint(name);
    let place = snapshots.begin(&purpose, epoch)?;
    if let Some(home) = &job.beginning.store {
        home.copy_to(epoch, &store_of(&place))?;
    }
    snapshots.complete(&purpose, &place, manifest, &AtomicBool::new(false)).map(drop)
}

/// A savepoint that a job begins with.
#[derive(Debug)]
pub(super) struct Seed {
    place: PathBuf,
    pub(super) manifest: Manifest,
}

impl Seed {
    /// Reads the savepoint, every byte of it.
    ///
    /// # Errors
    /// There is none, it is damaged, or another topology's.
    pub(super) fn read(place: &Path, job: JobId, note: &CommitNote) -> Result<Self> {
        if !manifest_of(place).exists() {
            return Err(Error::failed(format!(
                "`{}` is no savepoint: name a folder that `savepoint create` has made",
                place.display()
            )));
        }
        let manifest = verify(place).map_err(|error| {
            Error::failed(format!("{error}: this savepoint cannot be used, take another one"))
        })?;
        if manifest.job != job {
            return Err(Error::failed(format!(
                "the savepoint `{}` is of the topology `{}`, and this program is `{}`: use the program that made \
                 it",
                place.display(),
                manifest.note.topology,
                note.topology
            )));
        }
        note.check(&manifest.note)?;
        Ok(Seed { place: place.to_owned(), manifest })
    }

    /// Sinks are to begin with nothing.
    pub(super) fn without_output(mut self) -> Self {
        self.manifest.nodes.retain(|node| node.kind != RecordKind::Staged);
        self
    }

    /// Where the log of the new job begins: it has the epoch of the savepoint, without the state.
    pub(super) fn begin(&self) -> LogBegin {
        LogBegin { committed: Epoch(shown(&self.manifest)), complete_from: self.manifest.epoch }
    }

    /// Puts everything into the directory of a job that has none. It counts with the last commit; until
    /// then all of it can be done again.
    pub(super) fn plant(
        &self,
        log: &mut EpochLog,
        store: &StoreThread,
        snapshots: &Snapshots,
        has_state: bool,
    ) -> Result<()> {
        let epoch = self.manifest.epoch;
        if self.manifest.has_store {
            // What a damaged store goes back to, until there is a snapshot of the job's own.
            let place = snapshots.begin(&Purpose::Snapshot, epoch)?;
            copy_snapshot(&self.place, &self.manifest, &place)?;
            rename(&place, &snapshots.snapshot(epoch))?;
            let state = store_of(snapshots.directory());
            let made = unfinished(&state);
            copy_store(&self.place, &self.manifest, &made)?;
            remove(&state)?;
            rename(&made, &state)?;
        } else if has_state {
            store.home().begin_at(epoch)?;
        }
        failpoint::pass("recover.seed.copied");
        for of in log.committed().0 + 1..=epoch.0 {
            let nodes: Vec<_> = self.manifest.nodes.iter().filter(|node| node.epoch == of).collect();
            if nodes.is_empty() && of < epoch.0 {
                continue;
            }
            for node in nodes {
                log.append(Epoch(of), node.kind, &node.owner, node.subtask, &node.payload)?;
            }
            let note = if of < epoch.0 { CommitNote::of_seed() } else { self.manifest.note.clone() };
            log.commit(Epoch(of), &encode_record(&note)?)?;
            failpoint::pass("recover.seed.committed");
        }
        Ok(())
    }
}

#[cold]
pub(super) fn has_job(directory: &Path, last: Epoch) -> Error {
    Error::Config(format!(
        "`{}` has a job already, at epoch {last}: name an empty directory to begin with a savepoint, leave \
         --from away to go on with that job, or forget it with --no-resume",
        directory.display()
    ))
}

#[cold]
pub(super) fn cut_short(directory: &Path) -> Error {
    Error::failed(format!(
        "a start of `{}` from a savepoint was cut short: repeat it with the same --from, or begin at the \
         beginning with --no-resume",
        directory.display()
    ))
}
