//! `PayloadFormat`: how records are read that come one by one: a message, a frame, the body of a request.

use std::fmt;
use std::sync::Arc;

use bumpalo::Bump;
use headwater::Result;
use headwater::batch::{DecodeError, Record};

use super::csv::{CsvColumns, decode_csv_row};
use super::json::{JsonKeys, decode_json_line};

/// Reads one payload after the other; it keeps what makes the next one quicker to read.
pub(crate) trait PayloadDecoder<T: Record>: Send {
    /// The record in a payload. The inner error is the payload's own: it would be no better the next time.
    ///
    /// # Errors
    /// What is needed to understand it cannot be had.
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>>;
}

type Open<T> = dyn Fn() -> Result<Box<dyn PayloadDecoder<T>>> + Send + Sync;

/// Makes a decoder for each reader.
pub(crate) struct PayloadFormat<T: Record> {
    open: Arc<Open<T>>,
}

impl<T: Record> Clone for PayloadFormat<T> {
    fn clone(&self) -> Self {
        PayloadFormat { open: Arc::clone(&self.open) }
    }
}

impl<T: Record> fmt::Debug for PayloadFormat<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadFormat").finish_non_exhaustive()
    }
}

impl PayloadFormat<String> {
    /// The payload is the record.
    pub(crate) fn text() -> Self {
        PayloadFormat::new(|| Ok(Text::<String, ()> { state: (), decode: |text, (), _| Ok(text) }))
    }
}

impl<T: Record> PayloadFormat<T> {
    /// A JSON object, as a line of `JsonLines` is.
    pub(crate) fn json() -> Self {
        PayloadFormat::new(|| {
            Ok(Text::<T, _> {
                state: JsonKeys::default(),
                decode: |text, keys, arena| decode_json_line::<T>(text, arena, keys),
            })
        })
    }

    /// A row of comma-separated cells, one for each field in the declared order.
    pub(crate) fn csv() -> Self {
        PayloadFormat::new(|| {
            Ok(Text::<T, _> { state: CsvColumns::declared::<T>(b',')?, decode: decode_csv_row::<T> })
        })
    }

    fn new<D: PayloadDecoder<T> + 'static>(open: impl Fn() -> Result<D> + Send + Sync + 'static) -> Self {
        PayloadFormat { open: Arc::new(move || Ok(Box::new(open()?))) }
    }

    /// # Errors
    /// The record has no such form.
    pub(crate) fn decoder(&self) -> Result<Box<dyn PayloadDecoder<T>>> {
        (self.open)()
    }
}

type DecodeText<T, S> = for<'a> fn(&'a str, &mut S, &'a Bump) -> Result<<T as Record>::View<'a>, DecodeError>;

/// A payload that is text.
struct Text<T: Record, S> {
    state: S,
    decode: DecodeText<T, S>,
}

impl<T: Record, S: Send> PayloadDecoder<T> for Text<T, S> {
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>> {
        Ok(match simdutf8::compat::from_utf8(payload) {
            Ok(text) => (self.decode)(text, &mut self.state, arena),
            Err(error) => Err(DecodeError::new(format!("not UTF-8: {error}"))),
        })
    }
}
