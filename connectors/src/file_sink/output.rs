//! `FileOutput`: rows on their way into files that have their names only when they are complete.
//!
//! The rows of an epoch are kept with the epoch, and written to `NAME.part` when it is committed; a file
//! that is complete is synced and gets its name. So after a crash what an epoch committed is there again,
//! and what it did not is cut off. An epoch with many rows writes them to `NAME.part` as they come,
//! behind what is committed, and syncs them before it says what it keeps.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use headwater::sink::{Cut, Delivery, Staged};
use headwater::time::Epoch;
use headwater::{Error, Result, failpoint};

use super::layout::Layout;
use super::staged::Piece;

/// Rows of an epoch that are kept with it; what is more goes to the file at once.
const KEPT_BYTES_MAX: u64 = 4 << 20;

/// An unfinished file is synced when this much was added since, or after so many epochs, so that the log
/// need not keep what is in it.
const UNSYNCED_BYTES_MAX: u64 = 16 << 20;
const UNSYNCED_EPOCHS_MAX: u32 = 64;

/// The files of one writer.
#[derive(Debug)]
pub(crate) struct FileOutput {
    layout: Layout,
    /// First line of every file.
    header: Vec<u8>,
    /// Rows of the epoch that are in no file yet.
    rows: Vec<u8>,
    /// The file that rows go to; `None` until there are rows.
    open: Option<Unfinished>,
    /// The one file is complete, with so many bytes.
    complete: Option<u64>,
    /// The epoch that rows belong to.
    next_epoch: Epoch,
    /// Added to the unfinished file since it was synced.
    unsynced_bytes: u64,
    unsynced_epochs: u32,
}

#[derive(Debug)]
struct Unfinished {
    name: String,
    since_ms: u64,
    /// Bytes that belong to epochs that have ended, or were written at once.
    length: u64,
    /// The file, where the epoch has written to it at once.
    written: Option<File>,
}

