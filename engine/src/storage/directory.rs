//! `DirectoryStorage`: real files below a root directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{Storage, StorageFile, StorageLock};

/// Files below a directory of the file system.
#[derive(Clone, Debug)]
pub struct DirectoryStorage {
    root: PathBuf,
}

impl DirectoryStorage {
    /// The files below `root`, which exists. Nothing is touched yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        DirectoryStorage { root: root.into() }
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Storage for DirectoryStorage {
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.place(path))?;
        Ok(Box::new(OpenFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(OpenFile(File::open(self.place(path))?)))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.place(path))? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.place(path).try_exists()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.place(path))?.len())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.place(from), self.place(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.place(path))
    }

    fn create_directory(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.place(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.place(path).is_dir() => Ok(()),
            other => other,
        }
    }

    #[cfg(unix)]
    fn sync_directory(&self, path: &str) -> io::Result<()> {
        File::open(self.place(path))?.sync_all()
    }

    // NOTE: other systems write directory entries with their journal and offer no way to ask.
    #[cfg(not(unix))]
    fn sync_directory(&self, path: &str) -> io::Result<()> {
        fs::metadata(self.place(path)).map(|_| ())
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let file = options.open(self.place(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(LockFile { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn place(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

/// The system frees the lock when the file is closed.
#[derive(Debug)]
struct LockFile {
    _file: File,
}

impl StorageLock for LockFile {}

#[derive(Debug)]
struct OpenFile(File);

impl StorageFile for OpenFile {
    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        use std::io::{Seek, Write};
        let mut file = &self.0;
        file.seek(io::SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match read_some(&self.0, offset + filled as u64, &mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        reserve(&self.0, length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(unix)]
fn read_some(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_some(mut file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    use std::io::{Read, Seek};
    file.seek(io::SeekFrom::Start(offset))?;
    file.read(bytes)
}

/// Real blocks: a later write into them neither fails for want of space nor changes the file's length,
/// so that a sync has less to do.
#[cfg(target_os = "linux")]
fn reserve(file: &File, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, length).map_err(io::Error::from) {
        // Not every file system can: then the file just grows with each write.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => other,
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _length: u64) -> io::Result<()> {
    Ok(())
}
