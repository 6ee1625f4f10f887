//! `JsonDecoder`: reads one record from one JSON value, predicting its keys from the last one.
//!
//! 1. `keys`: what is remembered between rows
//! 2. `text`: escapes and values that are passed over

mod keys;
mod text;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Decoder, Record};

use self::keys::Frame;
pub use self::keys::JsonKeys;
use self::text::{space_end, unescape, value_end};
use super::number::{DIGITS_SURE, digits, json_number_end, plain_float, shortened, signed, unsigned};
use super::scan::plain_end;

/// How deep values may be nested.
const DEPTH_MAX: usize = 128;

/// Reads one record from one JSON value; only white space may follow it.
///
/// Keys may come in any order, unknown ones are passed over, of two equal ones the last counts. An integer
/// may be written as `5.0` or `1e3`. What is borrowed lives in `text` or, if it had escapes, in `arena`.
///
/// ```
/// use bumpalo::Bump;
/// use headwater_connectors::format::{JsonKeys, decode_json_line};
///
/// let (arena, mut keys) = (Bump::new(), JsonKeys::default());
/// let line = r#"{"_2": "one\ttwo", "_1": 7}"#;
/// let record = decode_json_line::<(u64, String)>(line, &arena, &mut keys)?;
/// assert_eq!(record, (7, "one\ttwo"));
/// # Ok::<(), headwater::batch::DecodeError>(())
/// ```
///
/// # Errors
/// The text is not JSON, or not a value of this record type.
#[inline]
pub fn decode_json_line<'a, T: Record>(
    text: &'a str,
    arena: &'a Bump,
    keys: &mut JsonKeys,
) -> Result<T::View<'a>, DecodeError> {
    let mut decoder = JsonDecoder::new(text, arena, keys);
    let view = T::decode(&mut decoder)?;
    decoder.finish()?;
    Ok(view)
}

/// Reads the record on the first of some lines without looking for the end of the line before: gives it
/// and the length of the line. `None` where that is not all the line holds; `decode_json_line` says why.
#[inline]
pub(crate) fn decode_json_ahead<'a, T: Record>(
    lines: &'a str,
    arena: &'a Bump,
    keys: &mut JsonKeys,
) -> Option<(T::View<'a>, usize)> {
    let mut decoder = JsonDecoder::new(lines, arena, keys);
    let view = T::decode(&mut decoder).ok()?;
    let length = decoder.line_end()?;
    Some((view, length))
}

/// Reads values out of one piece of JSON text.
#[derive(Debug)]
pub(crate) struct JsonDecoder<'a, 'k> {
    text: &'a str,
    at: usize,
    arena: &'a Bump,
    keys: &'k mut JsonKeys,
    frame: Frame,
    /// True right behind the bracket that opens a list.
    list_start: bool,
    depth: usize,
    /// True when a line feed has been passed over.
    crossed: bool,
}

impl<'a, 'k> JsonDecoder<'a, 'k> {
    /// A decoder at the start of `text`.
    #[inline]
    pub(crate) fn new(text: &'a str, arena: &'a Bump, keys: &'k mut JsonKeys) -> Self {
        keys.frames.clear();
        let frame = Frame::default();
        JsonDecoder { text, at: 0, arena, keys, frame, list_start: false, depth: 0, crossed: false }
    }

    /// Starts anew with another text.
    pub(crate) fn restart(&mut self, text: &'a str) {
        self.keys.frames.clear();
        (self.text, self.at, self.depth) = (text, 0, 0);
    }