impl FileOutput {
    /// Makes the folder and sees that files can be made in it.
    ///
    /// # Errors
    /// They cannot.
    pub(crate) fn new(layout: Layout, header: Vec<u8>) -> Result<Self> {
        fs::create_dir_all(&layout.folder).map_err(|error| Error::io(&layout.folder, error))?;
        let probe = part_of(&layout.folder, &layout.file_name(Epoch(0)));
        match OpenOptions::new().write(true).create_new(true).open(&probe) {
            Ok(_) => fs::remove_file(&probe).map_err(|error| Error::io(&probe, error))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(&probe, error)),
        }
        Ok(FileOutput {
            layout,
            header,
            rows: Vec::new(),
            open: None,
            complete: None,
            next_epoch: Epoch(1),
            unsynced_bytes: 0,
            unsynced_epochs: 0,
        })
    }

    /// Takes rows: `encode` appends their text.
    ///
    /// # Errors
    /// The file cannot be written, or is complete.
    pub(crate) fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        if self.complete.is_some() {
            let name = self.layout.folder.join(self.layout.file_name(Epoch(0)));
            return Err(Error::failed(format!(
                "{}: is complete; nothing can be added to it",
                name.display()
            )));
        }
        encode(&mut self.rows);
        if self.rows.len() as u64 > failpoint::limit("HEADWATER_KEPT_BYTES", KEPT_BYTES_MAX) {
            if self.open.is_none() {
                self.begin(self.next_epoch, 0);
            }
            let rows = self.pack()?;
            if let Some(open) = &mut self.open {
                write_part(&self.layout.folder, open, &rows)?;
                failpoint::pass("file.early");
            }
        }
        Ok(())
    }

    /// Ends the epoch: what it keeps of its rows.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        self.next_epoch = Epoch(cut.epoch.0 + 1);
        if let Some(offset) = self.complete {
            // Said again with every epoch: a later run knows no more than the last one says.
            let name = self.layout.file_name(cut.epoch);
            return Ok(Piece { name: &name, offset, is_complete: true, bytes: &[] }.write());
        }
        let ends_empty = self.layout.roll.is_none() && cut.is_last;
        if self.open.is_none() {
            if self.rows.is_empty() && !ends_empty {
                return Ok(Staged::nothing());
            }
            self.begin(cut.epoch, cut.now_ms);
        }
        let rows = self.pack()?;
        let Some(open) = &mut self.open else { return Ok(Staged::nothing()) };
        if open.written.is_some() {
            write_part(&self.layout.folder, open, &rows)?;
        }
        let bytes = match open.written.take() {
            Some(file) => {
                sync(&file, &self.layout.folder, &open.name)?;
                failpoint::pass("file.early.synced");
                &[][..]
            }
            None => &rows[..],
        };
        if open.since_ms == 0 {
            open.since_ms = cut.now_ms;
        }
        let age_ms = cut.now_ms.saturating_sub(open.since_ms);
        let is_complete = cut.is_last
            || self.layout.roll.is_some_and(|roll| {
                age_ms >= roll.age_max_ms || open.length + bytes.len() as u64 >= roll.bytes_max
            });
        let piece = Piece { name: &open.name, offset: open.length, is_complete, bytes };
        let staged = piece.write();
        open.length = piece.end();
        if is_complete {
            self.complete = self.layout.roll.is_none().then_some(open.length);
            self.open = None;
        }
        Ok(staged)
    }

    fn begin(&mut self, epoch: Epoch, now_ms: u64) {
        let name = self.layout.file_name(epoch);
        self.open = Some(Unfinished { name, since_ms: now_ms, length: 0, written: None });
        let rows = std::mem::take(&mut self.rows);
        self.rows = [self.header.as_slice(), &rows].concat();
    }

    /// The rows of the epoch as bytes of the file.
    fn pack(&mut self) -> Result<Vec<u8>> {
        if !self.layout.is_gzip() || self.rows.is_empty() {
            return Ok(std::mem::take(&mut self.rows));
        }
        // One member per epoch: a reader sees them as one text.
        let mut member = GzEncoder::new(Vec::new(), Compression::default());
        member.write_all(&self.rows)?;
        self.rows.clear();
        Ok(member.finish()?)
    }

    /// Shows the rows of an epoch that is durable.
    ///
    /// # Errors
    /// The file cannot be written, or is not what was committed before.
    pub(crate) fn commit(&mut self, staged: &Staged) -> Result<Delivery> {
        if staged.is_nothing() {
            return Ok(Delivery::Final);
        }
        let piece = Piece::read(staged)?;
        if piece.is_complete && self.is_published(&piece)? {
            return Ok(Delivery::Final);
        }
        let part = part_of(&self.layout.folder, piece.name);
        let mut file = open_part(&part, piece.offset)?;
        put(&mut file, &part, piece.offset, piece.bytes)?;
        failpoint::pass("file.put");
        if piece.is_complete {
            self.publish(&file, piece.name, piece.end())?;
            (self.unsynced_bytes, self.unsynced_epochs) = (0, 0);
            return Ok(Delivery::Final);
        }
        self.unsynced_bytes += piece.bytes.len() as u64;
        self.unsynced_epochs += 1;
        if self.unsynced_bytes < UNSYNCED_BYTES_MAX && self.unsynced_epochs < UNSYNCED_EPOCHS_MAX {
            return Ok(Delivery::Pending);
        }
        sync(&file, &self.layout.folder, piece.name)?;
        failpoint::pass("file.pending.synced");
        (self.unsynced_bytes, self.unsynced_epochs) = (0, 0);
        Ok(Delivery::Final)
    }

    /// Gives a file its name; what stands behind its end belongs to no epoch.
    fn publish(&self, file: &File, name: &str, length: u64) -> Result<()> {
        let (part, path) = (part_of(&self.layout.folder, name), self.layout.folder.join(name));
        let failed = |error| Error::io(&part, error);
        if !failpoint::bug("published-uncut") {
            file.set_len(length).map_err(failed)?;
        }
        failpoint::pass("publish.cut");
        file.sync_all().map_err(failed)?;
        failpoint::pass("publish.synced");
        if self.layout.roll.is_some() && path.exists() && !same_bytes(&part, &path)? {
            return Err(Error::failed(format!(
                "{}: is there already and holds something else: another run wrote to this folder; give an \
                 empty folder, or resume with the state directory that belongs to it",
                path.display()
            )));
        }
        fs::rename(&part, &path).map_err(|error| Error::io(&path, error))?;
        failpoint::pass("publish.renamed");
        sync_directory(&self.layout.folder)?;
        failpoint::pass("publish.done");
        Ok(())
    }

    /// Shows what an earlier run committed, and removes what it did not.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub(crate) fn recover(&mut self, epochs: &[(Epoch, Staged)]) -> Result<Delivery> {
        self.next_epoch = Epoch(epochs.last().map_or(0, |(epoch, _)| epoch.0) + 1);
        for (_, staged) in epochs.iter().filter(|(_, staged)| !staged.is_nothing()) {
            let piece = Piece::read(staged)?;
            if !failpoint::bug("not-recommitted") && !self.is_published(&piece)? {
                self.commit(staged)?;
            }
            failpoint::pass("recover.file.piece");
        }
        let last = epochs.iter().rev().map(|(_, staged)| staged).find(|staged| !staged.is_nothing());
        if self.layout.roll.is_some() {
            self.close_all(epochs)?;
        } else if let Some(last) = last {
            self.go_on(&Piece::read(last)?)?;
        }
        Ok(Delivery::Final)
    }

    /// True when a file has its name already, with these bytes in their place.
    fn is_published(&self, piece: &Piece<'_>) -> Result<bool> {
        let path = self.layout.folder.join(piece.name);
        if part_of(&self.layout.folder, piece.name).exists() || !path.exists() {
            return Ok(false);
        }
        let mut file = File::open(&path).map_err(|error| Error::io(&path, error))?;
        let failed = |error| Error::io(&path, error);
        let length = file.metadata().map_err(failed)?.len();
        let mut found = vec![0; piece.bytes.len()];
        file.seek(SeekFrom::Start(piece.offset)).map_err(failed)?;
        let is_there = match file.read_exact(&mut found) {
            Ok(()) => found == piece.bytes,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(failed(error)),
        };
        Ok(is_there && (length == piece.end() || !piece.is_complete))
    }

    /// Completes the unfinished files of a folder as they were committed: the next file is a new one.
    fn close_all(&mut self, epochs: &[(Epoch, Staged)]) -> Result<()> {
        let mut ends = Vec::<(String, u64)>::new();
        for (_, staged) in epochs.iter().filter(|(_, staged)| !staged.is_nothing()) {
            let piece = Piece::read(staged)?;
            ends.retain(|(name, _)| name != piece.name);
            ends.push((piece.name.to_owned(), piece.end()));
        }
        for (name, length) in ends {
            let part = part_of(&self.layout.folder, &name);
            if part.exists() {
                self.publish(&open_part(&part, length)?, &name, length)?;
            }
        }
        failpoint::pass("recover.file.closed");
        let folder = &self.layout.folder;
        let failed = |error| Error::io(folder, error);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name.to_str().is_some_and(|name| self.layout.is_own_part(name)) {
                let path = folder.join(name);
                fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
                failpoint::pass("recover.file.removed");
            }
        }
        sync_directory(folder)
    }

    /// Goes on with the one file behind what was committed.
    fn go_on(&mut self, piece: &Piece<'_>) -> Result<()> {
        self.complete = piece.is_complete.then(|| piece.end());
        if !piece.is_complete {
            let part = part_of(&self.layout.folder, piece.name);
            let file = open_part(&part, piece.end())?;
            file.set_len(piece.end()).map_err(|error| Error::io(&part, error))?;
            failpoint::pass("recover.file.cut");
            sync(&file, &self.layout.folder, piece.name)?;
            let (name, length) = (piece.name.to_owned(), piece.end());
            self.open = Some(Unfinished { name, since_ms: 0, length, written: None });
        }
        Ok(())
    }
}

