//! What can be wrong with a log, said with its place and the way out.

use std::io;

use super::format::NUMBER_MAX;
use super::{JobId, LOG_DIRECTORY};
use crate::error::Error;
use crate::storage::Storage;

/// The path of a segment file.
pub(super) fn segment_path(number: u64) -> String {
    format!("{LOG_DIRECTORY}/{}", segment_name(number))
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:010}.log")
}

/// The number of a segment file by its name; nothing for other files.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (number <= NUMBER_MAX && segment_name(number) == name).then_some(number)
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The error of a file or directory that could not be `action` (read, written, created).
#[cold]
pub(super) fn explain(storage: &dyn Storage, path: &str, action: &str, error: &io::Error) -> Error {
    if is_full(error) {
        return Error::DiskFull { path: storage.place(path) };
    }
    let place = storage.place(path);
    let place = place.display();
    Error::failed(match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "`{place}` of the log cannot be {action}, permission denied: give this user access, or \
             configure another directory"
        ),
        io::ErrorKind::NotFound => format!(
            "`{place}` of the log cannot be {action}, it or its directory does not exist: create the \
             directory, or configure another one"
        ),
        _ => format!(
            "`{place}` of the log cannot be {action} ({error}): check the disk, or configure another \
             directory"
        ),
    })
}

#[cold]
pub(super) fn in_use(storage: &dyn Storage) -> Error {
    Error::failed(format!(
        "the log in `{}` is in use by another run: stop that run, or configure another directory",
        storage.place(LOG_DIRECTORY).display()
    ))
}

#[cold]
pub(super) fn other_job(storage: &dyn Storage, found: JobId, wanted: JobId) -> Error {
    Error::failed(format!(
        "the log in `{}` belongs to job {found}, this is job {wanted}: configure another directory, or \
         start the job that the log belongs to",
        storage.place(LOG_DIRECTORY).display()
    ))
}

#[cold]
pub(super) fn newer_version(storage: &dyn Storage, path: &str, found: u32, known: u32) -> Error {
    Error::failed(format!(
        "`{}` of the log has format version {found}, this program reads version {known}: run the version \
         of Headwater that wrote it, or configure another directory",
        storage.place(path).display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[test]
    fn every_trouble_has_a_place_and_a_way_out() {
        let storage = MemoryStorage::new();
        let cases = [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::QuotaExceeded, "free some space"),
            (io::ErrorKind::PermissionDenied, "give this user access"),
            (io::ErrorKind::NotFound, "create the directory"),
            (io::ErrorKind::InvalidData, "check the disk"),
        ];
        for (kind, way_out) in cases {
            let error = explain(&storage, "wal/x", "read", &kind.into()).to_string();
            assert!(error.contains("`/memory/wal/x`") && error.contains(way_out), "{error}");
        }
    }

    #[test]
    fn only_segment_names_are_segment_numbers() {
        assert_eq!(segment_number(&segment_name(7)), Some(7));
        for other in
            ["7.log", "lock", "0000000007.log.old", "+000000007.log", ".log", "18446744073709551615.log"]
        {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }
}
