//! `Input`: which Parquet files a path stands for, and the bytes of one.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use headwater::{Error, Result};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::super::write::failed;
use crate::file::paths;

/// One open file.
pub(super) struct Input {
    reader: SerializedFileReader<File>,
    pub(super) bytes: u64,
}

impl Input {
    /// # Errors
    /// There is no such file, or it is no Parquet.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let bytes = file.metadata().map_err(|error| Error::io(path, error))?.len();
        let reader = guarded(|| SerializedFileReader::new(file)).map_err(|error| failed(path, error))?;
        Ok(Input { reader, bytes })
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    pub(super) fn reader(&self) -> &dyn FileReader {
        &self.reader
    }
}

/// Calls the library, which panics at some kinds of damage: that is an error, too. What it was doing must not be
/// gone on with.
pub(super) fn guarded<R>(call: impl FnOnce() -> parquet::errors::Result<R>) -> parquet::errors::Result<R> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let reason = panic.downcast_ref::<String>().map(String::as_str);
        let reason = reason.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for an unknown reason");
        Err(ParquetError::General(format!("the file is damaged: {reason}")))
    })
}

/// All files that the paths stand for, each once: a file, the matches of a pattern, or the Parquet files of a folder
/// and of the folders below it, sorted.
///
/// # Errors
/// A path stands for no file.
pub(super) fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        let found = if path.is_dir() { below(path)? } else { paths::files(std::slice::from_ref(path))? };
        for file in found {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// The Parquet files below a folder; hidden ones, those whose names begin with an underscore, and what is not
/// complete are left out.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| Error::io(&folder, error))? {
            let path = entry.map_err(|error| Error::io(&folder, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // `_1=7` is a folder of rows, `_temporary` is none.
            if name.starts_with('.') || name.starts_with('_') && !name.contains('=') {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if is_parquet(name) {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        return Err(Error::failed(format!(
            "the folder `{}` has no Parquet file, which ends in `.parquet` and is not hidden; a sink hides files \
             until they are complete",
            folder.display()
        )));
    }
    files.sort();
    Ok(files)
}

fn is_parquet(name: &str) -> bool {
    [".parquet", ".parq", ".pq"].iter().any(|end| name.ends_with(end))
}
