//! `EpochShare`: the rows of one subtask in one epoch, and a name for them that no other rows will ever have.
//!
//! What the log keeps of a share begins with who wrote it:
//!
//! ```text
//! 0   version  u8       1
//! 1   subtask  u32 le   that wrote the rows; it may be another one that shows them
//! 5   run      u64 le   drawn when the writer was opened
//! 13  rows     to the end, as the sink likes them
//! ```

use std::hash::{BuildHasher, RandomState};

use headwater::sink::{Staged, Subtask};
use headwater::time::Epoch;
use headwater::{Error, Result};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 13;

/// The rows of one subtask in one epoch, as a target that is not transactional gets to know them.
///
/// The same share may come again: after a crash, and after an attempt of which nobody knows how it ended. Then it
/// has the same [`key`](Self::key) and the same rows in the same order. Other rows never have that key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochShare {
    /// The epoch. Numbers rise within a state directory, and begin anew with a new one.
    pub epoch: Epoch,
    /// Who wrote the rows, from 0.
    pub subtask: usize,
    /// A name of this share, 20 to 60 letters, digits and `-`; what a target remembers to be idempotent.
    pub key: String,
}

/// Who writes shares: a writer between its opening and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    subtask: u32,
    run: u64,
}

impl Author {
    pub(crate) fn new(subtask: Subtask) -> Self {
        // A job that begins anew counts its epochs from 1 again, with other rows: the number of an epoch alone
        // would be no name for them, and a target that remembers names would take them for those of before.
        Author { subtask: subtask.index as u32, run: RandomState::new().hash_one(subtask.index) }
    }

    /// What the log keeps: the author, and the rows.
    pub(crate) fn stage(self, rows: &[u8]) -> Staged {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + rows.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.subtask.to_le_bytes());
        bytes.extend_from_slice(&self.run.to_le_bytes());
        bytes.extend_from_slice(rows);
        Staged::bytes(bytes)
    }
}

pub(crate) fn damaged() -> Error {
    Error::failed("what the epoch keeps of its rows is damaged, or of another sink: run `wal verify`")
}

impl EpochShare {
    /// The share that was staged for an epoch, and its rows.
    ///
    /// # Errors
    /// No author has staged this.
    pub(crate) fn read(epoch: Epoch, staged: &Staged) -> Result<(EpochShare, &[u8])> {
        let (version, bytes) = staged.as_bytes().split_first().ok_or_else(damaged)?;
        let (subtask, bytes) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (run, rows) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(damaged());
        }
        let (subtask, run) = (u32::from_le_bytes(*subtask), u64::from_le_bytes(*run));
        let key = format!("{run:016x}-{epoch}-{subtask}");
        Ok((EpochShare { epoch, subtask: subtask as usize, key }, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_the_same_key_each_time_and_no_other_share_has_it() {
        let subtask = Subtask { index: 3, count: 4 };
        let (one, other) = (Author::new(subtask), Author::new(subtask));
        let key = |author: Author, epoch| {
            let staged = author.stage(b"rows");
            let (share, rows) = EpochShare::read(Epoch(epoch), &staged).unwrap();
            assert_eq!((share.epoch, share.subtask, rows), (Epoch(epoch), 3, &b"rows"[..]));
            share.key
        };
        assert_eq!(key(one, 7), key(one, 7));
        assert_ne!(key(one, 7), key(one, 8));
        assert_ne!(key(one, 7), key(other, 7));
        assert!((20..=60).contains(&key(one, u64::MAX).len()));
    }

    #[test]
    fn what_no_author_has_staged_is_no_share() {
        let whole = Author::new(Subtask { index: 0, count: 1 }).stage(b"");
        for length in 0..whole.as_bytes().len() {
            let cut = Staged::bytes(whole.as_bytes()[..length].to_vec());
            assert!(EpochShare::read(Epoch(1), &cut).is_err());
        }
        assert!(EpochShare::read(Epoch(1), &Staged::bytes(vec![9; 40])).is_err());
    }
}
