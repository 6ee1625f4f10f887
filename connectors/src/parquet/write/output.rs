//! `Output`: rows on their way into files that have their names only when they are complete.
//!
//! A Parquet file can be read when its footer is there, and a footer at every epoch would make thousands of small
//! files. So a file stays open across epochs, and each epoch says in one of three ways how its rows survive:
//!
//! - **They are kept with the epoch**, in the log, as rows. After a crash they are read from there and written
//!   again. The log holds them until the file is complete: their delivery is pending.
//! - **They are in the file**, when the log would hold too many: the row group ends, the file is synced, and the
//!   epoch keeps the footer that would complete it right there. After a crash the file is cut behind its row
//!   groups and gets that footer; no row is read or written again.
//! - **The file is complete** behind the epoch: it was synced before, and the commit gives it its name.
//!
//! Recovery completes what is open, so that the next file is a new one.
//!
//! In an object store nothing can be made before it is complete. There rows are always kept with their epoch, the
//! commit puts the whole file to its place, and a file is complete at the latest when the log has kept enough.
//! Recovery writes a file again from the rows: the same rows give the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use headwater::batch::{Batch, BatchBuilder, BatchLimits, Record};
use headwater::sink::{Cut, Delivery, Staged, Subtask};
use headwater::time::Epoch;
use headwater::{Error, Result, failpoint};

use super::Roll;
use super::partition::Routes;
use super::place::{Out, Place};
use super::schema::Shape;
use super::staged::{Piece, Pieces, append, batches};
use super::writer::ParquetWriter;

/// Rows that the log keeps for all open files together; what is more goes into the files, and they are synced.
const KEPT_BYTES_MAX: u64 = 32 << 20;

/// The same where files are in memory until they are complete.
const REMOTE_KEPT_BYTES_MAX: u64 = 256 << 20;

/// Most files that are open at once; the one that was written to longest ago is completed for another.
const OPEN_FILES_MAX: usize = 128;

/// The files of one writer.
pub(super) struct Output<T: Record> {
    place: Place,
    shape: Arc<Shape>,
    routes: Routes,
    roll: Roll,
    subtask: Subtask,
    /// The epoch that rows belong to.
    next_epoch: u64,
    open: Vec<Open<T>>,
    /// The place of the file of a folder in `open`, and that of the last row.
    places: BTreeMap<String, usize>,
    last: usize,
    /// Files that were completed before their epoch ended.
    done: Vec<Owned>,
    /// Complete files on their way to an object store.
    finished: BTreeMap<String, Bytes>,
    /// Bytes of rows that the log keeps for open files, up to the last epoch and since.
    kept_before: u64,
    kept_now: u64,
    /// The rows of this epoch go into the files.
    is_direct: bool,
    /// Batches so far, by which files are compared that were not written to for long.
    turn: u64,
}

/// A file that is being written.
struct Open<T: Record> {
    folder: String,
    path: String,
    writer: ParquetWriter<Out>,
    since_ms: Option<u64>,
    turn: u64,
    /// Rows of this epoch for the log.
    rows: BatchBuilder<T>,
    kept: Vec<u8>,
    /// The log alone has rows of earlier epochs.
    is_kept: bool,
    /// How the file would be completed behind the last row group that was synced.
    length: u64,
    footer: Vec<u8>,
}

/// A [`Piece`] with what it points to.
struct Owned {
    path: String,
    is_complete: bool,
    length: u64,
    footer: Vec<u8>,
    rows: Vec<u8>,
}

/// What earlier epochs say of a file.
struct Past<'a> {
    path: &'a str,
    epoch: u64,
    is_complete: bool,
    length: u64,
    footer: &'a [u8],
    rows: Vec<&'a [u8]>,
}

impl<T: Record> Open<T> {
    fn keep(&mut self) -> u64 {
        let before = self.kept.len();
        if let Some(batch) = self.rows.finish() {
            append(batch.bytes(), &mut self.kept);
        }
        (self.kept.len() - before) as u64
    }
}

impl<T: Record> Output<T> {
    pub(super) fn new(place: Place, shape: Arc<Shape>, routes: Routes, roll: Roll, subtask: Subtask) -> Self {
        Output {
            place,
            shape,
            routes,
            roll,
            subtask,
            next_epoch: 1,
            open: Vec::new(),
            places: BTreeMap::new(),
            last: 0,
            done: Vec::new(),
            finished: BTreeMap::new(),
            kept_before: 0,
            kept_now: 0,
            is_direct: false,
            turn: 0,
        }
    }

