//! `ProtobufSchema`: a message of somebody's Protobuf, with all that it refers to.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use headwater::Result;
use headwater::batch::Record;

use super::generate::generate;
use super::parse::{Parsed, ParsedField, Shape, parse};
use super::tokens::wrong;

/// What everybody imports.
const WELL_KNOWN: &[(&str, &str)] = &[
    (
        "google/protobuf/timestamp.proto",
        "syntax = \"proto3\"; package google.protobuf; message Timestamp { int64 seconds = 1; int32 nanos = 2; }",
    ),
    (
        "google/protobuf/duration.proto",
        "syntax = \"proto3\"; package google.protobuf; message Duration { int64 seconds = 1; int32 nanos = 2; }",
    ),
    ("google/protobuf/empty.proto", "syntax = \"proto3\"; package google.protobuf; message Empty {}"),
    (
        "google/protobuf/wrappers.proto",
        "syntax = \"proto3\"; package google.protobuf; message DoubleValue { double value = 1; } \
         message FloatValue { float value = 1; } message Int64Value { int64 value = 1; } \
         message UInt64Value { uint64 value = 1; } message Int32Value { int32 value = 1; } \
         message UInt32Value { uint32 value = 1; } message BoolValue { bool value = 1; } \
         message StringValue { string value = 1; } message BytesValue { bytes value = 1; }",
    ),
];

pub(super) type MessageId = usize;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    /// Its number among the enums.
    Enum(usize),
    Message(MessageId),
}

/// How values lie in bytes.
pub(super) const VARINT: u8 = 0;
pub(super) const EIGHT_BYTES: u8 = 1;
pub(super) const LENGTH: u8 = 2;
pub(super) const FOUR_BYTES: u8 = 5;

impl Kind {
    fn scalar(name: &str) -> Option<Self> {
        Some(match name {
            "double" => Kind::Double,
            "float" => Kind::Float,
            "int32" => Kind::Int32,
            "int64" => Kind::Int64,
            "uint32" => Kind::Uint32,
            "uint64" => Kind::Uint64,
            "sint32" => Kind::Sint32,
            "sint64" => Kind::Sint64,
            "fixed32" => Kind::Fixed32,
            "fixed64" => Kind::Fixed64,
            "sfixed32" => Kind::Sfixed32,
            "sfixed64" => Kind::Sfixed64,
            "bool" => Kind::Bool,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Double => "double",
            Kind::Float => "float",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Sint32 => "sint32",
            Kind::Sint64 => "sint64",
            Kind::Fixed32 => "fixed32",
            Kind::Fixed64 => "fixed64",
            Kind::Sfixed32 => "sfixed32",
            Kind::Sfixed64 => "sfixed64",
            Kind::Bool => "bool",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Enum(_) => "an enum",
            Kind::Message(_) => "a message",
        }
    }

    pub(super) fn wire(self) -> u8 {
        match self {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => EIGHT_BYTES,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FOUR_BYTES,
            Kind::String | Kind::Bytes | Kind::Message(_) => LENGTH,
            _ => VARINT,
        }
    }

    pub(super) fn is_integer(self) -> bool {
        use Kind as K;
        matches!(
            self,
            K::Int32
                | K::Int64
                | K::Uint32
                | K::Uint64
                | K::Sint32
                | K::Sint64
                | K::Fixed32
                | K::Fixed64
                | K::Sfixed32
                | K::Sfixed64
        )
    }
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    pub(super) indexes: Vec<u32>,
    /// A key and a value of a map.
    pub(super) is_entry: bool,
}

/// The names and numbers of an enum, the default first.
#[derive(Debug)]
pub(super) struct Enum {
    pub(super) values: Vec<(String, i32)>,
}

impl Enum {
    pub(super) fn name(&self, number: i32) -> Option<&str> {
        self.values.iter().find(|(_, known)| *known == number).map(|(name, _)| name.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }
}

/// A message type of Protocol Buffers: of a record type, or given as `.proto` text.
///
/// | record type | Protobuf |
/// |---|---|
/// | `bool`, `f32`, `f64`, `String`, `Vec<u8>` | `bool`, `float`, `double`, `string`, `bytes` |
/// | `u8`, `u16`, `u32`; `u64` | `uint32`; `uint64` |
/// | `i8`, `i16`, `i32`; `i64` | `int32`; `int64` |
/// | `Option<T>` | `optional`, a field of a `oneof`, a message |
/// | `Vec<T>`, `Vec<(K, V)>` | `repeated`, `map` |
/// | a record or tuple | a message |
///
/// Fields are found by their names. The schema [`of`](Self::of) a record type numbers them in their order, from
/// 1: add new ones at the end, or give the text yourself.
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::format::ProtobufSchema;
///
/// #[derive(Record)]
/// struct Order { id: u64, note: Option<String> }
///
/// let schema = ProtobufSchema::of::<Order>()?;
/// let text = "syntax = \"proto3\";\n\nmessage Order {\n  uint64 id = 1;\n  optional string note = 2;\n}\n";
/// assert_eq!(schema.to_string(), text);
///
/// let text = "syntax = \"proto3\"; package shop; message Bid { int64 cents = 7; }";
/// let given = ProtobufSchema::parse(text, "shop.Bid")?;
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone)]
pub struct ProtobufSchema {
    text: Arc<str>,
    pub(super) messages: Arc<[Message]>,
    pub(super) enums: Arc<[Enum]>,
    pub(super) root: MessageId,
}

impl fmt::Debug for ProtobufSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtobufSchema({})", self.messages[self.root].name)
    }
}

