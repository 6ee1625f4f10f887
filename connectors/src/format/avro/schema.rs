//! `AvroSchema`: the types of somebody's Avro, parsed from JSON into a flat list of nodes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use headwater::batch::Record;
use headwater::{Error, Result};
use serde_json::{Map, Value};

use super::generate::generate;

/// Largest schema, and most types in it.
const TEXT_BYTES_MAX: usize = 4 << 20;
const NODES_MAX: usize = 100_000;

/// Where a type stands among the nodes of its schema.
pub(super) type NodeId = usize;

/// A field of a record, or a branch of a union.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Box<str>,
    pub(super) node: NodeId,
}

/// One type.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// An exact number, in `bytes` or in `fixed` of a size.
    Decimal {
        size: Option<usize>,
        scale: u32,
    },
    Enum(Arc<[Box<str>]>),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Vec<Member>),
}

impl Node {
    /// What a reader knows it as.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Boolean => "boolean",
            Node::Int => "int",
            Node::Long => "long",
            Node::Float => "float",
            Node::Double => "double",
            Node::Bytes => "bytes",
            Node::String => "string",
            Node::Fixed(_) => "fixed",
            Node::Decimal { .. } => "decimal",
            Node::Enum(_) => "enum",
            Node::Array(_) => "array",
            Node::Map(_) => "map",
            Node::Union(_) => "union",
            Node::Record(_) => "record",
        }
    }
}

/// A schema of Apache Avro: of a record type, or given as JSON.
///
/// | record type | Avro |
/// |---|---|
/// | `bool`, `f32`, `f64`, `String` | `boolean`, `float`, `double`, `string` |
/// | `u8`, `u16`, `i8`, `i16`, `i32` | `int` |
/// | `u32`, `u64`, `i64` | `long`; a `u64` that does not fit is an error when it is written |
/// | `u128`, `i128` | `bytes` as `decimal` without a fraction |
/// | `Vec<u8>` | `bytes` |
/// | `Vec<T>`, `Option<T>`, a record or tuple | `array`, union with `null`, `record` |
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::format::AvroSchema;
///
/// #[derive(Record)]
/// struct Order { id: u64, note: Option<String> }
///
/// let schema = AvroSchema::of::<Order>()?;
/// let json = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},"#.to_owned()
///     + r#"{"name":"note","type":["null","string"],"default":null}]}"#;
/// assert_eq!(schema.to_string(), json);
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone)]
pub struct AvroSchema {
    text: Arc<str>,
    pub(super) nodes: Arc<[Node]>,
    pub(super) root: NodeId,
}

impl fmt::Debug for AvroSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AvroSchema({})", self.text)
    }
}

/// Its JSON.
impl fmt::Display for AvroSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AvroSchema {
    /// The schema of a record type.
    ///
    /// # Errors
    /// The type has no form in Avro: a name with other characters than letters, digits and `_`, or an
    /// `Option<Option<T>>`.
    pub fn of<T: Record>() -> Result<Self> {
        AvroSchema::parse(&generate(&T::schema(), None)?)
    }

    /// As [`of`](Self::of), with a namespace in front of the names of all records.
    ///
    /// # Errors
    /// As [`of`](Self::of), or the namespace is none.
    pub fn in_namespace<T: Record>(namespace: &str) -> Result<Self> {
        AvroSchema::parse(&generate(&T::schema(), Some(namespace))?)
    }

    /// The schema that JSON says.
    ///
    /// # Errors
    /// It is no schema of Avro.
    pub fn parse(json: &str) -> Result<Self> {
        AvroSchema::parse_with(json, &[])
    }

    /// As [`parse`](Self::parse), with other schemas whose names it may use; each may use those before it.
    ///
    /// # Errors
    /// One of them is no schema of Avro.
    pub fn parse_with(json: &str, others: &[String]) -> Result<Self> {
        let mut parser = Parser::default();
        for other in others {
            parser.text(other)?;
        }
        let root = parser.text(json)?;
        let mut nodes = Vec::with_capacity(parser.nodes.len());
        for node in parser.nodes {
            nodes.push(node.ok_or_else(|| wrong("a type stands for itself"))?);
        }
        Ok(AvroSchema { text: json.into(), nodes: nodes.into(), root })
    }
}

fn wrong(what: impl fmt::Display) -> Error {
    Error::Config(format!("this is no Avro schema: {what}"))
}

/// Letters, digits and `_`, no digit first.
pub(super) fn is_name(text: &str) -> bool {
    text.bytes()
        .enumerate()
        .all(|(at, byte)| byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()))
        && !text.is_empty()
}

#[derive(Default)]
struct Parser {
    /// `None` while what is in it is parsed.
    nodes: Vec<Option<Node>>,
    names: HashMap<String, NodeId>,
}

