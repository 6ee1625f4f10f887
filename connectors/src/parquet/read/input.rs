//! `Input`: which Parquet files a path stands for, and the bytes of one.

use std::fs::File;
use std::io::Read;
#[cfg(feature = "object-store")]
use std::io::{self, Seek, SeekFrom};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
#[cfg(feature = "object-store")]
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use headwater::{Error, Result};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};

use super::super::write::failed;
use super::matching::Leaf;
use crate::file::paths;
use crate::store;
#[cfg(feature = "object-store")]
use crate::store::Object;

/// One open file.
pub(super) struct Input {
    reader: SerializedFileReader<Chunks>,
    #[cfg(feature = "object-store")]
    ahead: Option<Ahead>,
    pub(super) bytes: u64,
}

/// Where the bytes of a file are.
enum Chunks {
    File(File),
    #[cfg(feature = "object-store")]
    Object(Object, Ahead),
}

/// The columns of a row group, asked for at once: where each begins, and its bytes.
#[cfg(feature = "object-store")]
type Ahead = Arc<Mutex<Vec<(u64, Bytes)>>>;

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Chunks::File(file) => Length::len(file),
            #[cfg(feature = "object-store")]
            Chunks::Object(object, _) => object.length(),
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Box<dyn Read>> {
        match self {
            Chunks::File(file) => Ok(Box::new(file.get_read(start)?)),
            #[cfg(feature = "object-store")]
            Chunks::Object(object, ahead) => {
                if let Some(bytes) = ready(ahead, start) {
                    return Ok(Box::new(io::Cursor::new(bytes)));
                }
                let mut object = object.clone();
                object.seek(SeekFrom::Start(start))?;
                Ok(Box::new(object))
            }
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match self {
            Chunks::File(file) => file.get_bytes(start, length),
            #[cfg(feature = "object-store")]
            Chunks::Object(object, ahead) => {
                match ready(ahead, start).filter(|bytes| bytes.len() >= length) {
                    Some(bytes) => Ok(bytes.slice(..length)),
                    None => object
                        .part(start, length as u64)
                        .map_err(|error| ParquetError::General(error.to_string())),
                }
            }
        }
    }
}

/// What is there from an offset on, to the end of its column.
#[cfg(feature = "object-store")]
fn ready(ahead: &Ahead, start: u64) -> Option<Bytes> {
    let ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
    ahead.iter().find_map(|(offset, bytes)| {
        let at = usize::try_from(start.checked_sub(*offset)?).ok()?;
        (at < bytes.len()).then(|| bytes.slice(at..))
    })
}

impl Input {
    /// # Errors
    /// There is no such file, or it is no Parquet.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let read =
            |chunks| guarded(|| SerializedFileReader::new(chunks)).map_err(|error| failed(path, error));
        if store::is_url(path) {
            #[cfg(not(feature = "object-store"))]
            return Err(store::not_built(path));
            #[cfg(feature = "object-store")]
            {
                let (object, ahead) = (Object::open(path)?, Ahead::default());
                let bytes = object.length();
                let reader = read(Chunks::Object(object, Arc::clone(&ahead)))?;
                return Ok(Input { reader, ahead: Some(ahead), bytes });
            }
        }
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let bytes = file.metadata().map_err(|error| Error::io(path, error))?.len();
        Ok(Input {
            reader: read(Chunks::File(file))?,
            #[cfg(feature = "object-store")]
            ahead: None,
            bytes,
        })
    }

    /// Asks for the columns of a row group at once, where each request takes its time.
    ///
    /// # Errors
    /// They are not to be had.
    #[cfg_attr(not(feature = "object-store"), allow(clippy::unused_self, clippy::unnecessary_wraps))]
    pub(super) fn look_ahead(&self, _path: &Path, _group: usize, _columns: &[Leaf]) -> Result<()> {
        #[cfg(feature = "object-store")]
        if let Some(ahead) = &self.ahead {
            let object = Object::open(_path)?;
            let group = self.metadata().row_group(_group);
            let mut parts = Vec::with_capacity(_columns.len());
            for leaf in _columns {
                let (start, length) = group.column(leaf.column).byte_range();
                parts.push((start, object.part(start, length)?));
            }
            *ahead.lock().unwrap_or_else(PoisonError::into_inner) = parts;
        }
        Ok(())
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
        let reason =
            reason.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for an unknown reason");
        Err(ParquetError::General(format!("the file is damaged: {reason}")))
    })
}

/// All files that the paths stand for, each once: a file, the matches of a pattern, or the Parquet files of a
/// folder and of the folders below it, sorted.
///
/// # Errors
/// A path stands for no file.
pub(super) fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        let mut found = match store::local(path) {
            folder if folder.is_dir() => below(folder)?,
            _ => paths::files(std::slice::from_ref(path))?,
        };
        if store::is_url(path) {
            found.retain(|file| {
                file == path || file.file_name().and_then(|name| name.to_str()).is_some_and(is_parquet)
            });
        }
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
