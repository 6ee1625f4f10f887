//! The encoders: records to lines of JSON and rows of CSV, appended to a buffer.

use headwater::batch::{Encoder, Record};

use super::scan::plain_end;

/// Appends one record as a line of JSON, with the line feed.
///
/// Numbers that JSON does not know (NaN and the infinities) become `null`.
///
/// ```
/// use headwater_connectors::format::encode_json_line;
///
/// let mut line = Vec::new();
/// encode_json_line::<(u64, String)>((7, "a \"b\""), &mut line);
/// assert_eq!(line, b"{\"_1\":7,\"_2\":\"a \\\"b\\\"\"}\n");
/// ```
pub fn encode_json_line<T: Record>(view: T::View<'_>, out: &mut Vec<u8>) {
    T::encode(view, &mut JsonEncoder::new(out));
    out.push(b'\n');
}

/// Appends one record as a row of CSV, with the line feed.
///
/// A cell is quoted when it must be. An empty string is written as `""`, a missing value as an empty cell,
/// and a list as JSON in one cell.
///
/// ```
/// use headwater_connectors::format::encode_csv_row;
///
/// let mut row = Vec::new();
/// encode_csv_row::<(u64, Option<u64>, String)>((7, None, "a, b"), b',', &mut row);
/// assert_eq!(row, b"7,,\"a, b\"\n");
/// ```
pub fn encode_csv_row<T: Record>(view: T::View<'_>, delimiter: u8, out: &mut Vec<u8>) {
    T::encode(view, &mut CsvEncoder::new(delimiter, out));
    out.push(b'\n');
}

/// Appends the row of column names of a record type, with the line feed.
pub fn encode_csv_header<T: Record>(delimiter: u8, out: &mut Vec<u8>) {
    let mut encoder = CsvEncoder::new(delimiter, out);
    for column in T::schema().columns() {
        encoder.str(&column);
    }
    out.push(b'\n');
}

/// Appends JSON text to a buffer.
#[derive(Debug)]
pub struct JsonEncoder<'o> {
    out: &'o mut Vec<u8>,
    /// True right behind an opening bracket, where no comma belongs.
    first: bool,
}

impl<'o> JsonEncoder<'o> {
    /// An encoder that appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        JsonEncoder { out, first: true }
    }

    /// The text so far, for whoever writes something else between two values.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    fn separate(&mut self) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
    }

    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.first = true;
    }

    fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.first = false;
    }

    fn integer(&mut self, value: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn float(&mut self, value: impl zmij::Float, finite: bool) {
        if finite {
            self.out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        } else {
            self.out.extend_from_slice(b"null");
        }
    }
}

impl Encoder for JsonEncoder<'_> {
    fn null(&mut self, _width: usize) {
        self.out.extend_from_slice(b"null");
    }

    fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn u64(&mut self, value: u64) {
        self.integer(value);
    }

    fn i64(&mut self, value: i64) {
        self.integer(value);
    }

    fn u128(&mut self, value: u128) {
        self.integer(value);
    }

    fn i128(&mut self, value: i128) {
        self.integer(value);
    }

    fn f64(&mut self, value: f64) {
        self.float(value, value.is_finite());
    }

    fn f32(&mut self, value: f32) {
        self.float(value, value.is_finite());
    }

    fn str(&mut self, value: &str) {
        self.out.push(b'"');
        let bytes = value.as_bytes();
        let mut at = 0;
        loop {
            let end = plain_end(bytes, at);
            self.out.extend_from_slice(&bytes[at..end]);
            let Some(special) = bytes.get(end) else { break };
            escape(*special, self.out);
            at = end + 1;
        }
        self.out.push(b'"');
    }

    fn begin_record(&mut self) {
        self.open(b'{');
    }

    fn field(&mut self, name: &'static str) {
        self.separate();
        self.str(name);
        self.out.push(b':');
    }

    fn end_record(&mut self) {
        self.close(b'}');
    }

    fn begin_list(&mut self) {
        self.open(b'[');
    }

    fn item(&mut self) {
        self.separate();
    }

    fn end_list(&mut self) {
        self.close(b']');
    }
}