impl Drop for FileOutput {
    /// Rows of an unfinished run are left for inspection.
    fn drop(&mut self) {
        if self.rows.is_empty() || self.layout.roll.is_some() {
            return;
        }
        if self.open.is_none() {
            self.begin(self.next_epoch, 0);
        }
        if let (Ok(rows), Some(open)) = (self.pack(), &mut self.open) {
            // Best effort: the run has failed already, and nobody counts on these rows.
            let _ = write_part(&self.layout.folder, open, &rows);
        }
    }
}

fn part_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.part"))
}

/// Opens an unfinished file in which everything in front of `offset` must be there.
fn open_part(part: &Path, offset: u64) -> Result<File> {
    let failed = |error| Error::io(part, error);
    let opened = OpenOptions::new().write(true).create(offset == 0).truncate(false).open(part);
    let file = opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::failed(format!(
            "{} is missing, and an earlier run has committed {offset} bytes of it: name the folder that it wrote \
             to; a job that begins with a savepoint and writes elsewhere says so with --new-output",
            part.display()
        )),
        _ => failed(error),
    })?;
    let length = file.metadata().map_err(failed)?.len();
    if length < offset {
        return Err(Error::failed(format!(
            "{}: has {length} bytes where {offset} were committed: somebody cut it off, or the disk lost it",
            part.display()
        )));
    }
    Ok(file)
}

