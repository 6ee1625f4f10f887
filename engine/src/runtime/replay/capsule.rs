//! The capsule: a directory like that of a job, with a snapshot, the log behind it, and the input itself, so
//! that the epochs in it can be replayed where the sources are not.
//!
//! ```text
//! CAPSULE/snapshots/EPOCH/   the snapshot to begin with; none when it begins at the beginning
//! CAPSULE/wal/               the segments of the log, as they were
//! CAPSULE/input/wal/         a log of its own: what the sources gave, epoch by epoch
//! ```
//!
//! Whatever only looks at a job looks at a capsule as well; no run goes on in one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::input::Inputs;
use super::past::Past;
use crate::batch::Checksum;
use crate::epoch::{decode_record, encode_record};
use crate::error::{Error, Result};
use crate::runtime::job::{
    Snapshots, copy_snapshot, job_id, remove, rename, sync_folder, unfinished, verify,
};
use crate::stage::Given;
use crate::storage::DirectoryStorage;
use crate::time::Epoch;
use crate::topology::Topology;
use crate::wal::{EpochLog, LOG_DIRECTORY, LogBegin, LogLimits, LogReader, RecordKind};

/// Segments of the input are small: a capsule is to be sent around, and the last one is not full.
const SEGMENT_BYTES: u64 = 1 << 20;

/// What a record or the head of a segment takes at most besides what it says.
const FRAME_BYTES: u64 = 128;

/// The folder of the input.
const INPUT: &str = "input";

