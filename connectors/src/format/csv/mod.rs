//! CSV rows to records, after RFC 4180, with any delimiter.
//!
//! 1. `columns`: which cell belongs to which field
//! 2. `row`: the fast way, for rows without quotes in declared order
//! 3. `cells`: the general way
//! 4. `split`: where records and cells end
//! 5. `value`: cells to values

mod cells;
mod columns;
mod row;
mod split;
pub(crate) mod value;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};

use self::cells::CellsDecoder;
pub use self::columns::CsvColumns;
use self::row::RowDecoder;
use self::split::{Cell, split_cells};
pub(crate) use self::split::{RecordEnd, record_end};

/// Reads one record from one row of CSV, given without its line end.
///
/// An empty cell is a missing value for an `Option` and an empty text for a `String`; nested records take
/// a cell for each of their fields, a list is JSON in one cell.
///
/// ```
/// use bumpalo::Bump;
/// use headwater_connectors::format::{CsvColumns, decode_csv_row};
///
/// let (arena, mut columns) = (Bump::new(), CsvColumns::declared::<(u64, String)>(b',')?);
/// let record = decode_csv_row::<(u64, String)>("7,\"say \"\"hi\"\"\"", &mut columns, &arena);
/// assert_eq!(record.ok(), Some((7, "say \"hi\"")));
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
/// The row has another number of cells, or one that does not hold a value of its field's type.
pub fn decode_csv_row<'a, T: Record>(
    row: &'a str,
    columns: &mut CsvColumns,
    arena: &'a Bump,
) -> Result<T::View<'a>, DecodeError> {
    let quoted = memchr::memchr(b'"', row.as_bytes()).is_some();
    decode_row::<T>(row, quoted, columns, arena)
}

/// As [`decode_csv_row`], for a caller that knows whether there may be a quote in the row.
#[inline]
pub(crate) fn decode_row<'a, T: Record>(
    row: &'a str,
    quoted: bool,
    columns: &mut CsvColumns,
    arena: &'a Bump,
) -> Result<T::View<'a>, DecodeError> {
    if quoted || !columns.is_plain() {
        return decode_cells::<T>(row, columns, arena);
    }
    let mut decoder = RowDecoder::new(row, columns.delimiter, arena);
    match T::decode(&mut decoder) {
        Ok(view) if decoder.is_finished() => Ok(view),
        result => Err(row_error(row, columns, arena, result.err())),
    }
}

fn decode_cells<'a, T: Record>(
    row: &'a str,
    columns: &mut CsvColumns,
    arena: &'a Bump,
) -> Result<T::View<'a>, DecodeError> {
    let cells = arena.alloc_slice_fill_copy(columns.width, Cell::default());
    let slots = &columns.slots;
    let count = split_cells(row, columns.delimiter, arena, |index, cell| {
        let slot = if slots.is_empty() { Some(index) } else { slots.get(index).copied().flatten() };
        if let Some(place) = slot.and_then(|slot| cells.get_mut(slot)) {
            *place = cell;
        }
    })?;
    if count != columns.cells {
        return Err(count_error(count, columns.cells));
    }
    T::decode(&mut CellsDecoder::new(cells, arena, &mut columns.keys))
}

/// A wrong number of cells explains a row better than the cell at which it was noticed.
#[cold]
fn row_error(row: &str, columns: &CsvColumns, arena: &Bump, error: Option<DecodeError>) -> DecodeError {
    match (split_cells(row, columns.delimiter, arena, |_, _| {}), error) {
        (Ok(count), error) if count != columns.cells || error.is_none() => count_error(count, columns.cells),
        (_, Some(error)) | (Err(error), None) => error,
        (Ok(count), None) => count_error(count, columns.cells),
    }
}

#[cold]
fn count_error(found: usize, expected: usize) -> DecodeError {
    let plural = if found == 1 { "" } else { "s" };
    DecodeError::new(format!("the row has {found} cell{plural}, but {expected} are expected"))
}
