//! `Object`: one object of a store, read as a file is.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use headwater::{Error, Result};

use super::folder::Folder;

/// How much is asked for at once: a request takes as long as some megabytes.
const PART_BYTES: u64 = 8 << 20;

/// An object that is there, and a place in it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    folder: Folder,
    length: u64,
    offset: u64,
    /// What has been asked for and not been read, up to `offset` + its length.
    part: Bytes,
}

impl Object {
    /// # Errors
    /// There is none, or the store does not answer.
    pub(crate) fn open(url: &Path) -> Result<Object> {
        let folder = Folder::open(url)?;
        let Some(length) = folder.length("")? else {
            return Err(Error::failed(format!("{}: there is no such object", url.display())));
        };
        Ok(Object { folder, length, offset: 0, part: Bytes::new() })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// A part of it.
    ///
    /// # Errors
    /// The store does not answer, or there is no such part.
    pub(crate) fn part(&self, start: u64, length: u64) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let part = self.folder.part("", start..start + length)?;
        if part.len() as u64 == length {
            return Ok(part);
        }
        Err(Error::failed(format!("{}: has become shorter while it was read", self.folder.url("").display())))
    }
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() {
            let length = PART_BYTES.min(self.length.saturating_sub(self.offset));
            self.part = self.part(self.offset, length).map_err(io::Error::other)?;
        }
        let count = buffer.len().min(self.part.len());
        buffer[..count].copy_from_slice(&self.part.split_to(count));
        self.offset += count as u64;
        Ok(count)
    }
}

impl Seek for Object {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.offset.checked_add_signed(by),
        };
        let offset = offset.ok_or(io::ErrorKind::InvalidInput)?;
        if offset != self.offset {
            (self.offset, self.part) = (offset, Bytes::new());
        }
        Ok(offset)
    }
}
