//! The two sides of a text format: `Decoder` reads a record's fields, `Encoder` writes them.

use std::borrow::Cow;
use std::fmt;

use bumpalo::Bump;

/// Why a piece of text is not the record that was asked for.
#[derive(Debug)]
pub struct DecodeError(Box<Detail>);

#[derive(Debug)]
struct Detail {
    field: String,
    reason: Cow<'static, str>,
}

impl DecodeError {
    /// An error with a reason in words.
    #[cold]
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        DecodeError(Box::new(Detail { field: String::new(), reason: reason.into() }))
    }

    /// A required field is not there.
    #[cold]
    #[must_use]
    pub fn missing(field: &'static str) -> Self {
        DecodeError::new("is missing").at(field)
    }

    /// A number does not fit the type of its field.
    #[cold]
    pub fn range(value: impl fmt::Display, type_name: &str) -> Self {
        DecodeError::new(format!("{value} does not fit {type_name}"))
    }

    /// Names the field in which the error happened, from the inside out.
    #[cold]
    #[must_use]
    pub fn at(mut self, field: &str) -> Self {
        let detail = &mut *self.0;
        detail.field = match detail.field.as_str() {
            "" => field.to_owned(),
            inner => format!("{field}.{inner}"),
        };
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.field.as_str() {
            "" => f.write_str(&self.0.reason),
            field => write!(f, "field `{field}`: {}", self.0.reason),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads values out of one piece of text that lives for `'a`.
///
/// Every method returns an error when the text holds something else.
#[allow(clippy::missing_errors_doc, reason = "the sentence above holds for each method")]
pub trait Decoder<'a> {
    /// Memory for what cannot be borrowed from the text, such as strings with escapes.
    fn arena(&self) -> &'a Bump;
    /// Reads `true` or `false`.
    fn bool(&mut self) -> Result<bool, DecodeError>;
    /// Reads an unsigned integer.
    fn u64(&mut self) -> Result<u64, DecodeError>;
    /// Reads a signed integer.
    fn i64(&mut self) -> Result<i64, DecodeError>;
    /// Reads an unsigned integer of up to 128 bits.
    fn u128(&mut self) -> Result<u128, DecodeError>;
    /// Reads a signed integer of up to 128 bits.
    fn i128(&mut self) -> Result<i128, DecodeError>;
    /// Reads a number.
    fn f64(&mut self) -> Result<f64, DecodeError>;
    /// Reads a number of 32 bits.
    fn f32(&mut self) -> Result<f32, DecodeError>;
    /// Reads a string.
    fn str(&mut self) -> Result<&'a str, DecodeError>;
    /// Takes a null if one is next and says whether it did. In a flat format a null is `width` empty cells.
    fn take_null(&mut self, width: usize) -> Result<bool, DecodeError>;
    /// Passes over one value of any kind.
    fn skip(&mut self) -> Result<(), DecodeError>;
    /// Enters a record with these field names.
    fn begin_record(&mut self, names: &'static [&'static str]) -> Result<(), DecodeError>;
    /// The number of the next field among `names`, or `None` at the end of the record. Unknown fields
    /// are passed over.
    fn next_field(&mut self, names: &'static [&'static str]) -> Result<Option<usize>, DecodeError>;
    /// Enters a list.
    fn begin_list(&mut self) -> Result<(), DecodeError>;
    /// True when one more item follows.
    fn next_item(&mut self) -> Result<bool, DecodeError>;
}

/// Writes values to one piece of text. Encoding cannot fail.
pub trait Encoder {
    /// Writes nothing where `width` cells of a flat format would be.
    fn null(&mut self, width: usize);
    /// Writes `true` or `false`.
    fn bool(&mut self, value: bool);
    /// Writes an unsigned integer.
    fn u64(&mut self, value: u64);
    /// Writes a signed integer.
    fn i64(&mut self, value: i64);
    /// Writes an unsigned integer of up to 128 bits.
    fn u128(&mut self, value: u128);
    /// Writes a signed integer of up to 128 bits.
    fn i128(&mut self, value: i128);
    /// Writes a number, in the shortest form that reads back equal.
    fn f64(&mut self, value: f64);
    /// Writes a number of 32 bits, in the shortest form that reads back equal.
    fn f32(&mut self, value: f32);
    /// Writes a string.
    fn str(&mut self, value: &str);
    /// Opens a record.
    fn begin_record(&mut self);
    /// Announces the next field.
    fn field(&mut self, name: &'static str);
    /// Closes a record.
    fn end_record(&mut self);
    /// Opens a list.
    fn begin_list(&mut self);
    /// Announces the next item.
    fn item(&mut self);
    /// Closes a list.
    fn end_list(&mut self);
}
