//! One record as bytes on its own: what a state store holds as a value.
#![expect(unsafe_code, reason = "an archived record is written and read in place")]

use std::cell::Cell;

use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Strategy;
use rkyv::util::AlignedVec;
use rkyv::validation::archive::ArchiveValidator;

use super::buffer::{ALIGN, Heap};
use super::{BatchError, Record, RowValidator};

/// Largest scratch buffer that a thread keeps: one huge record must not pin its size for ever.
const SCRATCH_BYTES_MAX: usize = 256 << 10;

thread_local! {
    /// Values of a store have no alignment, archived records need one: both ways go through here.
    static SCRATCH: Cell<AlignedVec<ALIGN>> = Cell::default();
}

fn keep_scratch(bytes: AlignedVec<ALIGN>) {
    if bytes.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(bytes);
    }
}

/// Appends the archived form of one record; equal records give equal bytes.
///
/// # Errors
/// The record is larger than a batch can be (2 GiB).
pub(crate) fn encode_one<T: Record>(view: T::View<'_>, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let size = size_of::<T::Archived>();
    let mut heap = Heap::new(SCRATCH.take(), size);
    heap.bytes_mut().fill(0);
    let resolver = T::serialize(view, &mut heap).map_err(|_| BatchError::TooLarge)?;
    T::resolve(view, resolver, heap.place::<T::Archived>(0));
    let bytes = heap.into_bytes();
    out.extend_from_slice(&bytes);
    keep_scratch(bytes);
    Ok(())
}

/// Reads what [`encode_one`] wrote, after checking it; `bytes` may start at any address.
///
/// # Errors
/// The bytes are damaged, truncated or hold another record type.
pub(crate) fn decode_one<T: Record>(bytes: &[u8]) -> Result<T, BatchError> {
    let size = size_of::<T::Archived>();
    if bytes.len() < size {
        return Err(BatchError::Invalid(format!("{} bytes where a record has {size}", bytes.len())));
    }
    let mut aligned = SCRATCH.take();
    aligned.clear();
    aligned.extend_from_slice(bytes);
    let record = {
        let mut validator = ArchiveValidator::new(&aligned[size..]);
        let context: &mut RowValidator<'_> = Strategy::wrap(&mut validator);
        let row = aligned.as_ptr().cast::<T::Archived>();
        // SAFETY: in bounds (checked above) and aligned to 16, which no archived type exceeds.
        unsafe { <T::Archived as CheckBytes<_>>::check_bytes(row, context) }
            .map_err(|error| BatchError::Invalid(error.to_string()))?;
        // SAFETY: in bounds and aligned as above, its bytes were checked, and the borrow ends before
        // the buffer is used again.
        T::from_view(T::archived_view(unsafe { &*row }))
    };
    keep_scratch(aligned);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (u64, String, Vec<(u16, String)>);

    fn row() -> Row {
        (7, "a string that is not inline".into(), vec![(1, "x".into()), (2, "another long string".into())])
    }

    #[test]
    fn a_record_survives_any_alignment() {
        let mut bytes = Vec::new();
        encode_one::<Row>(row().view(), &mut bytes).unwrap();
        for shift in 0..16 {
            let mut shifted = vec![0xff; shift];
            shifted.extend_from_slice(&bytes);
            assert_eq!(decode_one::<Row>(&shifted[shift..]).unwrap(), row());
        }
    }

    #[test]
    fn no_truncation_is_taken_for_a_record() {
        let mut bytes = Vec::new();
        encode_one::<Row>(row().view(), &mut bytes).unwrap();
        for end in 0..bytes.len() {
            if let Ok(read) = decode_one::<Row>(&bytes[..end]) {
                assert_eq!(read, row(), "cut to {end} of {} bytes", bytes.len());
            }
        }
    }

    #[test]
    fn equal_records_give_equal_bytes_whatever_was_written_before() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        encode_one::<(u8, u64)>((1, 2), &mut first).unwrap();
        encode_one::<Row>(row().view(), &mut Vec::new()).unwrap();
        encode_one::<(u8, u64)>((1, 2), &mut second).unwrap();
        assert_eq!(first, second);
    }
}