impl Parser {
    fn text(&mut self, json: &str) -> Result<NodeId> {
        if json.len() > TEXT_BYTES_MAX {
            return Err(wrong(format_args!("it is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let value: Value = match serde_json::from_str(json) {
            Ok(value) => value,
            // A lone name may stand without quotes.
            Err(_) if is_name(json.trim()) => Value::String(json.trim().to_owned()),
            Err(error) => return Err(wrong(format_args!("not JSON: {error}"))),
        };
        self.node(&value, "")
    }

    fn reserve(&mut self) -> Result<NodeId> {
        if self.nodes.len() >= NODES_MAX {
            return Err(wrong(format_args!("it has more than {NODES_MAX} types")));
        }
        self.nodes.push(None);
        Ok(self.nodes.len() - 1)
    }

    fn add(&mut self, node: Node) -> Result<NodeId> {
        let id = self.reserve()?;
        self.nodes[id] = Some(node);
        Ok(id)
    }

    fn node(&mut self, value: &Value, namespace: &str) -> Result<NodeId> {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let mut nodes = Vec::with_capacity(branches.len());
                for branch in branches {
                    let node = self.node(branch, namespace)?;
                    if matches!(self.nodes.get(node), Some(Some(Node::Union(_)))) {
                        return Err(wrong("a union stands directly in a union"));
                    }
                    nodes.push(node);
                }
                self.add(Node::Union(nodes))
            }
            Value::Object(object) => self.object(object, namespace),
            other => Err(wrong(format_args!("{other} is no type"))),
        }
    }

    /// A type by its name: one of Avro's own, or one that was defined before.
    fn named(&mut self, name: &str, namespace: &str) -> Result<NodeId> {
        let node = match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int,
            "long" => Node::Long,
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => Node::Bytes,
            "string" => Node::String,
            _ => {
                let known = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
                return known.copied().ok_or_else(|| wrong(format_args!("`{name}` is not defined")));
            }
        };
        self.add(node)
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<NodeId> {
        let kind = object.get("type").ok_or_else(|| wrong("a type has no `type`"))?;
        let Some(kind) = kind.as_str() else { return self.node(kind, namespace) };
        let part = |name| object.get(name).ok_or_else(|| wrong(format_args!("{kind} has no `{name}`")));
        match kind {
            "record" | "error" | "enum" | "fixed" => self.definition(kind, object, namespace),
            "array" => {
                let item = self.node(part("items")?, namespace)?;
                self.add(Node::Array(item))
            }
            "map" => {
                let value = self.node(part("values")?, namespace)?;
                self.add(Node::Map(value))
            }
            "bytes" if is_decimal(object) => self.add(Node::Decimal { size: None, scale: scale(object)? }),
            name => self.named(name, namespace),
        }
    }

    /// A type with a name.
    fn definition(&mut self, kind: &str, object: &Map<String, Value>, outer: &str) -> Result<NodeId> {
        let name = text(object, "name").ok_or_else(|| wrong(format_args!("{kind} has no `name`")))?;
        let name = full_name(name, text(object, "namespace").unwrap_or(outer));
        if !name.split('.').all(is_name) {
            return Err(wrong(format_args!("`{name}` is no name")));
        }
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let id = self.reserve()?;
        if self.names.insert(name.clone(), id).is_some() {
            return Err(wrong(format_args!("`{name}` is defined twice")));
        }
        let node = match kind {
            "enum" => {
                let symbols = list(object, "symbols", &name)?.iter();
                let symbols = symbols.map(|symbol| symbol.as_str().map(Box::from)).collect::<Option<_>>();
                Node::Enum(symbols.ok_or_else(|| wrong(format_args!("a symbol of `{name}` is no text")))?)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| size.try_into().ok());
                let size = size.ok_or_else(|| wrong(format_args!("`{name}` has no size")))?;
                if is_decimal(object) {
                    Node::Decimal { size: Some(size), scale: scale(object)? }
                } else {
                    Node::Fixed(size)
                }
            }
            _ => self.record(object, &name, &namespace)?,
        };
        self.nodes[id] = Some(node);
        Ok(id)
    }

    fn record(&mut self, object: &Map<String, Value>, name: &str, namespace: &str) -> Result<Node> {
        let mut members: Vec<Member> = Vec::new();
        let mut seen = HashMap::new();
        for field in list(object, "fields", name)? {
            let field =
                field.as_object().ok_or_else(|| wrong(format_args!("a field of `{name}` is none")))?;
            let field_name =
                text(field, "name").ok_or_else(|| wrong(format_args!("a field of `{name}` has no name")))?;
            let kind = field.get("type");
            let kind = kind.ok_or_else(|| wrong(format_args!("`{name}.{field_name}` has no type")))?;
            if seen.insert(field_name, ()).is_some() {
                return Err(wrong(format_args!("`{name}.{field_name}` stands there twice")));
            }
            members.push(Member { name: field_name.into(), node: self.node(kind, namespace)? });
        }
        Ok(Node::Record(members))
    }
}

fn text<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    object.get(name).and_then(Value::as_str)
}

fn list<'v>(object: &'v Map<String, Value>, name: &str, of: &str) -> Result<&'v Vec<Value>> {
    let list = object.get(name).and_then(Value::as_array);
    list.ok_or_else(|| wrong(format_args!("`{of}` has no `{name}`")))
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn is_decimal(object: &Map<String, Value>) -> bool {
    text(object, "logicalType") == Some("decimal")
}

fn scale(object: &Map<String, Value>) -> Result<u32> {
    let scale = object.get("scale").map_or(Some(0), Value::as_u64).filter(|scale| *scale <= 1_000);
    scale.map(|scale| scale as u32).ok_or_else(|| wrong("the scale of a decimal is no small number"))
}
