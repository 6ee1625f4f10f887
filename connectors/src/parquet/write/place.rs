//! `Place`: where files get their names: all of a file is there before its name is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use headwater::sink::Subtask;
use headwater::{Error, Result};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::writer::epoch_of;
use crate::store;

/// The folder of a sink.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In the file system. A file that is not complete is hidden: `.NAME.part`.
    Folder(PathBuf),
    /// In an object store. What is not complete is in memory and in the log.
    #[cfg(feature = "object-store")]
    Objects(store::Folder),
}

/// The bytes of a file that is being written.
pub(super) enum Out {
    File(File),
    #[cfg(feature = "object-store")]
    Memory(Vec<u8>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::File(file) => file.write(bytes),
            #[cfg(feature = "object-store")]
            Out::Memory(memory) => memory.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::File(file) => file.flush(),
            #[cfg(feature = "object-store")]
            Out::Memory(_) => Ok(()),
        }
    }
}

impl Out {
    /// Bytes so far.
    ///
    /// # Errors
    /// The system does not say.
    pub(super) fn length(&self) -> Result<u64> {
        match self {
            Out::File(file) => Ok(file.metadata()?.len()),
            #[cfg(feature = "object-store")]
            Out::Memory(memory) => Ok(memory.len() as u64),
        }
    }

    /// The bytes, where they are in memory.
    pub(super) fn into_memory(self) -> Option<Bytes> {
        match self {
            Out::File(_) => None,
            #[cfg(feature = "object-store")]
            Out::Memory(memory) => Some(Bytes::from(memory)),
        }
    }
}

impl Place {
    /// # Errors
    /// Nothing can be written there.
    pub(super) fn open(folder: &Path) -> Result<Place> {
        if store::is_url(folder) {
            #[cfg(feature = "object-store")]
            return Ok(Place::Objects(store::Folder::open(folder)?));
            #[cfg(not(feature = "object-store"))]
            return Err(store::not_built(folder));
        }
        let folder = store::local(folder);
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let probe = folder.join(".headwater.part");
        match File::create(&probe).and_then(|_| fs::remove_file(&probe)) {
            Ok(()) => {}
            // Another subtask was there at the same time.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&probe, error)),
        }
        Ok(Place::Folder(folder.to_owned()))
    }

    /// True when what is not complete is lost with the process.
    pub(super) fn is_remote(&self) -> bool {
        !matches!(self, Place::Folder(_))
    }

    /// How errors name a file that is being written.
    pub(super) fn name(&self, path: &str) -> PathBuf {
        match self {
            Place::Folder(folder) => part_of(folder, path),
            #[cfg(feature = "object-store")]
            Place::Objects(folder) => folder.url(path),
        }
    }

    /// Puts a complete file to its place as a whole; does nothing when it is there.
    ///
    /// # Errors
    /// The store does not take it, or another file has its name.
    #[cfg_attr(not(feature = "object-store"), allow(unused_variables))]
    pub(super) fn put(&self, path: &str, bytes: &Bytes) -> Result<()> {
        match self {
            Place::Folder(folder) => Err(missing(&part_of(folder, path))),
            #[cfg(feature = "object-store")]
            Place::Objects(folder) => folder.put(path, bytes),
        }
    }

