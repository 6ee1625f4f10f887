//! `PayloadFormat` and `PayloadEncoding`: how records are read and written that come one by one: a message, a
//! frame, the body of a request.

use std::fmt;
use std::sync::Arc;

use bumpalo::Bump;
use headwater::Result;
#[cfg(feature = "kafka")]
use headwater::batch::List;
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

#[cfg(feature = "kafka")]
impl PayloadFormat<Vec<u8>> {
    /// The bytes of the payload are the record.
    pub(crate) fn bytes() -> Self {
        PayloadFormat::new(|| Ok(Bytes))
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

    /// What the schema of a payload says, which is given, or in a registry.
    #[cfg(feature = "avro")]
    pub(crate) fn avro(schemas: super::AvroSchemas) -> Self {
        PayloadFormat { open: Arc::new(move || schemas.0.decoder()) }
    }

    /// A message, whose schema is given, or in a registry.
    #[cfg(feature = "protobuf")]
    pub(crate) fn protobuf(schemas: super::ProtobufSchemas) -> Self {
        PayloadFormat { open: Arc::new(move || schemas.0.decoder()) }
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

/// A payload that is taken as it is.
#[cfg(feature = "kafka")]
struct Bytes;

#[cfg(feature = "kafka")]
impl PayloadDecoder<Vec<u8>> for Bytes {
    fn decode<'a>(&mut self, payload: &'a [u8], _: &'a Bump) -> Result<Result<List<'a, u8>, DecodeError>> {
        Ok(Ok(List::from(payload)))
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

/// Writes one payload after the other; it keeps what makes the next one quicker to write.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
pub(crate) trait PayloadEncoder<T: Record>: Send {
    /// Appends the payload of a record.
    ///
    /// # Errors
    /// The record has no such form.
    fn encode(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()>;
}

type OpenEncoder<T> = dyn Fn(&str) -> Result<Box<dyn PayloadEncoder<T>>> + Send + Sync;

/// Makes an encoder for each writer.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
pub(crate) struct PayloadEncoding<T: Record> {
    open: Arc<OpenEncoder<T>>,
    /// The schema is registered under a subject.
    pub(crate) has_subject: bool,
}

impl<T: Record> Clone for PayloadEncoding<T> {
    fn clone(&self) -> Self {
        PayloadEncoding { open: Arc::clone(&self.open), has_subject: self.has_subject }
    }
}

#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
impl<T: Record> PayloadEncoding<T> {
    /// What a closure appends.
    pub(crate) fn with(encode: impl for<'a> Fn(T::View<'a>, &mut Vec<u8>) + Send + Sync + 'static) -> Self {
        let encode: Arc<Append<T>> = Arc::new(encode);
        let open = move |_: &str| -> Result<Box<dyn PayloadEncoder<T>>> {
            Ok(Box::new(Appended { encode: Arc::clone(&encode) }))
        };
        PayloadEncoding { open: Arc::new(open), has_subject: false }
    }

    /// As a schema says, which is registered, if there is a registry.
    #[cfg(feature = "avro")]
    pub(crate) fn avro(schemas: super::AvroSchemas) -> Self {
        let has_subject = schemas.0.has_registry();
        PayloadEncoding { open: Arc::new(move |subject| schemas.0.encoder(subject)), has_subject }
    }

    /// As a message of a schema, which is registered, if there is a registry.
    #[cfg(feature = "protobuf")]
    pub(crate) fn protobuf(schemas: super::ProtobufSchemas) -> Self {
        let has_subject = schemas.0.has_registry();
        PayloadEncoding { open: Arc::new(move |subject| schemas.0.encoder(subject)), has_subject }
    }

    /// # Errors
    /// The record type has no such form, or its schema cannot be registered under the subject.
    pub(crate) fn encoder(&self, subject: &str) -> Result<Box<dyn PayloadEncoder<T>>> {
        (self.open)(subject)
    }
}

type Append<T> = dyn for<'a> Fn(<T as Record>::View<'a>, &mut Vec<u8>) + Send + Sync;

/// A payload that a closure appends.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
struct Appended<T: Record> {
    encode: Arc<Append<T>>,
}

impl<T: Record> PayloadEncoder<T> for Appended<T> {
    fn encode(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        (self.encode)(view, out);
        Ok(())
    }
}
