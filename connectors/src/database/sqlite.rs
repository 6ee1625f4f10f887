//! `SqliteSink`: rows into a table of a SQLite file.

use std::fs;
use std::path::{Path, PathBuf};

use headwater::batch::{FieldType, Record, Schema};
use headwater::sink::{OutputMode, Sink, SinkWriter, Subtask};
use headwater::{Error, Result};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, TransactionBehavior, params};

use super::cells::{Cell, Rules};
use super::options::{Options, sink_options};
use super::staged::Piece;
use super::statement::{
    ADD_TOKEN, ADVANCE_TOKEN, Column, Dialect, NEWEST_EPOCH, READ_TOKEN, TAKE_TOKENS, create_table,
    create_tokens, insert_into, match_columns,
};
use super::token::{Tokens, Turn, numbers};
use super::writer::{Database, Writer};

/// Writes rows to a table of a SQLite file, which is made when it is missing.
///
/// Rows are kept with their epoch and written when it is durable, in one transaction per epoch, which is synced.
/// With [`exactly_once`](Self::exactly_once) that transaction also writes a token of the epoch to the table
/// `headwater_tokens`, so that each row is there exactly once, whatever happens to the job or the machine.
/// Without it rows are there at least once: after a crash those of an epoch may be there twice. The file is in
/// WAL mode: others may read it all the time. It must be on a local disk.
///
/// Each field of the record goes to the column of its name; a record without fields goes to `value`. Nested
/// records and lists are JSON text, `bool` is 0 or 1, integers of 128 bits are text. SQLite has no unsigned 64
/// bits and no NaN: a row with a larger number than 9223372036854775807, or with NaN, fails the run before its
/// epoch is durable.
///
/// **A row that the table refuses** (a constraint) fails the run, with the row and the way out in the error. Its
/// epoch is durable: the next run tries it again, and fails again, until the table takes the row, or the sink
/// has [`upsert`](Self::upsert).
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::{Generator, SqliteSink};
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("totals.sqlite");
/// let flow = StreamBuilder::new("orders");
/// flow.source("numbers", Generator::new(1_000, |n| n % 10))
///     .key_by_value()
///     .count()
///     .output_mode(OutputMode::Update)
///     .sink("totals", SqliteSink::new(&file, "totals")
///         .exactly_once("orders-totals")
///         .upsert(&["key"])
///         .create_table());
/// flow.build()?.run(EngineConfig::default())?;
///
/// let totals = rusqlite::Connection::open(&file).unwrap();
/// let rows: i64 = totals.query_row("SELECT sum(value) FROM totals", [], |row| row.get(0)).unwrap();
/// assert_eq!(rows, 1_000);
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqliteSink {
    path: PathBuf,
    options: Options,
}

impl SqliteSink {
    /// A sink into a table of this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, table: impl Into<String>) -> Self {
        SqliteSink { path: path.into(), options: Options::new(table.into()) }
    }

    sink_options!();
}

impl<T: Record> Sink<T> for SqliteSink {
    // One writer: SQLite has one at a time.

    fn accepts(&self, mode: OutputMode) -> bool {
        self.options.accepts(mode)
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let table = |options, fields: Vec<_>| SqliteTable::open(&self.path, options, &fields);
        Ok(Box::new(Writer::<T, _>::open(&self.options, subtask, table)?))
    }
}

struct Sqlite;

impl Dialect for Sqlite {
    fn column_type(field: &FieldType) -> &'static str {
        match field {
            FieldType::F32 | FieldType::F64 => "REAL",
            FieldType::Bool
            | FieldType::U8
            | FieldType::U16
            | FieldType::U32
            | FieldType::U64
            | FieldType::I8
            | FieldType::I16
            | FieldType::I32
            | FieldType::I64 => "INTEGER",
            _ => "TEXT",
        }
    }

    const TABLE_OPTIONS: &'static str = " STRICT";

    fn table(name: &str) -> String {
        Self::quote(name)
    }
}

struct SqliteTable {
    path: PathBuf,
    connection: Connection,
    options: Options,
    width: usize,
    insert: String,
}

impl SqliteTable {
    fn open(path: &Path, options: Options, fields: &[(String, Schema)]) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        }
        let failed = |error| failure(path, error);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(options.patience).map_err(failed)?;
        // Answers with the mode that there is now.
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            return Err(Error::failed(format!(
                "{}: cannot be in WAL mode, it stays in mode `{mode}`: give a file on a local disk",
                path.display()
            )));
        }
        connection.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
        if options.exactly_once.is_some() {
            connection.execute_batch(&create_tokens::<Sqlite>()).map_err(failed)?;
        }
        if options.creates {
            connection.execute_batch(&create_table::<Sqlite>(&options, fields)).map_err(failed)?;
        }
        let found = columns_of(&connection, &options.table).map_err(failed)?;
        match_columns::<Sqlite>(&path.display().to_string(), &options, fields, &found)?;
        let places: Vec<_> = (1..=fields.len()).map(|at| format!("?{at}")).collect();
        let insert = format!(
            "{} VALUES ({}){}",
            insert_into::<Sqlite>(&options, fields),
            places.join(", "),
            Sqlite::on_conflict(&options, fields)
        );
        Ok(SqliteTable { path: path.to_owned(), connection, options, width: fields.len(), insert })
    }
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\" AND dflt_value IS NULL AND NOT (pk = 1 AND type = 'INTEGER') \
         FROM pragma_table_info(?1)",
    )?;
    let rows = statement.query_map([table], |row| {
        Ok(Column { name: row.get(0)?, of_type: row.get(1)?, is_needed: row.get(2)? })
    })?;
    rows.collect()
}

