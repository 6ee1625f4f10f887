//! Names and types of a record's fields: columns of a table, and what a stored batch is checked against.

use std::fmt::{self, Write};

use super::hash_bytes;

/// The type of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the Rust type it names")]
pub enum FieldType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    F32,
    F64,
    String,
    /// May be missing or null.
    Option(Box<Schema>),
    /// Any number of items.
    List(Box<Schema>),
    /// Named fields.
    Record(Vec<(String, Schema)>),
}

/// Names and types of a record type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Name of the record type; empty for scalars and tuples.
    pub name: String,
    /// What it holds.
    pub field_type: FieldType,
}

impl Schema {
    /// The schema of a value that is not a record.
    #[must_use]
    pub fn scalar(field_type: FieldType) -> Self {
        Schema { name: String::new(), field_type }
    }

    /// The schema of a record with named fields.
    #[must_use]
    pub fn record(name: &str, fields: Vec<(&str, Schema)>) -> Self {
        let fields = fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        Schema { name: name.to_owned(), field_type: FieldType::Record(fields) }
    }

    /// The schema of a value that may be missing.
    #[must_use]
    pub fn option(inner: Schema) -> Self {
        Schema::scalar(FieldType::Option(Box::new(inner)))
    }

    /// The schema of a list.
    #[must_use]
    pub fn list(item: Schema) -> Self {
        Schema::scalar(FieldType::List(Box::new(item)))
    }

    /// Names of the columns in a flat format: field names, nested fields joined by a dot, `value` for a
    /// record that has no fields.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let mut columns = Vec::new();
        self.collect_columns("", &mut columns);
        columns
    }

    fn collect_columns(&self, prefix: &str, columns: &mut Vec<String>) {
        match &self.field_type {
            FieldType::Record(fields) => {
                for (name, schema) in fields {
                    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    schema.collect_columns(&path, columns);
                }
            }
            FieldType::Option(inner) => inner.collect_columns(prefix, columns),
            _ if prefix.is_empty() => columns.push("value".to_owned()),
            _ => columns.push(prefix.to_owned()),
        }
    }

    /// A hash of the names and types of the fields, stored beside archived rows. The names of the record
    /// types do not count: a type may be renamed, or kept under another name for a migration.
    #[must_use]
    pub fn hash(&self) -> u64 {
        hash_bytes(self.to_string().as_bytes())
    }
}

/// The fields in a line: `{customer: string, cents: list<u64>, note: string?}`, a tuple `(u64, f64)`.
/// Different layouts give different lines.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field_type {
            FieldType::Option(inner) => write!(f, "{inner}?"),
            FieldType::List(item) => write!(f, "list<{item}>"),
            FieldType::Record(fields) => {
                let is_tuple =
                    fields.iter().enumerate().all(|(at, (name, _))| *name == format!("_{}", at + 1));
                f.write_char(if is_tuple { '(' } else { '{' })?;
                for (at, (name, schema)) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    if is_tuple {
                        write!(f, "{comma}{schema}")?;
                    } else {
                        write!(f, "{comma}{name}: {schema}")?;
                    }
                }
                f.write_char(if is_tuple { ')' } else { '}' })
            }
            scalar => f.write_str(&format!("{scalar:?}").to_lowercase()),
        }
    }
}
