//! `RowDecoder`: reads a record from the texts of a row; a nested record or a list is JSON.

use bumpalo::Bump;
use headwater::batch::{DecodeError, Decoder, Record};
use tokio_postgres::Row;

use crate::format::{JsonDecoder, JsonKeys, cell_value};

/// Reads the columns of a row from one on, in the order of the fields.
struct RowDecoder<'a, 'k> {
    row: &'a Row,
    next: usize,
    /// Depth at which a value is a column: 1 inside of a record, 0 for a record without fields.
    base: usize,
    depth: usize,
    field: usize,
    json: JsonDecoder<'a, 'k>,
}

/// Reads the record whose columns begin at `first`; `base` is that of its type.
///
/// # Errors
/// A value is not what the field takes.
pub(super) fn decode_row<'a, T: Record>(
    row: &'a Row,
    first: usize,
    base: usize,
    keys: &mut JsonKeys,
    arena: &'a Bump,
) -> Result<T::View<'a>, DecodeError> {
    let json = JsonDecoder::new("", arena, keys);
    T::decode(&mut RowDecoder { row, next: first, base, depth: 0, field: 0, json })
}

impl<'a> RowDecoder<'a, '_> {
    fn text(&self) -> Result<Option<&'a str>, DecodeError> {
        self.row.try_get(self.next).map_err(|error| DecodeError::new(error.to_string()))
    }

    fn cell(&mut self) -> Result<&'a str, DecodeError> {
        let text = self.text()?.ok_or_else(|| DecodeError::new("is NULL, and the field is no Option"))?;
        self.next += 1;
        Ok(text)
    }

    fn in_json(&self) -> bool {
        self.json.depth() > 0
    }

    fn enter_json(&mut self) -> Result<(), DecodeError> {
        if !self.in_json() {
            let cell = self.cell()?;
            self.json.restart(cell);
        }
        Ok(())
    }

    fn leave_json(&mut self) -> Result<(), DecodeError> {
        if self.in_json() { Ok(()) } else { self.json.finish() }
    }
}

/// A value comes from the open JSON if there is some, else from the next column.
macro_rules! values {
    ($($type:ident),+) => {
        $(fn $type(&mut self) -> Result<$type, DecodeError> {
            if self.in_json() { self.json.$type() } else { self.cell().and_then(cell_value::$type) }
        })+
    };
}

impl<'a> Decoder<'a> for RowDecoder<'a, '_> {
    values!(bool, u64, i64, u128, i128, f64, f32);

    fn arena(&self) -> &'a Bump {
        self.json.arena()
    }

    fn str(&mut self) -> Result<&'a str, DecodeError> {
        if self.in_json() { self.json.str() } else { self.cell() }
    }

    fn take_null(&mut self, width: usize) -> Result<bool, DecodeError> {
        if self.in_json() {
            return self.json.take_null(width);
        }
        let is_null = self.text()?.is_none();
        self.next += usize::from(is_null);
        Ok(is_null)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        if self.in_json() {
            return self.json.skip();
        }
        self.next += 1;
        Ok(())
    }

    fn begin_record(&mut self, names: &'static [&'static str]) -> Result<(), DecodeError> {
        if !self.in_json() && self.depth < self.base {
            self.depth += 1;
            return Ok(());
        }
        self.enter_json()?;
        self.json.begin_record(names)
    }

    fn next_field(&mut self, names: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        if self.in_json() {
            let field = self.json.next_field(names)?;
            self.leave_json()?;
            return Ok(field);
        }
        let field = self.field;
        self.field += 1;
        Ok((field < names.len()).then_some(field))
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        self.enter_json()?;
        self.json.begin_list()
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        let more = self.json.next_item()?;
        self.leave_json()?;
        Ok(more)
    }
}
