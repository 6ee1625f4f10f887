//! The snapshots and savepoints of a job: folders that are complete or not there.
//!
//! ```text
//! DIR/snapshots/EPOCH/       kept for a while; what a damaged store goes back to
//! DIR/savepoints/NAME/       asked for, and never removed by a run
//!     manifest               what it is, and the checksum of every file
//!     state/                 the store at that epoch; its tables share their bytes with `DIR/state`
//! ```
//!
//! A folder is made under another name, `.tmp`, and gets its own when everything in it is durable. A table
//! of the store never changes once it is written, so that a link to it is as good as a copy.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::manifest::{FileNote, Manifest};
use crate::batch::Checksum;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::storage::{DirectoryStorage, Storage};
use crate::time::Epoch;

/// What is not complete.
const UNFINISHED: &str = ".tmp";

/// What was found to be damaged.
const DAMAGED: &str = ".damaged";

/// Bytes that are read at once for a checksum.
const READ_BYTES: usize = 1 << 20;

/// What a snapshot is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For the job itself.
    Snapshot,
    /// For whoever asked for it, by this name.
    Savepoint(String),
}

/// The snapshots and savepoints in the directory of a job.
#[derive(Debug)]
pub(crate) struct Snapshots {
    directory: PathBuf,
    kept: usize,
    /// The log is needed behind this epoch.
    floor: AtomicU64,
}

impl Snapshots {
    /// Those of the job in `directory`, which keeps so many. Nothing is touched yet.
    pub(crate) fn new(directory: &Path, kept: usize) -> Self {
        Snapshots { directory: directory.to_owned(), kept, floor: AtomicU64::new(0) }
    }

    /// The directory of the job.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// True when snapshots are made without being asked for.
    pub(crate) fn are_kept(&self) -> bool {
        self.kept > 0
    }

    pub(crate) fn savepoint(&self, name: &str) -> PathBuf {
        self.directory.join("savepoints").join(name)
    }

    pub(crate) fn snapshot(&self, Epoch(epoch): Epoch) -> PathBuf {
        self.directory.join("snapshots").join(epoch.to_string())
    }

    fn place(&self, purpose: &Purpose, epoch: Epoch) -> PathBuf {
        match purpose {
            Purpose::Snapshot => self.snapshot(epoch),
            Purpose::Savepoint(name) => self.savepoint(name),
        }
    }

    /// Where a copy is made.
    pub(crate) fn unfinished(&self, purpose: &Purpose, epoch: Epoch) -> PathBuf {
        unfinished(&self.place(purpose, epoch))
    }

    /// Epochs of the snapshots, ascending.
    pub(crate) fn epochs(&self) -> Result<Vec<Epoch>> {
        let names = names(&self.directory.join("snapshots"))?;
        let mut epochs: Vec<_> = names.iter().filter_map(|name| name.parse().ok().map(Epoch)).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// Names of the savepoints, ascending.
    pub(crate) fn savepoints(&self) -> Result<Vec<String>> {
        let mut names = names(&self.directory.join("savepoints"))?;
        names.retain(|name| check_name(name).is_ok() && manifest_of(&self.savepoint(name)).exists());
        Ok(names)
    }

    /// Removes what was not completed.
    pub(crate) fn tidy(&self) -> Result<()> {
        for folder in ["snapshots", "savepoints"].map(|name| self.directory.join(name)) {
            for name in names(&folder)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
                remove(&folder.join(name))?;
            }
        }
        remove(&unfinished(&store_of(&self.directory)))
    }

    /// Removes all snapshots, but no savepoint: what an earlier job left.
    pub(crate) fn clear(&self) -> Result<()> {
        remove(&self.directory.join("snapshots"))
    }

    /// An empty place in which a snapshot is made.
    pub(crate) fn begin(&self, purpose: &Purpose, epoch: Epoch) -> Result<PathBuf> {
        let place = self.place(purpose, epoch);
        if place.exists() {
            let place = place.display();
            return Err(Error::failed(format!("`{place}` is there already: choose another name")));
        }
        let place = unfinished(&place);
        remove(&place)?;
        make_folder(&place)?;
        Ok(place)
    }

