//! The first 32 bytes of a batch.
//!
//! ```text
//! 0  magic      8 bytes  "HWBATCH1"
//! 8  schema     u64 le   hash of the field names and types
//! 16 rows       u32 le
//! 20 zero       12 bytes
//! 32 rows, each the archived form of the record; then what they point to
//! ```

use super::BatchError;

/// Where the rows of a batch start.
pub(super) const ROWS_START: usize = 32;

const MAGIC: [u8; 8] = *b"HWBATCH1";

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) rows: u32,
    pub(super) schema_hash: u64,
}

impl Header {
    pub(super) fn write(self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.schema_hash.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.rows.to_le_bytes());
        bytes[20..ROWS_START].fill(0);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<ROWS_START>() else {
            return Err(BatchError::Invalid("shorter than a batch header".into()));
        };
        if header[..8] != MAGIC {
            return Err(BatchError::Invalid("does not start with the magic of a batch".into()));
        }
        let word = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        Ok(Header { rows: word(16), schema_hash: u64::from(word(8)) | u64::from(word(12)) << 32 })
    }
}
