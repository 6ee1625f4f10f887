//! The manifest of a snapshot: what it is of, its files with their checksums, and what its epoch says.
//!
//! ```text
//! "HEADSNAP", version u32, job u128, epoch u64, flags u8, what the commit says about the job
//! files u32, of each: name, bytes u64, checksum u128
//! entries u32, of each: kind u8, subtask u32, epoch u64, owner, payload
//! xxh3-128 of all that
//! ```
//!
//! Numbers are little endian; a text or payload is its length as u32 and its bytes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::{CommitNote, entry_kind};
use crate::batch::Checksum;
use crate::epoch::{EntryKind, Restored, decode_record, encode_record};
use crate::error::{Error, Result};
use crate::time::Epoch;
use crate::wal::{JobId, RecordKind};

const MAGIC: &[u8; 8] = b"HEADSNAP";
const VERSION: u32 = 1;

/// There is a store.
const HAS_STORE: u8 = 1;

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileNote {
    /// Its name in the folder of the store.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) checksum: u128,
}

/// What a node says in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeNote {
    pub(crate) kind: RecordKind,
    pub(crate) owner: String,
    pub(crate) subtask: u32,
    pub(crate) epoch: u64,
    pub(crate) payload: Vec<u8>,
}

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) job: JobId,
    pub(crate) epoch: Epoch,
    pub(crate) note: CommitNote,
    /// A topology without keyed state has no store.
    pub(crate) has_store: bool,
    pub(crate) files: Vec<FileNote>,
    /// Of its epoch all but the changes of state, of those before it the output that sinks may still need.
    pub(crate) nodes: Vec<NodeNote>,
}

impl Manifest {
    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// What the epoch says about each node, as a run that goes on behind it needs it.
    pub(crate) fn restored(&self) -> HashMap<String, Arc<Restored>> {
        let mut nodes = HashMap::<String, Restored>::new();
        for note in &self.nodes {
            let Some(kind) = entry_kind(note.kind) else { continue };
            let node = nodes.entry(note.owner.clone()).or_default();
            node.epoch = self.epoch.0;
            if note.epoch == self.epoch.0 {
                node.subtasks = node.subtasks.max(note.subtask as usize + 1);
            }
            if kind == EntryKind::Staged {
                node.staged.insert((note.subtask, note.epoch), note.payload.clone());
            } else {
                node.entries.insert((kind, note.subtask), note.payload.clone());
            }
        }
        nodes.into_iter().map(|(name, node)| (name, Arc::new(node))).collect()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.job.0.to_le_bytes());
        bytes.extend(self.epoch.0.to_le_bytes());
        bytes.push(u8::from(self.has_store) * HAS_STORE);
        put(&mut bytes, &encode_record(&self.note)?)?;
        bytes.extend(count(self.files.len())?);
        for file in &self.files {
            put(&mut bytes, file.name.as_bytes())?;
            bytes.extend(file.bytes.to_le_bytes());
            bytes.extend(file.checksum.to_le_bytes());
        }
        bytes.extend(count(self.nodes.len())?);
        for node in &self.nodes {
            bytes.push(node.kind as u8);
            bytes.extend(node.subtask.to_le_bytes());
            bytes.extend(node.epoch.to_le_bytes());
            put(&mut bytes, node.owner.as_bytes())?;
            put(&mut bytes, &node.payload)?;
        }
        let checksum = Checksum::of(&bytes);
        bytes.extend(checksum.to_le_bytes());
        Ok(bytes)
    }

    /// Reads a manifest; `path` is for the message.
    ///
    /// # Errors
    /// It is damaged, or a newer version wrote it.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::failed(format!("the manifest `{}` is damaged", path.display()));
        let (said, checksum) = bytes.split_last_chunk::<16>().ok_or_else(damaged)?;
        let mut rest = Rest(said);
        if rest.take(MAGIC.len()) != Some(MAGIC) {
            return Err(damaged());
        }
        let version = rest.array().map(u32::from_le_bytes).ok_or_else(damaged)?;
        if u128::from_le_bytes(*checksum) != Checksum::of(said) {
            return Err(damaged());
        }
        if version != VERSION {
            return Err(Error::failed(format!(
                "the manifest `{}` has version {version}, and this program knows version {VERSION}: use the \
                 version of the program that wrote it, or a newer one",
                path.display()
            )));
        }
        rest.manifest().filter(|_| rest.0.is_empty()).ok_or_else(damaged)
    }
}