    /// Completes a snapshot whose store is in the `place` that [`begin`](Self::begin) gave: when this returns,
    /// it survives. One that is not for anybody in particular is given up when `is_over`.
    pub(crate) fn complete(
        &self,
        purpose: &Purpose,
        place: &Path,
        mut manifest: Manifest,
        is_over: &AtomicBool,
    ) -> Result<PathBuf> {
        let may_stop = || *purpose == Purpose::Snapshot && is_over.load(SeqCst);
        if manifest.has_store {
            let store = store_of(place);
            manifest.files = self.take_stock(&store, &may_stop)?;
            sync_folder(&store)?;
        }
        failpoint::pass("snapshot.checked");
        write_manifest(&manifest_of(place), &manifest)?;
        failpoint::pass("snapshot.manifest");
        sync_folder(place)?;
        failpoint::pass("snapshot.synced");
        let target = self.place(purpose, manifest.epoch);
        rename(place, &target)?;
        failpoint::pass("snapshot.done");
        Ok(target)
    }

    /// The files of a store with their checksums, durable. A table that the newest snapshot has as well is
    /// not read again: it is the same file on the disk.
    fn take_stock(&self, store: &Path, may_stop: &dyn Fn() -> bool) -> Result<Vec<FileNote>> {
        let newest = self.epochs()?.pop().map(|epoch| self.snapshot(epoch));
        let known = newest.as_ref().and_then(|newest| read_manifest(newest).ok());
        let mut files = Vec::new();
        for name in names(store)? {
            let path = store.join(&name);
            let note = known.iter().flat_map(|known| &known.files).find(|file| file.name == name);
            let before = note.zip(newest.as_ref()).filter(|(note, newest)| {
                let place = store_of(newest).join(&note.name);
                is_same_file(&place, &path, note.bytes)
            });
            if let Some((note, _)) = before {
                files.push(note.clone());
                continue;
            }
            let (bytes, checksum) =
                checksum(&path, may_stop).map_err(|error| explain(&path, error))?.ok_or(Error::Stopped)?;
            sync(&path).map_err(|error| explain(&path, error))?;
            files.push(FileNote { name, bytes, checksum });
        }
        Ok(files)
    }

    /// Removes the snapshots that are too many, and says from where on the log is needed.
    pub(crate) fn retain(&self) -> Result<()> {
        let mut epochs = self.epochs()?;
        let spare = epochs.len().saturating_sub(self.kept);
        for epoch in epochs.drain(..spare) {
            let place = self.snapshot(epoch);
            let removed = unfinished(&place);
            failpoint::pass("snapshot.remove");
            // Under another name first: a snapshot is complete or not there.
            rename(&place, &removed)?;
            remove(&removed)?;
            failpoint::pass("snapshot.removed");
        }
        let floor = match epochs.first() {
            _ if self.kept == 0 => u64::MAX,
            // The beginning of the log is as good as a snapshot.
            _ if epochs.len() < self.kept => 0,
            oldest => oldest.map_or(0, |oldest| oldest.0),
        };
        let floor = if failpoint::bug("truncated-unsnapped") { u64::MAX } else { floor };
        self.floor.store(floor, SeqCst);
        Ok(())
    }

    /// The epoch behind which a snapshot may need the log.
    pub(crate) fn floor(&self) -> u64 {
        self.floor.load(SeqCst)
    }

    /// Keeps a snapshot that is damaged out of the way, and no other one that was.
    pub(crate) fn set_aside(&self, epoch: Epoch) -> Result<()> {
        let folder = self.directory.join("snapshots");
        for name in names(&folder)?.iter().filter(|name| name.ends_with(DAMAGED)) {
            remove(&folder.join(name))?;
        }
        rename(&self.snapshot(epoch), &folder.join(format!("{epoch}{DAMAGED}")))
    }
}

/// Checks the name of a savepoint.
///
/// # Errors
/// It is none that every file system takes, or one that has a meaning of its own.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_own = [UNFINISHED, ".failed", ".request"].iter().any(|ending| name.ends_with(ending));
    if (1..=100).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') && !is_own {
        return Ok(());
    }
    Err(Error::Config(format!(
        "`{name}` is no name of a savepoint: take up to 100 letters, digits, `-`, `_` and `.`, no `.` first"
    )))
}

/// The manifest of the snapshot in `place`; its files are not looked at.
///
/// # Errors
/// There is none, or it is damaged.
pub(crate) fn read_manifest(place: &Path) -> Result<Manifest> {
    let path = manifest_of(place);
    let bytes = fs::read(&path).map_err(|error| explain(&path, error))?;
    Manifest::decode(&path, &bytes)
}

/// Writes a manifest, durable but for its name.
pub(crate) fn write_manifest(path: &Path, manifest: &Manifest) -> Result<()> {
    let bytes = manifest.encode()?;
    fs::write(path, bytes).and_then(|()| sync(path)).map_err(|error| explain(path, error))
}

