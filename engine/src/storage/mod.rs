//! `Storage`: the one door to the engine's own files, so that a test can stand behind it and lie.
//!
//! 1. [`DirectoryStorage`]: real files below a root directory
//! 2. [`MemoryStorage`]: files in memory that fail, fill up and lose power as a test asks
//!
//! A write is durable after `sync_data` of its file. A name that was created, renamed or removed is
//! durable after `sync_directory` of its directory. The caller does both; nothing here does it for him.

mod directory;
mod memory;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use self::directory::DirectoryStorage;
#[doc(hidden)]
pub use self::memory::{CrashPolicy, Failures, Fault, FaultKind, MemoryStorage};

/// Files below one root. Paths are relative to it, with `/`; the root itself is `""`.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Creates a file for reading and writing.
    ///
    /// # Errors
    /// The file exists, its directory does not, or the system refuses.
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The file does not exist, or the system refuses.
    fn open(&self, path: &str) -> io::Result<Box<dyn StorageFile>>;

    /// The bytes of a whole file.
    ///
    /// # Errors
    /// The file does not exist, or the system refuses.
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Names of the files and directories in a directory, sorted.
    ///
    /// # Errors
    /// The directory does not exist, or the system refuses.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// True when the file or directory exists.
    ///
    /// # Errors
    /// The system refuses to say.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// The file does not exist, or the system refuses.
    fn len(&self, path: &str) -> io::Result<u64>;

    /// Gives a file another name; a file that had this name is replaced.
    ///
    /// # Errors
    /// The file or the new directory does not exist, or the system refuses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The file does not exist, or the system refuses.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a directory; one that exists is fine. Its parent exists.
    ///
    /// # Errors
    /// The parent does not exist, or the system refuses.
    fn create_directory(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The directory does not exist, or the disk failed.
    fn sync_directory(&self, path: &str) -> io::Result<()>;

    /// Takes the lock that a file stands for, creating the file; `None` when another process or part of
    /// this one holds it. It is free again when the value is dropped or its process is gone.
    ///
    /// # Errors
    /// The system refuses.
    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn StorageLock>>>;

    /// The whole path, for messages.
    fn place(&self, path: &str) -> PathBuf;
}

/// A lock that is held until this is dropped.
pub trait StorageLock: Send + Sync + fmt::Debug {}

/// An open file. Reads and writes name their offset: there is no position to get wrong.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Writes all bytes at an offset; the file grows as needed, a gap reads as zeros.
    ///
    /// # Errors
    /// The disk is full or failed; some of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `bytes` from an offset and returns how many there were: fewer only at the end of the file.
    ///
    /// # Errors
    /// The disk failed.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The disk failed. What was written since the last success may be lost even if a later call succeeds.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends the file; what is added reads as zeros.
    ///
    /// # Errors
    /// The disk is full or failed.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Reserves space up to `length` bytes as well as the system can; the file may then be longer and
    /// reads as zeros there.
    ///
    /// # Errors
    /// The disk is full or failed. That the system cannot reserve is no error.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The system refuses to say.
    fn len(&self) -> io::Result<u64>;

    /// True when the file holds nothing.
    ///
    /// # Errors
    /// The system refuses to say.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