fn put(file: &mut File, part: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    let written = file.seek(SeekFrom::Start(offset)).and_then(|_| file.write_all(bytes));
    written.map_err(|error| Error::io(part, error))
}

/// Writes rows behind everything that the file has.
fn write_part(folder: &Path, open: &mut Unfinished, rows: &[u8]) -> Result<()> {
    let part = part_of(folder, &open.name);
    let mut file = match open.written.take() {
        Some(file) => file,
        None => open_part(&part, 0)?,
    };
    put(&mut file, &part, open.length, rows)?;
    open.length += rows.len() as u64;
    open.written = Some(file);
    Ok(())
}

fn sync(file: &File, folder: &Path, name: &str) -> Result<()> {
    file.sync_data().map_err(|error| Error::io(part_of(folder, name), error))?;
    sync_directory(folder)
}

fn same_bytes(left: &Path, right: &Path) -> Result<bool> {
    let read = |path: &Path| fs::read(path).map_err(|error| Error::io(path, error));
    Ok(read(left)? == read(right)?)
}

/// Makes a rename durable. Only Unix can open a directory for that.
fn sync_directory(directory: &Path) -> Result<()> {
    if cfg!(unix) {
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| Error::io(directory, error))?;
    }
    Ok(())
}

/// The two phases of a writer whose rows go to the [`FileOutput`] in its field `$output`.
macro_rules! two_phases {
    ($output:ident) => {
        fn prepare(&mut self, cut: headwater::sink::Cut) -> Result<headwater::sink::Staged> {
            self.$output.prepare(cut)
        }

        fn commit(
            &mut self,
            _: headwater::time::Epoch,
            staged: &headwater::sink::Staged,
        ) -> Result<headwater::sink::Delivery> {
            self.$output.commit(staged)
        }

        fn recover(
            &mut self,
            epochs: Vec<(headwater::time::Epoch, headwater::sink::Staged)>,
        ) -> Result<headwater::sink::Delivery> {
            self.$output.recover(&epochs)
        }
    };
}

pub(super) use two_phases;
