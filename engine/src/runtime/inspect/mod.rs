//! `Inspection`: a durable job that is only looked at. It takes no lock, changes nothing, and works while
//! the job is running.
//!
//! 1. `epochs`: what each committed epoch holds
//! 2. `state`: keyed state as of the last committed epoch
//! 3. `snapshots`: snapshots and savepoints
//! 4. `verify`: reads everything there is

mod epochs;
mod snapshots;
mod state;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::epochs::{EpochReport, KindReport, PartitionReport, SinkReport};
pub use self::snapshots::SnapshotReport;
pub use self::state::{StateEntry, StateView, TableReport};
pub use self::verify::Verification;
use super::job::{CommitNote, check_owner};
use crate::epoch::decode_record;
use crate::error::{Error, Result};
use crate::storage::{DirectoryStorage, Storage};
use crate::topology::{Keeps, Topology};
use crate::wal::{LOG_DIRECTORY, LogReader};

/// How often a log that a run is writing is looked at again before what is missing counts as lost.
const TRIES_MAX: usize = 5;

/// A durable job that is only looked at.
///
/// ```
/// use headwater::prelude::*;
/// use headwater::runtime::Inspection;
/// use headwater_connectors::{Collect, MemorySource};
///
/// # if !cfg!(feature = "rocksdb") {
/// #     return Ok(());
/// # }
/// # let place = std::env::temp_dir().join(format!("headwater-doc-look-{}", std::process::id()));
/// let topology = || {
///     let flow = StreamBuilder::new("job");
///     let words = MemorySource::from(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]);
///     flow.source("words", words).key_by_value().count().sink("out", Collect::new());
///     flow.build()
/// };
/// topology()?.run(EngineConfig::default().state_dir(&place))?;
///
/// let inspection = Inspection::open(&topology()?, &place)?;
/// let last = inspection.epochs()?.pop().expect("an epoch");
/// assert_eq!((last.is_last, last.partitions[0].finished), (true, true));
/// let found = inspection.state()?.get("count", &"a".into(), None)?;
/// assert_eq!(found[0].value.to_string(), "2");
/// # std::fs::remove_dir_all(&place)?;
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Debug)]
pub struct Inspection {
    directory: PathBuf,
    storage: Arc<dyn Storage>,
    log: LogReader,
    note: Option<CommitNote>,
    nodes: Vec<Shown>,
}

/// A node of the topology, as far as looking needs it.
#[derive(Clone)]
struct Shown {
    name: String,
    keeps: Keeps,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Inspection {
    /// Looks at what runs of `topology` left in `directory`, or are writing there.
    ///
    /// # Errors
    /// There is no job, it is another topology's, it was written by a newer version, or it cannot be read. A
    /// damaged log is no error here: what stands before the damage can be looked at.
    pub fn open(topology: &Topology, directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref().to_owned();
        let storage: Arc<dyn Storage> = Arc::new(DirectoryStorage::new(&directory));
        let exists = storage.exists(LOG_DIRECTORY).map_err(|error| Error::io(&directory, error))?;
        let log = if exists { Some(open_log(&storage)?) } else { None };
        let Some(log) = log.filter(|log| log.job().is_some()) else {
            return Err(Error::failed(format!(
                "`{}` holds no job: name the directory that the run was given with --state",
                directory.display()
            )));
        };
        check_owner(topology, &log, &directory)?;
        let note = log.last_commit().map(|commit| decode_record::<CommitNote>("the job", &commit.payload));
        let nodes = topology.graph.nodes.iter();
        let nodes = nodes.map(|node| Shown { name: node.name.clone(), keeps: node.keeps.clone() }).collect();
        Ok(Inspection { directory, storage, log, note: note.transpose()?, nodes })
    }

    /// The epoch log.
    #[must_use]
    pub fn log(&self) -> &LogReader {
        &self.log
    }

    /// True when the input has ended and everything is in the last epoch.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.finished)
    }

    /// Names of the operators that have keyed state, in the order of the topology.
    #[must_use]
    pub fn operators(&self) -> Vec<&str> {
        let stateful = self.nodes.iter().filter(|node| matches!(node.keeps, Keeps::State(_)));
        stateful.map(|node| node.name.as_str()).collect()
    }

    /// True when the keys of an operator are strings. Keys of other types are asked for as integers, `true`
    /// or `false`, or lists of their fields.
    #[must_use]
    pub fn has_text_keys(&self, operator: &str) -> bool {
        matches!(self.keeps(operator), Some(Keeps::State(codec)) if codec.key_is_text())
    }

    fn keeps(&self, node: &str) -> Option<Keeps> {
        self.nodes.iter().find(|shown| shown.name == node).map(|shown| shown.keeps.clone())
    }
}

/// Looks at the log; once more when the run that writes it has removed a segment meanwhile.
fn open_log(storage: &Arc<dyn Storage>) -> Result<LogReader> {
    let mut tries = 0;
    loop {
        match LogReader::open(Arc::clone(storage)) {
            Err(_) if tries < TRIES_MAX => tries += 1,
            outcome => return outcome,
        }
    }
}
