//! Cells: the rows of an epoch as they are kept with it, of which each database makes its own form.
//!
//! A row has one cell per field of the record: a byte that says what it is, and the value. A nested record
//! or list is JSON text.

use headwater::batch::{Encoder, FieldType, Record, Schema};
use headwater::{Error, Result};

use crate::format::JsonEncoder;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const U64: u8 = 3;
const I64: u8 = 4;
const U128: u8 = 5;
const I128: u8 = 6;
const F32: u8 = 7;
const F64: u8 = 8;
const TEXT: u8 = 9;
const JSON: u8 = 10;

/// How much of a row an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    U64(u64),
    I64(i64),
    U128(u128),
    I128(i128),
    F32(f32),
    F64(f64),
    Text(&'a str),
    Json(&'a str),
}

/// What a database cannot hold, each with the sentence that says so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) nul: Option<&'static str>,
    pub(crate) nan: Option<&'static str>,
    pub(crate) infinite: Option<&'static str>,
    pub(crate) beyond_i64: Option<&'static str>,
}

/// The columns that a record has: its fields, or `value` for a record that has none.
pub(crate) fn fields<T: Record>() -> Vec<(String, Schema)> {
    let schema = T::schema();
    match schema.field_type {
        FieldType::Record(fields) => fields,
        _ => vec![("value".to_owned(), schema)],
    }
}

/// Appends the cells of rows.
#[derive(Debug)]
pub(crate) struct CellEncoder<'o> {
    json: JsonEncoder<'o>,
    rules: Rules,
    /// Depth at which a value is a cell: 1 inside of a record, 0 for a record without fields.
    base: usize,
    depth: usize,
    /// Where the JSON text of the cell begins.
    json_begin: usize,
    field: &'static str,
    refused: Option<(&'static str, &'static str)>,
}

impl<'o> CellEncoder<'o> {
    fn new(base: usize, rules: Rules, out: &'o mut Vec<u8>) -> Self {
        let json = JsonEncoder::new(out);
        CellEncoder { json, rules, base, depth: 0, json_begin: 0, field: "value", refused: None }
    }

    fn refuse(&mut self, rule: Option<&'static str>) {
        if let Some(reason) = rule {
            self.refused.get_or_insert((self.field, reason));
        }
    }

    fn check_float(&mut self, is_nan: bool, is_infinite: bool) {
        if is_nan {
            self.refuse(self.rules.nan);
        }
        if is_infinite {
            self.refuse(self.rules.infinite);
        }
    }

    fn is_cell(&self) -> bool {
        self.depth <= self.base
    }

    fn push(&mut self, tag: u8, bytes: &[u8]) {
        let out = self.json.out();
        out.push(tag);
        out.extend_from_slice(bytes);
    }

