//! What can be wrong with a state directory, said with its name and the way out.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(feature = "rocksdb")]
use crate::error::Error;

/// The file beside a store that says that it was found to be damaged, and how.
pub(crate) fn damage_marker(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".damaged");
    PathBuf::from(name)
}

/// Writes the marker of a store, but not its name, to the disk. Once: the first damage is what counts.
pub(crate) fn mark_damaged(store: &Path, reason: &str) -> io::Result<()> {
    let marker = damage_marker(store);
    if marker.exists() {
        return Ok(());
    }
    fs::write(&marker, reason).and_then(|()| File::open(&marker)?.sync_all())
}

/// True for what no run of ours leaves: bytes that are not what was written, and files that are missing.
#[cfg(feature = "rocksdb")]
pub(super) fn is_damage(said: &str) -> bool {
    let is_missing = said.contains("No such file or directory") && !said.contains("mkdir");
    said.starts_with("Corruption") || is_missing
}

/// The error of a directory that could not be `action` (opened, read, written, cleared), from what the
/// store said.
#[cfg(feature = "rocksdb")]
#[cold]
pub(super) fn explain(directory: &Path, action: &str, said: &str) -> Error {
    if is_damage(said) {
        return Error::StateDamaged { path: directory.to_owned(), reason: said.to_owned() };
    }
    let directory = directory.display();
    let any = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    Error::failed(if any(&["lock file", "lock hold by", "LOCK:"]) {
        format!(
            "the state directory `{directory}` is in use by another run: stop that run, or configure \
             another directory"
        )
    } else if any(&["No space left", "NoSpace", "StorageFull", "Disk quota"]) {
        format!(
            "the disk of the state directory `{directory}` is full: free some space, or configure a \
             directory on a larger disk"
        )
    } else if any(&["Permission denied", "PermissionDenied"]) {
        format!(
            "the state directory `{directory}` cannot be {action}, permission denied: give this user \
             access, or configure another directory"
        )
    } else {
        format!(
            "the state directory `{directory}` cannot be {action} ({said}): check the disk, or \
             configure another directory"
        )
    })
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_a_name_and_a_way_out() {
        let cases = [
            ("IO error: While lock file: /x/LOCK: Resource temporarily unavailable", "stop that run"),
            ("IO error: lock hold by current process, acquire time 1: /x/LOCK", "stop that run"),
            ("IO error: No space left on device: While appending to file: /x/1.sst", "free some space"),
            ("Corruption: block checksum mismatch in /x/1.sst", "goes back to its newest"),
            ("IO error: No such file or directory: While open a file: /x/9.sst", "goes back to its newest"),
            ("IO error: While mkdir if missing: /x: Permission denied", "give this user access"),
            ("IO error: something new", "configure another directory"),
        ];
        for (said, way_out) in cases {
            let error = explain(Path::new("/x"), "opened", said).to_string();
            assert!(error.contains("`/x`") && error.contains(way_out), "{error}");
        }
    }
}