#[cold]
fn escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// Appends the cells of one CSV row to a buffer; nested records are flattened into cells.
#[derive(Debug)]
pub struct CsvEncoder<'o> {
    out: &'o mut Vec<u8>,
    delimiter: u8,
    /// True before the first cell of the row.
    first: bool,
    /// The JSON text of the list that is being written, and how deep it is nested.
    list: Vec<u8>,
    list_depth: usize,
    list_first: bool,
}

impl<'o> CsvEncoder<'o> {
    /// An encoder that appends one row to `out`.
    pub fn new(delimiter: u8, out: &'o mut Vec<u8>) -> Self {
        CsvEncoder { out, delimiter, first: true, list: Vec::new(), list_depth: 0, list_first: true }
    }

    /// Starts the next cell and gives the buffer to write it to.
    fn cell(&mut self) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(self.delimiter);
        }
        self.first = false;
        self.out
    }

    /// Goes on with the JSON text of a list.
    fn in_list(&mut self, write: impl FnOnce(&mut JsonEncoder<'_>)) {
        let mut encoder = JsonEncoder { out: &mut self.list, first: self.list_first };
        write(&mut encoder);
        self.list_first = encoder.first;
    }

    fn integer(&mut self, value: impl itoa::Integer) {
        self.cell().extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn float(&mut self, value: impl zmij::Float) {
        self.cell().extend_from_slice(zmij::Buffer::new().format(value).as_bytes());
    }

    fn text(&mut self, bytes: &[u8]) {
        let delimiter = self.delimiter;
        let out = self.cell();
        let plain = memchr::memchr3(b'"', b'\n', b'\r', bytes).is_none()
            && memchr::memchr(delimiter, bytes).is_none()
            && !bytes.is_empty();
        if plain {
            out.extend_from_slice(bytes);
            return;
        }
        out.push(b'"');
        let mut start = 0;
        for quote in memchr::memchr_iter(b'"', bytes) {
            // Up to and including the quote, which then comes again as the start of the next piece.
            out.extend_from_slice(&bytes[start..=quote]);
            start = quote;
        }
        out.extend_from_slice(&bytes[start..]);
        out.push(b'"');
    }
}

/// A scalar goes to the open list if there is one, else into a cell of its own.
macro_rules! scalar {
    ($name:ident, $type:ty, $write:ident) => {
        fn $name(&mut self, value: $type) {
            if self.list_depth > 0 {
                self.in_list(|json| json.$name(value));
            } else {
                self.$write(value);
            }
        }
    };
}

impl Encoder for CsvEncoder<'_> {
    scalar!(u64, u64, integer);
    scalar!(i64, i64, integer);
    scalar!(u128, u128, integer);
    scalar!(i128, i128, integer);
    scalar!(f64, f64, float);
    scalar!(f32, f32, float);

    fn null(&mut self, width: usize) {
        if self.list_depth > 0 {
            return self.in_list(|json| json.null(width));
        }
        for _ in 0..width {
            self.cell();
        }
    }

    fn bool(&mut self, value: bool) {
        if self.list_depth > 0 {
            return self.in_list(|json| json.bool(value));
        }
        self.cell().extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn str(&mut self, value: &str) {
        if self.list_depth > 0 {
            return self.in_list(|json| json.str(value));
        }
        self.text(value.as_bytes());
    }

    fn begin_record(&mut self) {
        if self.list_depth > 0 {
            self.in_list(|json| json.begin_record());
        }
    }

    fn field(&mut self, name: &'static str) {
        if self.list_depth > 0 {
            self.in_list(|json| json.field(name));
        }
    }

    fn end_record(&mut self) {
        if self.list_depth > 0 {
            self.in_list(|json| json.end_record());
        }
    }

    fn begin_list(&mut self) {
        self.list_depth += 1;
        self.in_list(|json| json.begin_list());
    }

    fn item(&mut self) {
        self.in_list(|json| json.item());
    }

    fn end_list(&mut self) {
        self.in_list(|json| json.end_list());
        self.list_depth -= 1;
        if self.list_depth == 0 {
            let list = std::mem::take(&mut self.list);
            self.text(&list);
            self.list_first = true;
        }
    }
}
