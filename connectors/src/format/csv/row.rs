//! `RowDecoder`: reads a record from a row without quotes, cell by cell in the declared order.

use bumpalo::Bump;
use headwater::batch::{DecodeError, Decoder};

use super::value::{self, Nesting};
use crate::format::number::{DIGITS_SURE, digits};

/// Reads cells from left to right; the fast way, for types without lists.
#[derive(Debug)]
pub(super) struct RowDecoder<'a> {
    text: &'a str,
    /// Start of the next cell; past the length when there is none.
    at: usize,
    delimiter: u8,
    arena: &'a Bump,
    nesting: Nesting,
}

impl<'a> RowDecoder<'a> {
    #[inline]
    pub(super) fn new(text: &'a str, delimiter: u8, arena: &'a Bump) -> Self {
        RowDecoder { text, at: 0, delimiter, arena, nesting: Nesting::default() }
    }

    /// True when every cell has been read.
    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        self.at > self.text.len()
    }

    #[inline(always)]
    fn ends_at(&self, at: usize) -> bool {
        self.text.as_bytes().get(at).is_none_or(|byte| *byte == self.delimiter)
    }

    #[inline(always)]
    fn cell(&mut self) -> Result<&'a str, DecodeError> {
        let rest = self.text.get(self.at..).ok_or_else(value::too_few)?;
        let end = memchr::memchr(self.delimiter, rest.as_bytes()).unwrap_or(rest.len());
        self.at += end + 1;
        Ok(rest.get(..end).unwrap_or_default())
    }

    /// The digits that are next behind `skip` bytes, if they fill the cell.
    #[inline(always)]
    fn integer(&mut self, skip: usize) -> Option<u64> {
        let start = self.at + skip;
        let (value, count) = digits(self.text.as_bytes().get(start..)?);
        if !(1..=DIGITS_SURE).contains(&count) || !self.ends_at(start + count) {
            return None;
        }
        self.at = start + count + 1;
        Some(value)
    }
}

impl<'a> Decoder<'a> for RowDecoder<'a> {
    fn arena(&self) -> &'a Bump {
        self.arena
    }

    fn bool(&mut self) -> Result<bool, DecodeError> {
        self.cell().and_then(value::bool)
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        match self.integer(0) {
            Some(value) => Ok(value),
            None => self.cell().and_then(value::u64),
        }
    }

    #[inline]
    fn i64(&mut self) -> Result<i64, DecodeError> {
        let start = self.at;
        let negative = self.text.as_bytes().get(start) == Some(&b'-');
        match self.integer(usize::from(negative)).and_then(|value| i64::try_from(value).ok()) {
            Some(value) => Ok(if negative { -value } else { value }),
            None => {
                self.at = start;
                self.cell().and_then(value::i64)
            }
        }
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        self.cell().and_then(value::u128)
    }

    fn i128(&mut self) -> Result<i128, DecodeError> {
        self.cell().and_then(value::i128)
    }

    #[inline]
    fn f64(&mut self) -> Result<f64, DecodeError> {
        self.cell().and_then(value::f64)
    }

    fn f32(&mut self) -> Result<f32, DecodeError> {
        self.cell().and_then(value::f32)
    }

    #[inline]
    fn str(&mut self) -> Result<&'a str, DecodeError> {
        self.cell()
    }

    #[inline]
    fn take_null(&mut self, width: usize) -> Result<bool, DecodeError> {
        // The cells are empty when only delimiters stand between here and the end of the last one.
        let empty =
            self.at + width <= self.text.len() + 1 && (self.at..self.at + width).all(|at| self.ends_at(at));
        self.at += if empty { width } else { 0 };
        Ok(empty)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.cell().map(drop)
    }

    #[inline]
    fn begin_record(&mut self, _: &'static [&'static str]) -> Result<(), DecodeError> {
        self.nesting.enter()
    }

    #[inline]
    fn next_field(&mut self, names: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        Ok(self.nesting.next_field(names.len()))
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        Err(value::no_list())
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        Err(value::no_list())
    }
}
