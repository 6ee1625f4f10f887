//! The statements of SQL that all databases share; names are quoted, and values are never in them.

use headwater::batch::{FieldType, Schema};
use headwater::{Error, Result};

use super::options::Options;

/// The table of tokens: per sink and subtask the newest epoch that is shown, and who may show the next.
pub(crate) const TOKENS: &str = "headwater_tokens";

/// What differs between the databases.
pub(crate) trait Dialect {
    /// The type of a column that holds all values of a field; the field is no option.
    fn column_type(field: &FieldType) -> &'static str;

    /// The type of a column that is a key.
    fn key_type(field: &FieldType) -> &'static str {
        Self::column_type(field)
    }

    /// Stands behind `CREATE TABLE (..)`.
    const TABLE_OPTIONS: &'static str;
    /// The same for the table of tokens.
    const TOKENS_OPTIONS: &'static str = "";

    /// A name between quotes.
    fn quote(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// The table as a statement names it.
    fn table(name: &str) -> String;

    /// What stands behind the rows: a row replaces the older one with its keys.
    fn on_conflict(options: &Options, fields: &[(String, Schema)]) -> String {
        if options.keys.is_empty() {
            return String::new();
        }
        let set = replaced(options, fields).map(|name| format!("{0} = excluded.{0}", Self::quote(name)));
        let set: Vec<_> = set.collect();
        let action =
            if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
        format!(" ON CONFLICT ({}) DO {action}", quoted::<Self>(&options.keys))
    }
}

/// The fields that are no keys.
pub(crate) fn replaced<'a>(
    options: &'a Options,
    fields: &'a [(String, Schema)],
) -> impl Iterator<Item = &'a String> {
    fields.iter().map(|(name, _)| name).filter(|name| !options.keys.contains(name))
}

fn quoted<'a, D: Dialect + ?Sized>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| D::quote(name)).collect::<Vec<_>>().join(", ")
}

/// Makes the table of tokens.
pub(crate) fn create_tokens<D: Dialect>() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {TOKENS} (sink {} NOT NULL, subtask bigint NOT NULL, epoch bigint NOT NULL, \
         generation bigint NOT NULL, PRIMARY KEY (sink, subtask)){}",
        D::key_type(&FieldType::String),
        D::TOKENS_OPTIONS
    )
}

/// Makes the row of a subtask where there is none: sink, subtask.
pub(crate) const ADD_TOKEN: &str = "INSERT INTO headwater_tokens (sink, subtask, epoch, generation) \
    VALUES ($1, $2, 0, 0) ON CONFLICT (sink, subtask) DO NOTHING";

/// Takes the tokens that a subtask is responsible for: its own, and those of subtasks that there are not any
/// more: sink, count of subtasks, subtask. SQLite numbers parameters as they first appear.
pub(crate) const TAKE_TOKENS: &str = "UPDATE headwater_tokens SET generation = generation + 1 \
    WHERE sink = $1 AND subtask % $2 = $3 RETURNING subtask, generation";

/// The newest epoch of a sink: sink.
pub(crate) const NEWEST_EPOCH: &str = "SELECT coalesce(max(epoch), 0) FROM headwater_tokens WHERE sink = $1";

/// Sink, subtask.
pub(crate) const READ_TOKEN: &str =
    "SELECT epoch, generation FROM headwater_tokens WHERE sink = $1 AND subtask = $2";

/// Epoch, sink, subtask.
pub(crate) const ADVANCE_TOKEN: &str =
    "UPDATE headwater_tokens SET epoch = $1 WHERE sink = $2 AND subtask = $3";

/// The same statement with places that have no numbers, in the order in which the numbers appear.
#[cfg(feature = "mariadb")]
pub(crate) fn positional(sql: &str) -> String {
    sql.replace("$1", "?").replace("$2", "?").replace("$3", "?")
}

/// Makes the table of the rows.
pub(crate) fn create_table<D: Dialect>(options: &Options, fields: &[(String, Schema)]) -> String {
    let mut columns: Vec<_> = fields
        .iter()
        .map(|(name, schema)| {
            let is_key = options.keys.contains(name);
            let (field, null) = match &schema.field_type {
                FieldType::Option(inner) if !is_key => (&inner.field_type, ""),
                FieldType::Option(inner) => (&inner.field_type, " NOT NULL"),
                field => (field, " NOT NULL"),
            };
            let of_type = if is_key { D::key_type(field) } else { D::column_type(field) };
            format!("{} {of_type}{null}", D::quote(name))
        })
        .collect();
    if !options.keys.is_empty() {
        columns.push(format!("PRIMARY KEY ({})", quoted::<D>(&options.keys)));
    }
    let table = D::table(&options.table);
    format!("CREATE TABLE IF NOT EXISTS {table} ({}){}", columns.join(", "), D::TABLE_OPTIONS)
}

