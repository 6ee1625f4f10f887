//! The bytes of one batch: an aligned block `[header][rows][heap]`, written once, shared, recycled.
#![expect(unsafe_code, reason = "archived rows are written and read in place")]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rkyv::Place;
use rkyv::rancor::{Error, Fallible, fail};
use rkyv::ser::{Positional, Writer};
use rkyv::util::AlignedVec;

/// Alignment of a batch in memory and in a file.
pub(super) const ALIGN: usize = 16;

/// Largest batch: rkyv's relative pointers are 32 bits wide.
pub(super) const BYTES_MAX: usize = i32::MAX as usize;

/// Most buffers that one pool keeps for reuse.
const POOLED_MAX: usize = 32;

/// Largest buffer worth keeping: a batch swollen by one huge record is given back to the allocator.
const POOLED_BYTES_MAX: usize = 4 << 20;

type Bytes = AlignedVec<ALIGN>;

/// A record does not fit a batch.
#[derive(Debug)]
pub(super) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one batch holds at most {BYTES_MAX} bytes")
    }
}

impl std::error::Error for TooLarge {}

/// The growing bytes of a batch: rows are resolved in place, what they point to is appended.
#[derive(Debug)]
pub struct Heap {
    bytes: Bytes,
}

impl Heap {
    /// A heap whose first `reserved` bytes are the header and the rows.
    pub(super) fn new(mut bytes: Bytes, reserved: usize) -> Self {
        // A recycled buffer is initialised already: no need to zero it again.
        if bytes.len() > reserved {
            // SAFETY: shortening an `AlignedVec` leaves initialised bytes only.
            unsafe { bytes.set_len(reserved) };
        } else {
            bytes.resize(reserved, 0);
        }
        Heap { bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Appends zeroed space for `count` values of `T` and returns where it starts.
    pub(super) fn reserve<T>(&mut self, count: usize) -> Result<usize, Error> {
        let start = self.bytes.len().next_multiple_of(align_of::<T>());
        let end = start + count * size_of::<T>();
        if end > BYTES_MAX {
            fail!(TooLarge);
        }
        self.bytes.resize(end, 0);
        Ok(start)
    }

    /// The place of a `T` at `position`.
    pub(super) fn place<T>(&mut self, position: usize) -> Place<T> {
        assert!(position.is_multiple_of(align_of::<T>()));
        assert!(position + size_of::<T>() <= self.bytes.len());
        // SAFETY: in bounds and aligned (the buffer is aligned to 16), and the bytes are initialised.
        unsafe { Place::new_unchecked(position, self.bytes.as_mut_ptr().add(position).cast()) }
    }
}

impl Fallible for Heap {
    type Error = Error;
}

impl Positional for Heap {
    #[inline]
    fn pos(&self) -> usize {
        self.bytes.len()
    }
}

impl Writer<Error> for Heap {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes.len() + bytes.len() > BYTES_MAX {
            fail!(TooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// Buffers waiting to be written again: a batch is freed on another thread than it was built on, which
/// is the worst case of most allocators.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: Mutex<Vec<Bytes>>,
}

impl Pool {
    pub(super) fn take(&self) -> Bytes {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, bytes: Bytes) {
        if bytes.capacity() > POOLED_BYTES_MAX {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < POOLED_MAX {
            free.push(bytes);
        }
    }
}

/// The finished bytes of a batch; goes back to its pool when the last batch lets go.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Bytes,
    pool: Option<Arc<Pool>>,
}

impl Buffer {
    pub(super) fn new(bytes: Bytes, pool: Option<Arc<Pool>>) -> Self {
        Buffer { bytes, pool }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.put(std::mem::take(&mut self.bytes));
        }
    }
}
