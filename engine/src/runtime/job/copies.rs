//! How copies of the store are made while a job runs: links on the store's thread, at the very epoch, and the
//! slow rest, checksums and syncs, on a thread of its own, so that no epoch waits.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::manifest::{Manifest, NodeNote};
use super::savepoint::Requests;
use super::snapshots::{Purpose, Snapshots, remove, store_of};
use crate::channel::{WorkSender, work_queue};
use crate::epoch::delivered;
use crate::error::guard;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::state::StateStore;
use crate::storage::DirectoryStorage;
use crate::time::Epoch;
use crate::wal::{LogReader, RecordKind};

/// Most copies of one epoch: a snapshot and a savepoint.
const COPIES_MAX: usize = 2;

/// A copy whose links are made.
struct Draft {
    purpose: Purpose,
    place: PathBuf,
    manifest: Manifest,
}

/// What the threads of a job share about its copies.
pub(crate) struct Copies {
    pub(crate) snapshots: Snapshots,
    pub(crate) requests: Requests,
    /// Copies that are ordered and not done, and savepoints among them.
    open: AtomicUsize,
    savepoints_open: AtomicUsize,
    is_over: AtomicBool,
    work: Mutex<Option<WorkSender<Draft>>>,
}

/// The thread that completes copies, and what it shares.
pub(crate) struct CopyThread {
    pub(crate) copies: Arc<Copies>,
    thread: Option<JoinHandle<()>>,
}

/// Copies to be made of one epoch.
pub(crate) struct CopyOrder {
    pub(crate) copies: Arc<Copies>,
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) manifest: Manifest,
}

impl CopyThread {
    pub(crate) fn start(snapshots: Snapshots) -> Result<Self> {
        let (sender, receiver) = work_queue::<Draft>(COPIES_MAX);
        let copies = Arc::new(Copies {
            requests: Requests::new(snapshots.directory()),
            snapshots,
            open: AtomicUsize::new(0),
            savepoints_open: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            work: Mutex::new(Some(sender)),
        });
        let shared = Arc::clone(&copies);
        let thread = std::thread::Builder::new().name("headwater-snapshot".to_owned()).spawn(move || {
            while let Some(draft) = receiver.next() {
                let purpose = draft.purpose.clone();
                shared.complete(draft);
                shared.close(&purpose);
            }
        })?;
        Ok(CopyThread { copies, thread: Some(thread) })
    }
}

impl Drop for CopyThread {
    /// What is half made is removed by the next start; a savepoint that somebody waits for is completed.
    fn drop(&mut self) {
        self.copies.is_over.store(true, SeqCst);
        *guard(&self.copies.work) = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has left a copy that is not complete.
            let _ = thread.join();
        }
        self.copies.requests.refuse_pending();
    }
}

impl Copies {
    /// True while copies are made: no other one is begun.
    pub(crate) fn is_busy(&self) -> bool {
        self.open.load(SeqCst) > 0
    }

    /// True while a savepoint is made: it may need what the log has of earlier epochs.
    pub(crate) fn needs_log(&self) -> bool {
        self.savepoints_open.load(SeqCst) > 0
    }

    fn close(&self, purpose: &Purpose) {
        self.savepoints_open.fetch_sub(usize::from(*purpose != Purpose::Snapshot), SeqCst);
        self.open.fetch_sub(1, SeqCst);
    }

    /// An order for these copies.
    pub(crate) fn order(self: &Arc<Self>, purposes: Vec<Purpose>, manifest: Manifest) -> CopyOrder {
        let savepoints = purposes.iter().filter(|purpose| **purpose != Purpose::Snapshot).count();
        self.savepoints_open.fetch_add(savepoints, SeqCst);
        self.open.fetch_add(purposes.len(), SeqCst);
        CopyOrder { copies: Arc::clone(self), purposes, manifest }
    }

    fn complete(&self, draft: Draft) {
        let Draft { purpose, place, mut manifest } = draft;
        let done = match &purpose {
            Purpose::Savepoint(_) => self.add_staged(&mut manifest),
            Purpose::Snapshot => Ok(()),
        };
        let epoch = manifest.epoch;
        match done.and_then(|()| self.snapshots.complete(&purpose, &place, manifest, &self.is_over)) {
            Ok(_) => {
                tracing::debug!(?purpose, %epoch, "a copy of the state is complete");
                let retained = match purpose {
                    Purpose::Savepoint(_) => return self.requests.done(),
                    Purpose::Snapshot => self.snapshots.retain(),
                };
                if let Err(error) = retained {
                    tracing::warn!(%error, "snapshots that are too many could not be removed");
                }
            }
            Err(error) => self.failed(&purpose, epoch, &place, &error),
        }
    }

    /// The job goes on without it; the next one may succeed.
    fn failed(&self, purpose: &Purpose, epoch: Epoch, place: &Path, error: &Error) {
        if !matches!(error, Error::Stopped) {
            tracing::warn!(?purpose, %epoch, %error, "a copy of the state could not be made");
        }
        // What stays is removed by the next start.
        let _ = remove(place);
        if let Purpose::Savepoint(name) = purpose {
            self.requests.refuse(name, &error.to_string());
        }
    }

    /// A savepoint stands alone: output of earlier epochs that sinks may still need is in the log only.
    fn add_staged(&self, manifest: &mut Manifest) -> Result<()> {
        let shown = shown(manifest);
        if shown + 1 >= manifest.epoch.0 {
            return Ok(());
        }
        let log = LogReader::open(Arc::new(DirectoryStorage::new(self.snapshots.directory())))?;
        log.held_records(Epoch(shown), &mut |record| {
            if record.kind == RecordKind::Staged && record.epoch < manifest.epoch {
                manifest.nodes.push(NodeNote {
                    kind: record.kind,
                    owner: record.owner.to_owned(),
                    subtask: record.subtask,
                    epoch: record.epoch.0,
                    payload: record.payload.to_vec(),
                });
            }
            Ok(())
        })
    }
}

/// The epoch up to which no sink needs anything.
pub(crate) fn shown(manifest: &Manifest) -> u64 {
    let of_epoch = |node: &&NodeNote| node.kind == RecordKind::Staged && node.epoch == manifest.epoch.0;
    let staged = manifest.nodes.iter().filter(of_epoch).map(|node| delivered(&node.payload));
    staged.min().unwrap_or(u64::MAX).min(manifest.epoch.0.saturating_sub(1))
}

impl CopyOrder {
    /// Makes the links. The store is at the epoch of the order; nothing that goes wrong here stops the job.
    pub(crate) fn carry_out(self, store: Option<&dyn StateStore>) {
        let CopyOrder { copies, purposes, manifest } = self;
        let epoch = manifest.epoch;
        for purpose in purposes {
            let place = copies.snapshots.unfinished(&purpose, epoch);
            let linked = copies.snapshots.begin(&purpose, epoch).and_then(|place| {
                store.map_or(Ok(()), |store| store.copy_to(&store_of(&place)))?;
                failpoint::pass("snapshot.linked");
                let draft = Draft { purpose: purpose.clone(), place, manifest: manifest.clone() };
                match &*guard(&copies.work) {
                    Some(work) => work.try_send(draft),
                    None => Err(Error::Stopped),
                }
            });
            if let Err(error) = linked {
                copies.failed(&purpose, epoch, &place, &error);
                copies.close(&purpose);
            }
        }
    }
}
