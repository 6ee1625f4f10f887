//! `Plan`: which columns of a file a record type is read from, and the way of a record through them.

use std::ops::Range;

use headwater::batch::{FieldType, Schema};
use headwater::{Error, Result};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

/// What stands at one place of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// The columns below it, by number in the plan.
    pub(super) leaves: Range<usize>,
    /// Lowest definition level of a value that is there.
    pub(super) present: i16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Leaf,
    /// The fields that the file has: number of the field, and its node.
    Record(Vec<(usize, usize)>),
    /// The node of an item, the definition level of a list that has one, and the level of the next one.
    List {
        item: usize,
        filled: i16,
        repetition: i16,
    },
}

/// How the values of a column become those of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Bool,
    /// An integer; a time has so many ticks in a millisecond.
    Integer {
        is_unsigned: bool,
        ticks: i64,
    },
    /// A time in twelve bytes.
    Int96,
    /// An integer in bytes, big-endian.
    Decimal,
    Float,
    Double,
    /// An integer of 32 bits as a number.
    Number,
    Text,
}

/// One column that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Its number in the file.
    pub(super) column: usize,
    pub(super) reads: Reads,
    /// Highest definition and repetition level.
    pub(super) definition: i16,
    pub(super) repetition: i16,
}

/// The columns of a file that make a record; the first node is the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
}

/// A place in the file: its type, with the levels above it and the number of its first column.
#[derive(Clone, Copy)]
struct Place<'f> {
    found: &'f Type,
    definition: i16,
    repetition: i16,
    column: usize,
}

impl Plan {
    /// Finds the columns of a record in a file.
    ///
    /// # Errors
    /// A field has no column, or one of another type.
    pub(super) fn of(schema: &Schema, file: &Type) -> Result<Plan> {
        let mut plan = Plan::default();
        let root = Place { found: file, definition: 0, repetition: 0, column: 0 };
        match &schema.field_type {
            FieldType::Record(fields) => {
                plan.record(fields, root, "")?;
            }
            _ => {
                let place = child(root, "value").ok_or_else(|| missing("value", schema, file))?;
                plan.value(schema, place, "value")?;
            }
        }
        if plan.leaves.is_empty() {
            return Err(Error::failed(format!("has no column that the record has; {}", listed(file))));
        }
        Ok(plan)
    }

    fn open(&mut self, present: i16) -> usize {
        let leaf = self.leaves.len();
        self.nodes.push(Node { kind: NodeKind::Leaf, leaves: leaf..leaf, present });
        self.nodes.len() - 1
    }

    fn close(&mut self, node: usize, kind: NodeKind) -> usize {
        self.nodes[node].kind = kind;
        self.nodes[node].leaves.end = self.leaves.len();
        node
    }

