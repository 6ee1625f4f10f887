//! Names of files, and when a folder's next file begins.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater::sink::{SinkParallelism, Subtask};
use headwater::time::Epoch;
use headwater::{Error, Result};

/// Where the rows of a sink go.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// To one file.
    File(PathBuf),
    /// To files in a folder.
    Folder(PathBuf, Roll),
}

/// When the next file of a folder begins; files change only between two epochs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roll {
    pub(crate) bytes_max: u64,
    pub(crate) age_max_ms: u64,
}

impl Default for Roll {
    fn default() -> Self {
        Roll { bytes_max: 128 << 20, age_max_ms: 10_000 }
    }
}

impl Place {
    /// One writer for one file, many for a folder.
    pub(crate) fn parallelism(&self) -> SinkParallelism {
        match self {
            Place::File(_) => SinkParallelism::One,
            Place::Folder(..) => SinkParallelism::PerSubtask,
        }
    }

    /// The same place with other limits; a single file has none.
    pub(crate) fn rolling(self, change: impl FnOnce(&mut Roll)) -> Self {
        match self {
            Place::File(path) => Place::File(path),
            Place::Folder(folder, mut roll) => {
                change(&mut roll);
                Place::Folder(folder, roll)
            }
        }
    }

    /// As [`Roll::age_max_ms`].
    pub(crate) fn rolling_after(self, age: Duration) -> Self {
        self.rolling(|roll| roll.age_max_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The files of one writer.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    /// `None`: one file, named below.
    pub(crate) roll: Option<Roll>,
    /// Name of the one file, or the extension of all.
    name: String,
    pub(crate) subtask: Subtask,
}

impl Layout {
    /// # Errors
    /// The name of the file is none, or a directory has it.
    pub(crate) fn new(place: &Place, extension: &str, subtask: Subtask) -> Result<Self> {
        match place {
            Place::Folder(folder, roll) => {
                Ok(Layout { folder: folder.clone(), roll: Some(*roll), name: extension.to_owned(), subtask })
            }
            Place::File(path) => {
                let name = path.file_name().and_then(|name| name.to_str()).filter(|_| !path.is_dir());
                let Some(name) = name else {
                    return Err(Error::failed(format!(
                        "{}: is a directory; give the name of a file",
                        path.display()
                    )));
                };
                let folder = path.parent().filter(|parent| *parent != Path::new(""));
                let folder = folder.unwrap_or(Path::new(".")).to_owned();
                Ok(Layout { folder, roll: None, name: name.to_owned(), subtask })
            }
        }
    }

    /// Name of the file that begins in this epoch.
    pub(crate) fn file_name(&self, epoch: Epoch) -> String {
        match self.roll {
            None => self.name.clone(),
            Some(_) => format!("part-{}-{:08}.{}", self.subtask.index, epoch.0, self.name),
        }
    }

    /// True when the rows of a file are compressed.
    pub(crate) fn is_gzip(&self) -> bool {
        self.name.rsplit('.').next().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
    }

    /// True when a name in the folder is that of an unfinished file that this writer answers for.
    pub(crate) fn is_own_part(&self, name: &str) -> bool {
        let own = name.strip_prefix("part-").and_then(|rest| rest.split_once('-'));
        let subtask = own.and_then(|(subtask, _)| subtask.parse::<usize>().ok());
        self.roll.is_some()
            && name.ends_with(".part")
            && subtask.is_some_and(|subtask| subtask % self.subtask.count == self.subtask.index)
    }
}
