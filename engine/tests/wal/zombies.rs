//! A run that goes on after another one has taken its log over.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, io};

use headwater::storage::{MemoryStorage, Storage, StorageFile, StorageLock};
use headwater::time::Epoch;
use headwater::wal::{EpochLog, LogLimits, RecordKind};

use super::model::{JOB, open, rows, small};

type Hook = Box<dyn FnOnce() + Send>;

/// Storage that does something else before one of its calls.
#[derive(Clone)]
struct Interrupted {
    inner: MemoryStorage,
    before: Arc<AtomicU64>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupted")
    }
}

impl Interrupted {
    fn new(inner: &MemoryStorage) -> Self {
        let before = Arc::new(AtomicU64::new(u64::MAX));
        Interrupted { inner: inner.clone(), before, hook: Arc::default() }
    }

    fn interrupt(&self, before: u64, hook: Hook) {
        self.before.store(before, Ordering::Relaxed);
        *self.hook.lock().unwrap() = Some(hook);
    }

    fn call(&self) -> &MemoryStorage {
        if self.before.fetch_sub(1, Ordering::Relaxed) == 0 {
            let hook = self.hook.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
        }
        &self.inner
    }

    fn file(&self, file: io::Result<Box<dyn StorageFile>>) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(InterruptedFile { storage: self.clone(), file: file? }))
    }
}

impl Storage for Interrupted {
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        self.file(self.call().create(path))
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        self.file(self.call().open(path))
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.call().list(path)
    }
    fn exists(&self, path: &str) -> io::Result<bool> {
        self.call().exists(path)
    }
    fn len(&self, path: &str) -> io::Result<u64> {
        Storage::len(self.call(), path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call().rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.call().remove(path)
    }
    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.call().create_directory(path)
    }
    fn sync_directory(&self, path: &str) -> io::Result<()> {
        self.call().sync_directory(path)
    }
    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        self.inner.break_locks();
        self.call().try_lock(path)
    }
    fn place(&self, path: &str) -> PathBuf {
        self.inner.place(path)
    }
}

#[derive(Debug)]
struct InterruptedFile {
    storage: Interrupted,
    file: Box<dyn StorageFile>,
}

impl StorageFile for InterruptedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.storage.call();
        self.file.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.storage.call();
        self.file.read_at(offset, bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.storage.call();
        self.file.sync_data()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.storage.call();
        self.file.set_len(length)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.storage.call();
        self.file.allocate(length)
    }
    fn len(&self) -> io::Result<u64> {
        self.storage.call();
        self.file.len()
    }
}

fn work(log: &mut EpochLog, epoch: u64, text: &str) -> bool {
    let append = |log: &mut EpochLog| log.append(Epoch(epoch), RecordKind::Input, text, 0, &[7; 150]).is_ok();
    append(log) && append(log) && log.commit(Epoch(epoch), text.as_bytes()).is_ok()
}

/// The owners of the records of each epoch, in order, and the commits.
fn history(storage: &MemoryStorage) -> Vec<(u64, String)> {
    storage.break_locks();
    let (_, recovery) = open(storage, &small()).unwrap();
    let rows = rows(&recovery, 0).unwrap();
    let name = |row: super::model::Row| match row.kind {
        RecordKind::Commit => (row.epoch, format!("commit {}", String::from_utf8(row.payload).unwrap())),
        _ => (row.epoch, row.owner),
    };
    rows.into_iter().map(name).collect()
}

fn epoch_by(epoch: u64, who: &str) -> Vec<(u64, String)> {
    [who, who, &format!("commit {who}")].map(|text| (epoch, text.to_owned())).to_vec()
}

fn log_of(storage: &Interrupted, limits: &LogLimits) -> (EpochLog, u64) {
    let (log, recovery) = EpochLog::open(Arc::new(storage.clone()), JOB, limits.clone()).unwrap();
    (log, recovery.committed().map_or(0, |committed| committed.epoch.0))
}

