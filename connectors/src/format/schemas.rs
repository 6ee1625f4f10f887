//! `Schemas`: where the schema of a payload comes from, a registry or the program, whatever it is written in.

use std::collections::HashMap;
use std::fmt;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::{Error, Result};

use super::payload::{PayloadDecoder, PayloadEncoder};
use crate::registry::{Registered, SchemaKind, SchemaRegistry, read_id, write_id};

/// Most schemas for which a source keeps how they are read.
const READERS_MAX: usize = 256;

/// What a schema is written in, and how payloads of it are read and written.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
pub(crate) trait MessageSchema: Clone + fmt::Display + 'static {
    type Reader<T: Record>: PayloadDecoder<T> + 'static;
    type Writer<T: Record>: PayloadEncoder<T> + 'static;

    /// For messages.
    const NAME: &'static str;

    fn kind() -> SchemaKind;

    /// # Errors
    /// The record type has no such form.
    fn of_record<T: Record>() -> Result<Self>;

    /// # Errors
    /// It does not suit the record type.
    fn reader<T: Record>(&self) -> Result<Self::Reader<T>>;

    /// # Errors
    /// It does not suit the record type.
    fn writer<T: Record>(&self) -> Result<Self::Writer<T>>;

    /// How payloads of a registered schema are read; `place` says which of its messages they are.
    ///
    /// # Errors
    /// Why they cannot be.
    fn reader_of<T: Record>(registered: &Registered, place: &[u8]) -> Result<Self::Reader<T>, String>;

    /// Appends which message of its schema a payload is.
    fn write_place(&self, _out: &mut Vec<u8>) {}

    /// Bytes of what [`write_place`](Self::write_place) wrote at the beginning of these.
    ///
    /// # Errors
    /// They do not begin so.
    fn place_bytes(_bytes: &[u8]) -> Result<usize, DecodeError> {
        Ok(0)
    }
}

/// A registry, a schema that is given, or both.
#[derive(Clone, Debug)]
pub(crate) struct Schemas<S> {
    pub(crate) registry: Option<SchemaRegistry>,
    pub(crate) schema: Option<S>,
}

#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
impl<S: MessageSchema> Schemas<S> {
    pub(crate) fn has_registry(&self) -> bool {
        self.registry.is_some()
    }

    /// # Errors
    /// The given schema does not suit the record type, or the registry cannot be asked.
    pub(crate) fn decoder<T: Record>(&self) -> Result<Box<dyn PayloadDecoder<T>>> {
        match (&self.registry, &self.schema) {
            (Some(_), Some(_)) => Err(Error::Config(
                "a source takes the schema of each payload from the registry: give it the registry alone"
                    .to_owned(),
            )),
            (None, Some(schema)) => Ok(Box::new(schema.reader::<T>()?)),
            (Some(registry), None) => {
                registry.check()?;
                let (registry, readers) = (registry.clone(), HashMap::new());
                Ok(Box::new(ByRegistry::<T, S> { registry, readers, last: None }))
            }
            (None, None) => Err(Error::Config(format!("{} needs a schema, or a registry of them", S::NAME))),
        }
    }

    /// # Errors
    /// The record type has no such form, or its schema cannot be registered.
    pub(crate) fn encoder<T: Record>(&self, subject: &str) -> Result<Box<dyn PayloadEncoder<T>>> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => S::of_record::<T>()?,
        };
        let writer = schema.writer::<T>()?;
        let mut head = Vec::new();
        if let Some(registry) = &self.registry {
            write_id(registry.register(subject, &S::kind(), &schema.to_string())?, &mut head);
            schema.write_place(&mut head);
        }
        Ok(Box::new(Headed { head, writer }))
    }
}

/// How payloads are read that begin alike, or why they cannot be.
type Found<T, S> = Result<<S as MessageSchema>::Reader<T>, String>;

/// Payloads that begin with the id of their schema, and which message of it they are.
struct ByRegistry<T: Record, S: MessageSchema> {
    registry: SchemaRegistry,
    /// By what payloads begin with.
    readers: HashMap<Vec<u8>, Found<T, S>>,
    /// That of the last payload, which is nearly always that of the next.
    last: Option<(Vec<u8>, Found<T, S>)>,
}

impl<T: Record, S: MessageSchema> ByRegistry<T, S> {
    /// Makes the reader of payloads that begin like this one the last one.
    fn turn_to(&mut self, payload: &[u8]) -> Result<Result<(), DecodeError>> {
        let begins = read_id(payload).and_then(|(id, rest)| Ok((id, rest, S::place_bytes(rest)?)));
        let (id, rest, place) = match begins {
            Ok(begins) => begins,
            Err(error) => return Ok(Err(error)),
        };
        let head = &payload[..payload.len() - rest.len() + place];
        let found = match self.readers.remove(head) {
            Some(found) => found,
            None => {
                let Some(registered) = self.registry.schema(id)? else {
                    let said = format!("the registry has no schema {id}, by which it was written");
                    return Ok(Err(DecodeError::new(said)));
                };
                let found = if registered.kind == S::kind() {
                    S::reader_of::<T>(&registered, &rest[..place])
                } else {
                    Err(format!("it is of the kind {}, not {}", registered.kind.name(), S::kind().name()))
                };
                found.map_err(|why| format!("schema {id}: {why}"))
            }
        };
        if self.readers.len() >= READERS_MAX {
            self.readers.clear();
        }
        if let Some((head, found)) = self.last.replace((head.to_vec(), found)) {
            self.readers.insert(head, found);
        }
        Ok(Ok(()))
    }
}

impl<T: Record, S: MessageSchema> PayloadDecoder<T> for ByRegistry<T, S> {
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>> {
        if !self.last.as_ref().is_some_and(|(head, _)| payload.starts_with(head))
            && let Err(error) = self.turn_to(payload)?
        {
            return Ok(Err(error));
        }
        match &mut self.last {
            Some((head, Ok(reader))) => reader.decode(&payload[head.len()..], arena),
            Some((_, Err(why))) => Ok(Err(DecodeError::new(why.clone()))),
            None => Ok(Err(DecodeError::new("it has no schema"))),
        }
    }
}

/// A payload behind the id of its schema, if there is one.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
struct Headed<W> {
    head: Vec<u8>,
    writer: W,
}

impl<T: Record, W: PayloadEncoder<T>> PayloadEncoder<T> for Headed<W> {
    fn encode(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.head);
        self.writer.encode(view, out)
    }
}
