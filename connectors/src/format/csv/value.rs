//! Cells to values, and the way through nested records.

use headwater::batch::DecodeError;

use crate::format::number::{DIGITS_SURE, digits, plain_float, shortened, signed, unsigned};

/// How deep records may be nested.
const DEPTH_MAX: usize = 32;

/// Which field comes next in each of the records that are open.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    field: u8,
    depth: usize,
    outer: [u8; DEPTH_MAX],
}

impl Nesting {
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), DecodeError> {
        let outer = self.outer.get_mut(self.depth);
        *outer.ok_or_else(|| DecodeError::new(format!("records are nested deeper than {DEPTH_MAX}")))? =
            self.field;
        self.depth += 1;
        self.field = 0;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn next_field(&mut self, count: usize) -> Option<usize> {
        let field = usize::from(self.field);
        if field < count {
            self.field += 1;
            return Some(field);
        }
        self.depth = self.depth.saturating_sub(1);
        self.field = self.outer.get(self.depth).copied().unwrap_or_default();
        None
    }
}

#[cold]
pub(super) fn too_few() -> DecodeError {
    DecodeError::new("the row has no cell for it")
}

#[cold]
pub(super) fn no_list() -> DecodeError {
    DecodeError::new("a list must be JSON in one cell")
}

pub(crate) fn bool(cell: &str) -> Result<bool, DecodeError> {
    let cell = cell.trim();
    let is = |words: [&str; 2]| words.iter().any(|word| cell.eq_ignore_ascii_case(word));
    if is(["true", "1"]) {
        Ok(true)
    } else if is(["false", "0"]) {
        Ok(false)
    } else {
        Err(unreadable(cell, "true or false"))
    }
}

#[inline]
pub(crate) fn u64(cell: &str) -> Result<u64, DecodeError> {
    match digits(cell.as_bytes()) {
        (value, count) if count == cell.len() && (1..=DIGITS_SURE).contains(&count) => Ok(value),
        _ => filled(cell).and_then(|cell| unsigned(cell, "u64")),
    }
}

#[inline]
pub(crate) fn i64(cell: &str) -> Result<i64, DecodeError> {
    match digits(cell.as_bytes()) {
        // One digit less than the most that fit.
        (value, count) if count == cell.len() && (1..DIGITS_SURE).contains(&count) => Ok(value as i64),
        _ => filled(cell).and_then(|cell| signed(cell, "i64")),
    }
}

pub(crate) fn u128(cell: &str) -> Result<u128, DecodeError> {
    filled(cell).and_then(|cell| unsigned(cell, "u128"))
}

pub(crate) fn i128(cell: &str) -> Result<i128, DecodeError> {
    filled(cell).and_then(|cell| signed(cell, "i128"))
}

#[inline]
pub(crate) fn f64(cell: &str) -> Result<f64, DecodeError> {
    match plain_float(cell.as_bytes()) {
        Some((value, length)) if length == cell.len() => Ok(value),
        _ => filled(cell).and_then(|cell| cell.parse().map_err(|_| unreadable(cell, "a number"))),
    }
}

pub(crate) fn f32(cell: &str) -> Result<f32, DecodeError> {
    filled(cell).and_then(|cell| cell.parse().map_err(|_| unreadable(cell, "a number")))
}

/// The cell without the space around it.
#[cold]
fn filled(cell: &str) -> Result<&str, DecodeError> {
    match cell.trim() {
        "" => Err(DecodeError::new("the cell is empty")),
        filled => Ok(filled),
    }
}

#[cold]
fn unreadable(cell: &str, wanted: &str) -> DecodeError {
    DecodeError::new(format!("`{}` is not {wanted}", shortened(cell)))
}
