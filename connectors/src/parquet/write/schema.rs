//! `Shape`: the columns that a record type is written to, and the way of a record through them.

use std::ops::Range;
use std::sync::Arc;

use headwater::batch::{FieldType, Record, Schema};
use headwater::{Error, Result};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

/// What stands at one place of a record, in the order in which an encoder comes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// The node behind this one and all below it.
    pub(super) end: usize,
    /// The columns below it.
    pub(super) leaves: Range<usize>,
    /// Definition level of a value that is there; one less where it may be missing and is.
    pub(super) present: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Leaf,
    Record,
    /// With the repetition level of its items.
    List(i16),
}

/// How the values of a column are kept until they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeafKind {
    Bool,
    Int32,
    Int64,
    Float,
    Double,
    Text,
    /// An integer of 16 bytes, big-endian.
    Wide,
}

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) kind: LeafKind,
    /// Highest definition and repetition level.
    pub(super) definition: i16,
    pub(super) repetition: i16,
}

/// The columns of a record type.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) file: TypePtr,
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
}

impl Shape {
    /// The columns of `T`; those of `timestamps` are times.
    ///
    /// # Errors
    /// A timestamp is no `i64` field, or a field has no column.
    pub(super) fn of<T: Record>(timestamps: &[String]) -> Result<Shape> {
        let schema = T::schema();
        let mut building = Building { nodes: Vec::new(), leaves: Vec::new(), timestamps, found: Vec::new() };
        let fields = match &schema.field_type {
            FieldType::Record(fields) => {
                let root = building.open(NodeKind::Record, 0);
                let fields = building.fields(fields, "", 0, 0)?;
                building.close(root);
                fields
            }
            _ => building.field("value", &schema, "", 0, 0)?.into_iter().collect(),
        };
        if let Some(path) = timestamps.iter().find(|path| !building.found.contains(path)) {
            return Err(Error::Config(format!(
                "`timestamp` names `{path}`, which is no field of the record; its columns are {}",
                schema.columns().join(", ")
            )));
        }
        if fields.is_empty() {
            return Err(Error::Config("a record without fields has no column in Parquet".to_owned()));
        }
        let name = if schema.name.is_empty() { "record" } else { &schema.name };
        let file = Type::group_type_builder(name).with_fields(fields).build().map_err(refused)?;
        Ok(Shape { file: Arc::new(file), nodes: building.nodes, leaves: building.leaves })
    }
}

fn refused(error: ParquetError) -> Error {
    Error::Config(format!("these fields cannot be columns of Parquet: {error}"))
}

struct Building<'a> {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
    timestamps: &'a [String],
    found: Vec<&'a String>,
}

