//! `Batch`: rows as shared, aligned rkyv bytes plus a selection.
//!
//! Filtering changes the selection; fan-out and exchange pass the same bytes on; nothing is copied or
//! decoded. Layout of the bytes: `header`. The one place of rkyv and of `unsafe`.
#![expect(unsafe_code, reason = "archived rows are written and read in place")]

mod buffer;
mod builder;
mod checksum;
mod header;
mod record;
mod single;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Strategy;
use rkyv::util::AlignedVec;
use rkyv::validation::archive::ArchiveValidator;

use self::buffer::{ALIGN, Buffer};
pub use self::builder::{BatchBuilder, BatchLimits};
pub(crate) use self::checksum::Checksum;
use self::header::{Header, ROWS_START};
pub use self::record::{
    DecodeError, Decoder, Either, Encoder, Field, FieldType, GROUPS_DEFAULT, Key, KeyGroup, KeyHash, List,
    Record, RowValidator, Schema, Value, group_of, groups_of, hash_bytes, hash_combine, hash_u64, subtask_of,
};
pub(crate) use self::single::{decode_one, encode_one};

#[doc(hidden)]
pub use self::buffer::Heap;

/// Why bytes are not a batch, or a record not a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A record does not fit a batch.
    #[error("a record is larger than a batch can be (2 GiB); split it or keep it outside the stream")]
    TooLarge,
    /// The bytes are damaged or of another format.
    #[error("not a batch: {0}")]
    Invalid(String),
    /// The bytes hold records of another type.
    #[error("the batch holds another record type than `{expected}` (schema {found:#018x})")]
    Schema {
        /// The type that was asked for.
        expected: String,
        /// The schema hash in the bytes.
        found: u64,
    },
}

/// Which rows of the bytes belong to the batch.
#[derive(Clone, Debug)]
enum Selection {
    Range(u32, u32),
    Rows(Arc<[u32]>),
}

/// Rows of one type; cloning counts a reference.
///
/// Built by [`BatchBuilder`]; read as views: see [`Batch::iter`].
pub struct Batch<T: Record> {
    buffer: Arc<Buffer>,
    selection: Selection,
    /// Event time in milliseconds of every row of the bytes, selected or not.
    times: Option<Arc<Vec<i64>>>,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> Clone for Batch<T> {
    fn clone(&self) -> Self {
        Batch {
            buffer: Arc::clone(&self.buffer),
            selection: self.selection.clone(),
            times: self.times.clone(),
            _record: PhantomData,
        }
    }
}

impl<T: Record> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("rows", &self.len())
            .field("bytes", &self.buffer.bytes().len())
            .finish_non_exhaustive()
    }
}

impl<T: Record> Batch<T> {
    fn from_parts(buffer: Arc<Buffer>, rows: usize, times: Option<Arc<Vec<i64>>>) -> Self {
        debug_assert!(times.as_ref().is_none_or(|times| times.len() == rows));
        Batch { buffer, selection: Selection::Range(0, rows as u32), times, _record: PhantomData }
    }

