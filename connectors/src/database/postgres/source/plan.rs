//! `Plan`: which columns the fields of a record are, and the queries that read them.

use headwater::batch::{FieldType, Schema};
use headwater::{Error, Result};
use tokio_postgres::types::{Kind, Type};

use super::super::super::statement::Dialect;
use super::super::table::Postgres;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Table(String),
    Query(String),
}

impl What {
    /// Behind `FROM`.
    pub(super) fn from(&self) -> String {
        match self {
            What::Table(name) => format!("{} AS q", Postgres::table(name)),
            // On a line of its own, because the query may end in a comment.
            What::Query(sql) => format!("({}\n) AS q", sql.trim_end().trim_end_matches(';')),
        }
    }

    /// As errors call it.
    pub(super) fn name(&self) -> String {
        match self {
            What::Table(name) => format!("table `{name}`"),
            What::Query(_) => "the query".to_owned(),
        }
    }
}

/// The queries of a source, without the place where they begin.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    from: String,
    /// The columns of the key: quoted, and with their types.
    pub(super) keys: Vec<(String, String)>,
    /// The text of each field.
    fields: Vec<String>,
}

/// A text between quotes.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Plan {
    /// `found` are the columns that there are, `keys` those of the key with their types.
    ///
    /// # Errors
    /// A field has no column, or one of another type.
    pub(super) fn new(
        what: &What,
        keys: Vec<(String, String)>,
        fields: &[(String, Schema)],
        found: &[(String, Type)],
    ) -> Result<Self> {
        let expression = |(name, schema): &(String, Schema)| {
            let of_type = column(what, name, found)?;
            let field = match &schema.field_type {
                FieldType::Option(inner) => &inner.field_type,
                field => field,
            };
            read(&format!("q.{}", Postgres::quote(name)), field, base_of(of_type)).map_err(|way| {
                Error::failed(format!(
                    "column `{name}` of {} is {of_type}, and its field {field:?}: {way}",
                    what.name()
                ))
            })
        };
        let fields = fields.iter().map(expression).collect::<Result<Vec<_>>>()?;
        let keys = keys.into_iter().map(|(name, of)| (format!("q.{}", Postgres::quote(&name)), of)).collect();
        Ok(Plan { from: what.from(), keys, fields })
    }

    fn key(&self) -> String {
        self.keys.iter().map(|(column, _)| column.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// A key as a value, to be compared with the columns.
    fn place(&self, key: &[String]) -> String {
        let values = key.iter().zip(&self.keys).map(|(text, (_, of))| format!("{}::{of}", literal(text)));
        values.collect::<Vec<_>>().join(", ")
    }

    /// The texts of the key and of the fields, from one key on, and up to another.
    pub(super) fn rows(&self, from: &[String], to: Option<&Vec<String>>) -> String {
        let key = self.key();
        let mut conditions = Vec::new();
        if !from.is_empty() {
            conditions.push(format!("({key}) >= ({})", self.place(from)));
        }
        if let Some(to) = to {
            conditions.push(format!("({key}) <= ({})", self.place(to)));
        }
        let conditions = match conditions.as_slice() {
            [] => String::new(),
            conditions => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let texts = self.key_texts().chain(self.fields.iter().cloned()).collect::<Vec<_>>().join(", ");
        format!("SELECT {texts} FROM {}{conditions} ORDER BY {key}", self.from)
    }

    fn key_texts(&self) -> impl Iterator<Item = String> {
        self.keys.iter().map(|(column, _)| format!("{column}::text"))
    }

    /// The last key that there is.
    pub(super) fn last(&self) -> String {
        let last: Vec<_> = self.keys.iter().map(|(column, _)| format!("{column} DESC")).collect();
        let texts = self.key_texts().collect::<Vec<_>>().join(", ");
        let there = self.condition("IS NOT NULL", " AND ");
        format!("SELECT {texts} FROM {} WHERE {there} ORDER BY {} LIMIT 1", self.from, last.join(", "))
    }

    /// Whether there is a row without a key.
    pub(super) fn without_key(&self) -> String {
        format!("SELECT EXISTS (SELECT FROM {} WHERE {})", self.from, self.condition("IS NULL", " OR "))
    }

    fn condition(&self, of_each: &str, between: &str) -> String {
        self.keys.iter().map(|(column, _)| format!("{column} {of_each}")).collect::<Vec<_>>().join(between)
    }
}

/// # Errors
/// There is none.
pub(super) fn column<'f>(what: &What, name: &str, found: &'f [(String, Type)]) -> Result<&'f Type> {
    let column = found.iter().find(|(column, _)| column == name);
    column.map(|(_, of_type)| of_type).ok_or_else(|| {
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        Error::failed(format!(
            "{} has no column `{name}`; its columns are {}; rename the field, or read a query that names the column \
             so: SELECT .. AS {}",
            what.name(),
            names.join(", "),
            Postgres::quote(name)
        ))
    })
}

