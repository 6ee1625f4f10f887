//! `WritePlan`: how one record type is written as a schema says, found out once.

use std::collections::HashMap;

use headwater::batch::{FieldType, Schema};
use headwater::{Error, Result};

use super::super::varint;
use super::schema::{AvroSchema, Node, NodeId};

/// Where a put stands in its plan.
pub(super) type PutId = usize;

/// How one value is written.
#[derive(Debug)]
pub(super) enum Put {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    String,
    Enum(HashMap<Box<str>, u64>),
    /// An integer as a decimal, in `bytes` or `fixed` of a size.
    Decimal(Option<usize>),
    /// A list of bytes, and of exactly so many.
    Bytes,
    Fixed(usize),
    Byte,
    List(PutId),
    Record(Form),
    /// The numbers of the branches for null and for a value.
    Union {
        null: Option<u64>,
        branch: u64,
        value: PutId,
    },
}

/// A record: its fields come in the order of the record type.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) fields: Vec<FieldPut>,
    /// Where the order of the schema is another one: which field stands there, or bytes of one that the record
    /// type does not have.
    pub(super) order: Option<Vec<Part>>,
}

#[derive(Debug)]
pub(super) struct FieldPut {
    pub(super) name: String,
    pub(super) put: PutId,
}

#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Field(usize),
    Bytes(Vec<u8>),
}

/// How records of one type are written.
#[derive(Debug)]
pub(super) struct WritePlan {
    pub(super) puts: Vec<Put>,
    pub(super) root: PutId,
}

impl WritePlan {
    /// # Errors
    /// The schema has no place for what such a record holds, or wants what it does not hold.
    pub(super) fn new(schema: &AvroSchema, record: &Schema) -> Result<Self> {
        let mut filler = Filler { schema, puts: vec![Put::Byte], path: Vec::new() };
        let root = filler.fill(schema.root, record)?;
        Ok(WritePlan { puts: filler.puts, root })
    }
}

/// The put that every plan begins with.
pub(super) const BYTE: PutId = 0;

struct Filler<'s> {
    schema: &'s AvroSchema,
    puts: Vec<Put>,
    /// The fields that lead to the value, for messages.
    path: Vec<String>,
}