    /// Takes bytes from outside the process after checking every row once.
    ///
    /// # Errors
    /// The bytes are damaged, truncated or hold another record type.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Header::read(bytes)?;
        if header.schema_hash != T::schema().hash() {
            return Err(BatchError::Schema { expected: T::schema().name, found: header.schema_hash });
        }
        let rows = header.rows as usize;
        let end = rows
            .checked_mul(size_of::<T::Archived>())
            .and_then(|size| size.checked_add(ROWS_START))
            .filter(|end| *end <= bytes.len())
            .ok_or_else(|| BatchError::Invalid(format!("{rows} rows do not fit {} bytes", bytes.len())))?;
        let mut aligned = AlignedVec::<ALIGN>::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        // One validator for all rows: what they point to must lie behind the rows, in order, apart.
        let mut validator = ArchiveValidator::new(&aligned[end..]);
        let context: &mut RowValidator<'_> = Strategy::wrap(&mut validator);
        for row in 0..rows {
            let position = ROWS_START + row * size_of::<T::Archived>();
            // SAFETY: in bounds (checked above) and aligned: the block is aligned to 16 and rows start at 32.
            let checked = unsafe {
                let row = aligned.as_ptr().add(position).cast::<T::Archived>();
                <T::Archived as CheckBytes<_>>::check_bytes(row, context)
            };
            checked.map_err(|error| BatchError::Invalid(format!("row {row}: {error}")))?;
        }
        Ok(Batch::from_parts(Arc::new(Buffer::new(aligned, None)), rows, None))
    }

    /// The bytes of all rows, selected or not; what a log stores. Event times are not part of them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Number of selected rows.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.selection {
            Selection::Range(start, end) => (end - start) as usize,
            Selection::Rows(rows) => rows.len(),
        }
    }

    /// True when no row is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the selected rows answer for: their share of the shared bytes.
    #[must_use]
    pub fn bytes_share(&self) -> usize {
        let total = self.archived_rows().len().max(1);
        self.buffer.bytes().len() * self.len() / total
    }

    /// True when so few of the shared rows are selected that copying them frees memory.
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        self.len() * 4 < self.archived_rows().len()
    }

    fn archived_rows(&self) -> &[T::Archived] {
        let bytes = self.buffer.bytes();
        let rows = bytes[16..20].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        // SAFETY: `BatchBuilder<T>` wrote that many rows of this type, or `from_bytes` checked them; the
        // block is aligned to 16 and its bytes never change again.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().add(ROWS_START).cast(), rows as usize) }
    }

    /// The selected rows in order.
    #[inline]
    pub fn iter(&self) -> Rows<'_, T> {
        let rows = self.archived_rows();
        match &self.selection {
            Selection::Range(start, end) => {
                Rows { rows: rows[*start as usize..*end as usize].iter(), all: rows, selected: None }
            }
            Selection::Rows(selected) => Rows { rows: [].iter(), all: rows, selected: Some(selected.iter()) },
        }
    }

    /// Calls `visit` with the position and the view of each selected row, in order.
    #[inline]
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(usize, T::View<'a>)) {
        let rows = self.archived_rows();
        match &self.selection {
            Selection::Range(start, end) => {
                for (at, row) in rows[*start as usize..*end as usize].iter().enumerate() {
                    visit(at, T::archived_view(row));
                }
            }
            Selection::Rows(selected) => {
                for (at, row) in selected.iter().enumerate() {
                    visit(at, T::archived_view(&rows[*row as usize]));
                }
            }
        }
    }

    /// What `read` gives for each selected row, in order.
    #[inline]
    pub fn column<'a, C>(&'a self, mut read: impl FnMut(T::View<'a>) -> C) -> Vec<C> {
        let mut column = Vec::with_capacity(self.len());
        self.for_each(|_, view| column.push(read(view)));
        column
    }

    /// The view of the selected row at `position`.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<T::View<'_>> {
        (position < self.len()).then(|| T::archived_view(&self.archived_rows()[self.row(position)]))
    }

    #[inline]
    fn row(&self, position: usize) -> usize {
        match &self.selection {
            Selection::Range(start, _) => *start as usize + position,
            Selection::Rows(rows) => rows[position] as usize,
        }
    }

    /// The rows at these positions of this batch; shares the bytes.
    #[must_use]
    pub fn select(&self, positions: &[u32]) -> Self {
        let rows = match &self.selection {
            Selection::Range(0, _) => Arc::from(positions),
            Selection::Range(start, _) => positions.iter().map(|at| start + at).collect(),
            Selection::Rows(rows) => positions.iter().map(|at| rows[*at as usize]).collect(),
        };
        Batch { selection: Selection::Rows(rows), ..self.clone() }
    }

    /// The rows in a range of positions of this batch; shares the bytes.
    #[must_use]
    pub fn slice(&self, positions: Range<usize>) -> Self {
        let selection = match &self.selection {
            Selection::Range(start, _) => {
                Selection::Range(start + positions.start as u32, start + positions.end as u32)
            }
            Selection::Rows(rows) => Selection::Rows(Arc::from(&rows[positions])),
        };
        Batch { selection, ..self.clone() }
    }

    /// Event times in milliseconds, if the rows have one.
    #[must_use]
    pub fn times(&self) -> Option<Times<'_>> {
        self.times.as_ref().map(|times| Times { times, selection: &self.selection })
    }

    /// Gives every selected row, in order, an event time in milliseconds.
    #[must_use]
    pub fn with_times(self, times: Vec<i64>) -> Self {
        debug_assert_eq!(times.len(), self.len());
        let total = self.archived_rows().len();
        let times = if times.len() == total && matches!(self.selection, Selection::Range(..)) {
            times
        } else {
            let mut all = vec![i64::MIN; total];
            for (at, time) in times.into_iter().enumerate() {
                all[self.row(at)] = time;
            }
            all
        };
        Batch { times: Some(Arc::new(times)), ..self }
    }
}

/// The selected rows of a batch, in order.
pub struct Rows<'a, T: Record> {
    /// The rows to come, where they lie side by side.
    rows: std::slice::Iter<'a, T::Archived>,
    all: &'a [T::Archived],
    /// The rows to come, where they are picked.
    selected: Option<std::slice::Iter<'a, u32>>,
}

impl<T: Record> fmt::Debug for Rows<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", self.len())
    }
}

impl<'a, T: Record> Iterator for Rows<'a, T> {
    type Item = T::View<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<T::View<'a>> {
        let row = match &mut self.selected {
            None => self.rows.next()?,
            Some(selected) => &self.all[*selected.next()? as usize],
        };
        Some(T::archived_view(row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rows = self.selected.as_ref().map_or(self.rows.len(), std::slice::Iter::len);
        (rows, Some(rows))
    }
}

impl<T: Record> ExactSizeIterator for Rows<'_, T> {}

/// The event times of a batch's selected rows.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    times: &'a [i64],
    selection: &'a Selection,
}

impl Times<'_> {
    /// Event time in milliseconds of the row at `position`.
    #[inline]
    #[must_use]
    pub fn at(&self, position: usize) -> i64 {
        match self.selection {
            Selection::Range(start, _) => self.times[*start as usize + position],
            Selection::Rows(rows) => self.times[rows[position] as usize],
        }
    }
}