/// `INSERT INTO table (columns) ` without the rows.
pub(crate) fn insert_into<D: Dialect>(options: &Options, fields: &[(String, Schema)]) -> String {
    format!("INSERT INTO {} ({})", D::table(&options.table), columns::<D>(fields))
}

pub(crate) fn columns<D: Dialect>(fields: &[(String, Schema)]) -> String {
    quoted::<D>(fields.iter().map(|(name, _)| name))
}

pub(crate) fn keys<D: Dialect>(options: &Options) -> String {
    quoted::<D>(&options.keys)
}

/// A column of the table that is there.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As the database calls it.
    #[cfg_attr(
        not(any(feature = "mariadb", feature = "postgres")),
        allow(dead_code, reason = "SQLite reads every value by its own type")
    )]
    pub(crate) of_type: String,
    /// A row must have a value for it.
    pub(crate) is_needed: bool,
}

/// The columns of the fields, in their order.
///
/// # Errors
/// The table is missing, a field has no column, or a column has no field and needs one.
pub(crate) fn match_columns<D: Dialect>(
    place: &str,
    options: &Options,
    fields: &[(String, Schema)],
    found: &[Column],
) -> Result<Vec<Column>> {
    let table = &options.table;
    if found.is_empty() {
        return Err(Error::failed(format!(
            "{place} has no table `{table}`: add `.create_table()` to the sink, or make it: {}",
            create_table::<D>(options, fields)
        )));
    }
    let names = || found.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut matched = Vec::new();
    for (name, schema) in fields {
        let field = match &schema.field_type {
            FieldType::Option(inner) => &inner.field_type,
            field => field,
        };
        let column = found.iter().find(|column| column.name == *name).ok_or_else(|| {
            Error::failed(format!(
                "table `{table}` of {place} has no column for the field `{name}`; its columns are {}; rename the \
                 field, or add the column: ALTER TABLE {} ADD COLUMN {} {}",
                names(),
                D::table(table),
                D::quote(name),
                D::column_type(field)
            ))
        })?;
        matched.push(column.clone());
    }
    let is_field = |column: &Column| fields.iter().any(|(name, _)| *name == column.name);
    if let Some(column) = found.iter().find(|column| column.is_needed && !is_field(column)) {
        return Err(Error::failed(format!(
            "column `{}` of table `{table}` of {place} must have a value, and the record has no such field: add \
             the field, or give the column a default",
            column.name
        )));
    }
    Ok(matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl Dialect for Plain {
        fn column_type(field: &FieldType) -> &'static str {
            if *field == FieldType::String { "text" } else { "bigint" }
        }
        const TABLE_OPTIONS: &'static str = "";
        fn table(name: &str) -> String {
            Self::quote(name)
        }
    }

    #[test]
    fn names_are_quoted_and_keys_are_replaced() {
        let fields = [
            ("id".to_owned(), Schema::scalar(FieldType::I64)),
            ("a\"b".to_owned(), Schema::option(Schema::scalar(FieldType::String))),
        ];
        let mut options = Options::new("rows\"; DROP TABLE rows; --".to_owned());
        options.keys = vec!["id".to_owned()];
        assert_eq!(
            create_table::<Plain>(&options, &fields),
            "CREATE TABLE IF NOT EXISTS \"rows\"\"; DROP TABLE rows; --\" (\"id\" bigint NOT NULL, \"a\"\"b\" \
             text, PRIMARY KEY (\"id\"))"
        );
        let conflict = " ON CONFLICT (\"id\") DO UPDATE SET \"a\"\"b\" = excluded.\"a\"\"b\"";
        assert_eq!(Plain::on_conflict(&options, &fields), conflict);
        assert_eq!(Plain::on_conflict(&options, &fields[..1]), " ON CONFLICT (\"id\") DO NOTHING");
        options.keys.clear();
        assert_eq!(Plain::on_conflict(&options, &fields), "");
    }
}
