//! `MemoryStorage`: files in memory with a durable image behind them, for tests and the simulation.
//!
//! 1. `disk`: what programs see, what a power loss leaves, and what lies between
//! 2. `crash`: which of the unsynced operations a power loss keeps
//! 3. `faults`: which call fails, and how; and how many have

mod crash;
mod disk;
mod faults;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::crash::CrashPolicy;
use self::disk::{Disk, FileId};
use self::faults::Faults;
pub use self::faults::{Failures, Fault, FaultKind};
use super::{Storage, StorageFile, StorageLock};

#[derive(Debug, Default)]
struct Inner {
    disk: Disk,
    faults: Faults,
    locks: BTreeSet<String>,
}

/// Storage in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    inner: Arc<Mutex<Inner>>,
}

impl MemoryStorage {
    /// Storage that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        MemoryStorage::default()
    }

    /// The storage as a power loss at this moment would leave it. This one stays as it is, so that one
    /// run serves many policies, and handles of before the loss write to a world that is gone.
    #[must_use]
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> MemoryStorage {
        Self::with(crash::crash(&self.lock().disk, policy, seed))
    }

    /// A copy that shares nothing with this one, without its locks and faults.
    #[must_use]
    pub fn fork(&self) -> MemoryStorage {
        Self::with(self.lock().disk.clone())
    }

    fn with(disk: Disk) -> MemoryStorage {
        let inner = Inner { disk, ..Inner::default() };
        MemoryStorage { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Calls of all functions of [`Storage`] and [`StorageFile`] so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().faults.calls()
    }

    /// Calls that failed as a test asked for, so far.
    #[must_use]
    pub fn failures(&self) -> Failures {
        self.lock().faults.failures()
    }

    /// Lets calls fail from now on; added to the faults that were asked for before.
    pub fn fail(&self, fault: Fault) {
        self.lock().faults.add(fault);
    }

    /// Forgets all faults and gives the disk space again.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// The most bytes that all files together may have.
    pub fn limit_space(&self, bytes: u64) {
        self.lock().faults.space_bytes = Some(bytes);
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().disk.used_bytes()
    }

    /// Flips bits of one byte of a file, in memory and on the disk.
    pub fn flip(&self, path: &str, offset: u64, mask: u8) {
        self.lock().disk.flip(path, offset, mask);
    }

    /// Puts a durable file there, with its directory, whatever was there before.
    pub fn plant(&self, path: &str, bytes: &[u8]) {
        self.lock().disk.plant(path, bytes);
    }

    /// Frees all locks, as a lock service does that lost sight of their holder.
    pub fn break_locks(&self) {
        self.lock().locks.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and lets it fail if that is its fate.
    fn call(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        inner.faults.call(false)?;
        Ok(inner)
    }

    fn handle(&self, file: FileId) -> Box<dyn StorageFile> {
        Box::new(MemoryFile { storage: self.clone(), file })
    }
}

impl Storage for MemoryStorage {
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.call()?.disk.create(path)?;
        Ok(self.handle(file))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.call()?.disk.open(path)?;
        Ok(self.handle(file))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.call()?.disk.list(path)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.call()?.disk.exists(path))
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        let mut inner = self.call()?;
        let file = inner.disk.open(path)?;
        Ok(inner.disk.file(file).bytes.len() as u64)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call()?.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.call()?.disk.remove(path)
    }

    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.call()?.disk.create_directory(path)
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        self.call()?.disk.sync_directory(path)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        let mut inner = self.call()?;
        if !inner.disk.exists(path) {
            inner.disk.create(path)?;
        }
        let free = inner.locks.insert(path.to_owned());
        let lock = || MemoryLock { storage: self.clone(), path: path.to_owned() };
        Ok(free.then(|| Box::new(lock()) as Box<dyn StorageLock>))
    }

    fn place(&self, path: &str) -> PathBuf {
        PathBuf::from("/memory").join(path)
    }
}

#[derive(Debug)]
struct MemoryLock {
    storage: MemoryStorage,
    path: String,
}

impl StorageLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.storage.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    storage: MemoryStorage,
    file: FileId,
}

impl StorageFile for MemoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.storage.call()?;
        let fits = inner.space_for(self.file, offset, bytes.len() as u64);
        inner.disk.write(self.file, offset, &bytes[..fits as usize]);
        if fits < bytes.len() as u64 { Err(inner.faults.full()) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.storage.call()?;
        let from = inner.disk.file(self.file).bytes.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(bytes.len());
        bytes[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.storage.lock();
        match inner.faults.call(true) {
            Ok(()) => inner.disk.file(self.file).sync(),
            Err(error) => {
                // The pages count as clean from now on: nothing will write them again.
                if faults::loses_pages(&error) {
                    inner.disk.file(self.file).lose_unsynced();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.storage.call()?;
        let old = inner.disk.file(self.file).bytes.len() as u64;
        if length > old && inner.space_for(self.file, old, length - old) < length - old {
            return Err(inner.faults.full());
        }
        inner.disk.set_len(self.file, length);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let old = self.storage.lock().disk.file(self.file).bytes.len() as u64;
        self.set_len(length.max(old))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.storage.call()?.disk.file(self.file).bytes.len() as u64)
    }
}

impl Inner {
    /// How many of `count` bytes from `offset` on the disk has space for.
    fn space_for(&mut self, file: FileId, offset: u64, count: u64) -> u64 {
        let Some(space) = self.faults.space_bytes else { return count };
        let free = space.saturating_sub(self.disk.used_bytes());
        let end = self.disk.file(file).bytes.len() as u64 + free;
        end.saturating_sub(offset).min(count)
    }
}
