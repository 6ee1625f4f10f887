//! What an epoch keeps for a database: its rows, and whose they are.
//!
//! ```text
//! 0   version  u8       1
//! 1   subtask  u32 le   who wrote them, whoever shows them
//! 5   schema   u64 le   hash of the record's fields
//! 13  rows     u64 le   how many
//! 21  cells    to the end
//! ```

use headwater::sink::Staged;
use headwater::{Error, Result};

use super::cells::Cells;

const VERSION: u8 = 1;

/// The rows of one subtask in one epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) subtask: u32,
    pub(crate) schema: u64,
    pub(crate) rows: u64,
    pub(crate) cells: Cells<'a>,
}

pub(crate) fn damaged() -> Error {
    Error::failed("what the epoch keeps of its rows is damaged, or of another sink")
}

impl<'a> Piece<'a> {
    pub(crate) fn write(&self) -> Staged {
        let mut bytes = Vec::with_capacity(21 + self.cells.0.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.subtask.to_le_bytes());
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        bytes.extend_from_slice(self.cells.0);
        Staged::bytes(bytes)
    }

    /// # Errors
    /// The bytes were not written by this sink, or for another record type.
    pub(crate) fn read(staged: &'a Staged, schema: u64) -> Result<Piece<'a>> {
        let bytes = staged.as_bytes();
        let (version, bytes) = bytes.split_first().ok_or_else(damaged)?;
        let (subtask, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (of, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (rows, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(damaged());
        }
        if u64::from_le_bytes(*of) != schema {
            return Err(Error::failed(
                "rows of an epoch are still to be shown, and their record type had other fields than it has \
                 now: run the program as it was until it has shown them, and then this one",
            ));
        }
        let (subtask, rows) = (u32::from_le_bytes(*subtask), u64::from_le_bytes(*rows));
        Ok(Piece { subtask, schema, rows, cells: Cells(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_reads_as_it_was_written_and_for_its_own_record_type_only() {
        let piece = Piece { subtask: 3, schema: 77, rows: 2, cells: Cells(b"\0\0") };
        let staged = piece.write();
        let read = Piece::read(&staged, 77).unwrap();
        assert_eq!((read.subtask, read.rows, read.cells.0), (3, 2, &b"\0\0"[..]));
        let error = Piece::read(&staged, 78).unwrap_err().to_string();
        assert!(error.contains("run the program as it was"), "{error}");
        for length in 0..21 {
            assert!(Piece::read(&Staged::bytes(staged.as_bytes()[..length].to_vec()), 77).is_err());
        }
    }
}