    /// How many records and lists are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Checks that only white space follows.
    ///
    /// # Errors
    /// There is more text.
    #[inline]
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        if self.at != self.text.len() {
            self.pass_space();
            if self.at != self.text.len() {
                return Err(self.expected("nothing more"));
            }
        }
        Ok(())
    }

    /// Position behind the line feed, if only white space stands before it and none was passed over.
    #[inline]
    fn line_end(&self) -> Option<usize> {
        let bytes = self.bytes();
        let mut at = self.at;
        while let Some(b' ' | b'\t' | b'\r') = bytes.get(at) {
            at += 1;
        }
        (bytes.get(at) == Some(&b'\n') && !self.crossed).then_some(at + 1)
    }

    #[inline(always)]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        self.bytes().get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    fn next_is(&self, byte: u8) -> bool {
        self.bytes().get(self.at) == Some(&byte)
    }

    fn pass_space(&mut self) {
        self.pass_to(space_end(self.bytes(), self.at));
    }

    /// Goes on behind white space or a value that was not asked for.
    fn pass_to(&mut self, end: usize) {
        let passed = self.bytes().get(self.at..end).unwrap_or_default();
        self.crossed |= memchr::memchr(b'\n', passed).is_some();
        self.at = end;
    }

    /// Passes over `byte` and says so, if it is next.
    #[inline(always)]
    fn take(&mut self, byte: u8) -> bool {
        if !self.next_is(byte) {
            self.pass_space();
            if !self.next_is(byte) {
                return false;
            }
        }
        self.at += 1;
        true
    }

    #[cold]
    fn expected(&self, what: &str) -> DecodeError {
        syntax_error(what, self.bytes(), self.at)
    }

    #[inline(always)]
    fn enter(&mut self) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(DecodeError::new(format!("values are nested deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }

    /// Leaves the record that is being read.
    #[inline(always)]
    fn leave(&mut self) {
        self.depth -= 1;
        if self.depth > 0 {
            self.frame = self.keys.frames.pop().unwrap_or_default();
        }
    }

    /// The text of the number that is next.
    fn number(&mut self) -> Result<&'a str, DecodeError> {
        self.pass_space();
        let end = json_number_end(self.bytes(), self.at).ok_or_else(|| self.expected("a number"))?;
        let number = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        Ok(number)
    }

    /// The digits that are next behind `skip` bytes, if they are all of an ordinary integer.
    #[inline(always)]
    fn integer(&mut self, skip: usize) -> Option<u64> {
        let rest = self.rest().get(skip..)?;
        let (value, count) = digits(rest);
        let ordinary = (1..=DIGITS_SURE).contains(&count)
            && (rest[0] != b'0' || count == 1)
            && !matches!(rest.get(count), Some(b'.' | b'e' | b'E'));
        if !ordinary {
            return None;
        }
        self.at += skip + count;
        Some(value)
    }

    /// Reads the next key the long way; `None` at the end of the record.
    #[cold]
    fn parse_key(&mut self, names: &'static [&'static str]) -> Result<Option<Option<usize>>, DecodeError> {
        let start = self.at;
        if self.take(b'}') {
            return Ok(None);
        }
        if self.frame.step > 0 && !self.take(b',') {
            return Err(self.expected("`,` or `}`"));
        }
        if !self.take(b'"') {
            return Err(self.expected("a key"));
        }
        let end = plain_end(self.bytes(), self.at);
        let field = if self.bytes().get(end) == Some(&b'"') {
            let key = self.text.get(self.at..end).unwrap_or_default();
            self.at = end + 1;
            names.iter().position(|name| *name == key)
        } else {
            self.at = unescape(self.text, self.at, &mut self.keys.scratch)?;
            names.iter().position(|name| *name == self.keys.scratch)
        };
        if !self.take(b':') {
            return Err(self.expected("`:`"));
        }
        self.pass_space();
        let token = self.bytes().get(start..self.at).unwrap_or_default();
        self.keys.remember(self.frame, token, field);
        Ok(Some(field))
    }

    #[cold]
    fn escaped_str(&mut self, start: usize) -> Result<&'a str, DecodeError> {
        self.at = unescape(self.text, start, &mut self.keys.scratch)?;
        Ok(self.arena.alloc_str(&self.keys.scratch))
    }
}