/// Reads the snapshot in `place`, every byte of it.
///
/// # Errors
/// Something is missing or is not what it was.
pub(crate) fn verify(place: &Path) -> Result<Manifest> {
    let manifest = read_manifest(place)?;
    for file in &manifest.files {
        let path = store_of(place).join(&file.name);
        let shown = path.display();
        if Path::new(&file.name).file_name() != Some(file.name.as_ref()) {
            return Err(Error::failed(format!("`{shown}` is no file of a store")));
        }
        let found = checksum(&path, &|| false).map_err(|error| explain(&path, error))?;
        let (bytes, checksum) = found.ok_or(Error::Stopped)?;
        if bytes != file.bytes {
            let wanted = file.bytes;
            return Err(Error::failed(format!("`{shown}` has {bytes} bytes, and had {wanted}")));
        }
        if checksum != file.checksum {
            return Err(Error::failed(format!("`{shown}` is damaged: its checksum is another one")));
        }
    }
    Ok(manifest)
}

/// Puts a copy of a snapshot into the new folder `target`, durable but for its name.
pub(crate) fn copy_snapshot(snapshot: &Path, manifest: &Manifest, target: &Path) -> Result<()> {
    copy_store(snapshot, manifest, &store_of(target))?;
    copy_file(&manifest_of(snapshot), &manifest_of(target))?;
    sync_folder(target)
}

/// Puts the store of a snapshot into the empty folder `target`, durable: tables by links where the file
/// system can, all other files as copies, because the store will change them.
pub(crate) fn copy_store(snapshot: &Path, manifest: &Manifest, target: &Path) -> Result<()> {
    make_folder(target)?;
    for file in &manifest.files {
        let (from, to) = (store_of(snapshot).join(&file.name), target.join(&file.name));
        let is_linked = file.name.ends_with(".sst") && fs::hard_link(&from, &to).is_ok();
        if !is_linked {
            copy_file(&from, &to)?;
        }
    }
    sync_folder(target)
}

/// Copies a file, durable but for its name.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).and_then(|_| sync(to)).map_err(|error| explain(to, error))
}

/// The store in the directory of a job, or in the folder of a snapshot.
pub(crate) fn store_of(place: &Path) -> PathBuf {
    place.join("state")
}

pub(crate) fn manifest_of(place: &Path) -> PathBuf {
    place.join("manifest")
}

/// The name of a folder while it is made.
pub(crate) fn unfinished(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Removes a folder with all that is in it, or a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(explain(path, error)),
        _ => Ok(()),
    }
}

/// Gives a file or folder another name, durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| explain(from, error))?;
    to.parent().map_or(Ok(()), sync_folder)
}

pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // Above a relative name there is nothing to see.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    DirectoryStorage::new(folder).sync_directory("").map_err(|error| explain(folder, error))
}

/// Names in a folder, sorted; none when it is not there.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    match DirectoryStorage::new(folder).list("") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|error| explain(folder, error)),
    }
}

/// Makes a folder with those above it; their names survive.
fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| explain(folder, error))?;
    let above = folder.parent().into_iter().chain(folder.parent().and_then(Path::parent));
    above.filter(|folder| !folder.as_os_str().is_empty()).try_for_each(sync_folder)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Length and checksum of a file; nothing when told to stop.
fn checksum(path: &Path, may_stop: &dyn Fn() -> bool) -> io::Result<Option<(u64, u128)>> {
    let (mut file, mut checksum) = (File::open(path)?, Checksum::new());
    let (mut buffer, mut bytes) = (vec![0; READ_BYTES], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some((bytes, checksum.value()))),
            _ if may_stop() => return Ok(None),
            read => {
                checksum.add(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// True when two names are of one file, of so many bytes.
#[cfg(unix)]
fn is_same_file(one: &Path, other: &Path, bytes: u64) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino(), meta.len()));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) => one == other && one.2 == bytes,
        _ => false,
    }
}

// NOTE: other systems do not say; every file is read then.
#[cfg(not(unix))]
fn is_same_file(_: &Path, _: &Path, _: u64) -> bool {
    false
}

#[cold]
pub(crate) fn explain(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::DiskFull { path: path.to_owned() }
        }
        io::ErrorKind::NotFound => Error::failed(format!("`{}` is missing", path.display())),
        _ => Error::io(path, error),
    }
}
