//! `CellsDecoder`: reads a record from cells that have been split and put into the declared order.

use bumpalo::Bump;
use headwater::batch::{DecodeError, Decoder};

use super::split::Cell;
use super::value::{self, Nesting};
use crate::format::json::{JsonDecoder, JsonKeys};

/// Reads cells from a table; a list is JSON in one cell.
#[derive(Debug)]
pub(super) struct CellsDecoder<'a, 'k> {
    cells: &'a [Cell<'a>],
    next: usize,
    nesting: Nesting,
    json: JsonDecoder<'a, 'k>,
}

impl<'a, 'k> CellsDecoder<'a, 'k> {
    pub(super) fn new(cells: &'a [Cell<'a>], arena: &'a Bump, keys: &'k mut JsonKeys) -> Self {
        let json = JsonDecoder::new("", arena, keys);
        CellsDecoder { cells, next: 0, nesting: Nesting::default(), json }
    }

    #[inline]
    fn cell(&mut self) -> Result<&'a str, DecodeError> {
        let cell = self.cells.get(self.next).ok_or_else(value::too_few)?;
        self.next += 1;
        Ok(cell.text)
    }

    fn in_list(&self) -> bool {
        self.json.depth() > 0
    }
}

/// A value comes from the open list if there is one, else from the next cell.
macro_rules! values {
    ($($type:ident),+) => {
        $(#[inline]
        fn $type(&mut self) -> Result<$type, DecodeError> {
            if self.in_list() { self.json.$type() } else { self.cell().and_then(value::$type) }
        })+
    };
}

impl<'a> Decoder<'a> for CellsDecoder<'a, '_> {
    values!(bool, u64, i64, u128, i128, f64, f32);

    fn arena(&self) -> &'a Bump {
        self.json.arena()
    }

    #[inline]
    fn str(&mut self) -> Result<&'a str, DecodeError> {
        if self.in_list() { self.json.str() } else { self.cell() }
    }

    fn take_null(&mut self, width: usize) -> Result<bool, DecodeError> {
        if self.in_list() {
            return self.json.take_null(width);
        }
        let cells = self.cells.get(self.next..self.next + width).unwrap_or_default();
        let null = cells.len() == width && cells.iter().all(|cell| cell.text.is_empty() && !cell.quoted);
        self.next += if null { width } else { 0 };
        Ok(null)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        if self.in_list() { self.json.skip() } else { self.cell().map(drop) }
    }

    #[inline]
    fn begin_record(&mut self, names: &'static [&'static str]) -> Result<(), DecodeError> {
        if self.in_list() { self.json.begin_record(names) } else { self.nesting.enter() }
    }

    #[inline]
    fn next_field(&mut self, names: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        if self.in_list() { self.json.next_field(names) } else { Ok(self.nesting.next_field(names.len())) }
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        if !self.in_list() {
            let cell = self.cell()?;
            self.json.restart(cell);
        }
        self.json.begin_list()
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        let more = self.json.next_item()?;
        if !self.in_list() {
            self.json.finish()?;
        }
        Ok(more)
    }
}