    fn open(&mut self, write: impl FnOnce(&mut JsonEncoder<'o>)) {
        if self.depth == self.base {
            self.push(JSON, &[0; 4]);
            self.json_begin = self.json.out().len();
        }
        self.depth += 1;
        write(&mut self.json);
    }

    fn close(&mut self, write: impl FnOnce(&mut JsonEncoder<'o>)) {
        self.depth -= 1;
        write(&mut self.json);
        if self.depth == self.base {
            let begin = self.json_begin;
            let out = self.json.out();
            let length = (out.len() - begin) as u32;
            out[begin - 4..begin].copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// A number is a cell, or a part of the JSON text of one.
macro_rules! number {
    ($name:ident, $type:ty, $tag:ident) => {
        fn $name(&mut self, value: $type) {
            if self.is_cell() {
                self.push($tag, &value.to_le_bytes());
            } else {
                self.json.$name(value);
            }
        }
    };
}

impl Encoder for CellEncoder<'_> {
    number!(i64, i64, I64);
    number!(u128, u128, U128);
    number!(i128, i128, I128);

    fn u64(&mut self, value: u64) {
        if !self.is_cell() {
            return self.json.u64(value);
        }
        if i64::try_from(value).is_err() {
            self.refuse(self.rules.beyond_i64);
        }
        self.push(U64, &value.to_le_bytes());
    }

    fn f64(&mut self, value: f64) {
        if !self.is_cell() {
            return self.json.f64(value);
        }
        self.check_float(value.is_nan(), value.is_infinite());
        self.push(F64, &value.to_le_bytes());
    }

    fn f32(&mut self, value: f32) {
        if !self.is_cell() {
            return self.json.f32(value);
        }
        self.check_float(value.is_nan(), value.is_infinite());
        self.push(F32, &value.to_le_bytes());
    }

    fn null(&mut self, width: usize) {
        if self.is_cell() { self.push(NULL, &[]) } else { self.json.null(width) }
    }

    fn bool(&mut self, value: bool) {
        if self.is_cell() { self.push(if value { TRUE } else { FALSE }, &[]) } else { self.json.bool(value) }
    }

    fn str(&mut self, value: &str) {
        if self.rules.nul.is_some() && memchr::memchr(0, value.as_bytes()).is_some() {
            self.refuse(self.rules.nul);
        }
        if !self.is_cell() {
            return self.json.str(value);
        }
        self.push(TEXT, &(value.len() as u32).to_le_bytes());
        self.json.out().extend_from_slice(value.as_bytes());
    }

    fn begin_record(&mut self) {
        if self.depth < self.base {
            self.depth += 1;
        } else {
            self.open(|json| json.begin_record());
        }
    }

    fn field(&mut self, name: &'static str) {
        if self.is_cell() { self.field = name } else { self.json.field(name) }
    }

    fn end_record(&mut self) {
        if self.depth == self.base {
            self.depth -= 1;
        } else {
            self.close(|json| json.end_record());
        }
    }

    fn begin_list(&mut self) {
        self.open(|json| json.begin_list());
    }

    fn item(&mut self) {
        self.json.item();
    }

    fn end_list(&mut self) {
        self.close(|json| json.end_list());
    }
}

/// Reads the cells of rows, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells<'a>(pub(crate) &'a [u8]);

impl<'a> Cells<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (text, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        std::str::from_utf8(text).ok()
    }

    fn read(&mut self) -> Option<Cell<'a>> {
        let [tag] = self.take()?;
        Some(match tag {
            NULL => Cell::Null,
            FALSE => Cell::Bool(false),
            TRUE => Cell::Bool(true),
            U64 => Cell::U64(u64::from_le_bytes(self.take()?)),
            I64 => Cell::I64(i64::from_le_bytes(self.take()?)),
            U128 => Cell::U128(u128::from_le_bytes(self.take()?)),
            I128 => Cell::I128(i128::from_le_bytes(self.take()?)),
            F32 => Cell::F32(f32::from_le_bytes(self.take()?)),
            F64 => Cell::F64(f64::from_le_bytes(self.take()?)),
            TEXT => Cell::Text(self.text()?),
            JSON => Cell::Json(self.text()?),
            _ => return None,
        })
    }

    /// # Errors
    /// The bytes were not written by a [`CellEncoder`].
    pub(crate) fn next(&mut self) -> Result<Cell<'a>> {
        self.read().ok_or_else(super::staged::damaged)
    }

    /// The text of a row, of so many cells, as an error shows it.
    pub(crate) fn show(mut self, row: usize, width: usize) -> String {
        let mut shown = String::new();
        for _ in 0..row * width {
            if self.read().is_none() {
                return shown;
            }
        }
        for at in 0..width {
            let Some(cell) = self.read() else { break };
            shown.push_str(if at == 0 { "" } else { ", " });
            shown.push_str(&cell.shown());
        }
        match shown.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => shown[..end].to_owned() + "..",
            None => shown,
        }
    }
}

impl Cell<'_> {
    fn shown(&self) -> String {
        match self {
            Cell::Null => "null".to_owned(),
            Cell::Bool(value) => value.to_string(),
            Cell::U64(value) => value.to_string(),
            Cell::I64(value) => value.to_string(),
            Cell::U128(value) => value.to_string(),
            Cell::I128(value) => value.to_string(),
            Cell::F32(value) => value.to_string(),
            Cell::F64(value) => value.to_string(),
            Cell::Text(value) => format!("{value:?}"),
            Cell::Json(value) => (*value).to_owned(),
        }
    }
}

