//! What an epoch keeps for the files of a writer: how far each is, and rows that are in none yet.
//!
//! ```text
//! 0   version  u8       1
//! 1   settled  u8       1: no row of this epoch or an earlier one is in the log alone
//! 2   pieces   u32 le   and for each:
//!     complete u8       1: the file is complete behind this epoch
//!     length   u64 le   of the complete file, or of what stands in front of the footer; 0: nothing does
//!     path     u16 le, and so many bytes: where the file is below the folder
//!     footer   u32 le, and so many bytes: what completes the file behind its length
//!     rows     u64 le, and so many bytes: batches, each behind its length in 4 bytes
//! ```

use headwater::sink::Staged;
use headwater::{Error, Result};

const VERSION: u8 = 1;

/// The share of an epoch in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) path: &'a str,
    pub(super) is_complete: bool,
    pub(super) length: u64,
    pub(super) footer: &'a [u8],
    pub(super) rows: &'a [u8],
}

/// The share of an epoch in the files of a writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces<'a> {
    /// No row of this epoch or an earlier one is in the log alone.
    pub(super) is_settled: bool,
    pub(super) pieces: Vec<Piece<'a>>,
}

fn damaged() -> Error {
    Error::failed("what the epoch keeps of a Parquet file is damaged, or of another sink")
}

impl<'a> Pieces<'a> {
    pub(super) fn write(&self) -> Staged {
        let lengths = self.pieces.iter().map(|it| 32 + it.path.len() + it.footer.len() + it.rows.len());
        let mut bytes = Vec::with_capacity(6 + lengths.sum::<usize>());
        bytes.extend_from_slice(&[VERSION, u8::from(self.is_settled)]);
        bytes.extend_from_slice(&(self.pieces.len() as u32).to_le_bytes());
        for piece in &self.pieces {
            bytes.push(u8::from(piece.is_complete));
            bytes.extend_from_slice(&piece.length.to_le_bytes());
            bytes.extend_from_slice(&(piece.path.len() as u16).to_le_bytes());
            bytes.extend_from_slice(piece.path.as_bytes());
            bytes.extend_from_slice(&(piece.footer.len() as u32).to_le_bytes());
            bytes.extend_from_slice(piece.footer);
            bytes.extend_from_slice(&(piece.rows.len() as u64).to_le_bytes());
            bytes.extend_from_slice(piece.rows);
        }
        Staged::bytes(bytes)
    }

    /// # Errors
    /// The bytes were not written by this sink.
    pub(super) fn read(staged: &'a Staged) -> Result<Pieces<'a>> {
        let [version, settled, bytes @ ..] = staged.as_bytes() else { return Err(damaged()) };
        if *version != VERSION {
            return Err(damaged());
        }
        let (count, mut bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let mut pieces = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (complete, rest) = bytes.split_first().ok_or_else(damaged)?;
            let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
            let (path, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
            let (path, rest) = cut(rest, u16::from_le_bytes(*path).into())?;
            let (footer, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
            let (footer, rest) = cut(rest, u32::from_le_bytes(*footer).into())?;
            let (rows, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
            let (rows, rest) = cut(rest, u64::from_le_bytes(*rows))?;
            bytes = rest;
            let path = std::str::from_utf8(path).map_err(|_| damaged())?;
            // A path leads nowhere else: the bytes may come from another machine.
            let leads_away = |name: &str| name.is_empty() || name == "." || name == "..";
            if path.contains(['\\', '\0']) || path.split('/').any(leads_away) {
                return Err(damaged());
            }
            let (is_complete, length) = (*complete == 1, u64::from_le_bytes(*length));
            pieces.push(Piece { path, is_complete, length, footer, rows });
        }
        if bytes.is_empty() { Ok(Pieces { is_settled: *settled == 1, pieces }) } else { Err(damaged()) }
    }
}

fn cut(bytes: &[u8], length: u64) -> Result<(&[u8], &[u8])> {
    let length = usize::try_from(length).map_err(|_| damaged())?;
    bytes.split_at_checked(length).ok_or_else(damaged)
}

/// Appends the bytes of a batch to rows.
pub(super) fn append(batch: &[u8], rows: &mut Vec<u8>) {
    rows.extend_from_slice(&(batch.len() as u32).to_le_bytes());
    rows.extend_from_slice(batch);
}

/// The batches of rows, in order.
///
/// # Errors
/// The bytes were not written by this sink.
pub(super) fn batches(mut rows: &[u8]) -> Result<Vec<&[u8]>> {
    let mut batches = Vec::new();
    while !rows.is_empty() {
        let (length, rest) = rows.split_first_chunk().ok_or_else(damaged)?;
        let (batch, rest) = cut(rest, u32::from_le_bytes(*length).into())?;
        batches.push(batch);
        rows = rest;
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_they_were_written_and_lead_nowhere_else() {
        let mut rows = Vec::new();
        append(b"first", &mut rows);
        append(b"", &mut rows);
        let piece =
            Piece { path: "a=1/x.parquet", is_complete: true, length: 7, footer: b"foot", rows: &rows };
        let pieces = Pieces { is_settled: true, pieces: vec![piece, Piece { is_complete: false, ..piece }] };
        let staged = pieces.write();
        assert_eq!(Pieces::read(&staged).unwrap(), pieces);
        assert_eq!(batches(&rows).unwrap(), [&b"first"[..], b""]);
        for length in 0..staged.as_bytes().len() {
            let cut = Staged::bytes(staged.as_bytes()[..length].to_vec());
            assert!(Pieces::read(&cut).is_err(), "{length}");
        }
        for path in ["", "..", "../x", "a//b", "/a", "a\0b", "a/./b", "a\\b"] {
            let pieces = Pieces { is_settled: false, pieces: vec![Piece { path, ..piece }] };
            assert!(Pieces::read(&pieces.write()).is_err(), "{path:?}");
        }
    }
}
