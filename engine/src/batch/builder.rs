//! `BatchBuilder`: writes rows field by field into the bytes that will travel.

use std::sync::Arc;

use super::buffer::{BYTES_MAX, Buffer, Heap, Pool};
use super::header::{Header, ROWS_START};
use super::{Batch, BatchError, Record};

/// How large a batch may grow before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most rows in a batch.
    pub rows_max: usize,
    /// Most bytes in a batch; a single larger record travels alone.
    pub bytes_max: usize,
}

/// Most short batches in a row after which the row space of the next one stays as it is.
const SHORT_MAX: u32 = 16;

impl Default for BatchLimits {
    fn default() -> Self {
        // Measured: larger batches fall out of the second-level cache, smaller ones pay per batch.
        BatchLimits { rows_max: 1024, bytes_max: 256 << 10 }
    }
}

/// Builds batches of `T`; one builder makes many batches and reuses their memory.
///
/// ```
/// use headwater::prelude::*;
/// use headwater::batch::{BatchBuilder, BatchLimits};
///
/// let mut builder = BatchBuilder::<(u64, String)>::new(BatchLimits::default());
/// builder.push((1, "one"))?;
/// builder.push((2, "two"))?;
/// let batch = builder.finish().expect("two rows");
/// assert_eq!(batch.iter().map(|(n, _)| n).sum::<u64>(), 3);
/// assert!(builder.finish().is_none());
/// # Ok::<(), headwater::batch::BatchError>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder<T: Record> {
    limits: BatchLimits,
    pool: Arc<Pool>,
    heap: Option<Heap>,
    rows: usize,
    /// Rows that the current block has room for: what the last batch needed, so that a trickle of
    /// records does not carry the row space of a flood.
    capacity: usize,
    /// Number of batches in a row that would have fitted into half of it.
    short: u32,
    times: Vec<i64>,
    schema_hash: u64,
    _record: std::marker::PhantomData<fn() -> T>,
}

impl<T: Record> BatchBuilder<T> {
    /// A builder whose batches stay within `limits`.
    #[must_use]
    pub fn new(limits: BatchLimits) -> Self {
        BatchBuilder {
            limits: BatchLimits { rows_max: limits.rows_max.max(1), bytes_max: limits.bytes_max },
            pool: Arc::default(),
            heap: None,
            rows: 0,
            capacity: limits.rows_max.clamp(1, 64),
            short: 0,
            times: Vec::new(),
            schema_hash: T::schema().hash(),
            _record: std::marker::PhantomData,
        }
    }

    /// Writes one row.
    ///
    /// # Errors
    /// The record is larger than a batch can be (2 GiB).
    #[inline]
    pub fn push(&mut self, view: T::View<'_>) -> Result<(), BatchError> {
        if self.heap.is_none() || self.rows == self.capacity {
            self.make_room()?;
        }
        let Some(heap) = &mut self.heap else { return Err(BatchError::TooLarge) };
        let resolver = T::serialize(view, heap).map_err(|_| BatchError::TooLarge)?;
        let position = ROWS_START + self.rows * size_of::<T::Archived>();
        let place = heap.place::<T::Archived>(position);
        if !T::DENSE {
            heap.bytes_mut()[position..position + size_of::<T::Archived>()].fill(0);
        }
        T::resolve(view, resolver, place);
        self.rows += 1;
        Ok(())
    }

    /// Writes one row with its event time in milliseconds; all rows of a batch have one or none has.
    ///
    /// # Errors
    /// The record is larger than a batch can be (2 GiB).
    #[inline]
    pub fn push_at(&mut self, view: T::View<'_>, time: i64) -> Result<(), BatchError> {
        self.push(view)?;
        self.times.push(time);
        Ok(())
    }

    /// Number of rows written since the last batch.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// True when no row has been written since the last batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// True when the rows so far have event times.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        !self.times.is_empty()
    }

    /// Bytes of the batch so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.heap.as_ref().map_or(0, Heap::len)
    }

    /// True when the batch has reached a limit and should be sent.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= self.limits.rows_max || (self.rows > 0 && self.bytes() >= self.limits.bytes_max)
    }

    /// Ends the batch; `None` when it has no row.
    pub fn finish(&mut self) -> Option<Batch<T>> {
        let mut heap = self.heap.take()?;
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            self.heap = Some(heap);
            return None;
        }
        // What a recycled block held behind the last row must not travel, nor make equal batches differ.
        let used = ROWS_START + rows * size_of::<T::Archived>();
        let reserved = ROWS_START + self.capacity * size_of::<T::Archived>();
        heap.bytes_mut()[used..reserved].fill(0);
        let header = Header { rows: rows as u32, schema_hash: self.schema_hash };
        header.write(heap.bytes_mut());
        // Grows at once and shrinks by halves after some: a few short batches say little about the next.
        let wanted = (rows * 2).next_power_of_two();
        self.short = if wanted < self.capacity { self.short + 1 } else { 0 };
        if self.short > SHORT_MAX {
            (self.capacity, self.short) = (self.capacity / 2, 0);
        }
        self.capacity = self.capacity.max(wanted).clamp(1, self.limits.rows_max);
        let times = std::mem::take(&mut self.times);
        let times = (!times.is_empty()).then(|| Arc::new(times));
        let buffer = Buffer::new(heap.into_bytes(), Some(Arc::clone(&self.pool)));
        Some(Batch::from_parts(Arc::new(buffer), rows, times))
    }

    /// Starts a block, or moves the rows to a larger one. Rows point into the heap relative to
    /// themselves, so a larger row space means writing the rows again.
    #[cold]
    fn make_room(&mut self) -> Result<(), BatchError> {
        if self.heap.is_some() && self.rows > 0 {
            let capacity = (self.capacity * 4).max(16);
            if capacity * size_of::<T::Archived>() + self.bytes() > BYTES_MAX {
                return Err(BatchError::TooLarge);
            }
            let times = std::mem::take(&mut self.times);
            let Some(batch) = self.finish() else { return Ok(()) };
            self.capacity = capacity;
            self.start();
            for view in batch.iter() {
                self.push(view)?;
            }
            self.times = times;
        } else {
            self.start();
        }
        Ok(())
    }

    fn start(&mut self) {
        let reserved = ROWS_START + self.capacity * size_of::<T::Archived>();
        self.heap = Some(Heap::new(self.pool.take(), reserved));
        self.rows = 0;
    }
}