impl Filler<'_> {
    fn refuse<T>(&self, what: &str) -> Result<T> {
        let place =
            if self.path.is_empty() { String::new() } else { format!("field `{}`: ", self.path.join(".")) };
        Err(Error::Config(format!("the record cannot be written with the Avro schema: {place}{what}")))
    }

    fn unlike<T>(&self, record: &Schema, node: &Node) -> Result<T> {
        self.refuse(&format!("the record type has {record}, the schema {}", node.name()))
    }

    fn fill(&mut self, node: NodeId, record: &Schema) -> Result<PutId> {
        let put = self.put(node, record)?;
        self.puts.push(put);
        Ok(self.puts.len() - 1)
    }

    fn put(&mut self, node: NodeId, record: &Schema) -> Result<Put> {
        use FieldType as F;
        let schema = self.schema;
        let written = &schema.nodes[node];
        if let Node::Union(branches) = written {
            return self.union(branches, record);
        }
        Ok(match (&record.field_type, written) {
            (F::Option(_), _) => return self.refuse("the record type has an `Option`, the schema no null"),
            (F::Record(fields), Node::Null) if fields.is_empty() => Put::Null,
            (F::Record(fields), Node::Record(_)) if !fields.is_empty() => {
                Put::Record(self.record(node, fields)?)
            }
            (F::List(item), Node::Bytes) if item.field_type == F::U8 => Put::Bytes,
            (F::List(item), Node::Fixed(size)) if item.field_type == F::U8 => Put::Fixed(*size),
            (F::List(item), Node::Array(node)) => Put::List(self.fill(*node, item)?),
            (F::List(item), Node::Map(node)) => Put::List(self.entry(*node, item, written)?),
            (F::Bool, Node::Boolean) => Put::Boolean,
            (integer, Node::Int) if is_integer(integer) => Put::Int,
            (integer, Node::Long) if is_integer(integer) => Put::Long,
            (integer, Node::Decimal { size, scale: 0 }) if is_integer(integer) => Put::Decimal(*size),
            (F::F32, Node::Float) => Put::Float,
            (F::F32 | F::F64, Node::Double) => Put::Double,
            (F::String, Node::String) => Put::String,
            (F::String, Node::Enum(symbols)) => Put::Enum(symbols.iter().cloned().zip(0_u64..).collect()),
            _ => return self.unlike(record, written),
        })
    }

    fn union(&mut self, branches: &[NodeId], record: &Schema) -> Result<Put> {
        let schema = self.schema;
        let null = branches.iter().position(|branch| matches!(schema.nodes[*branch], Node::Null));
        let inner = match &record.field_type {
            FieldType::Option(inner) => inner,
            _ => record,
        };
        if null.is_none() && matches!(record.field_type, FieldType::Option(_)) {
            return self.refuse("the record type has an `Option`, the schema no null");
        }
        let (mut why, depth) = (None, self.path.len());
        for (number, branch) in branches.iter().enumerate().filter(|(number, _)| Some(*number) != null) {
            match self.fill(*branch, inner) {
                Ok(value) => {
                    return Ok(Put::Union {
                        null: null.map(|null| varint::zigzag(null as i64)),
                        branch: varint::zigzag(number as i64),
                        value,
                    });
                }
                Err(error) => {
                    self.path.truncate(depth);
                    why = why.or(Some(error));
                }
            }
        }
        match why {
            Some(why) => Err(why),
            None => self.refuse("the schema has nothing but null"),
        }
    }

    fn record(&mut self, node: NodeId, fields: &[(String, Schema)]) -> Result<Form> {
        let schema = self.schema;
        let Node::Record(members) = &schema.nodes[node] else { return self.refuse("no record is wanted") };
        let mut puts = Vec::with_capacity(fields.len());
        for (name, record) in fields {
            self.path.push(name.clone());
            let Some(member) = members.iter().find(|member| *member.name == **name) else {
                return self.refuse("the schema does not have it, so it would be lost");
            };
            let put = self.fill(member.node, record)?;
            self.path.pop();
            puts.push(FieldPut { name: name.clone(), put });
        }
        let mut order = Vec::with_capacity(members.len());
        for member in members {
            let part = match fields.iter().position(|(name, _)| **name == *member.name) {
                Some(field) => Part::Field(field),
                None => Part::Bytes(self.nothing(&member.name, member.node)?),
            };
            order.push(part);
        }
        let is_same = order.iter().enumerate().all(|(at, part)| *part == Part::Field(at));
        Ok(Form { fields: puts, order: (!is_same).then_some(order) })
    }

    /// What is written for a field that the record type does not have.
    fn nothing(&mut self, name: &str, node: NodeId) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let schema = self.schema;
        match &schema.nodes[node] {
            Node::Null => return Ok(bytes),
            Node::Union(branches) => {
                let null = branches.iter().position(|branch| matches!(schema.nodes[*branch], Node::Null));
                if let Some(null) = null {
                    varint::write(varint::zigzag(null as i64), &mut bytes);
                    return Ok(bytes);
                }
            }
            _ => {}
        }
        self.path.push(name.to_owned());
        self.refuse("the schema wants it, the record type does not have it, and it may not be null")
    }

    /// An entry of a map, which is a record of two fields.
    fn entry(&mut self, node: NodeId, item: &Schema, map: &Node) -> Result<PutId> {
        let FieldType::Record(fields) = &item.field_type else { return self.unlike(item, map) };
        let [(key, key_schema), (value, value_schema)] = fields.as_slice() else {
            return self.unlike(item, map);
        };
        if key_schema.field_type != FieldType::String {
            return self.unlike(item, map);
        }
        self.puts.push(Put::String);
        let key_put = self.puts.len() - 1;
        let value_put = self.fill(node, value_schema)?;
        let fields = vec![
            FieldPut { name: key.clone(), put: key_put },
            FieldPut { name: value.clone(), put: value_put },
        ];
        self.puts.push(Put::Record(Form { fields, order: None }));
        Ok(self.puts.len() - 1)
    }
}

fn is_integer(wanted: &FieldType) -> bool {
    use FieldType as F;
    matches!(wanted, F::U8 | F::U16 | F::U32 | F::U64 | F::U128 | F::I8 | F::I16 | F::I32 | F::I64 | F::I128)
}
