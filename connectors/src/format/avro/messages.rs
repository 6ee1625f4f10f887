//! `AvroSchemas`: where the schema of a payload comes from, for sources and sinks of messages.

use bumpalo::Bump;
use headwater::Result;
use headwater::batch::{DecodeError, Record};

use super::super::payload::{PayloadDecoder, PayloadEncoder};
use super::super::schemas::{MessageSchema, Schemas};
use super::decode::AvroReader;
use super::encode::AvroWriter;
use super::resolve::ReadPlan;
use super::schema::AvroSchema;
use crate::registry::{Registered, SchemaKind, SchemaRegistry};

/// Where the Avro of messages has its schema: a registry, or one that is given.
///
/// | made of | a source | a sink |
/// |---|---|---|
/// | [`SchemaRegistry`] | each payload names the schema it was written by | registers that of its record type |
/// | [`AvroSchema`] | all payloads are of it, without an id | writes as it says, without an id |
/// | both | | registers the given schema, and writes as it says |
#[derive(Clone, Debug)]
pub struct AvroSchemas(pub(crate) Schemas<AvroSchema>);

impl From<SchemaRegistry> for AvroSchemas {
    fn from(registry: SchemaRegistry) -> Self {
        AvroSchemas(Schemas { registry: Some(registry), schema: None })
    }
}

impl From<AvroSchema> for AvroSchemas {
    fn from(schema: AvroSchema) -> Self {
        AvroSchemas(Schemas { registry: None, schema: Some(schema) })
    }
}

impl From<(SchemaRegistry, AvroSchema)> for AvroSchemas {
    fn from((registry, schema): (SchemaRegistry, AvroSchema)) -> Self {
        AvroSchemas(Schemas { registry: Some(registry), schema: Some(schema) })
    }
}

impl MessageSchema for AvroSchema {
    type Reader<T: Record> = AvroReader<T>;
    type Writer<T: Record> = AvroWriter<T>;

    const NAME: &'static str = "Avro";

    fn kind() -> SchemaKind {
        SchemaKind::Avro
    }

    fn of_record<T: Record>() -> Result<Self> {
        AvroSchema::of::<T>()
    }

    fn reader<T: Record>(&self) -> Result<AvroReader<T>> {
        AvroReader::new(self)
    }

    fn writer<T: Record>(&self) -> Result<AvroWriter<T>> {
        AvroWriter::new(self)
    }

    fn reader_of<T: Record>(registered: &Registered, _: &[u8]) -> Result<AvroReader<T>, String> {
        let others: Vec<_> = registered.references.iter().map(|(_, text)| text.clone()).collect();
        let schema = AvroSchema::parse_with(&registered.text, &others).map_err(|error| error.to_string())?;
        let plan = ReadPlan::new(&schema, &T::schema()).map_err(|error| error.to_string())?;
        Ok(AvroReader::from(plan))
    }
}

impl<T: Record> PayloadDecoder<T> for AvroReader<T> {
    fn decode<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<Result<T::View<'a>, DecodeError>> {
        Ok(self.read(payload, arena))
    }
}

impl<T: Record> PayloadEncoder<T> for AvroWriter<T> {
    fn encode(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.write(view, out)
    }
}
