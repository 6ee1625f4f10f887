//! `ReadPlan`: how the Avro of one schema becomes one record type, found out once per schema.

use std::collections::HashMap;
use std::sync::Arc;

use headwater::batch::{DecodeError, FieldType, Schema};

use super::schema::{AvroSchema, Node, NodeId};

/// Where a step stands in its plan.
pub(super) type StepId = usize;

/// The steps that every plan begins with: one byte of bytes, and the key of a map.
pub(super) const BYTE: StepId = 0;
pub(super) const KEY: StepId = 1;

/// How one value is read.
#[derive(Debug)]
pub(super) enum Step {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    /// Bytes or text, which the length in front of it ends.
    Text,
    Fixed(usize),
    Decimal {
        size: Option<usize>,
        scale: u32,
    },
    Enum(Arc<[Box<str>]>),
    /// One byte of a list of bytes.
    Byte,
    Array(StepId),
    /// A list of records of two fields, key and value.
    Map(StepId),
    Entry(StepId),
    Record(Vec<Move>),
    Union(Vec<StepId>),
    /// A branch of a union that the record type cannot take: why.
    Refused(String),
}

/// What to do with one field of a written record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Skip(NodeId),
    /// The field of the record type, and how it is read.
    Read(usize, StepId),
}

/// How payloads of one schema become records of one type.
#[derive(Debug)]
pub(super) struct ReadPlan {
    pub(super) schema: AvroSchema,
    pub(super) steps: Vec<Step>,
    pub(super) root: StepId,
}

impl ReadPlan {
    /// # Errors
    /// The schema cannot become such a record.
    pub(super) fn new(schema: &AvroSchema, record: &Schema) -> Result<Self, DecodeError> {
        // In the order of their constants.
        let steps = vec![Step::Byte, Step::Text];
        let mut resolver = Resolver { schema, steps, known: HashMap::new() };
        let root = resolver.resolve(schema.root, record)?;
        Ok(ReadPlan { schema: schema.clone(), steps: resolver.steps, root })
    }
}

struct Resolver<'s> {
    schema: &'s AvroSchema,
    steps: Vec<Step>,
    /// What was resolved already: a schema may use a type many times.
    known: HashMap<(NodeId, *const Schema), StepId>,
}

impl Resolver<'_> {
    fn add(&mut self, step: Step) -> StepId {
        self.steps.push(step);
        self.steps.len() - 1
    }

    fn resolve(&mut self, node: NodeId, wanted: &Schema) -> Result<StepId, DecodeError> {
        let key = (node, std::ptr::from_ref(wanted));
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let step = self.step(node, wanted)?;
        let id = self.add(step);
        self.known.insert(key, id);
        Ok(id)
    }

    fn step(&mut self, node: NodeId, wanted: &Schema) -> Result<Step, DecodeError> {
        let schema = self.schema;
        let written = &schema.nodes[node];
        if let Node::Union(branches) = written {
            return self.union(branches, wanted);
        }
        match &wanted.field_type {
            FieldType::Option(_) if matches!(written, Node::Null) => Ok(Step::Null),
            FieldType::Option(inner) => self.step(node, inner),
            FieldType::Record(fields) if fields.is_empty() => match written {
                Node::Null => Ok(Step::Null),
                _ => Err(refused(written, wanted)),
            },
            FieldType::Record(fields) => self.record(node, fields, wanted),
            FieldType::List(item) => self.list(node, item, wanted),
            _ => scalar(written, wanted),
        }
    }

    fn union(&mut self, branches: &[NodeId], wanted: &Schema) -> Result<Step, DecodeError> {
        let mut steps = Vec::with_capacity(branches.len());
        let (mut taken, mut why) = (0, None);
        for branch in branches {
            match self.resolve(*branch, wanted) {
                Ok(step) => {
                    steps.push(step);
                    taken += usize::from(!matches!(self.schema.nodes[*branch], Node::Null));
                }
                Err(error) => {
                    steps.push(self.add(Step::Refused(error.to_string())));
                    if why.is_none() || !matches!(self.schema.nodes[*branch], Node::Null) {
                        why = Some(error);
                    }
                }
            }
        }
        match why {
            // Nothing but nulls could ever be read.
            Some(error) if taken == 0 => Err(error),
            _ => Ok(Step::Union(steps)),
        }
    }

    fn record(
        &mut self,
        node: NodeId,
        fields: &[(String, Schema)],
        wanted: &Schema,
    ) -> Result<Step, DecodeError> {
        let schema = self.schema;
        let Node::Record(members) = &schema.nodes[node] else {
            return Err(refused(&schema.nodes[node], wanted));
        };
        let mut found = vec![false; fields.len()];
        let mut moves = Vec::with_capacity(members.len());
        for member in members {
            let Some(index) = fields.iter().position(|(name, _)| **name == *member.name) else {
                moves.push(Move::Skip(member.node));
                continue;
            };
            let step = self.resolve(member.node, &fields[index].1);
            moves.push(Move::Read(index, step.map_err(|error| error.at(&member.name))?));
            found[index] = true;
        }
        let mut missing = fields
            .iter()
            .zip(&found)
            .filter(|((_, schema), found)| !**found && !matches!(schema.field_type, FieldType::Option(_)));
        match missing.next() {
            Some(((name, _), _)) => {
                let said = "is not in the schema it was written with; an `Option` may be missing";
                Err(DecodeError::new(said).at(name))
            }
            None => Ok(Step::Record(moves)),
        }
    }

    fn list(&mut self, node: NodeId, item: &Schema, wanted: &Schema) -> Result<Step, DecodeError> {
        let schema = self.schema;
        match (&schema.nodes[node], &item.field_type) {
            (Node::Array(written), _) => Ok(Step::Array(self.resolve(*written, item)?)),
            (Node::Map(written), FieldType::Record(fields)) => match fields.as_slice() {
                [(_, key), (_, value)] if key.field_type == FieldType::String => {
                    let step = self.resolve(*written, value)?;
                    Ok(Step::Map(self.add(Step::Entry(step))))
                }
                _ => Err(refused(&schema.nodes[node], wanted)),
            },
            (Node::Bytes | Node::String, FieldType::U8) => Ok(Step::Text),
            (Node::Fixed(size), FieldType::U8) => Ok(Step::Fixed(*size)),
            (Node::Decimal { size: Some(size), .. }, FieldType::U8) => Ok(Step::Fixed(*size)),
            (Node::Decimal { size: None, .. }, FieldType::U8) => Ok(Step::Text),
            (written, _) => Err(refused(written, wanted)),
        }
    }
}

