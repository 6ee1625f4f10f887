//! What can go wrong, said so that the reader knows the place, the cause and the way out.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::BatchError;

/// The result of everything that can fail in Headwater.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a topology could not be built, started or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topology has mistakes; all that `build()` found, each with its way out.
    #[error("the topology `{topology}` cannot be built:{}", Listed(.problems))]
    Topology {
        /// Name of the topology.
        topology: String,
        /// One sentence per mistake.
        problems: Vec<String>,
    },
    /// A setting is out of range.
    #[error("configuration: {0}")]
    Config(String),
    /// A file or directory cannot be used.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A disk is full. What was to be written was not, and can be written again once there is space.
    #[error(
        "the disk of `{}` is full: free some space, or configure a directory on a larger disk",
        .path.display()
    )]
    DiskFull {
        /// The directory or file.
        path: PathBuf,
    },
    /// The log holds damage before data that was durable, so that it cannot be a write cut short by a crash.
    #[error(
        "the log is damaged in `{}` at byte {offset} ({reason}): restore a backup of the directory, or give up \
         everything from there on with --recover=truncate-at={lsn}",
        .path.display()
    )]
    LogDamaged {
        /// The segment file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// Number of the first record that is lost.
        lsn: u64,
        /// What is wrong.
        reason: String,
    },
    /// The log cannot be trusted any more by this process; every later call on it says the same.
    #[error("the log in `{}` cannot go on ({reason}): the process must restart", .path.display())]
    LogLost {
        /// The directory of the log.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The state store cannot be trusted: the next run of the job goes back to its newest snapshot.
    #[error(
        "the state directory `{}` is damaged ({reason}): run the job again, which goes back to its newest \
         snapshot; without a state directory, delete it to start from empty state",
        .path.display()
    )]
    StateDamaged {
        /// The directory of the store.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A source, operator, sink or state store failed.
    #[error("{0}")]
    Failed(String),
    /// User code panicked inside a stage; the stage was stopped and nothing it had not finished was sent.
    #[error("`{place}` panicked: {message}")]
    Panicked {
        /// The stage instance.
        place: String,
        /// The panic's message.
        message: String,
    },
    /// An error inside a named part of the topology.
    #[error("`{place}`: {source}")]
    At {
        /// The source, operator or sink.
        place: String,
        /// What happened there.
        source: Box<Error>,
    },
    /// A record cannot be put into a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The run was stopped before its input ended.
    #[error("stopped before the end of the input")]
    Stopped,
}

struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl Error {
    /// A failure in words: what happened and what to do.
    pub fn failed(message: impl fmt::Display) -> Self {
        Error::Failed(message.to_string())
    }

    /// A system error on a file or directory; [`DiskFull`](Self::DiskFull) when that is what the system says.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull { path },
            _ => Error::Io { path, source },
        }
    }

    /// What is wrong with the state store, wherever that was found; `None` when the error is another one.
    #[must_use]
    pub fn state_damage(&self) -> Option<&str> {
        match self {
            Error::StateDamaged { reason, .. } => Some(reason),
            Error::At { source, .. } => source.state_damage(),
            _ => None,
        }
    }

    /// Names the part of the topology in which the error happened.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Error::At { place: place.into(), source: Box::new(self) }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::Failed(error.to_string())
    }
}

/// The lock, whatever a thread left that had it: what is behind these is right between any two statements.
pub(crate) fn guard<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