/// What a capsule is of.
#[derive(Clone, Debug, PartialEq, headwater_derive::Record)]
pub(super) struct CapsuleNote {
    /// The plan of the topology, as text.
    plan: String,
    /// Version of the engine.
    version: String,
    /// Checksum of the program's file; 0 when it could not be read.
    program: u128,
    pub(super) base: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A capsule that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleReport {
    /// Where it is.
    pub path: PathBuf,
    /// The epoch behind which a replay of it begins; 0 is the beginning of the job.
    pub base: u64,
    /// The first epoch that was asked for.
    pub from: u64,
    /// The last epoch whose input is in it.
    pub to: u64,
    /// Records of the input, rejected ones included.
    pub records: u64,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// True when `directory` is a capsule, and not a job's.
pub(in crate::runtime) fn is_capsule(directory: &Path) -> bool {
    input_of(directory).join(LOG_DIRECTORY).is_dir()
}

/// Where the input of a capsule is.
fn input_of(directory: &Path) -> PathBuf {
    directory.join(INPUT)
}

/// Packs all that a replay of the epochs `from` to `to` of the job in `directory` needs into the new folder
/// `target`; see [`replay`](super::replay) for the epochs. The input is read again, and stands in the capsule.
///
/// # Errors
/// As [`replay`](super::replay); or `target` is there already or cannot be written.
pub fn export_capsule(
    topology: &Topology,
    directory: impl AsRef<Path>,
    from: Option<u64>,
    to: Option<u64>,
    target: impl AsRef<Path>,
) -> Result<CapsuleReport> {
    let (directory, target) = (directory.as_ref(), target.as_ref());
    if target.exists() {
        return Err(Error::failed(format!("`{}` is there already: name a new folder", target.display())));
    }
    if is_capsule(directory) {
        return Err(Error::failed(format!("`{}` is a capsule already: copy it", directory.display())));
    }
    let past = Past::open(topology, directory, from, to)?;
    let place = unfinished(target);
    remove(&place)?;
    fs::create_dir_all(place.join(LOG_DIRECTORY)).map_err(|error| Error::io(&place, error))?;
    if let Some(snapshot) = past.snapshot() {
        let manifest = verify(snapshot)?;
        copy_snapshot(snapshot, &manifest, &Snapshots::new(&place, 0).snapshot(past.base))?;
    }
    copy_log(past.log(), &place.join(LOG_DIRECTORY))?;
    let records = pack(topology, &past, &place)?;
    sync_folder(&place)?;
    rename(&place, target)?;
    let bytes = bytes_below(target)?;
    let (base, from, to) = (past.base.0, past.from.0, past.to.0);
    Ok(CapsuleReport { path: target.to_owned(), base, from, to, records, bytes })
}

/// Copies the segments of a log, without the space behind their records that is not used yet.
fn copy_log(log: &LogReader, folder: &Path) -> Result<()> {
    let mut ends = HashMap::new();
    log.records(&mut |place| {
        let record = &place.record;
        let end = place.offset + (record.owner.len() + record.payload.len()) as u64 + FRAME_BYTES;
        ends.insert(place.segment, end);
        Ok(())
    })?;
    for segment in log.segments() {
        let Some(name) = segment.file_name().and_then(OsStr::to_str) else { continue };
        let number = name.trim_end_matches(".log").parse::<u64>().ok();
        let end = number.and_then(|number| ends.get(&number).copied()).unwrap_or(FRAME_BYTES);
        let target = folder.join(name);
        let copied = File::open(&segment).and_then(|from| {
            let mut to = File::create(&target)?;
            io::copy(&mut from.take(end), &mut to)?;
            to.sync_all()
        });
        copied.map_err(|error| Error::io(&target, error))?;
    }
    sync_folder(folder)
}

/// Writes the input into a log of its own; how many records it has.
fn pack(topology: &Topology, past: &Past, place: &Path) -> Result<u64> {
    let input = input_of(place);
    fs::create_dir_all(&input).map_err(|error| Error::io(&input, error))?;
    let begin = LogBegin { committed: past.base, complete_from: past.base };
    let limits = LogLimits {
        segment_bytes: SEGMENT_BYTES,
        begin: (past.base > Epoch(0)).then_some(begin),
        ..LogLimits::default()
    };
    let (mut log, _) = EpochLog::open(Arc::new(DirectoryStorage::new(&input)), job_id(topology), limits)?;
    let note = CapsuleNote {
        plan: topology.describe(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: program(),
        base: past.base.0,
        from: past.from.0,
        to: past.to.0,
    };
    let note = encode_record(&note)?;
    let (mut inputs, mut records) = (Inputs::open(topology, past)?, 0);
    for epoch in past.epochs.keys() {
        inputs.each(*epoch, &mut |source, partition, piece| {
            // The positions of the log say where a partition ends.
            let Some(piece) = piece else { return Ok(()) };
            records += piece.count;
            let given = Given { partition: partition.to_owned(), piece };
            log.append(Epoch(*epoch), RecordKind::Input, source, 0, &encode_record(&given)?).map(drop)
        })?;
        log.commit(Epoch(*epoch), &note)?;
    }
    Ok(records)
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let failed = |error| Error::io(folder, error);
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let meta = entry.metadata().map_err(failed)?;
        bytes += if meta.is_dir() { bytes_below(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

/// Checksum of the file of this program.
fn program() -> u128 {
    let path = std::env::current_exe();
    path.and_then(fs::read).map_or(0, |bytes| Checksum::of(&bytes))
}

/// The input of a capsule, and what the capsule is of; nothing when `directory` is that of a job.
pub(super) fn open(directory: &Path) -> Result<Option<(LogReader, CapsuleNote)>> {
    if !is_capsule(directory) {
        return Ok(None);
    }
    let log = LogReader::open(Arc::new(DirectoryStorage::new(input_of(directory))))?;
    let Some(last) = log.last_commit() else {
        let place = directory.display();
        return Err(Error::failed(format!("the capsule `{place}` has no input: export it again")));
    };
    let note = decode_record("the capsule", &last.payload)?;
    Ok(Some((log, note)))
}

impl CapsuleNote {
    /// What is not as it was when the capsule was made.
    pub(super) fn changes(&self, topology: &Topology) -> Vec<String> {
        let mut changes = Vec::new();
        if self.plan != topology.describe() {
            changes.push("the topology has another plan than the one that ran: compare `plan`".to_owned());
        }
        let version = env!("CARGO_PKG_VERSION");
        if self.version != version {
            changes.push(format!("the capsule was made by version {}, and this is {version}", self.version));
        }
        if self.program != program() {
            changes.push("this is another build than the one that made the capsule".to_owned());
        }
        changes
    }
}