/// At which depth a value of this record type is a cell.
pub(crate) fn base_of<T: Record>() -> usize {
    usize::from(matches!(T::schema().field_type, FieldType::Record(_)))
}

/// Appends the cells of one row; `base` is that of the type.
///
/// # Errors
/// The database cannot hold a value of it.
pub(crate) fn encode_row<T: Record>(
    view: T::View<'_>,
    base: usize,
    rules: Rules,
    out: &mut Vec<u8>,
) -> Result<()> {
    let begin = out.len();
    let mut encoder = CellEncoder::new(base, rules, out);
    T::encode(view, &mut encoder);
    let Some((field, reason)) = encoder.refused else { return Ok(()) };
    let width = fields::<T>().len();
    let shown = Cells(&out[begin..]).show(0, width);
    out.truncate(begin);
    Err(Error::failed(format!(
        "field `{field}` of the row ({shown}): {reason}; change or filter such rows in front of the sink"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (u64, Option<i64>, Vec<(u8, String)>, (bool, Option<f64>), String, i128);

    fn row(text: &str) -> Row {
        (u64::MAX, None, vec![(1, "a\"".into()), (2, String::new())], (true, None), text.into(), i128::MIN)
    }

    #[test]
    fn a_row_has_a_cell_per_field_and_nested_ones_are_json() {
        let mut bytes = Vec::new();
        for text in ["", "ü\n"] {
            encode_row::<Row>(row(text).view(), 1, Rules::default(), &mut bytes).unwrap();
        }
        let mut cells = Cells(&bytes);
        for text in ["", "ü\n"] {
            let found: Vec<_> = (0..6).map(|_| cells.next().unwrap()).collect();
            let list = r#"[{"_1":1,"_2":"a\""},{"_1":2,"_2":""}]"#;
            let expected = [
                Cell::U64(u64::MAX),
                Cell::Null,
                Cell::Json(list),
                Cell::Json(r#"{"_1":true,"_2":null}"#),
                Cell::Text(text),
                Cell::I128(i128::MIN),
            ];
            assert_eq!(found, expected);
        }
        assert!(cells.is_empty());
        let mut bytes = Vec::new();
        encode_row::<Vec<u64>>(vec![1, 2].view(), 0, Rules::default(), &mut bytes).unwrap();
        encode_row::<f32>(0.5, 0, Rules::default(), &mut bytes).unwrap();
        let mut cells = Cells(&bytes);
        assert_eq!((cells.next().unwrap(), cells.next().unwrap()), (Cell::Json("[1,2]"), Cell::F32(0.5)));
    }

    #[test]
    fn bytes_that_are_no_cells_are_refused() {
        let mut bytes = Vec::new();
        encode_row::<Row>(row("text").view(), 1, Rules::default(), &mut bytes).unwrap();
        for end in 0..bytes.len() {
            let mut cells = Cells(&bytes[..end]);
            assert!((0..6).any(|_| cells.next().is_err()), "{end} bytes");
        }
        assert!(Cells(&[TEXT, 1, 0, 0, 0, 255]).next().is_err());
        assert!(Cells(&[11]).next().is_err());
    }

    #[test]
    fn what_the_database_cannot_hold_is_said_with_its_field_and_row() {
        let rules = Rules {
            nul: Some("no NUL"),
            nan: Some("no NaN"),
            infinite: Some("no infinity"),
            beyond_i64: Some("too large"),
        };
        let mut bytes = Vec::new();
        encode_row::<(u64, f64, String)>((1, 1.5, "kept"), 1, rules, &mut bytes).unwrap();
        let kept = bytes.clone();
        for (row, expected) in [
            ((1 << 63, 1.0, ""), "field `_1` of the row (9223372036854775808, 1, \"\"): too large"),
            ((1, f64::NAN, ""), "field `_2` of the row (1, NaN, \"\"): no NaN"),
            ((1, f64::NEG_INFINITY, ""), "field `_2` of the row (1, -inf, \"\"): no infinity"),
            ((1, 1.0, "a\0"), "field `_3` of the row (1, 1, \"a\\0\"): no NUL"),
        ] {
            let error = encode_row::<(u64, f64, String)>(row, 1, rules, &mut bytes).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(bytes, kept);
        }
    }
}