#[cold]
fn refused(written: &Node, wanted: &Schema) -> DecodeError {
    DecodeError::new(match written {
        Node::Null => format!("is null, and {wanted} is wanted; an `Option` may be null"),
        _ => format!("was written as {}, which cannot become {wanted}", written.name()),
    })
}

/// A value of one word. Numbers may become wider, as Avro allows, and integers any type that they fit.
fn scalar(written: &Node, wanted: &Schema) -> Result<Step, DecodeError> {
    use FieldType as F;
    let is_integer = matches!(
        wanted.field_type,
        F::U8 | F::U16 | F::U32 | F::U64 | F::U128 | F::I8 | F::I16 | F::I32 | F::I64 | F::I128
    );
    let is_float = matches!(wanted.field_type, F::F32 | F::F64);
    let is_text = wanted.field_type == F::String;
    Ok(match written {
        Node::Boolean if wanted.field_type == F::Bool => Step::Boolean,
        Node::Int if is_integer || is_float => Step::Int,
        Node::Long if is_integer || is_float => Step::Long,
        Node::Float if is_float => Step::Float,
        Node::Double if wanted.field_type == F::F64 => Step::Double,
        Node::Decimal { size, scale }
            if (is_integer && *scale == 0) || wanted.field_type == F::F64 || is_text =>
        {
            Step::Decimal { size: *size, scale: *scale }
        }
        Node::Bytes | Node::String if is_text => Step::Text,
        Node::Fixed(size) if is_text => Step::Fixed(*size),
        Node::Enum(symbols) if is_text => Step::Enum(Arc::clone(symbols)),
        _ => return Err(refused(written, wanted)),
    })
}

#[cfg(test)]
mod tests {
    use headwater::batch::Record;

    use super::*;

    fn said<T: Record>(json: &str) -> String {
        let schema = AvroSchema::parse(json).unwrap();
        ReadPlan::new(&schema, &T::schema()).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_resolved_is_named_with_both_types() {
        let record = r#"{"type":"record","name":"R","fields":[{"name":"_1","type":"string"}]}"#;
        assert_eq!(said::<(u64,)>(record), "field `_1`: was written as string, which cannot become u64");
        assert_eq!(
            said::<(String, u64)>(record),
            "field `_2`: is not in the schema it was written with; an `Option` may be missing"
        );
        assert_eq!(said::<u64>(record), "was written as record, which cannot become u64");
        assert_eq!(said::<f32>(r#""double""#), "was written as double, which cannot become f32");
        assert_eq!(said::<u64>(r#""null""#), "is null, and u64 is wanted; an `Option` may be null");
        assert_eq!(said::<u64>(r#"["null","string"]"#), "was written as string, which cannot become u64");
    }
}
