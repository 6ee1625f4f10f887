//! The schema of a record type as the JSON of Avro.

use std::collections::BTreeMap;
use std::fmt::Write;

use headwater::batch::{FieldType, Schema};
use headwater::{Error, Result};

use super::schema::is_name;

/// # Errors
/// The type has no form in Avro.
pub(super) fn generate(schema: &Schema, namespace: Option<&str>) -> Result<String> {
    if let Some(namespace) = namespace
        && !namespace.split('.').all(is_name)
    {
        return Err(Error::Config(format!("`{namespace}` is no namespace of Avro: words with dots between")));
    }
    let mut writer = Writer { out: String::new(), defined: BTreeMap::new(), namespace };
    writer.write(schema, "")?;
    Ok(writer.out)
}

struct Writer<'s> {
    out: String,
    /// Records by their names: a second one is named only.
    defined: BTreeMap<String, Schema>,
    namespace: Option<&'s str>,
}

impl Writer<'_> {
    /// Appends a type; `path` leads to it, with `_` between.
    fn write(&mut self, schema: &Schema, path: &str) -> Result<()> {
        let name = match &schema.field_type {
            FieldType::Bool => "boolean",
            FieldType::U8 | FieldType::U16 | FieldType::I8 | FieldType::I16 | FieldType::I32 => "int",
            FieldType::U32 | FieldType::U64 | FieldType::I64 => "long",
            FieldType::F32 => "float",
            FieldType::F64 => "double",
            FieldType::String => "string",
            FieldType::U128 | FieldType::I128 => {
                self.out.push_str(r#"{"type":"bytes","logicalType":"decimal","precision":39,"scale":0}"#);
                return Ok(());
            }
            FieldType::List(item) if item.field_type == FieldType::U8 => "bytes",
            FieldType::List(item) => {
                self.out.push_str(r#"{"type":"array","items":"#);
                self.write(item, path)?;
                self.out.push('}');
                return Ok(());
            }
            FieldType::Option(inner) => return self.option(inner, path),
            FieldType::Record(fields) if fields.is_empty() => "null",
            FieldType::Record(fields) => return self.record(schema, fields, path),
            other => {
                return Err(Error::Config(format!(
                    "{} has no form in Avro",
                    at(path, &format!("{other:?}"))
                )));
            }
        };
        let _ = write!(self.out, "\"{name}\"");
        Ok(())
    }

    fn option(&mut self, inner: &Schema, path: &str) -> Result<()> {
        let is_null = match &inner.field_type {
            FieldType::Option(_) => true,
            FieldType::Record(fields) => fields.is_empty(),
            _ => false,
        };
        if is_null {
            return Err(Error::Config(format!(
                "{}: Avro has one null, so `Option<Option<T>>` and `Option<()>` cannot be written; map them to \
                 one `Option`",
                at(path, "the record")
            )));
        }
        self.out.push_str("[\"null\",");
        self.write(inner, path)?;
        self.out.push(']');
        Ok(())
    }

    fn record(&mut self, schema: &Schema, fields: &[(String, Schema)], path: &str) -> Result<()> {
        let mut name = match (schema.name.as_str(), path) {
            ("", "") => "Record".to_owned(),
            ("", path) => path.to_owned(),
            (name, _) => name.to_owned(),
        };
        match self.defined.get(&name) {
            Some(known) if known == schema => {
                let _ = write!(self.out, "\"{name}\"");
                return Ok(());
            }
            // Another type of the same name: its place makes it another name.
            Some(_) => {
                while self.defined.contains_key(&name) {
                    name = format!("{path}_{name}");
                }
            }
            None => {}
        }
        check(&name)?;
        self.defined.insert(name.clone(), schema.clone());
        let _ = write!(self.out, r#"{{"type":"record","name":"{name}""#);
        if let Some(namespace) = self.namespace.take() {
            // What is in it has it, too.
            let _ = write!(self.out, r#","namespace":"{namespace}""#);
        }
        self.out.push_str(r#","fields":["#);
        for (index, (field, schema)) in fields.iter().enumerate() {
            check(field)?;
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(self.out, r#"{comma}{{"name":"{field}","type":"#);
            self.write(schema, &format!("{name}_{field}"))?;
            if matches!(schema.field_type, FieldType::Option(_)) {
                self.out.push_str(r#","default":null"#);
            }
            self.out.push('}');
        }
        self.out.push_str("]}");
        Ok(())
    }
}

fn at(path: &str, top: &str) -> String {
    if path.is_empty() { top.to_owned() } else { format!("`{path}`") }
}

fn check(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::Config(format!(
        "`{name}` cannot be a name in Avro: letters of ASCII, digits and `_` only, no digit first; use \
         #[record(rename = \"..\")]"
    )))
}