    /// The fields of a record, whose group is there at `place.definition`.
    fn record(&mut self, fields: &[(String, Schema)], place: Place<'_>, path: &str) -> Result<usize> {
        let node = self.open(place.definition);
        let mut children = Vec::new();
        for (number, (name, schema)) in fields.iter().enumerate() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match child(place, name) {
                Some(place) => children.push((number, self.value(schema, place, &path)?)),
                None if matches!(schema.field_type, FieldType::Option(_)) => {}
                // A field that holds nothing needs no column.
                None if matches!(&schema.field_type, FieldType::Record(fields) if fields.is_empty()) => {
                    let unit = self.open(place.definition);
                    children.push((number, self.close(unit, NodeKind::Record(Vec::new()))));
                }
                None => return Err(missing(&path, schema, place.found)),
            }
        }
        Ok(self.close(node, NodeKind::Record(children)))
    }

    fn value(&mut self, schema: &Schema, place: Place<'_>, path: &str) -> Result<usize> {
        let mut schema = schema;
        while let FieldType::Option(inner) = &schema.field_type {
            schema = inner;
        }
        if let FieldType::List(item) = &schema.field_type {
            return self.list(schema, item, place, path);
        }
        let other = || mismatch(path, schema, place.found);
        if repetition(place.found) == Repetition::REPEATED {
            return Err(other());
        }
        let present = place.definition + i16::from(place.found.is_optional());
        match &schema.field_type {
            FieldType::Record(fields) if place.found.is_group() => {
                self.record(fields, Place { definition: present, ..place }, path)
            }
            FieldType::Record(_) => Err(other()),
            scalar => {
                let reads = reads(scalar, place.found).ok_or_else(other)?;
                let node = self.open(present);
                let Place { column, repetition, .. } = place;
                self.leaves.push(Leaf { column, reads, definition: present, repetition });
                Ok(self.close(node, NodeKind::Leaf))
            }
        }
    }

    /// A list, in the three levels of today, the two of older writers, or as a repeated field alone.
    fn list(&mut self, schema: &Schema, item: &Schema, place: Place<'_>, path: &str) -> Result<usize> {
        let (present, repeated) = match repetition(place.found) {
            Repetition::REPEATED => (place.definition, place.found),
            _ => {
                let repeated = match fields(place.found) {
                    [only] if repetition(only) == Repetition::REPEATED => only,
                    _ => return Err(mismatch(path, schema, place.found)),
                };
                (place.definition + i16::from(place.found.is_optional()), repeated.as_ref())
            }
        };
        let (filled, repetition) = (present + 1, place.repetition + 1);
        let node = self.open(present);
        let inner = Place { found: repeated, definition: filled, repetition, column: place.column };
        let element = match fields(repeated) {
            [only] if !std::ptr::eq(repeated, place.found) && !is_element(repeated, place.found) => {
                Place { found: only, ..inner }
            }
            _ => inner,
        };
        let before = self.leaves.len();
        let item = if std::ptr::eq(element.found, repeated) {
            self.repeated(item, element, path)?
        } else {
            self.value(item, element, &format!("{path}[]"))?
        };
        if self.leaves.len() == before {
            return Err(Error::failed(format!("the list `{path}` has no column that its items have")));
        }
        Ok(self.close(node, NodeKind::List { item, filled, repetition }))
    }

    /// An item that is the repeated field itself: it is always there.
    fn repeated(&mut self, schema: &Schema, place: Place<'_>, path: &str) -> Result<usize> {
        let mut schema = schema;
        while let FieldType::Option(inner) = &schema.field_type {
            schema = inner;
        }
        match &schema.field_type {
            FieldType::Record(fields) if place.found.is_group() => self.record(fields, place, path),
            FieldType::Record(_) | FieldType::List(_) => Err(mismatch(path, schema, place.found)),
            scalar => {
                let reads = reads(scalar, place.found).ok_or_else(|| mismatch(path, schema, place.found))?;
                let node = self.open(place.definition);
                let Place { column, repetition, definition, .. } = place;
                self.leaves.push(Leaf { column, reads, definition, repetition });
                Ok(self.close(node, NodeKind::Leaf))
            }
        }
    }
}

/// True for a repeated group that is the item itself, by the rules for files of older writers.
fn is_element(repeated: &Type, list: &Type) -> bool {
    repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name())
}

fn fields(found: &Type) -> &[std::sync::Arc<Type>] {
    if found.is_group() { found.get_fields() } else { &[] }
}

fn repetition(found: &Type) -> Repetition {
    let about = found.get_basic_info();
    if about.has_repetition() { about.repetition() } else { Repetition::REQUIRED }
}

fn columns(found: &Type) -> usize {
    if found.is_group() { found.get_fields().iter().map(|field| columns(field)).sum() } else { 1 }
}

/// The field of a group.
fn child<'f>(place: Place<'f>, name: &str) -> Option<Place<'f>> {
    let mut column = place.column;
    for field in fields(place.found) {
        if field.name() == name {
            return Some(Place { found: field, column, ..place });
        }
        column += columns(field);
    }
    None
}