/// Reads a manifest and gives its bytes again: for tests with arbitrary bytes.
///
/// # Errors
/// They are no manifest.
#[doc(hidden)]
pub fn reread_manifest(bytes: &[u8]) -> Result<Vec<u8>> {
    Manifest::decode(Path::new("arbitrary"), bytes)?.encode()
}

fn count(count: usize) -> Result<[u8; 4]> {
    let count = u32::try_from(count);
    Ok(count.map_err(|_| Error::failed("a snapshot cannot hold more than 4 GiB of output"))?.to_le_bytes())
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    bytes.extend(count(text.len())?);
    bytes.extend(text);
    Ok(())
}

/// What is not read yet. Nothing is allocated on the word of a length.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn payload(&mut self) -> Option<&'a [u8]> {
        let bytes = self.count()?;
        self.take(bytes as usize)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.payload()?).ok().map(str::to_owned)
    }

    fn manifest(&mut self) -> Option<Manifest> {
        let job = JobId(u128::from_le_bytes(self.array()?));
        let epoch = Epoch(self.number()?);
        let [flags] = self.array()?;
        let note = decode_record("the job", self.payload()?).ok()?;
        let (mut files, mut nodes) = (Vec::new(), Vec::new());
        for _ in 0..self.count()? {
            let (name, bytes) = (self.text()?, self.number()?);
            files.push(FileNote { name, bytes, checksum: u128::from_le_bytes(self.array()?) });
        }
        for _ in 0..self.count()? {
            let [kind] = self.array()?;
            let (kind, subtask, epoch) = (RecordKind::of(kind)?, self.count()?, self.number()?);
            nodes.push(NodeNote {
                kind,
                subtask,
                epoch,
                owner: self.text()?,
                payload: self.payload()?.to_vec(),
            });
        }
        Some(Manifest { job, epoch, note, has_store: flags & HAS_STORE != 0, files, nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::super::StateSchema;
    use super::*;

    fn manifest() -> Manifest {
        let file = |name: &str| FileNote { name: name.to_owned(), bytes: 77, checksum: 1 << 99 };
        let node = |kind, epoch| NodeNote {
            kind,
            owner: "lines".to_owned(),
            subtask: 2,
            epoch,
            payload: vec![1, 2, 3],
        };
        Manifest {
            job: JobId(5),
            epoch: Epoch(9),
            note: CommitNote {
                topology: "job".to_owned(),
                key_groups: 128,
                finished: true,
                wall_ms: 1,
                schemas: vec![StateSchema { operator: "totals".to_owned(), fields: "(u64, u64)".to_owned() }],
            },
            has_store: true,
            files: vec![file("000009.sst"), file("CURRENT")],
            nodes: vec![node(RecordKind::Positions, 9), node(RecordKind::Staged, 8)],
        }
    }

    #[test]
    fn a_manifest_is_read_back_as_it_was_written() {
        let (manifest, path) = (manifest(), Path::new("/x"));
        assert_eq!(Manifest::decode(path, &manifest.encode().unwrap()).unwrap(), manifest);
        let restored = &manifest.restored()["lines"];
        assert_eq!((restored.epoch, restored.subtasks), (9, 3));
        assert_eq!((restored.entries.len(), restored.staged.keys().next()), (1, Some(&(2, 8))));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_seen() {
        let (bytes, path) = (manifest().encode().unwrap(), Path::new("/x"));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = Manifest::decode(path, &bytes).unwrap_err().to_string();
            assert!(error.contains("`/x` is damaged"), "{error}");
        }
        for length in 0..bytes.len() {
            assert!(Manifest::decode(path, &bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_said() {
        let mut bytes = manifest().encode().unwrap();
        bytes.truncate(bytes.len() - 16);
        bytes[8] = 2;
        let checksum = Checksum::of(&bytes);
        bytes.extend(checksum.to_le_bytes());
        let error = Manifest::decode(Path::new("/x"), &bytes).unwrap_err().to_string();
        assert!(error.contains("version 2, and this program knows version 1"), "{error}");
    }
}
