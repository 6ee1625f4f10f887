//! The rows of an epoch as the bodies that will be sent.
//!
//! One behind the other: how many rows (`u32 le`), how many bytes (`u32 le`), the body.

use headwater::{Error, Result};

use crate::share::damaged;

const HEAD_BYTES: usize = 8;

/// Bodies that are being filled.
#[derive(Debug)]
pub(super) struct Parts {
    bytes: Vec<u8>,
    /// Where the head of the part begins that is being filled.
    open: Option<usize>,
    rows: u32,
    rows_max: usize,
    body_bytes_max: usize,
}

impl Parts {
    pub(super) fn new(rows_max: usize, body_bytes_max: usize) -> Self {
        Parts { bytes: Vec::new(), open: None, rows: 0, rows_max, body_bytes_max }
    }

    /// Adds a row, which `write` appends; it goes into the open part if there is room.
    ///
    /// # Errors
    /// The row is larger than a part can be.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let start = self.open.unwrap_or_else(|| self.begin());
        let before = self.bytes.len();
        write(&mut self.bytes);
        if self.rows > 0 && self.bytes.len() - start - HEAD_BYTES > self.body_bytes_max {
            // One too many: it begins the next part.
            let row = self.bytes.split_off(before);
            self.close()?;
            self.begin();
            self.bytes.extend_from_slice(&row);
        }
        self.rows += 1;
        if self.rows as usize >= self.rows_max {
            self.close()?;
        }
        Ok(())
    }

    /// Makes room for the head of a part.
    fn begin(&mut self) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        self.open = Some(start);
        start
    }

    fn close(&mut self) -> Result<()> {
        if let Some(start) = self.open.take() {
            let length = u32::try_from(self.bytes.len() - start - HEAD_BYTES)
                .map_err(|_| Error::failed("a row has more than 4 GiB as JSON: send where it is instead"))?;
            self.bytes[start..start + 4].copy_from_slice(&self.rows.to_le_bytes());
            self.bytes[start + 4..start + HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
            self.rows = 0;
        }
        Ok(())
    }

    /// All parts since the last call.
    ///
    /// # Errors
    /// A row is larger than a part can be.
    pub(super) fn take(&mut self) -> Result<Vec<u8>> {
        self.close()?;
        Ok(std::mem::take(&mut self.bytes))
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) rows: u32,
    pub(super) body: &'a [u8],
}

/// The first part, and the others.
///
/// # Errors
/// The bytes are damaged.
pub(super) fn split_part(bytes: &[u8]) -> Result<(Part<'_>, &[u8])> {
    let (rows, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let (length, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let (body, rest) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
    Ok((Part { rows: u32::from_le_bytes(*rows), body }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(mut bytes: &[u8]) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (part, rest) = split_part(bytes).unwrap();
            found.push((part.rows, String::from_utf8(part.body.to_vec()).unwrap()));
            bytes = rest;
        }
        found
    }

    #[test]
    fn rows_fill_parts_up_to_both_limits_and_a_long_row_goes_alone() {
        let mut staged = Parts::new(3, 4);
        for row in ["a", "b", "c", "dd", "ee", "f", "a long row", "g"] {
            staged.push(|out| out.extend_from_slice(row.as_bytes())).unwrap();
        }
        let of =
            |rows: &[(u32, &str)]| rows.iter().map(|(n, body)| (*n, (*body).to_owned())).collect::<Vec<_>>();
        let all = staged.take().unwrap();
        assert_eq!(parts(&all), of(&[(3, "abc"), (2, "ddee"), (1, "f"), (1, "a long row"), (1, "g")]));
        assert!(staged.take().unwrap().is_empty());
        for length in 1..all.len() {
            let mut rest = &all[..length];
            let whole = loop {
                match split_part(rest) {
                    Ok((_, [])) => break true,
                    Ok((_, behind)) => rest = behind,
                    Err(_) => break false,
                }
            };
            assert_eq!(whole, [11, 23, 32, 50].contains(&length), "{length}");
        }
    }
}