/// How a column is read into a field; `None` when it is of another type.
fn reads(scalar: &FieldType, found: &Type) -> Option<Reads> {
    if found.is_group() {
        return None;
    }
    let (about, physical) = (found.get_basic_info(), found.get_physical_type());
    let (logical, converted) = (about.logical_type_ref(), about.converted_type());
    let is_decimal = converted == ConvertedType::DECIMAL || matches!(logical, Some(LogicalType::Decimal(_)));
    if is_decimal && found.get_scale() > 0 {
        return None;
    }
    match scalar {
        FieldType::Bool => (physical == Physical::BOOLEAN).then_some(Reads::Bool),
        FieldType::F32 => (physical == Physical::FLOAT).then_some(Reads::Float),
        FieldType::F64 => match physical {
            Physical::DOUBLE => Some(Reads::Double),
            Physical::FLOAT => Some(Reads::Float),
            Physical::INT32 => Some(Reads::Number),
            _ => None,
        },
        FieldType::String => (physical == Physical::BYTE_ARRAY && !is_decimal).then_some(Reads::Text),
        FieldType::Record(_) | FieldType::List(_) | FieldType::Option(_) => None,
        _ => match physical {
            Physical::INT32 | Physical::INT64 => Some(Reads::Integer {
                is_unsigned: is_unsigned(logical, converted),
                ticks: ticks(logical, converted),
            }),
            Physical::INT96 => Some(Reads::Int96),
            Physical::FIXED_LEN_BYTE_ARRAY | Physical::BYTE_ARRAY if is_decimal => Some(Reads::Decimal),
            _ => None,
        },
    }
}

fn is_unsigned(logical: Option<&LogicalType>, converted: ConvertedType) -> bool {
    match logical {
        Some(LogicalType::Integer(integer)) => !integer.is_signed,
        _ => matches!(
            converted,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64
        ),
    }
}

/// Ticks of a time in a millisecond; 1 for what is no time.
fn ticks(logical: Option<&LogicalType>, converted: ConvertedType) -> i64 {
    match logical {
        Some(LogicalType::Timestamp(time)) => match time.unit {
            TimeUnit::MILLIS => 1,
            TimeUnit::MICROS => 1_000,
            TimeUnit::NANOS => 1_000_000,
        },
        _ if converted == ConvertedType::TIMESTAMP_MICROS => 1_000,
        _ => 1,
    }
}

fn missing(path: &str, schema: &Schema, found: &Type) -> Error {
    Error::failed(format!(
        "has no column `{path}`, which the record has as {schema}; make the field an `Option` if it may be missing; \
         {}",
        listed(found)
    ))
}

fn listed(found: &Type) -> String {
    let names: Vec<_> = fields(found).iter().take(50).map(|field| field.name()).collect();
    format!("there are {}", names.join(", "))
}

fn mismatch(path: &str, schema: &Schema, found: &Type) -> Error {
    Error::failed(format!(
        "the column `{path}` is {}, and the record has it as {schema}: give the field the type of the column",
        described(found)
    ))
}

/// A type as people write it: `optional int64 (timestamp)`.
fn described(found: &Type) -> String {
    let about = found.get_basic_info();
    let mut text = repetition(found).to_string().to_lowercase();
    text.push(' ');
    if found.is_group() {
        text.push_str("group");
    } else {
        text.push_str(&found.get_physical_type().to_string().to_lowercase());
    }
    match (about.logical_type_ref(), about.converted_type()) {
        (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => {
            text.push_str(&format!(" (decimal with {} digits behind the point)", found.get_scale()));
        }
        (Some(logical), _) => {
            let name = format!("{logical:?}");
            let end = name.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(name.len());
            text.push_str(&format!(" ({})", name[..end].to_lowercase()));
        }
        (None, ConvertedType::NONE) => {}
        (None, converted) => text.push_str(&format!(" ({})", converted.to_string().to_lowercase())),
    }
    text
}