    /// Begins a file; what an earlier run has left of it is gone.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn create(&self, path: &str) -> Result<Out> {
        let folder = match self {
            Place::Folder(folder) => folder,
            #[cfg(feature = "object-store")]
            Place::Objects(_) => return Ok(Out::Memory(Vec::new())),
        };
        let part = part_of(folder, path);
        if let Some(parent) = part.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&part);
        Ok(Out::File(file.map_err(|error| Error::io(&part, error))?))
    }

    /// Brings what was written to the disk, and that the file is there.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) fn sync(&self, out: &Out, path: &str) -> Result<()> {
        match (self, out) {
            (Place::Folder(folder), Out::File(file)) => {
                file.sync_all().map_err(|error| Error::io(part_of(folder, path), error))?;
                sync_folders(folder, path)
            }
            #[cfg(feature = "object-store")]
            _ => Ok(()),
        }
    }

    /// Gives a file of so many bytes its name; does nothing when it has it, as of this epoch.
    ///
    /// # Errors
    /// The file is not what was committed, or another one has its name.
    pub(super) fn publish(&self, path: &str, length: u64, epoch: u64) -> Result<()> {
        let folder = match self {
            Place::Folder(folder) => folder,
            #[cfg(feature = "object-store")]
            Place::Objects(_) if self.published(path)? == Some(epoch) => return Ok(()),
            #[cfg(feature = "object-store")]
            Place::Objects(folder) => return Err(missing(&folder.url(path))),
        };
        let (part, whole) = (part_of(folder, path), folder.join(path));
        let found = match fs::metadata(&part) {
            Ok(about) => about.len(),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(&part, error)),
            Err(_) if self.published(path)? == Some(epoch) => return Ok(()),
            Err(_) => return Err(missing(&part)),
        };
        if found != length {
            return Err(Error::failed(format!(
                "{}: has {found} bytes where {length} were committed: somebody changed it, or the disk lost them",
                part.display()
            )));
        }
        if whole.exists() && !same_bytes(&part, &whole)? {
            return Err(taken(&whole));
        }
        fs::rename(&part, &whole).map_err(|error| Error::io(&whole, error))?;
        sync_folders(folder, path)
    }

    /// Completes a file that ends behind so many bytes, with a footer, and gives it its name.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub(super) fn complete(&self, path: &str, length: u64, footer: &[u8]) -> Result<()> {
        let folder = match self {
            Place::Folder(folder) => folder,
            #[cfg(feature = "object-store")]
            Place::Objects(folder) => return Err(missing(&folder.url(path))),
        };
        let (part, whole) = (part_of(folder, path), folder.join(path));
        let end = length + footer.len() as u64;
        if !part.exists() {
            let has_it = whole.exists() && ends_with(&whole, length, footer)?;
            return if has_it { Ok(()) } else { Err(missing(&part)) };
        }
        let failed = |error| Error::io(&part, error);
        let mut file = OpenOptions::new().write(true).open(&part).map_err(failed)?;
        let found = file.metadata().map_err(failed)?.len();
        if found < length {
            return Err(Error::failed(format!(
                "{}: has {found} bytes where {length} were committed: somebody cut it off, or the disk lost it",
                part.display()
            )));
        }
        let written = file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length)));
        written.and_then(|_| file.write_all(footer)).and_then(|()| file.sync_all()).map_err(failed)?;
        if whole.exists() && !ends_with(&whole, length, footer)? {
            return Err(taken(&whole));
        }
        debug_assert!(file.metadata().is_ok_and(|about| about.len() == end));
        fs::rename(&part, &whole).map_err(|error| Error::io(&whole, error))?;
        sync_folders(folder, path)
    }

    /// The epoch with which a complete file ends; `None` when there is none, or none of this sink.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn published(&self, path: &str) -> Result<Option<u64>> {
        let folder = match self {
            Place::Folder(folder) => folder,
            #[cfg(feature = "object-store")]
            Place::Objects(folder) => {
                let Some(bytes) = folder.get(path)? else { return Ok(None) };
                let reader = SerializedFileReader::new(bytes);
                return Ok(reader.ok().and_then(|reader| epoch_of(reader.metadata().file_metadata())));
            }
        };
        let whole = folder.join(path);
        let file = match File::open(&whole) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&whole, error)),
        };
        let reader = SerializedFileReader::new(file);
        Ok(reader.ok().and_then(|reader| epoch_of(reader.metadata().file_metadata())))
    }

    /// Removes unfinished files that the writer of a subtask answers for: nothing of them was committed, or
    /// it is in other files now.
    ///
    /// # Errors
    /// They cannot be removed.
    pub(super) fn clean(&self, subtask: Subtask) -> Result<()> {
        let folder = match self {
            Place::Folder(folder) => folder,
            #[cfg(feature = "object-store")]
            Place::Objects(_) => return Ok(()),
        };
        let mut open = vec![folder.clone()];
        while let Some(folder) = open.pop() {
            let failed = |error| Error::io(&folder, error);
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                if name.contains('=') && entry.file_type().map_err(failed)?.is_dir() {
                    open.push(entry.path());
                } else if is_own_part(name, subtask) {
                    fs::remove_file(entry.path()).map_err(|error| Error::io(entry.path(), error))?;
                }
            }
        }
        Ok(())
    }
}

fn part_of(folder: &Path, path: &str) -> PathBuf {
    let (below, name) = path.rsplit_once('/').unwrap_or(("", path));
    folder.join(below).join(format!(".{name}.part"))
}

/// True for the name of an unfinished file of a subtask, or of one that there is no more.
fn is_own_part(name: &str, subtask: Subtask) -> bool {
    let own = name.strip_prefix(".part-").and_then(|rest| rest.split_once('-'));
    let index = own.and_then(|(index, _)| index.parse::<usize>().ok());
    name.ends_with(".parquet.part") && index.is_some_and(|index| index % subtask.count == subtask.index)
}

fn missing(part: &Path) -> Error {
    Error::failed(format!(
        "{} is missing, and an earlier run has committed rows in it: name the folder that it wrote to; a job that \
         begins with a savepoint and writes elsewhere says so with --new-output",
        part.display()
    ))
}

fn taken(whole: &Path) -> Error {
    Error::failed(format!(
        "{}: is there already and holds something else: another run wrote to this folder; give an empty folder, or \
         resume with the state directory that belongs to it",
        whole.display()
    ))
}

fn same_bytes(left: &Path, right: &Path) -> Result<bool> {
    let read = |path: &Path| fs::read(path).map_err(|error| Error::io(path, error));
    Ok(read(left)? == read(right)?)
}

/// True when a file has so many bytes, and then these to its end.
fn ends_with(whole: &Path, length: u64, end: &[u8]) -> Result<bool> {
    let failed = |error| Error::io(whole, error);
    let mut file = File::open(whole).map_err(failed)?;
    let mut found = Vec::new();
    file.seek(SeekFrom::Start(length)).and_then(|_| file.read_to_end(&mut found)).map_err(failed)?;
    Ok(found == end)
}

/// Makes names durable: that of a file in its folder, and those of the folders above, up to the sink's.
fn sync_folders(folder: &Path, path: &str) -> Result<()> {
    // Only Unix can open a directory for that.
    if cfg!(unix) {
        let mut at = folder.join(path);
        while at != folder && at.pop() {
            let synced = File::open(&at).and_then(|directory| directory.sync_all());
            synced.map_err(|error| Error::io(&at, error))?;
        }
    }
    Ok(())
}