    /// Takes rows.
    ///
    /// # Errors
    /// A value has no place in Parquet, or a file cannot be written.
    pub(super) fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        self.turn += 1;
        let mut result = Ok(());
        batch.for_each(|_, view| {
            if result.is_ok() {
                result = self.row(view);
            }
        });
        let most = if self.place.is_remote() { REMOTE_KEPT_BYTES_MAX } else { KEPT_BYTES_MAX };
        let most = failpoint::limit("HEADWATER_KEPT_BYTES", self.roll.kept_bytes_max.unwrap_or(most));
        let begun = self.open.iter().map(|open| open.rows.bytes() as u64).sum::<u64>();
        if self.kept_before + self.kept_now + begun > most && !self.is_direct {
            self.is_direct = true;
            if self.place.is_remote() {
                return result;
            }
            for open in &mut self.open {
                open.kept = Vec::new();
                open.rows.finish();
            }
        }
        result
    }

    #[inline]
    fn row(&mut self, view: T::View<'_>) -> Result<()> {
        let folder = self.routes.folder::<T>(view);
        // Without folders nothing is compared, and with them most rows go where the last one went.
        if !self.open.get(self.last).is_some_and(|open| folder.is_empty() || open.folder == folder) {
            self.last = match self.places.get(folder) {
                Some(place) => *place,
                None => {
                    let folder = folder.to_owned();
                    self.begin(folder)?
                }
            };
        }
        let is_kept = !self.is_direct || self.place.is_remote();
        let Some(open) = self.open.get_mut(self.last) else { return Ok(()) };
        open.turn = self.turn;
        open.writer.push::<T>(view)?;
        if is_kept {
            open.rows.push(view)?;
            if open.rows.is_full() {
                self.kept_now += open.keep();
            }
        }
        Ok(())
    }

    /// Begins the file of a folder; its place.
    #[cold]
    fn begin(&mut self, folder: String) -> Result<usize> {
        if self.open.len() >= OPEN_FILES_MAX
            && let Some(oldest) = (0..self.open.len()).min_by_key(|place| self.open[*place].turn)
        {
            let open = self.open.swap_remove(oldest);
            self.places.remove(&open.folder);
            if let Some(moved) = self.open.get(oldest) {
                self.places.insert(moved.folder.clone(), oldest);
            }
            let done = self.finish(open, self.next_epoch)?;
            self.done.push(done);
        }
        let slash = if folder.is_empty() { "" } else { "/" };
        let name = format!("{folder}{slash}part-{}-{:08}", self.subtask.index, self.next_epoch);
        let mut path = format!("{name}.parquet");
        // An epoch may begin another file where it has completed one; it sorts behind that.
        let mut more = 1;
        while self.done.iter().any(|done| done.path == path) {
            more += 1;
            path = format!("{name}.then-{more:03}.parquet");
        }
        let writer = self.writer(&path)?;
        let open = Open {
            folder: folder.clone(),
            path,
            writer,
            since_ms: None,
            turn: self.turn,
            rows: BatchBuilder::new(BatchLimits::default()),
            kept: Vec::new(),
            is_kept: false,
            length: 0,
            footer: Vec::new(),
        };
        self.open.push(open);
        self.places.insert(folder, self.open.len() - 1);
        Ok(self.open.len() - 1)
    }

    fn writer(&self, path: &str) -> Result<ParquetWriter<Out>> {
        ParquetWriter::new(self.place.create(path)?, &self.shape, self.place.name(path))
    }

    /// Completes a file behind an epoch; it has its name when that is committed.
    fn finish(&mut self, mut open: Open<T>, epoch: u64) -> Result<Owned> {
        open.keep();
        let out = open.writer.finish(epoch)?;
        self.place.sync(&out, &open.path)?;
        let length = out.length()?;
        let rows = match out.into_memory() {
            None => Vec::new(),
            Some(bytes) => {
                self.finished.insert(open.path.clone(), bytes);
                open.kept
            }
        };
        Ok(Owned { path: open.path, is_complete: true, length, footer: Vec::new(), rows })
    }

    /// Ends the epoch: what it keeps of its rows.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        self.next_epoch = cut.epoch.0 + 1;
        let mut owned = std::mem::take(&mut self.done);
        self.places.clear();
        for mut open in std::mem::take(&mut self.open) {
            let since_ms = *open.since_ms.get_or_insert(cut.now_ms);
            let ends = cut.is_last
                || self.is_direct && self.place.is_remote()
                || cut.now_ms.saturating_sub(since_ms) >= self.roll.age_max_ms
                || open.writer.rows() >= self.roll.rows_max
                || open.writer.bytes() >= self.roll.bytes_max;
            if ends {
                owned.push(self.finish(open, cut.epoch.0)?);
                continue;
            }
            open.keep();
            if self.is_direct {
                open.writer.end_group()?;
                self.place.sync(open.writer.inner(), &open.path)?;
                (open.length, open.footer) = open.writer.footer(cut.epoch.0)?;
                (open.is_kept, open.kept) = (false, Vec::new());
            }
            // The next epoch will have about as many.
            let room = Vec::with_capacity(open.kept.len());
            let rows = std::mem::replace(&mut open.kept, room);
            open.is_kept |= !rows.is_empty();
            self.kept_before += rows.len() as u64;
            let (path, footer) = (open.path.clone(), open.footer.clone());
            owned.push(Owned { path, is_complete: false, length: open.length, footer, rows });
            self.places.insert(open.folder.clone(), self.open.len());
            self.open.push(open);
        }
        let is_settled = self.open.iter().all(|open| !open.is_kept);
        if is_settled {
            self.kept_before = 0;
        }
        (self.is_direct, self.kept_now) = (false, 0);
        if owned.is_empty() {
            return Ok(Staged::nothing());
        }
        let pieces = owned.iter().map(|owned| Piece {
            path: &owned.path,
            is_complete: owned.is_complete,
            length: owned.length,
            footer: &owned.footer,
            rows: &owned.rows,
        });
        Ok(Pieces { is_settled, pieces: pieces.collect() }.write())
    }

    /// Shows the files that an epoch, which is durable, has completed.
    ///
    /// # Errors
    /// A file is not what was committed, or cannot get its name.
    pub(super) fn commit(&mut self, epoch: Epoch, staged: &Staged) -> Result<Delivery> {
        if staged.is_nothing() {
            return Ok(Delivery::Final);
        }
        let pieces = Pieces::read(staged)?;
        for piece in pieces.pieces.iter().filter(|piece| piece.is_complete) {
            match self.finished.get(piece.path) {
                Some(bytes) => self.place.put(piece.path, bytes)?,
                None => self.place.publish(piece.path, piece.length, epoch.0)?,
            }
            self.finished.remove(piece.path);
        }
        Ok(if pieces.is_settled { Delivery::Final } else { Delivery::Pending })
    }

    /// Shows what an earlier run committed, and removes what it did not.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), or rows are of another record type.
    pub(super) fn recover(&mut self, epochs: &[(Epoch, Staged)]) -> Result<Delivery> {
        self.next_epoch = epochs.last().map_or(0, |(epoch, _)| epoch.0) + 1;
        let mut files: Vec<Past<'_>> = Vec::new();
        for (epoch, staged) in epochs.iter().filter(|(_, staged)| !staged.is_nothing()) {
            for piece in Pieces::read(staged)?.pieces {
                let at = files.iter().position(|past| past.path == piece.path).unwrap_or_else(|| {
                    let (path, epoch) = (piece.path, epoch.0);
                    files.push(Past {
                        path,
                        epoch,
                        is_complete: false,
                        length: 0,
                        footer: &[],
                        rows: Vec::new(),
                    });
                    files.len() - 1
                });
                let past = &mut files[at];
                let is_in_file = piece.is_complete && !self.place.is_remote();
                if is_in_file || piece.footer != past.footer {
                    past.rows.clear();
                }
                if !piece.rows.is_empty() {
                    past.rows.push(piece.rows);
                }
                (past.epoch, past.is_complete) = (epoch.0, piece.is_complete);
                (past.length, past.footer) = (piece.length, piece.footer);
            }
        }
        if !failpoint::bug("not-recommitted") {
            files.iter().try_for_each(|past| self.show(past))?;
        }
        self.place.clean(self.subtask)?;
        Ok(Delivery::Final)
    }

    /// Completes a file as it was committed, and gives it its name.
    fn show(&self, past: &Past<'_>) -> Result<()> {
        if past.is_complete && !self.place.is_remote() {
            return self.place.publish(past.path, past.length, past.epoch);
        }
        if !past.footer.is_empty() {
            self.place.complete(past.path, past.length, past.footer)?;
        }
        if past.rows.is_empty() {
            return Ok(());
        }
        // Behind row groups that are on the disk, rows from the log make a file of their own.
        let path = match past.path.strip_suffix(".parquet").filter(|_| !past.footer.is_empty()) {
            Some(name) => format!("{name}.rest.parquet"),
            None => past.path.to_owned(),
        };
        if self.place.published(&path)? == Some(past.epoch) {
            return Ok(());
        }
        let mut writer = self.writer(&path)?;
        for rows in &past.rows {
            for batch in batches(rows)? {
                let batch = Batch::<T>::from_bytes(batch).map_err(|error| {
                    Error::failed(format!(
                        "{path}: rows that an earlier run has committed cannot be read ({error}): run the program \
                         as it was until it has shown them, and then this one"
                    ))
                })?;
                let mut result = Ok(());
                batch.for_each(|_, view| {
                    if result.is_ok() {
                        result = writer.push::<T>(view);
                    }
                });
                result?;
            }
        }
        let out = writer.finish(past.epoch)?;
        self.place.sync(&out, &path)?;
        let length = out.length()?;
        match out.into_memory() {
            Some(bytes) => self.place.put(&path, &bytes),
            None => self.place.publish(&path, length, past.epoch),
        }
    }
}
