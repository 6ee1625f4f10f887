//! `ProtobufSchemas`: where the schema of a payload comes from, for sources and sinks of messages.

use std::collections::HashMap;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::{Error, Result};

use super::super::payload::{PayloadDecoder, PayloadEncoder};
use super::super::varint;
use super::decode::ProtobufReader;
use super::encode::ProtobufWriter;
use super::plan::{Plan, Way};
use super::schema::{ProtobufSchema, Root};
use crate::registry::{SchemaKind, SchemaRegistry, read_id, write_id};

/// Most schemas for which a source keeps how they are read.
const READERS_MAX: usize = 256;

/// How deep the message of a payload may stand in others.
const INDEXES_MAX: usize = 64;

/// Where the Protobuf of messages has its schema: a registry, or one that is given.
///
/// | made of | a source | a sink |
/// |---|---|---|
/// | [`SchemaRegistry`] | each payload names the schema it was written by | registers that of its record type |
/// | [`ProtobufSchema`] | all payloads are of it, without an id | writes as it says, without an id |
/// | both | | registers the given schema, and writes as it says |
#[derive(Clone, Debug)]
pub struct ProtobufSchemas {
    registry: Option<SchemaRegistry>,
    schema: Option<ProtobufSchema>,
}

impl From<SchemaRegistry> for ProtobufSchemas {
    fn from(registry: SchemaRegistry) -> Self {
        ProtobufSchemas { registry: Some(registry), schema: None }
    }
}

impl From<ProtobufSchema> for ProtobufSchemas {
    fn from(schema: ProtobufSchema) -> Self {
        ProtobufSchemas { registry: None, schema: Some(schema) }
    }
}

impl From<(SchemaRegistry, ProtobufSchema)> for ProtobufSchemas {
    fn from((registry, schema): (SchemaRegistry, ProtobufSchema)) -> Self {
        ProtobufSchemas { registry: Some(registry), schema: Some(schema) }
    }
}

#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
impl ProtobufSchemas {
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
            (None, Some(schema)) => Ok(Box::new(ProtobufReader::<T>::new(schema)?)),
            (Some(registry), None) => {
                registry.check()?;
                Ok(Box::new(ByRegistry::<T> {
                    registry: registry.clone(),
                    readers: HashMap::new(),
                    last: None,
                }))
            }
            (None, None) => Err(Error::Config("Protobuf needs a schema, or a registry of them".to_owned())),
        }
    }

    /// # Errors
    /// The record type has no such form, or its schema cannot be registered.
    pub(crate) fn encoder<T: Record>(&self, subject: &str) -> Result<Box<dyn PayloadEncoder<T>>> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => ProtobufSchema::of::<T>()?,
        };
        let writer = ProtobufWriter::<T>::new(&schema)?;
        let mut head = Vec::new();
        if let Some(registry) = &self.registry {
            write_id(registry.register(subject, &SchemaKind::Protobuf, &schema.to_string())?, &mut head);
            write_indexes(schema.indexes(), &mut head);
        }
        Ok(Box::new(Headed { head, writer }))
    }
}

/// Which message of its schema a payload is: its place among its siblings, behind the same of those around it.
fn write_indexes(indexes: &[u32], out: &mut Vec<u8>) {
    if indexes == [0] {
        // The first message of a schema is nearly always meant.
        out.push(0);
        return;
    }
    varint::write(varint::zigzag(indexes.len() as i64), out);
    for index in indexes {
        varint::write(varint::zigzag(i64::from(*index)), out);
    }
}

/// Goes behind what [`write_indexes`] wrote.
fn pass_indexes(bytes: &[u8], at: &mut usize) -> Result<Vec<u32>, DecodeError> {
    let mut next = || {
        let number = varint::read(bytes, at).map(varint::unzigzag);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number
            .ok_or_else(|| DecodeError::new("it ends inside of what says which message of its schema it is"))
    };
    match next()? as usize {
        0 => Ok(vec![0]),
        count if count <= INDEXES_MAX => (0..count).map(|_| next()).collect(),
        count => Err(DecodeError::new(format!("its message stands in {count} others"))),
    }
}

