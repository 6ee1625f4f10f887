//! `AvroSchemas`: where the schema of a payload comes from, for sources and sinks of messages.

use std::collections::HashMap;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::{Error, Result};

use super::super::payload::{PayloadDecoder, PayloadEncoder};
use super::decode::AvroReader;
use super::encode::AvroWriter;
use super::resolve::ReadPlan;
use super::schema::AvroSchema;
use crate::registry::{SchemaKind, SchemaRegistry, read_id, write_id};

/// Most schemas for which a source keeps how they are read.
const READERS_MAX: usize = 256;

/// Where the Avro of messages has its schema: a registry, or one that is given.
///
/// | made of | a source | a sink |
/// |---|---|---|
/// | [`SchemaRegistry`] | each payload names the schema it was written by | registers that of its record type |
/// | [`AvroSchema`] | all payloads are of it, without an id | writes as it says, without an id |
/// | both | | registers the given schema, and writes as it says |
#[derive(Clone, Debug)]
pub struct AvroSchemas {
    registry: Option<SchemaRegistry>,
    schema: Option<AvroSchema>,
}

impl From<SchemaRegistry> for AvroSchemas {
    fn from(registry: SchemaRegistry) -> Self {
        AvroSchemas { registry: Some(registry), schema: None }
    }
}

impl From<AvroSchema> for AvroSchemas {
    fn from(schema: AvroSchema) -> Self {
        AvroSchemas { registry: None, schema: Some(schema) }
    }
}

impl From<(SchemaRegistry, AvroSchema)> for AvroSchemas {
    fn from((registry, schema): (SchemaRegistry, AvroSchema)) -> Self {
        AvroSchemas { registry: Some(registry), schema: Some(schema) }
    }
}

#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
impl AvroSchemas {
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
            (None, Some(schema)) => Ok(Box::new(AvroReader::<T>::new(schema)?)),
            (Some(registry), None) => {
                registry.check()?;
                Ok(Box::new(ByRegistry::<T> {
                    registry: registry.clone(),
                    readers: HashMap::new(),
                    last: None,
                }))
            }
            (None, None) => Err(Error::Config("Avro needs a schema, or a registry of them".to_owned())),
        }
    }

    /// # Errors
    /// The record type has no such form, or its schema cannot be registered.
    pub(crate) fn encoder<T: Record>(&self, subject: &str) -> Result<Box<dyn PayloadEncoder<T>>> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => AvroSchema::of::<T>()?,
        };
        let writer = AvroWriter::<T>::new(&schema)?;
        let mut head = Vec::new();
        if let Some(registry) = &self.registry {
            write_id(registry.register(subject, &SchemaKind::Avro, &schema.to_string())?, &mut head);
        }
        Ok(Box::new(Headed { head, writer }))
    }
}

impl<T: Record> PayloadDecoder<T> for AvroReader<T> {
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>> {
        Ok(self.read(payload, arena))
    }
}

/// How payloads of a schema are read, or why they cannot be.
type Reader<T> = Result<AvroReader<T>, String>;

/// Payloads that begin with the id of their schema.
struct ByRegistry<T: Record> {
    registry: SchemaRegistry,
    readers: HashMap<u32, Reader<T>>,
    /// That of the last payload, which is nearly always that of the next.
    last: Option<(u32, Reader<T>)>,
}

impl<T: Record> ByRegistry<T> {
    /// The reader of a schema; `None` when the registry does not have the schema.
    fn reader(&mut self, id: u32) -> Result<Option<&mut Reader<T>>> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            let reader = match self.readers.remove(&id) {
                Some(reader) => reader,
                None => match self.registry.schema(id)? {
                    Some(registered) if registered.kind == SchemaKind::Avro => {
                        let others: Vec<_> =
                            registered.references.iter().map(|(_, text)| text.clone()).collect();
                        let schema = AvroSchema::parse_with(&registered.text, &others);
                        let plan = schema.map_err(|error| error.to_string()).and_then(|schema| {
                            ReadPlan::new(&schema, &T::schema()).map_err(|error| error.to_string())
                        });
                        plan.map(AvroReader::from)
                    }
                    Some(registered) => {
                        Err(format!("it is of the kind {}, not AVRO", registered.kind.name()))
                    }
                    None => return Ok(None),
                },
            };
            if self.readers.len() >= READERS_MAX {
                self.readers.clear();
            }
            if let Some((id, reader)) = self.last.replace((id, reader)) {
                self.readers.insert(id, reader);
            }
        }
        Ok(self.last.as_mut().map(|(_, reader)| reader))
    }
}

impl<T: Record> PayloadDecoder<T> for ByRegistry<T> {
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>> {
        let (id, body) = match read_id(payload) {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match self.reader(id)? {
            Some(Ok(reader)) => reader.read(body, arena),
            Some(Err(why)) => Err(DecodeError::new(format!("schema {id}: {why}"))),
            None => {
                Err(DecodeError::new(format!("the registry has no schema {id}, by which it was written")))
            }
        })
    }
}

/// Avro behind the id of its schema, if there is one.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
struct Headed<T: Record> {
    head: Vec<u8>,
    writer: AvroWriter<T>,
}

impl<T: Record> PayloadEncoder<T> for Headed<T> {
    fn encode(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.head);
        self.writer.write(view, out)
    }
}
