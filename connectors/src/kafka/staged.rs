//! What the epoch log keeps of the rows of an epoch until they are in their topic.
//!
//! ```text
//! 0   version   u8       2
//! 1   flags     u8       1: the first rows of this lineage
//! 2   subtask   u32 le   that wrote them; it may be another one that sends them
//! 6   lineage   u64 le   which run of which job they belong to; kept when the job goes on
//! 14  rows      each: u32 le, the length of the value and two bits, value, and as these say
//!                 bit 31: u32 le length of the key, key
//!                 bit 30: i64 le timestamp
//! ```

use headwater::sink::Staged;
use headwater::{Error, Result};

const VERSION: u8 = 2;
const FIRST: u8 = 1;
const HEADER_BYTES: usize = 14;
const HAS_KEY: u32 = 1 << 31;
const HAS_TIMESTAMP: u32 = 1 << 30;
const LENGTH: u32 = HAS_TIMESTAMP - 1;

/// How many epochs may be on their way at a time, and so how many buffers are in use.
const SPARES_MAX: usize = 2;

/// A timestamp that is left to the client.
pub(super) const NO_TIMESTAMP: i64 = i64::MIN;

/// Who wrote rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) subtask: u32,
    pub(super) lineage: u64,
    /// There were no rows of this lineage before.
    pub(super) is_first: bool,
}

/// A row on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
    pub(super) timestamp: i64,
}

/// Rows that are being staged.
#[derive(Debug, Default)]
pub(super) struct Staging {
    bytes: Vec<u8>,
    pub(super) rows: usize,
    /// What was delivered: its memory is used again, because memory that the system must clear first costs as
    /// much as writing to it.
    spares: Vec<Staged>,
}

impl Staging {
    /// Staged output that nobody needs any more.
    pub(super) fn delivered(&mut self, staged: &Staged) {
        self.spares.truncate(SPARES_MAX - 1);
        self.spares.insert(0, staged.clone());
    }

    /// Adds a row whose key and value are written by closures.
    ///
    /// # Errors
    /// The value is larger than any message can be.
    pub(super) fn push(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>) -> bool,
        value: impl FnOnce(&mut Vec<u8>),
        timestamp: i64,
    ) -> Result<()> {
        if self.bytes.is_empty() {
            if self.bytes.capacity() == 0 {
                self.bytes = self.spares.pop().and_then(|spare| spare.into_bytes().ok()).unwrap_or_default();
                self.bytes.clear();
            }
            self.bytes.resize(HEADER_BYTES, 0);
        }
        let bytes = &mut self.bytes;
        let row = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        value(bytes);
        let start = bytes.len();
        let length = u32::try_from(start - row - 4).ok().filter(|length| *length <= LENGTH);
        let Some(mut head) = length else {
            let bytes = start - row - 4;
            return Err(Error::failed(format!("a row of {bytes} bytes is larger than any message of Kafka")));
        };
        bytes.extend_from_slice(&[0; 4]);
        if key(bytes) {
            head |= HAS_KEY;
            let length = (bytes.len() - start - 4) as u32;
            bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        } else {
            bytes.truncate(start);
        }
        if timestamp != NO_TIMESTAMP {
            head |= HAS_TIMESTAMP;
            bytes.extend_from_slice(&timestamp.to_le_bytes());
        }
        bytes[row..row + 4].copy_from_slice(&head.to_le_bytes());
        self.rows += 1;
        Ok(())
    }

    /// What was added since the last call. An epoch without rows says who would have written them, so that the
    /// lineage goes on.
    pub(super) fn take(&mut self, author: Author) -> Staged {
        let mut bytes = std::mem::take(&mut self.bytes);
        if std::mem::take(&mut self.rows) == 0 {
            // Where nothing comes, memory is given back.
            self.spares.clear();
        }
        bytes.resize(bytes.len().max(HEADER_BYTES), 0);
        bytes[0] = VERSION;
        bytes[1] = if author.is_first { FIRST } else { 0 };
        bytes[2..6].copy_from_slice(&author.subtask.to_le_bytes());
        bytes[6..HEADER_BYTES].copy_from_slice(&author.lineage.to_le_bytes());
        Staged::bytes(bytes)
    }
}