impl<T: Record> PayloadDecoder<T> for ProtobufReader<T> {
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>> {
        Ok(self.read(payload, arena))
    }
}

/// The id of a schema, and which message of it.
type Key = (u32, Vec<u32>);

/// How payloads of a message are read, or why they cannot be.
type Reader<T> = Result<ProtobufReader<T>, String>;

/// Payloads that begin with the id of their schema.
struct ByRegistry<T: Record> {
    registry: SchemaRegistry,
    readers: HashMap<Key, Reader<T>>,
    /// That of the last payload, which is nearly always that of the next: what it began with, and its key.
    last: Option<(Vec<u8>, Key, Reader<T>)>,
}

impl<T: Record> ByRegistry<T> {
    /// Makes the reader of a key the last one; false when the registry does not have the schema.
    fn turn_to(&mut self, head: &[u8], key: Key) -> Result<bool> {
        let reader = match self.readers.remove(&key) {
            Some(reader) => reader,
            None => match self.registry.schema(key.0)? {
                Some(registered) if registered.kind == SchemaKind::Protobuf => {
                    let root = Root::Indexes(&key.1);
                    let schema = ProtobufSchema::build(&registered.text, &registered.references, root);
                    let plan = schema.map_err(|error| error.to_string()).and_then(|schema| {
                        Plan::new(&schema, &T::schema(), Way::Read).map_err(|error| error.to_string())
                    });
                    plan.map(ProtobufReader::from)
                }
                Some(registered) => {
                    Err(format!("it is of the kind {}, not PROTOBUF", registered.kind.name()))
                }
                None => return Ok(false),
            },
        };
        if self.readers.len() >= READERS_MAX {
            self.readers.clear();
        }
        if let Some((_, key, reader)) = self.last.replace((head.to_vec(), key, reader)) {
            self.readers.insert(key, reader);
        }
        Ok(true)
    }
}

impl<T: Record> PayloadDecoder<T> for ByRegistry<T> {
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>> {
        let is_last = |last: &(Vec<u8>, Key, Reader<T>)| payload.starts_with(&last.0);
        if !self.last.as_ref().is_some_and(is_last) {
            let (id, rest) = match read_id(payload) {
                Ok(read) => read,
                Err(error) => return Ok(Err(error)),
            };
            let mut at = 0;
            let indexes = match pass_indexes(rest, &mut at) {
                Ok(indexes) => indexes,
                Err(error) => return Ok(Err(error)),
            };
            let head = &payload[..payload.len() - rest.len() + at];
            if !self.turn_to(head, (id, indexes))? {
                let said = format!("the registry has no schema {id}, by which it was written");
                return Ok(Err(DecodeError::new(said)));
            }
        }
        Ok(match &mut self.last {
            Some((head, _, Ok(reader))) => reader.read(&payload[head.len()..], arena),
            Some((_, (id, _), Err(why))) => Err(DecodeError::new(format!("schema {id}: {why}"))),
            None => Err(DecodeError::new("it has no schema")),
        })
    }
}

/// Protobuf behind the id of its schema, if there is one.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only sinks of messages write payloads"))]
struct Headed<T: Record> {
    head: Vec<u8>,
    writer: ProtobufWriter<T>,
}

impl<T: Record> PayloadEncoder<T> for Headed<T> {
    fn encode(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.head);
        self.writer.write(view, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_message_is_read_as_it_was_written() {
        for indexes in [vec![0], vec![1], vec![0, 0], vec![3, 0, 200]] {
            let mut bytes = Vec::new();
            write_indexes(&indexes, &mut bytes);
            let mut at = 0;
            assert_eq!((pass_indexes(&bytes, &mut at).unwrap(), at), (indexes, bytes.len()));
        }
        assert!(pass_indexes(&[], &mut 0).is_err());
        assert!(pass_indexes(&[4, 0], &mut 0).is_err());
        assert!(pass_indexes(&[0xff, 0xff, 0xff, 0x7f], &mut 0).is_err());
    }
}