impl<'a> Decoder<'a> for JsonDecoder<'a, '_> {
    fn arena(&self) -> &'a Bump {
        self.arena
    }

    fn bool(&mut self) -> Result<bool, DecodeError> {
        self.pass_space();
        let rest = self.rest();
        let (value, length) = if rest.starts_with(b"true") {
            (true, 4)
        } else if rest.starts_with(b"false") {
            (false, 5)
        } else {
            return Err(self.expected("true or false"));
        };
        self.at += length;
        Ok(value)
    }

    #[inline(always)]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        match self.integer(0) {
            Some(value) => Ok(value),
            None => self.number().and_then(|number| unsigned(number, "u64")),
        }
    }

    #[inline(always)]
    fn i64(&mut self) -> Result<i64, DecodeError> {
        let start = self.at;
        let negative = self.next_is(b'-');
        let value = self.integer(usize::from(negative)).and_then(|value| i64::try_from(value).ok());
        match value {
            Some(value) => Ok(if negative { -value } else { value }),
            None => {
                self.at = start;
                self.number().and_then(|number| signed(number, "i64"))
            }
        }
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        self.number().and_then(|number| unsigned(number, "u128"))
    }

    fn i128(&mut self) -> Result<i128, DecodeError> {
        self.number().and_then(|number| signed(number, "i128"))
    }

    #[inline(always)]
    fn f64(&mut self) -> Result<f64, DecodeError> {
        let rest = self.rest();
        // A leading zero is only right before the point.
        if !matches!(rest, [b'0', b'0'..=b'9', ..] | [b'-', b'0', b'0'..=b'9', ..])
            && let Some((value, length)) = plain_float(rest)
        {
            self.at += length;
            return Ok(value);
        }
        let number = self.number()?;
        let value = number.parse::<f64>().ok().filter(|value| value.is_finite());
        value.ok_or_else(|| DecodeError::range(shortened(number), "f64"))
    }

    fn f32(&mut self) -> Result<f32, DecodeError> {
        let number = self.number()?;
        let value = number.parse::<f32>().ok().filter(|value| value.is_finite());
        value.ok_or_else(|| DecodeError::range(shortened(number), "f32"))
    }

    #[inline(always)]
    fn str(&mut self) -> Result<&'a str, DecodeError> {
        if !self.next_is(b'"') {
            self.pass_space();
            if !self.next_is(b'"') {
                return Err(self.expected("a string"));
            }
        }
        let start = self.at + 1;
        let end = plain_end(self.bytes(), start);
        if self.bytes().get(end) == Some(&b'"')
            && let Some(value) = self.text.get(start..end)
        {
            self.at = end + 1;
            return Ok(value);
        }
        self.escaped_str(start)
    }

    #[inline]
    fn take_null(&mut self, _width: usize) -> Result<bool, DecodeError> {
        if !self.next_is(b'n') {
            self.pass_space();
        }
        let null = self.rest().starts_with(b"null");
        self.at += if null { 4 } else { 0 };
        Ok(null)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.pass_to(value_end(self.bytes(), self.at, self.depth)?);
        Ok(())
    }

    #[inline(always)]
    fn begin_record(&mut self, names: &'static [&'static str]) -> Result<(), DecodeError> {
        if !self.take(b'{') {
            return Err(self.expected("an object"));
        }
        if self.depth > 0 {
            self.keys.frames.push(self.frame);
        }
        self.enter()?;
        self.frame = Frame { shape: self.keys.shape(names), step: 0 };
        Ok(())
    }

    #[inline(always)]
    fn next_field(&mut self, names: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        loop {
            if self.next_is(b'}') {
                self.at += 1;
                self.leave();
                return Ok(None);
            }
            let field = match self.keys.predicted(self.frame, self.rest()) {
                Some((length, field)) => {
                    self.at += length;
                    field
                }
                None => match self.parse_key(names)? {
                    Some(field) => field,
                    None => {
                        self.leave();
                        return Ok(None);
                    }
                },
            };
            self.frame.step += 1;
            match field {
                Some(_) => return Ok(field),
                None => self.skip()?,
            }
        }
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        if !self.take(b'[') {
            return Err(self.expected("a list"));
        }
        self.list_start = true;
        self.enter()
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        let start = std::mem::take(&mut self.list_start);
        if self.take(b']') {
            self.depth -= 1;
            return Ok(false);
        }
        if !start && !self.take(b',') {
            return Err(self.expected("`,` or `]`"));
        }
        self.pass_space();
        Ok(true)
    }
}

/// What was expected, what stands there instead, and in which column.
#[cold]
fn syntax_error(expected: &str, bytes: &[u8], at: usize) -> DecodeError {
    let found = match bytes.get(at) {
        None => "the end".to_owned(),
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "a list".to_owned(),
        Some(b'"') => "a string".to_owned(),
        Some(b'0'..=b'9' | b'-') => {
            let end = json_number_end(bytes, at).unwrap_or(at + 1);
            let number = bytes.get(at..end).unwrap_or_default();
            format!("the number {}", shortened(&String::from_utf8_lossy(number)))
        }
        Some(b'n') if bytes[at..].starts_with(b"null") => "null".to_owned(),
        Some(b't') if bytes[at..].starts_with(b"true") => "true".to_owned(),
        Some(b'f') if bytes[at..].starts_with(b"false") => "false".to_owned(),
        Some(byte @ 0x21..=0x7e) => format!("`{}`", char::from(*byte)),
        Some(byte) => format!("the byte {byte:#04x}"),
    };
    DecodeError::new(format!("expected {expected} at column {}, found {found}", at + 1))
}