#[test]
fn what_a_zombie_appends_has_no_effect() {
    for segment_bytes in [500, 900, 10_000] {
        let (storage, limits) = (MemoryStorage::new(), LogLimits { segment_bytes, ..small() });
        let (mut zombie, _) = open(&storage, &limits).unwrap();
        assert!(work(&mut zombie, 1, "first"));
        zombie.append(Epoch(2), RecordKind::Input, "zombie", 0, b"before").unwrap();
        zombie.flush().unwrap();
        storage.break_locks();
        let (mut log, _) = open(&storage, &limits).unwrap();
        assert!(!work(&mut zombie, 2, "zombie"), "the zombie's commit must fail");
        assert!(zombie.is_lost());
        assert!(work(&mut log, 2, "second"));
        drop((zombie, log));
        assert_eq!(history(&storage), [epoch_by(1, "first"), epoch_by(2, "second")].concat());
    }
}

#[test]
fn a_commit_during_a_takeover_counts_exactly_when_it_succeeds() {
    let (mut succeeded, mut failed) = (0, 0);
    for before in 0..60 {
        for segment_bytes in [500, 10_000] {
            let (storage, limits) = (MemoryStorage::new(), LogLimits { segment_bytes, ..small() });
            let (mut old, _) = open(&storage, &limits).unwrap();
            assert!(work(&mut old, 1, "old"));
            let result = Arc::new(Mutex::new(None));
            let interrupted = Interrupted::new(&storage);
            let told = result.clone();
            interrupted
                .interrupt(before, Box::new(move || *told.lock().unwrap() = Some(work(&mut old, 2, "old"))));
            let (mut new, found) = log_of(&interrupted, &limits);
            let Some(told) = *result.lock().unwrap() else { continue };
            if told {
                succeeded += 1;
                assert_eq!(found, 2, "call {before}: a commit that succeeded must be found");
            } else {
                failed += 1;
            }
            assert!(work(&mut new, found + 1, "new"));
            let mut expected = epoch_by(1, "old");
            expected.extend((2..=found).flat_map(|epoch| epoch_by(epoch, "old")));
            expected.extend(epoch_by(found + 1, "new"));
            assert_eq!(history(&storage), expected);
        }
    }
    println!("{succeeded} commits succeeded, {failed} failed");
    assert!(succeeded > 4 && failed > 4);
}

#[test]
fn a_takeover_during_a_commit_finds_it_exactly_when_it_succeeds() {
    let (mut succeeded, mut failed) = (0, 0);
    for before in 0..40 {
        for segment_bytes in [500, 10_000] {
            let (storage, limits) = (MemoryStorage::new(), LogLimits { segment_bytes, ..small() });
            let interrupted = Interrupted::new(&storage);
            let (mut old, _) = log_of(&interrupted, &limits);
            assert!(work(&mut old, 1, "old"));
            let found = Arc::new(Mutex::new(None));
            let (told, other, limits) = (found.clone(), Interrupted::new(&storage), limits.clone());
            let hook = move || {
                let (mut new, committed) = log_of(&other, &limits);
                assert!(work(&mut new, committed + 1, "new"));
                *told.lock().unwrap() = Some(committed);
            };
            interrupted.interrupt(before, Box::new(hook));
            let done = work(&mut old, 2, "old");
            let Some(found) = *found.lock().unwrap() else { continue };
            succeeded += usize::from(done);
            failed += usize::from(!done);
            assert!(!done || found == 2, "call {before}: a commit that succeeded must be found");
            let mut expected = epoch_by(1, "old");
            expected.extend((2..=found).flat_map(|epoch| epoch_by(epoch, "old")));
            expected.extend(epoch_by(found + 1, "new"));
            assert_eq!(history(&storage), expected);
        }
    }
    println!("{succeeded} commits succeeded, {failed} failed");
    assert!(succeeded > 0 && failed > 10);
}