/// Its `.proto` text.
impl fmt::Display for ProtobufSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which message of a text is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root<'n> {
    Name(&'n str),
    Indexes(&'n [u32]),
}

impl ProtobufSchema {
    /// The schema of a record type.
    ///
    /// # Errors
    /// The type has no form in Protobuf: it is no record with fields, has a list of lists or of `Option`, or an
    /// integer of 128 bits.
    pub fn of<T: Record>() -> Result<Self> {
        let text = generate(&T::schema())?;
        ProtobufSchema::build(&text, &[], Root::Indexes(&[0]))
    }

    /// The message of this name, with its package, in the text of a `.proto` file. Of other files it may import
    /// those of time, duration and wrappers of Google's.
    ///
    /// # Errors
    /// The text is no such file, or has no such message.
    pub fn parse(proto: &str, message: &str) -> Result<Self> {
        ProtobufSchema::build(proto, &[], Root::Name(message))
    }

    /// As [`parse`](Self::parse), with other files, as `(path, text)`, that may be imported.
    ///
    /// # Errors
    /// One of them is no `.proto` file, or there is no such message.
    pub fn parse_with(proto: &str, message: &str, others: &[(String, String)]) -> Result<Self> {
        ProtobufSchema::build(proto, others, Root::Name(message))
    }

    pub(super) fn build(text: &str, others: &[(String, String)], root: Root<'_>) -> Result<Self> {
        let main = parse(text)?;
        let wanted = main.messages.iter().position(|message| match root {
            Root::Name(name) => message.name == name.trim_start_matches('.') && !message.is_entry,
            Root::Indexes(indexes) => message.indexes == indexes,
        });
        let root = wanted.ok_or_else(|| match root {
            Root::Name(name) => {
                let names = main.messages.iter().filter(|message| !message.is_entry);
                let names: Vec<_> = names.map(|message| message.name.as_str()).take(20).collect();
                wrong(format_args!("it has no message `{name}`; it has: {}", names.join(", ")))
            }
            Root::Indexes(indexes) => wrong(format_args!("it has no message at {indexes:?}")),
        })?;
        let mut files = Vec::new();
        let (mut seen, mut open) = (HashSet::new(), main.imports.clone());
        files.push(main);
        while let Some(path) = open.pop() {
            if seen.insert(path.clone()) {
                let file = parse(import(&path, others)?)?;
                open.extend(file.imports.iter().cloned());
                files.push(file);
            }
        }
        let mut schema = link(files)?;
        (schema.text, schema.root) = (text.into(), root);
        Ok(schema)
    }

    /// Where the message stands in its text, as registries' clients write it.
    pub(super) fn indexes(&self) -> &[u32] {
        &self.messages[self.root].indexes
    }
}

fn import<'t>(path: &str, others: &'t [(String, String)]) -> Result<&'t str> {
    let given = others.iter().find(|(known, _)| known == path).map(|(_, text)| text.as_str());
    let known = WELL_KNOWN.iter().find(|(known, _)| *known == path).map(|(_, text)| *text);
    given.or(known).ok_or_else(|| {
        wrong(format_args!("it imports `{path}`, which is not there: see ProtobufSchema::parse_with"))
    })
}

/// Puts types in place of their names.
fn link(files: Vec<Parsed>) -> Result<ProtobufSchema> {
    let (mut types, mut parsed, mut enums) = (HashMap::new(), Vec::new(), Vec::new());
    for file in files {
        for message in file.messages {
            let known = types.insert(message.name.clone(), Kind::Message(parsed.len()));
            if known.is_some() {
                return Err(wrong(format_args!("`{}` is defined twice", message.name)));
            }
            parsed.push(message);
        }
        for found in file.enums {
            if found.values.is_empty() {
                return Err(wrong(format_args!("the enum `{}` has no values", found.name)));
            }
            if types.insert(found.name.clone(), Kind::Enum(enums.len())).is_some() {
                return Err(wrong(format_args!("`{}` is defined twice", found.name)));
            }
            enums.push(Enum { values: found.values });
        }
    }
    let mut messages = Vec::with_capacity(parsed.len());
    for message in parsed {
        // What an entry holds was said outside of it.
        let scope = match message.is_entry {
            true => message.name.rsplit_once('.').map_or("", |(scope, _)| scope),
            false => &message.name,
        };
        let fields = message.fields.into_iter().map(|field| linked(field, scope, &types));
        let fields = fields.collect::<Result<_>>()?;
        let (indexes, is_entry) = (message.indexes, message.is_entry);
        messages.push(Message { name: message.name.clone(), fields, indexes, is_entry });
    }
    Ok(ProtobufSchema { text: "".into(), messages: messages.into(), enums: enums.into(), root: 0 })
}

fn linked(field: ParsedField, scope: &str, types: &HashMap<String, Kind>) -> Result<Field> {
    let kind = Kind::scalar(&field.type_name).or_else(|| find(&field.type_name, scope, types));
    let kind = kind.ok_or_else(|| {
        wrong(format_args!(
            "`{scope}.{}` has the type `{}`, which is not defined",
            field.name, field.type_name
        ))
    })?;
    let shape = match field.shape {
        // A message that is not there is told from an empty one.
        Shape::Plain if matches!(kind, Kind::Message(_)) => Shape::Optional,
        Shape::Many(packed) => Shape::Many(packed && kind.wire() != LENGTH),
        shape => shape,
    };
    Ok(Field { name: field.name, number: field.number, kind, shape })
}

/// A type by its name, from the inside out.
fn find(name: &str, scope: &str, types: &HashMap<String, Kind>) -> Option<Kind> {
    if let Some(full) = name.strip_prefix('.') {
        return types.get(full).copied();
    }
    let mut scope = scope;
    while !scope.is_empty() {
        if let Some(found) = types.get(&format!("{scope}.{name}")) {
            return Some(*found);
        }
        scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
    }
    types.get(name).copied()
}