fn failure(path: &Path, error: rusqlite::Error) -> Error {
    let way_out = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => return Error::DiskFull { path: path.to_owned() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process has been writing to it for longer than the sink's `.patience(..)`; the next run writes \
             what this one could not"
        }
        Some(ErrorCode::NotADatabase) => "name another file",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            "the folder and the file must be writable"
        }
        _ => "when this is mended, run the job again: the next run writes what this one could not",
    };
    Error::failed(format!("{}: {error}; {way_out}", path.display()))
}

impl Database for SqliteTable {
    const RULES: Rules = Rules {
        nul: None,
        nan: Some("SQLite has no NaN, and would make it NULL"),
        infinite: None,
        beyond_i64: Some("SQLite has no integers above 9223372036854775807"),
    };

    fn take_tokens(&mut self, sink: &str, subtask: Subtask) -> Result<Tokens> {
        let (index, count) = numbers(subtask);
        let mut take = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(ADD_TOKEN, params![sink, index])?;
            let mut tokens = Tokens::default();
            {
                let mut statement = transaction.prepare(TAKE_TOKENS)?;
                let mut rows = statement.query(params![sink, count, index])?;
                while let Some(row) = rows.next()? {
                    tokens.generations.insert(row.get(0)?, row.get(1)?);
                }
            }
            let newest: i64 = transaction.query_row(NEWEST_EPOCH, [sink], |row| row.get(0))?;
            tokens.newest_epoch = newest.try_into().unwrap_or(0);
            transaction.commit()?;
            Ok(tokens)
        };
        take().map_err(|error| failure(&self.path, error))
    }

    fn show(&mut self, piece: &Piece<'_>, turn: Option<Turn<'_>>) -> Result<()> {
        let path = self.path.clone();
        let failed = |error| failure(&path, error);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        if let Some(turn) = &turn {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found = transaction.query_row(READ_TOKEN, params![turn.sink, turn.subtask], read).optional();
            if !turn.is_due(found.map_err(failed)?)? {
                return Ok(());
            }
        }
        {
            let mut statement = transaction.prepare(&self.insert).map_err(failed)?;
            let (mut cells, mut row) = (piece.cells, 0);
            while !cells.is_empty() {
                for at in 1..=self.width {
                    statement.raw_bind_parameter(at, Bound(cells.next()?)).map_err(failed)?;
                }
                statement.raw_execute().map_err(|error| {
                    refusal(&path, &self.options.table, &piece.cells.show(row, self.width), error)
                })?;
                row += 1;
            }
        }
        if let Some(Turn { sink, subtask, epoch, .. }) = &turn {
            transaction.execute(ADVANCE_TOKEN, params![epoch, sink, subtask]).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }
}

/// What a refused row means.
fn refusal(path: &Path, table: &str, row: &str, error: rusqlite::Error) -> Error {
    if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) {
        return failure(path, error);
    }
    let text = error.to_string();
    let way_out = if text.contains("UNIQUE") || text.contains("PRIMARY") {
        "delete the row that is there, or add `.upsert(&[..])` to the sink, and run the job again: it tries this \
         epoch again"
    } else {
        "change the table or the row that is in the way, and run the job again: it tries this epoch again"
    };
    let path = path.display();
    Error::failed(format!("{path} refuses a row for table `{table}`: {text}; the row: {row}; {way_out}"))
}

/// A cell as SQLite takes it.
struct Bound<'a>(Cell<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Bool(value) => ToSqlOutput::Owned(Value::Integer(value.into())),
            // What does not fit was refused when it was written; an older program's is kept as text.
            Cell::U64(value) => match i64::try_from(value) {
                Ok(value) => ToSqlOutput::Owned(Value::Integer(value)),
                Err(_) => ToSqlOutput::Owned(Value::Text(value.to_string())),
            },
            Cell::I64(value) => ToSqlOutput::Owned(Value::Integer(value)),
            Cell::U128(value) => ToSqlOutput::Owned(Value::Text(value.to_string())),
            Cell::I128(value) => ToSqlOutput::Owned(Value::Text(value.to_string())),
            Cell::F32(value) => ToSqlOutput::Owned(Value::Real(value.into())),
            Cell::F64(value) => ToSqlOutput::Owned(Value::Real(value)),
            Cell::Text(value) | Cell::Json(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
        })
    }
}
