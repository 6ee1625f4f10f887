//! What an epoch keeps for a file: which bytes of it are the epoch's, and those that are not in it yet.
//!
//! ```text
//! 0   flags    u8       1: the file is complete behind these bytes
//! 1   offset   u64 le   where the bytes below belong in the file
//! 9   length   u16 le   of the name
//! 11  name     of the file in its folder
//! ..  bytes    to the end
//! ```

use headwater::sink::Staged;
use headwater::{Error, Result};

const COMPLETE: u8 = 1;

/// The share of an epoch in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) name: &'a str,
    pub(crate) offset: u64,
    pub(crate) is_complete: bool,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    pub(crate) fn write(&self) -> Staged {
        let mut bytes = Vec::with_capacity(11 + self.name.len() + self.bytes.len());
        bytes.push(if self.is_complete { COMPLETE } else { 0 });
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.extend_from_slice(self.bytes);
        Staged::bytes(bytes)
    }

    /// # Errors
    /// The bytes were not written by this sink.
    pub(crate) fn read(staged: &'a Staged) -> Result<Piece<'a>> {
        let damaged = || Error::failed("what the epoch keeps of a file is damaged, or of another sink");
        let bytes = staged.as_bytes();
        let (flags, bytes) = bytes.split_first().ok_or_else(damaged)?;
        let (offset, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (length, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (name, bytes) = bytes.split_at_checked(length).ok_or_else(damaged)?;
        let name = std::str::from_utf8(name).map_err(|_| damaged())?;
        // A name leads nowhere else: the bytes may come from another machine.
        if name.is_empty() || name.contains(['/', '\\', '\0']) || name == ".." {
            return Err(damaged());
        }
        Ok(Piece { name, offset: u64::from_le_bytes(*offset), is_complete: *flags == COMPLETE, bytes })
    }

    /// Offset behind the bytes.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_reads_as_it_was_written_and_leads_nowhere_else() {
        let piece = Piece { name: "part-0-00000001.csv", offset: 7, is_complete: true, bytes: b"a,b\n" };
        assert_eq!(Piece::read(&piece.write()).unwrap(), piece);
        for name in ["", "..", "../x", "a/b", "a\0b"] {
            assert!(Piece::read(&Piece { name, ..piece }.write()).is_err(), "{name:?}");
        }
        for length in 0..11 {
            assert!(Piece::read(&Staged::bytes(vec![0; length])).is_err());
        }
    }
}
