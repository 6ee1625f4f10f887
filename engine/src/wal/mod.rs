//! The epoch log: all that must survive goes in, and one sync per epoch makes it durable.
//!
//! 1. `log`: [`EpochLog`]: append, flush, commit; one owner drives it
//! 2. `open`: takes a log over from the run before
//! 3. `truncate`: gives space back
//! 4. `recovery`: [`Recovery`]: what was committed, in order
//! 5. `reader`: [`LogReader`]: every record of a log, for those who only look
//! 6. `survey`, `tail`, `segment`: what a directory holds and whether it can be trusted
//! 7. `format`: the bytes
//!
//! # The bytes
//!
//! ```text
//! wal/0000000001.log     a segment; numbers ascend, a file is never used twice
//! wal/lock               held by the process that writes
//!
//! segment                         record, at a multiple of 16
//! 0   magic     HEADWLOG          0   length     u32  of what follows the header, without padding
//! 8   version   u32               4   kind       u8
//! 12  zero      u32               5   flags      u8   1: the next record continues the payload
//! 16  job       u128              6   owner      u16  length of the owner's name
//! 32  generation u64              8   epoch      u64
//! 40  segment   u64               16  lsn        u64
//! 48  first     u64  lsn          24  unsynced   u32  lsn minus the first lsn not known to be durable
//! 56  adopted   u32  lsns         28  crc        u32  of job, segment, this header and what follows
//! 60  crc       u32               32  subtask    u32, the owner's name, zeros to a multiple of 16
//! 64  records                     ..  payload, zeros to a multiple of 16
//! ```
//!
//! All numbers are little endian. A segment is preallocated with zeros; zeros are the end of the log.
//!
//! # What can be relied on
//!
//! 1. The numbers of records (LSN) ascend by one through the whole log. A segment counts up to the lowest
//!    `first` of the segments after it: what an older run appends to an older segment counts for nothing.
//! 2. A record of epoch N counts when a commit of N by the same generation follows it. A new generation uses
//!    the number of an epoch again that was not committed. Commits ascend.
//! 3. Every generation starts a segment of its own. Its first `adopted` records are copies of records of the
//!    generation before that no sync is known to have covered: their pages may be in memory only. The header
//!    is written when the copies are durable, and makes them count.
//! 4. An invalid record that a later record or segment knows to have been durable is damage, and the log is
//!    refused. Any other invalid record is a write that a crash cut short, and ends the log.
//! 5. A new generation first creates its segment file, then reads. A commit of an older generation that does
//!    not see this file is complete and is read; one that sees it fails.

mod format;
mod log;
mod open;
mod reader;
mod recovery;
mod segment;
mod survey;
mod tail;
mod trouble;
mod truncate;

use std::fmt;

use crate::time::Epoch;

pub use self::format::{RECORD_BYTES_MAX, RecordKind};
pub use self::log::EpochLog;
pub use self::reader::{LogEnd, LogReader, RecordPlace};
pub use self::recovery::{Committed, Recovery, Repair};

/// The directory of the log, below the root of the storage.
pub const LOG_DIRECTORY: &str = "wal";

/// Held by the process that writes the log.
pub const LOCK_PATH: &str = "wal/lock";

/// Where segments go that are not needed any more, if they are kept.
pub const ARCHIVE_DIRECTORY: &str = "archive";

/// The number of a record in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which job a log belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Sizes of a log and how to open it.
#[derive(Clone, Debug)]
pub struct LogLimits {
    /// A new segment begins when the next record would go beyond this many bytes. Default 64 MiB.
    pub segment_bytes: u64,
    /// Larger payloads are split, so that they are copied, summed and written while the processor has them in
    /// its cache. Default 256 KiB, at most [`RECORD_BYTES_MAX`].
    pub record_bytes_max: usize,
    /// Appended records are written when they reach this many bytes. Default 1 MiB.
    pub buffer_bytes: usize,
    /// Keep segments that are not needed any more in `archive/` instead of deleting them.
    pub archive: bool,
    /// Give up the records from this one on if the log is damaged there. A log without damage is left alone.
    pub truncate_at: Option<Lsn>,
    /// Where a log begins that does not exist yet: of a job that begins with the state of another one.
    pub begin: Option<LogBegin>,
}

/// A log that begins in the middle of the life of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBegin {
    /// The epoch that counts as the last committed one.
    pub committed: Epoch,
    /// The epoch behind which the log will hold everything; what belongs to it comes from elsewhere.
    pub complete_from: Epoch,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            segment_bytes: 64 << 20,
            record_bytes_max: 256 << 10,
            buffer_bytes: 1 << 20,
            archive: false,
            truncate_at: None,
            begin: None,
        }
    }
}

/// A record as it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number; of a payload that was split, the number of the last part.
    pub lsn: Lsn,
    /// The epoch it belongs to.
    pub epoch: Epoch,
    /// What it is.
    pub kind: RecordKind,
    /// The node that wrote it; empty when the job did.
    pub owner: &'a str,
    /// The subtask of the node.
    pub subtask: u32,
    /// What it says. Starts at a multiple of 16 in memory, unless it was split.
    pub payload: &'a [u8],
}