/// A domain is read as what it is of.
fn base_of(of_type: &Type) -> &Type {
    match of_type.kind() {
        Kind::Domain(inner) => base_of(inner),
        _ => of_type,
    }
}

/// The text of a column that its field takes.
///
/// # Errors
/// There is none; with the way out.
fn read(column: &str, field: &FieldType, of_type: &Type) -> Result<String, String> {
    let is = |types: &[Type]| types.contains(of_type);
    let is_integer = is(&[Type::INT2, Type::INT4, Type::INT8, Type::OID]);
    let is_time = is(&[Type::TIMESTAMP, Type::TIMESTAMPTZ, Type::DATE]);
    let is_json = is(&[Type::JSON, Type::JSONB]);
    let is_nested = is_json || matches!(of_type.kind(), Kind::Array(_) | Kind::Composite(_));
    let fits = match field {
        FieldType::String => true,
        FieldType::Bool => is(&[Type::BOOL]),
        FieldType::I64 | FieldType::U64 if is_time => {
            // A time that is none, such as infinity, is left to be rejected.
            return Ok(format!(
                "CASE WHEN isfinite({column}) THEN floor(extract(epoch FROM {column}) * 1000)::bigint::text ELSE \
                 {column}::text END"
            ));
        }
        FieldType::F32 => is(&[Type::FLOAT4, Type::INT2]),
        FieldType::F64 => is(&[Type::FLOAT4, Type::FLOAT8, Type::NUMERIC, Type::INT2, Type::INT4]),
        FieldType::List(_) | FieldType::Record(_) if is_nested => {
            return Ok(format!("to_json({column})::text"));
        }
        FieldType::List(_) | FieldType::Record(_) | FieldType::Option(_) => false,
        _ => is_integer || is(&[Type::NUMERIC]),
    };
    if fits {
        return Ok(format!("{column}::text"));
    }
    Err(match field {
        FieldType::F32 | FieldType::F64 if is_integer || is(&[Type::FLOAT8]) => {
            "it has fewer digits; give the field a type that holds all values, or read a query that casts the column"
        }
        FieldType::List(_) | FieldType::Record(_) => {
            "nested values are json, jsonb, arrays or composite types; read a query that casts the column"
        }
        _ => "give the field the type of the column, or read a query that casts the column",
    }
    .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_quoted() {
        let found = [("i\"d".to_owned(), Type::INT8), ("at".to_owned(), Type::TIMESTAMPTZ)];
        let fields = [("i\"d".to_owned(), Schema::scalar(FieldType::U64))];
        let keys =
            vec![("i\"d".to_owned(), "bigint".to_owned()), ("at".to_owned(), "timestamptz".to_owned())];
        let plan = Plan::new(&What::Table("a.\"b".to_owned()), keys, &fields, &found).unwrap();
        assert_eq!(
            plan.rows(&["1".to_owned(), "it's".to_owned()], None),
            "SELECT q.\"i\"\"d\"::text, q.\"at\"::text, q.\"i\"\"d\"::text FROM \"a\".\"\"\"b\" AS q WHERE \
             (q.\"i\"\"d\", q.\"at\") >= ('1'::bigint, 'it''s'::timestamptz) ORDER BY q.\"i\"\"d\", q.\"at\""
        );
        assert_eq!(What::Query("SELECT 1 -- one;".to_owned()).from(), "(SELECT 1 -- one\n) AS q");
    }

    #[test]
    fn a_field_takes_columns_that_it_can_hold() {
        for (field, of_type, fits) in [
            (FieldType::U64, Type::NUMERIC, true),
            (FieldType::I64, Type::TIMESTAMPTZ, true),
            (FieldType::U8, Type::INT8, true),
            (FieldType::I32, Type::TIMESTAMP, false),
            (FieldType::F64, Type::INT8, false),
            (FieldType::F32, Type::FLOAT8, false),
            (FieldType::I64, Type::TEXT, false),
            (FieldType::Bool, Type::INT4, false),
            (FieldType::String, Type::UUID, true),
            (FieldType::List(Box::new(Schema::scalar(FieldType::U8))), Type::INT4_ARRAY, true),
            (FieldType::List(Box::new(Schema::scalar(FieldType::U8))), Type::BYTEA, false),
        ] {
            assert_eq!(read("q.x", &field, &of_type).is_ok(), fits, "{field:?} {of_type}");
        }
    }
}
