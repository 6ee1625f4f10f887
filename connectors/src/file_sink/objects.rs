//! `ObjectOutput`: rows of text on their way into objects of a store, which are there as a whole or not at all.
//!
//! The rows of an epoch are kept with it, in the log, until their object is complete; the commit that completes it
//! puts it to its place. Recovery puts the pieces of an object together again and completes it, so that the next
//! is new.

use std::collections::BTreeMap;

use bytes::Bytes;
use headwater::sink::{Cut, Delivery, Staged};
use headwater::time::Epoch;
use headwater::{Error, Result, failpoint};

use super::layout::Layout;
use super::staged::Piece;
use crate::store::Folder;

/// An object is complete with so many bytes at the latest: until then they are in memory and in the log.
const OBJECT_BYTES_MAX: u64 = 64 << 20;

/// The objects of one writer.
#[derive(Debug)]
pub(crate) struct ObjectOutput {
    folder: Folder,
    layout: Layout,
    header: Vec<u8>,
    /// Rows of the epoch.
    rows: Vec<u8>,
    /// The object that rows go to.
    open: Option<Open>,
    /// Complete objects that are to be put to their places.
    finished: BTreeMap<String, Bytes>,
}

#[derive(Debug)]
struct Open {
    name: String,
    since_ms: u64,
    bytes: Vec<u8>,
}

impl ObjectOutput {
    /// # Errors
    /// The URL names no store, or one object alone.
    pub(crate) fn new(layout: Layout, header: Vec<u8>) -> Result<Self> {
        if layout.roll.is_none() {
            return Err(Error::Config(format!(
                "{}: one object cannot grow with a job; use `folder`, which writes several",
                layout.folder.display()
            )));
        }
        let folder = Folder::open(&layout.folder)?;
        Ok(ObjectOutput { folder, layout, header, rows: Vec::new(), open: None, finished: BTreeMap::new() })
    }

    pub(crate) fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.rows);
    }

    pub(crate) fn prepare(&mut self, cut: Cut) -> Staged {
        if self.open.is_none() {
            if self.rows.is_empty() {
                return Staged::nothing();
            }
            let name = self.layout.file_name(cut.epoch);
            self.open = Some(Open { name, since_ms: cut.now_ms, bytes: Vec::new() });
            self.rows.splice(..0, self.header.iter().copied());
        }
        let (Some(mut open), Some(roll)) = (self.open.take(), self.layout.roll) else {
            return Staged::nothing();
        };
        let (rows, offset) = (std::mem::take(&mut self.rows), open.bytes.len() as u64);
        open.bytes.extend_from_slice(&rows);
        let is_complete = cut.is_last
            || cut.now_ms.saturating_sub(open.since_ms) >= roll.age_max_ms
            || open.bytes.len() as u64 >= roll.bytes_max.min(OBJECT_BYTES_MAX);
        let staged = Piece { name: &open.name, offset, is_complete, bytes: &rows }.write();
        if is_complete {
            self.finished.insert(open.name, open.bytes.into());
        } else {
            self.open = Some(open);
        }
        staged
    }

    /// # Errors
    /// The store does not take the object, or another one has its name.
    pub(crate) fn commit(&mut self, staged: &Staged) -> Result<Delivery> {
        if staged.is_nothing() {
            return Ok(Delivery::Final);
        }
        let piece = Piece::read(staged)?;
        if !piece.is_complete {
            return Ok(Delivery::Pending);
        }
        match self.finished.get(piece.name) {
            Some(bytes) => self.folder.put(piece.name, bytes)?,
            None => self.is_there(&piece)?,
        }
        self.finished.remove(piece.name);
        Ok(Delivery::Final)
    }

    /// # Errors
    /// The object of a piece is not there, or does not have it.
    fn is_there(&self, piece: &Piece<'_>) -> Result<()> {
        let found = self.folder.get(piece.name)?;
        let end = usize::try_from(piece.end()).ok();
        let whole = found.zip(end).filter(|(found, end)| found.len() == *end && found.ends_with(piece.bytes));
        match whole {
            Some(_) => Ok(()),
            None => Err(Error::failed(format!(
                "{}: is not there as it was committed: somebody removed or changed it",
                self.folder.url(piece.name).display()
            ))),
        }
    }

    /// Shows what an earlier run committed.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub(crate) fn recover(&mut self, epochs: &[(Epoch, Staged)]) -> Result<Delivery> {
        let mut objects: Vec<(&str, Vec<Piece<'_>>)> = Vec::new();
        for (_, staged) in epochs.iter().filter(|(_, staged)| !staged.is_nothing()) {
            let piece = Piece::read(staged)?;
            match objects.iter_mut().find(|(name, _)| *name == piece.name) {
                Some((_, pieces)) => pieces.push(piece),
                None => objects.push((piece.name, vec![piece])),
            }
        }
        for (name, pieces) in objects {
            self.show(name, &pieces)?;
        }
        Ok(Delivery::Final)
    }

    fn show(&self, name: &str, pieces: &[Piece<'_>]) -> Result<()> {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(()) };
        // What stood in front was delivered, and so was the object as far as this piece.
        if first.offset > 0 {
            return self.is_there(last);
        }
        if failpoint::bug("not-recommitted") {
            return Ok(());
        }
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes).copied().collect();
        self.folder.put(name, &bytes.into())
    }
}
