//! The schema of a record type as `.proto` text.

use std::collections::BTreeMap;
use std::fmt::Write;

use headwater::batch::{FieldType, Schema};
use headwater::{Error, Result};

/// # Errors
/// The type has no form in Protobuf.
pub(super) fn generate(schema: &Schema) -> Result<String> {
    let FieldType::Record(fields) = &schema.field_type else {
        return Err(refused("the record", "a message has fields: make it a record or a tuple"));
    };
    let mut writer = Writer { defined: BTreeMap::new(), texts: Vec::new() };
    let name = writer.message(schema, fields, "")?;
    let mut out = "syntax = \"proto3\";\n".to_owned();
    // What is meant stands first.
    for text in writer.texts {
        let _ = write!(out, "\n{text}");
    }
    debug_assert!(out.contains(&format!("message {name} {{")));
    Ok(out)
}

fn refused(place: &str, what: &str) -> Error {
    Error::Config(format!("{place} has no form in Protobuf: {what}"))
}

struct Writer {
    /// Records by their names.
    defined: BTreeMap<String, Schema>,
    texts: Vec<String>,
}

impl Writer {
    /// Adds a message and gives its name.
    fn message(&mut self, schema: &Schema, fields: &[(String, Schema)], path: &str) -> Result<String> {
        let mut name = match (schema.name.as_str(), path) {
            ("", "") => "Record".to_owned(),
            ("", path) => path.to_owned(),
            (name, _) => name.to_owned(),
        };
        match self.defined.get(&name) {
            Some(known) if known == schema => return Ok(name),
            // Another type of the same name: its place makes it another name.
            Some(_) => {
                while self.defined.contains_key(&name) {
                    name = format!("{path}_{name}");
                }
            }
            None => {}
        }
        if fields.is_empty() {
            return Err(refused(&format!("`{name}`"), "it has no fields"));
        }
        check(&name)?;
        self.defined.insert(name.clone(), schema.clone());
        let at = self.texts.len();
        self.texts.push(String::new());
        let mut text = format!("message {name} {{\n");
        for (index, (field, schema)) in fields.iter().enumerate() {
            check(field)?;
            let field_type = self.field(schema, &format!("{name}_{field}"))?;
            // Protobuf keeps these numbers for itself.
            let number = if index + 1 < 19_000 { index + 1 } else { index + 1_001 };
            let _ = writeln!(text, "  {field_type} {field} = {number};");
        }
        text.push_str("}\n");
        self.texts[at] = text;
        Ok(name)
    }

    fn field(&mut self, schema: &Schema, path: &str) -> Result<String> {
        match &schema.field_type {
            FieldType::Option(inner) => match &inner.field_type {
                FieldType::Option(_) => {
                    Err(refused(&format!("`{path}`"), "an `Option<Option<T>>` has one value too many"))
                }
                FieldType::List(item) if item.field_type != FieldType::U8 => Err(refused(
                    &format!("`{path}`"),
                    "a missing list cannot be told from an empty one: use a `Vec` without `Option`",
                )),
                _ => Ok(format!("optional {}", self.value(inner, path)?)),
            },
            FieldType::List(item) if item.field_type != FieldType::U8 => {
                Ok(format!("repeated {}", self.value(item, path)?))
            }
            _ => self.value(schema, path),
        }
    }

    fn value(&mut self, schema: &Schema, path: &str) -> Result<String> {
        let place = format!("`{path}`");
        let name = match &schema.field_type {
            FieldType::Bool => "bool",
            FieldType::U8 | FieldType::U16 | FieldType::U32 => "uint32",
            FieldType::U64 => "uint64",
            FieldType::I8 | FieldType::I16 | FieldType::I32 => "int32",
            FieldType::I64 => "int64",
            FieldType::F32 => "float",
            FieldType::F64 => "double",
            FieldType::String => "string",
            FieldType::List(item) if item.field_type == FieldType::U8 => "bytes",
            FieldType::List(_) => return Err(refused(&place, "a list of lists; put a record between")),
            FieldType::Option(_) => return Err(refused(&place, "a list of `Option`; put a record between")),
            FieldType::Record(fields) => return self.message(schema, fields, path),
            FieldType::U128 | FieldType::I128 => {
                return Err(refused(&place, "integers of 128 bits; use a `String`"));
            }
            other => return Err(refused(&place, &format!("{other:?}"))),
        };
        Ok(name.to_owned())
    }
}

fn check(name: &str) -> Result<()> {
    let is_name = !name.is_empty()
        && name.bytes().enumerate().all(|(at, byte)| {
            byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
        });
    if is_name {
        return Ok(());
    }
    Err(Error::Config(format!(
        "`{name}` cannot be a name in Protobuf: letters of ASCII, digits and `_` only, no digit first; use \
         #[record(rename = \"..\")]"
    )))
}
