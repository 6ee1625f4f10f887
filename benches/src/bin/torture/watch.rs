//! A reader of the output beside the job: what was once shown never changes, vanishes or comes twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::job::{FOLDERS, output_of};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(6);

struct Shown {
    inode: u64,
    bytes: u64,
    modified_ns: i64,
    digest: u64,
}

#[derive(Default)]
struct Seen {
    files: BTreeMap<PathBuf, Shown>,
    /// Hashes of what makes a row unique, by folder.
    rows: HashSet<(usize, u64)>,
    violations: Vec<String>,
    looks: u64,
}

/// The reader of one cycle.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    out: PathBuf,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn guard(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub(crate) fn start(home: &Path) -> Self {
        let (seen, stopped) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let out = output_of(home);
        let (shared, ending, place) = (Arc::clone(&seen), Arc::clone(&stopped), out.clone());
        let thread = std::thread::spawn(move || {
            while !ending.load(SeqCst) {
                guard(&shared).look(&place, false);
                std::thread::park_timeout(PAUSE);
            }
        });
        Watch { seen, out, stopped, thread: Some(thread) }
    }

    /// What was found wrong so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        guard(&self.seen).violations.clone()
    }

    /// Looks once more at every byte; returns the number of files, of looks, and what was wrong.
    pub(crate) fn finish(mut self) -> (usize, u64, Vec<String>) {
        self.stopped.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        let mut seen = guard(&self.seen);
        seen.look(&self.out, true);
        (seen.files.len(), seen.looks, std::mem::take(&mut seen.violations))
    }
}

impl Seen {
    fn look(&mut self, out: &Path, thorough: bool) {
        self.looks += 1;
        let mut present = BTreeSet::new();
        for (index, folder) in FOLDERS.iter().chain(&[""]).enumerate() {
            let Ok(entries) = fs::read_dir(out.join(folder)) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                if is_file && path.extension().is_none_or(|extension| extension != "part") {
                    self.look_at(index, &path, thorough);
                    present.insert(path);
                }
            }
        }
        let gone: Vec<_> =
            self.files.keys().filter(|path| !present.contains(*path) && !path.exists()).cloned().collect();
        for path in gone {
            self.violations.push(format!("O1 {} was shown and has vanished", path.display()));
            self.files.remove(&path);
        }
    }

    fn look_at(&mut self, folder: usize, path: &Path, thorough: bool) {
        let Ok(metadata) = fs::metadata(path) else { return };
        let now = (metadata.ino(), metadata.len(), metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec());
        let known = self.files.get(path);
        if !thorough && known.is_some_and(|known| (known.inode, known.bytes, known.modified_ns) == now) {
            return;
        }
        let Ok(bytes) = fs::read(path) else { return };
        let digest = xxh3_64(&bytes);
        match known {
            Some(known) if known.digest != digest => {
                let (was, is) = (known.bytes, bytes.len());
                self.violations
                    .push(format!("O1 {} was shown and has changed: {was} -> {is} bytes", path.display()));
            }
            Some(_) => {}
            None => self.take_in(folder, path, &bytes),
        }
        self.files.insert(
            path.to_owned(),
            Shown { inode: now.0, bytes: bytes.len() as u64, modified_ns: now.2, digest },
        );
    }

    /// Rows of a file that is seen for the first time.
    fn take_in(&mut self, folder: usize, path: &Path, bytes: &[u8]) {
        if bytes.last().is_some_and(|last| *last != b'\n') {
            self.violations.push(format!("O1 {} ends in the middle of a row", path.display()));
        }
        // The two files of the topmost folder have the same ids.
        let place = if FOLDERS.get(folder).is_some() {
            folder as u64
        } else {
            xxh3_64(path.as_os_str().as_encoded_bytes())
        };
        let cells = if FOLDERS.get(folder) == Some(&"windows") { 2 } else { 1 };
        for row in bytes.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()) {
            let key: Vec<_> = row.split(|byte| *byte == b',').take(cells).collect();
            if !self.rows.insert((folder, xxh3_64(&key.join(&b',')) ^ place)) {
                let row = String::from_utf8_lossy(row).into_owned();
                self.violations.push(format!("O1 {}: the row {row} was shown before", path.display()));
            }
        }
    }
}