fn damaged() -> Error {
    Error::failed("what the epoch keeps for Kafka is damaged, or of another sink: run `wal verify`")
}

/// Who wrote them, and the rows.
///
/// # Errors
/// The bytes were not written by this sink.
pub(super) fn read(staged: &Staged) -> Result<(Author, Rows<'_>)> {
    let (header, rows) = staged.as_bytes().split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
    let [version, flags, header @ ..] = header else { return Err(damaged()) };
    let (subtask, lineage) = header.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (lineage, _) = lineage.split_first_chunk::<8>().ok_or_else(damaged)?;
    if *version != VERSION || *flags & !FIRST != 0 {
        return Err(damaged());
    }
    let author = Author {
        subtask: u32::from_le_bytes(*subtask),
        lineage: u64::from_le_bytes(*lineage),
        is_first: flags & FIRST != 0,
    };
    Ok((author, Rows { rest: rows }))
}

/// The rows of an epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    /// The next row; `None` behind the last.
    ///
    /// # Errors
    /// The bytes were not written by this sink.
    pub(super) fn next(&mut self) -> Result<Option<Row<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut rest = self.rest;
        let head = u32::from_le_bytes(take::<4>(&mut rest)?);
        let value = split(&mut rest, (head & LENGTH) as usize)?;
        let key = match head & HAS_KEY {
            0 => None,
            _ => {
                let length = u32::from_le_bytes(take::<4>(&mut rest)?);
                Some(split(&mut rest, length as usize)?)
            }
        };
        let timestamp = match head & HAS_TIMESTAMP {
            0 => NO_TIMESTAMP,
            _ => i64::from_le_bytes(take::<8>(&mut rest)?),
        };
        self.rest = rest;
        Ok(Some(Row { key, value, timestamp }))
    }

    /// Cuts off rows of about so many bytes, at least one.
    ///
    /// # Errors
    /// The bytes were not written by this sink.
    pub(super) fn cut(&mut self, bytes: usize) -> Result<Rows<'a>> {
        let whole = self.rest;
        while whole.len() - self.rest.len() < bytes && self.next()?.is_some() {}
        Ok(Rows { rest: &whole[..whole.len() - self.rest.len()] })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

fn split<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length).ok_or_else(damaged)?;
    *rest = tail;
    Ok(head)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    split(rest, N)?.try_into().map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AUTHOR: Author = Author { subtask: 3, lineage: 0xfeed_0000_beef, is_first: true };

    type Owned = (Option<Vec<u8>>, Vec<u8>, i64);

    fn all(mut rows: Rows<'_>) -> Vec<Owned> {
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            all.push((row.key.map(<[u8]>::to_vec), row.value.to_vec(), row.timestamp));
        }
        all
    }

    proptest! {
        #[test]
        fn rows_read_as_they_were_staged_and_pieces_hold_them_all(
            rows in proptest::collection::vec(any::<Owned>(), 0..20),
            piece in 1_usize..200,
        ) {
            let mut staging = Staging::default();
            for (key, value, timestamp) in &rows {
                let write = |out: &mut Vec<u8>| key.as_ref().map(|key| out.extend(key)).is_some();
                staging.push(write, |out| out.extend(value), *timestamp).unwrap();
            }
            let staged = staging.take(AUTHOR);
            let (author, read_back) = read(&staged).unwrap();
            prop_assert_eq!(author, AUTHOR);
            prop_assert_eq!(&all(read_back), &rows);
            let (mut left, mut pieces) = (read_back, Vec::new());
            while !left.is_empty() {
                pieces.extend(all(left.cut(piece).unwrap()));
            }
            prop_assert_eq!(&pieces, &rows);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let staged = Staged::bytes(bytes);
            if let Ok((_, mut rows)) = read(&staged) {
                while let Ok(Some(_)) = rows.next() {}
            }
        }
    }

    #[test]
    fn an_epoch_without_rows_says_who_goes_on() {
        let staged = Staging::default().take(AUTHOR);
        let (author, rows) = read(&staged).unwrap();
        assert!(author == AUTHOR && rows.is_empty());
    }
}
