//! Names and types of a record's fields: columns of a table, and what a stored batch is checked against.

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

    /// A hash of the names and types, stored beside archived rows.
    #[must_use]
    pub fn hash(&self) -> u64 {
        hash_bytes(format!("{:?}", self.field_type).as_bytes())
    }
}
