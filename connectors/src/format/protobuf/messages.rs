//! `ProtobufSchemas`: where the schema of a payload comes from, for sources and sinks of messages.

use bumpalo::Bump;
use headwater::Result;
use headwater::batch::{DecodeError, Record};

use super::super::payload::{PayloadDecoder, PayloadEncoder};
use super::super::schemas::{MessageSchema, Schemas};
use super::super::varint;
use super::decode::ProtobufReader;
use super::encode::ProtobufWriter;
use super::plan::{Plan, Way};
use super::schema::{ProtobufSchema, Root};
use crate::registry::{Registered, SchemaKind, SchemaRegistry};

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
pub struct ProtobufSchemas(pub(crate) Schemas<ProtobufSchema>);

impl From<SchemaRegistry> for ProtobufSchemas {
    fn from(registry: SchemaRegistry) -> Self {
        ProtobufSchemas(Schemas { registry: Some(registry), schema: None })
    }
}

impl From<ProtobufSchema> for ProtobufSchemas {
    fn from(schema: ProtobufSchema) -> Self {
        ProtobufSchemas(Schemas { registry: None, schema: Some(schema) })
    }
}

impl From<(SchemaRegistry, ProtobufSchema)> for ProtobufSchemas {
    fn from((registry, schema): (SchemaRegistry, ProtobufSchema)) -> Self {
        ProtobufSchemas(Schemas { registry: Some(registry), schema: Some(schema) })
    }
}

impl MessageSchema for ProtobufSchema {
    type Reader<T: Record> = ProtobufReader<T>;
    type Writer<T: Record> = ProtobufWriter<T>;

    const NAME: &'static str = "Protobuf";

    fn kind() -> SchemaKind {
        SchemaKind::Protobuf
    }

    fn of_record<T: Record>() -> Result<Self> {
        ProtobufSchema::of::<T>()
    }

    fn reader<T: Record>(&self) -> Result<ProtobufReader<T>> {
        ProtobufReader::new(self)
    }

    fn writer<T: Record>(&self) -> Result<ProtobufWriter<T>> {
        ProtobufWriter::new(self)
    }

    fn reader_of<T: Record>(registered: &Registered, place: &[u8]) -> Result<ProtobufReader<T>, String> {
        let indexes = pass_indexes(place, &mut 0).map_err(|error| error.to_string())?;
        let root = Root::Indexes(&indexes);
        let schema = ProtobufSchema::build(&registered.text, &registered.references, root);
        let schema = schema.map_err(|error| error.to_string())?;
        let plan = Plan::new(&schema, &T::schema(), Way::Read).map_err(|error| error.to_string())?;
        Ok(ProtobufReader::from(plan))
    }

    fn write_place(&self, out: &mut Vec<u8>) {
        write_indexes(self.indexes(), out);
    }

    fn place_bytes(bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut at = 0;
        pass_indexes(bytes, &mut at).map(|_| at)
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

impl<T: Record> PayloadEncoder<T> for ProtobufWriter<T> {
    fn encode(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.write(view, out)
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