impl Building<'_> {
    fn open(&mut self, kind: NodeKind, present: i16) -> usize {
        let leaf = self.leaves.len();
        self.nodes.push(Node { kind, end: 0, leaves: leaf..leaf, present });
        self.nodes.len() - 1
    }

    fn close(&mut self, node: usize) {
        self.nodes[node].end = self.nodes.len();
        self.nodes[node].leaves.end = self.leaves.len();
    }

    fn fields(
        &mut self,
        fields: &[(String, Schema)],
        path: &str,
        definition: i16,
        repetition: i16,
    ) -> Result<Vec<TypePtr>> {
        let mut types = Vec::with_capacity(fields.len());
        for (name, schema) in fields {
            types.extend(self.field(name, schema, path, definition, repetition)?);
        }
        Ok(types)
    }

    /// Adds what stands at one place; nothing for a field that holds nothing.
    fn field(
        &mut self,
        name: &str,
        schema: &Schema,
        path: &str,
        definition: i16,
        repetition: i16,
    ) -> Result<Option<TypePtr>> {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        // `Option<Option<T>>` tells no more than `Option<T>`: an encoder writes both as one null.
        let (mut schema, mut occurs) = (schema, Repetition::REQUIRED);
        while let FieldType::Option(inner) = &schema.field_type {
            (schema, occurs) = (inner, Repetition::OPTIONAL);
        }
        let present = definition + i16::from(occurs == Repetition::OPTIONAL);
        let built = match &schema.field_type {
            FieldType::Record(fields) => {
                let node = self.open(NodeKind::Record, present);
                let fields = self.fields(fields, &path, present, repetition)?;
                self.close(node);
                if fields.is_empty() {
                    if occurs == Repetition::OPTIONAL || repetition > 0 {
                        return Err(Error::Config(format!(
                            "the field `{path}` holds nothing and may be missing or repeated, for which Parquet \
                             has no column; use a bool"
                        )));
                    }
                    return Ok(None);
                }
                Type::group_type_builder(name).with_repetition(occurs).with_fields(fields).build()
            }
            FieldType::List(item) => {
                let repetition = repetition + 1;
                let node = self.open(NodeKind::List(repetition), present);
                let item = self.field("element", item, &path, present + 1, repetition)?;
                self.close(node);
                let list = Type::group_type_builder("list")
                    .with_repetition(Repetition::REPEATED)
                    .with_fields(item.into_iter().collect())
                    .build()
                    .map_err(refused)?;
                Type::group_type_builder(name)
                    .with_repetition(occurs)
                    .with_logical_type(Some(LogicalType::List))
                    .with_fields(vec![Arc::new(list)])
                    .build()
            }
            scalar => {
                let node = self.open(NodeKind::Leaf, present);
                let (kind, physical, logical) = self.scalar(scalar, &path)?;
                self.leaves.push(Leaf { kind, definition: present, repetition });
                self.close(node);
                let decimal = matches!(kind, LeafKind::Wide);
                Type::primitive_type_builder(name, physical)
                    .with_repetition(occurs)
                    .with_logical_type(logical)
                    .with_length(if decimal { 16 } else { -1 })
                    .with_precision(if decimal { 38 } else { -1 })
                    .with_scale(if decimal { 0 } else { -1 })
                    .build()
            }
        };
        built.map(|built| Some(Arc::new(built))).map_err(refused)
    }

    fn scalar(
        &mut self,
        scalar: &FieldType,
        path: &str,
    ) -> Result<(LeafKind, Physical, Option<LogicalType>)> {
        if let Some(timestamp) = self.timestamps.iter().find(|timestamp| *timestamp == path) {
            if *scalar != FieldType::I64 {
                return Err(Error::Config(format!(
                    "`timestamp` names `{path}`, which is no i64: a time is milliseconds since 1970"
                )));
            }
            self.found.push(timestamp);
            let time = LogicalType::timestamp(true, TimeUnit::MILLIS);
            return Ok((LeafKind::Int64, Physical::INT64, Some(time)));
        }
        let int = |bits: i8, is_signed| Some(LogicalType::integer(bits, is_signed));
        Ok(match scalar {
            FieldType::Bool => (LeafKind::Bool, Physical::BOOLEAN, None),
            FieldType::U8 => (LeafKind::Int32, Physical::INT32, int(8, false)),
            FieldType::U16 => (LeafKind::Int32, Physical::INT32, int(16, false)),
            FieldType::U32 => (LeafKind::Int32, Physical::INT32, int(32, false)),
            FieldType::U64 => (LeafKind::Int64, Physical::INT64, int(64, false)),
            FieldType::I8 => (LeafKind::Int32, Physical::INT32, int(8, true)),
            FieldType::I16 => (LeafKind::Int32, Physical::INT32, int(16, true)),
            FieldType::I32 => (LeafKind::Int32, Physical::INT32, None),
            FieldType::I64 => (LeafKind::Int64, Physical::INT64, None),
            FieldType::F32 => (LeafKind::Float, Physical::FLOAT, None),
            FieldType::F64 => (LeafKind::Double, Physical::DOUBLE, None),
            FieldType::String => (LeafKind::Text, Physical::BYTE_ARRAY, Some(LogicalType::String)),
            FieldType::U128 | FieldType::I128 => {
                (LeafKind::Wide, Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::decimal(0, 38)))
            }
            other => {
                return Err(Error::Config(format!(
                    "the field `{path}` has a type that is unknown here: {other:?}"
                )));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_count_what_may_be_missing_or_repeated() {
        type Row = (u8, Option<(Vec<Option<String>>, f64)>, ());
        let shape = Shape::of::<Row>(&[]).unwrap();
        let levels: Vec<_> = shape.leaves.iter().map(|leaf| (leaf.definition, leaf.repetition)).collect();
        assert_eq!(levels, [(0, 0), (3, 1), (1, 0)]);
        let descriptor = parquet::schema::types::SchemaDescriptor::new(Arc::clone(&shape.file));
        let columns = descriptor.columns();
        let found: Vec<_> = columns.iter().map(|it| (it.max_def_level(), it.max_rep_level())).collect();
        assert_eq!(found, levels);
        assert_eq!(columns[1].path().string(), "_2._1.list.element");
    }

    #[test]
    fn what_has_no_column_is_refused() {
        let refused = |shape: Result<Shape>| shape.unwrap_err().to_string();
        assert!(refused(Shape::of::<()>(&[])).contains("no column"));
        assert!(refused(Shape::of::<(u8, Option<()>)>(&[])).contains("`_2` holds nothing"));
        let at = |name: &str| Shape::of::<(u8, i64)>(&[name.to_owned()]);
        assert!(refused(at("_1")).contains("no i64"));
        assert!(refused(at("_3")).contains("its columns are _1, _2"));
        assert!(at("_2").is_ok());
    }
}
