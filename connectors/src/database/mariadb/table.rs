//! `MariaDbTable`: the table, its tokens, and the transactions of a writer.

use std::collections::BTreeMap;

use headwater::batch::{FieldType, Schema};
use headwater::sink::Subtask;
use headwater::{Error, Result};
use mysql::prelude::FromValue;
use mysql::{Row, Value};

use super::super::cells::Rules;
use super::super::failure::Refusal;
use super::super::options::Options;
use super::super::staged::Piece;
use super::super::statement::{
    ADVANCE_TOKEN, Column, Dialect, NEWEST_EPOCH, READ_TOKEN, TOKENS, create_table, create_tokens,
    insert_into, match_columns, positional, replaced,
};
use super::super::token::{Tokens, Turn, numbers};
use super::super::writer::Database;
use super::failure::{Failure, Said};
use super::row::{Reading, read_row};
use super::server::Server;
use super::session::{Link, Session};

/// Rows of one statement: so many, or so many bytes, and never more values than a statement can have.
const ROWS_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;
const VALUES_MAX: usize = u16::MAX as usize;

/// Sink, subtask.
const ADD_TOKEN: &str = "INSERT INTO headwater_tokens (sink, subtask, epoch, generation) VALUES (?, ?, 0, 0) \
    ON DUPLICATE KEY UPDATE sink = sink";

/// Sink, count of subtasks, subtask; MariaDB cannot give what an UPDATE has written.
const TAKE_TOKENS: &str =
    "UPDATE headwater_tokens SET generation = generation + 1 WHERE sink = ? AND subtask % ? = ?";
const TAKEN_TOKENS: &str =
    "SELECT subtask, generation FROM headwater_tokens WHERE sink = ? AND subtask % ? = ?";

struct MariaDb;

impl Dialect for MariaDb {
    fn column_type(field: &FieldType) -> &'static str {
        match field {
            FieldType::Bool => "boolean",
            FieldType::U8 => "tinyint unsigned",
            FieldType::U16 => "smallint unsigned",
            FieldType::U32 => "int unsigned",
            FieldType::U64 => "bigint unsigned",
            FieldType::I8 => "tinyint",
            FieldType::I16 => "smallint",
            FieldType::I32 => "int",
            FieldType::I64 => "bigint",
            FieldType::U128 | FieldType::I128 => "decimal(39)",
            FieldType::F32 => "float",
            FieldType::F64 => "double",
            FieldType::String => "longtext",
            _ => "json",
        }
    }

    /// An index needs to know how long its texts are.
    fn key_type(field: &FieldType) -> &'static str {
        if *field == FieldType::String { "varchar(255)" } else { Self::column_type(field) }
    }

    // Texts are the same when their bytes are.
    const TABLE_OPTIONS: &'static str =
        " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin";
    const TOKENS_OPTIONS: &'static str = Self::TABLE_OPTIONS;

    fn quote(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn table(name: &str) -> String {
        name.split('.').map(Self::quote).collect::<Vec<_>>().join(".")
    }

    fn on_conflict(options: &Options, fields: &[(String, Schema)]) -> String {
        let Some(key) = options.keys.first() else { return String::new() };
        let set = replaced(options, fields).map(|name| format!("{0} = VALUES({0})", Self::quote(name)));
        let mut set: Vec<_> = set.collect();
        if set.is_empty() {
            set.push(format!("{0} = {0}", Self::quote(key)));
        }
        format!(" ON DUPLICATE KEY UPDATE {}", set.join(", "))
    }
}

pub(super) struct MariaDbTable {
    session: Session,
    options: Options,
    /// What each column makes of its values.
    readings: Vec<Reading>,
    insert: Insert,
}

/// The statements that write rows, by how many.
struct Insert {
    begin: String,
    row: String,
    end: String,
    rows_max: usize,
    statements: BTreeMap<usize, String>,
}

impl Insert {
    /// For a number of rows that is a power of two: so few are prepared.
    fn of(&mut self, rows: usize) -> &str {
        let Insert { begin, row, end, statements, .. } = self;
        statements
            .entry(rows)
            .or_insert_with(|| format!("{begin} VALUES {}{end}", vec![row.as_str(); rows].join(", ")))
    }
}

/// The database, if it is named, and the table in it.
fn parts(name: &str) -> (Option<&str>, &str) {
    name.split_once('.').map_or((None, name), |(database, table)| (Some(database), table))
}

fn place_of(name: &str) -> Vec<Value> {
    let (database, table) = parts(name);
    vec![database.into(), table.into()]
}

/// # Errors
/// The server has given something else.
fn get<V: FromValue>(row: &Row, at: usize) -> Result<V, Failure> {
    let value = row.get_opt(at).and_then(Result::ok);
    value
        .ok_or_else(|| Failure::Failed(Error::failed(format!("column {at} of an answer is not as expected"))))
}

impl MariaDbTable {
    /// Connects, makes what is missing, and looks at the columns.
    ///
    /// # Errors
    /// The server is away, or the table cannot take the rows.
    pub(super) fn open(server: Server, options: Options, fields: Vec<(String, Schema)>) -> Result<Self> {
        let mut session = Session::new(server, options.patience);
        let place = session.place().to_owned();
        let name = options.table.clone();
        let refused =
            |said: &Said| format!("{place}: table `{name}`: {}; {}", said.describe(), said.way_out());
        if let Some(sink) = &options.exactly_once {
            if sink.chars().count() > 255 {
                return Err(Error::Config(format!(
                    "`exactly_once({sink:?})`: a name has up to 255 characters"
                )));
            }
            let create = create_tokens::<MariaDb>();
            session.call(|link| make(link, TOKENS, &create), refused)?;
            check_engine(&mut session, TOKENS, refused)?;
        }
        if options.creates {
            let create = create_table::<MariaDb>(&options, &fields);
            session.call(|link| make(link, &name, &create), refused)?;
        }
        let found = session.call(|link| columns_of(link, &name), refused)?;
        let matched = match_columns::<MariaDb>(&place, &options, &fields, &found)?;
        check_engine(&mut session, &name, refused)?;
        let readings = readings(&place, &name, &fields, &matched)?;
        if !options.keys.is_empty() {
            let indexes = session.call(|link| unique_indexes(link, &name, &fields), refused)?;
            check_indexes(&place, &options, &indexes)?;
        }
        let rows_max = ROWS_MAX.min(VALUES_MAX / fields.len().max(1)).max(1);
        let insert = Insert {
            begin: insert_into::<MariaDb>(&options, &fields),
            row: format!("({})", vec!["?"; fields.len()].join(", ")),
            end: MariaDb::on_conflict(&options, &fields),
            rows_max: 1 << rows_max.ilog2(),
            statements: BTreeMap::new(),
        };
        Ok(MariaDbTable { session, options, readings, insert })
    }
}

/// Makes a table if it is missing. It is looked for first: who may write may not be allowed to make one.
fn make(link: &mut Link, table: &str, create: &str) -> Result<(), Failure> {
    let sql = "SELECT 1 FROM information_schema.tables \
               WHERE table_schema = coalesce(?, database()) AND table_name = ?";
    if link.query(sql, place_of(table))?.is_empty() { link.execute(create) } else { Ok(()) }
}

fn columns_of(link: &mut Link, table: &str) -> Result<Vec<Column>, Failure> {
    let sql = "SELECT column_name, lower(column_type), is_nullable = 'NO' AND column_default IS NULL \
                 AND extra NOT LIKE '%auto_increment%' AND extra NOT LIKE '%generated%' \
               FROM information_schema.columns \
               WHERE table_schema = coalesce(?, database()) AND table_name = ? ORDER BY ordinal_position";
    let column = |row: &Row| {
        let (name, of_type) = (get(row, 0)?, get(row, 1)?);
        Ok(Column { name, of_type, is_needed: get::<i64>(row, 2)? != 0 })
    };
    link.query(sql, place_of(table))?.iter().map(column).collect()
}

/// # Errors
/// The table keeps what a transaction has written although the transaction is not committed.
fn check_engine(session: &mut Session, table: &str, refused: impl Fn(&Said) -> String) -> Result<()> {
    let sql = "SELECT t.engine, coalesce(e.transactions, 'NO') = 'YES' FROM information_schema.tables AS t \
               LEFT JOIN information_schema.engines AS e ON e.engine = t.engine \
               WHERE t.table_schema = coalesce(?, database()) AND t.table_name = ?";
    let read = |link: &mut Link| {
        let rows = link.query(sql, place_of(table))?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok((get::<i64>(row, 1)? == 0).then_some(get::<Option<String>>(row, 0)?))
    };
    let place = session.place().to_owned();
    match session.call(read, refused)? {
        None => Ok(()),
        Some(Some(engine)) => Err(Error::failed(format!(
            "table `{table}` of {place} is one of {engine}, which has no transactions: rows of an epoch that is not \
             committed would stay there; ALTER TABLE {} ENGINE = InnoDB",
            MariaDb::table(table)
        ))),
        Some(None) => Err(Error::failed(format!(
            "`{table}` of {place} is a view, of which it is not known whether it has transactions: name the table \
             behind it"
        ))),
    }
}

fn readings(
    place: &str,
    table: &str,
    fields: &[(String, Schema)],
    columns: &[Column],
) -> Result<Vec<Reading>> {
    let reading = |((name, schema), column): (&(String, Schema), &Column)| {
        let field = match &schema.field_type {
            FieldType::Option(inner) => &inner.field_type,
            field => field,
        };
        Reading::of(field, &column.of_type).map_err(|reason| {
            Error::failed(format!(
                "column `{name}` of table `{table}` of {place} is {}, and its field {field:?}: {reason}; ALTER TABLE \
                 {} MODIFY {} {}",
                column.of_type,
                MariaDb::table(table),
                MariaDb::quote(name),
                MariaDb::column_type(field)
            ))
        })
    };
    fields.iter().zip(columns).map(reading).collect()
}

/// The columns of each unique index by its name; one over the beginnings of values has none.
type Indexes = BTreeMap<String, Option<Vec<String>>>;

/// Without those that no row can meet, because the server gives each a number of its own there.
fn unique_indexes(link: &mut Link, table: &str, fields: &[(String, Schema)]) -> Result<Indexes, Failure> {
    let sql = "SELECT s.index_name, s.column_name, s.sub_part IS NOT NULL, c.extra LIKE '%auto_increment%' \
               FROM information_schema.statistics AS s JOIN information_schema.columns AS c \
                 ON c.table_schema = s.table_schema AND c.table_name = s.table_name \
                 AND c.column_name = s.column_name \
               WHERE s.table_schema = coalesce(?, database()) AND s.table_name = ? AND s.non_unique = 0 \
               ORDER BY s.index_name, s.seq_in_index";
    let (mut indexes, mut numbered) = (Indexes::new(), Vec::new());
    for row in &link.query(sql, place_of(table))? {
        let (index, column): (String, String) = (get(row, 0)?, get(row, 1)?);
        let (is_part, is_numbered) = (get::<i64>(row, 2)? != 0, get::<i64>(row, 3)? != 0);
        if is_numbered && fields.iter().all(|(name, _)| *name != column) {
            numbered.push(index.clone());
        }
        let columns = indexes.entry(index).or_insert_with(|| Some(Vec::new()));
        match columns {
            Some(columns) if !is_part => columns.push(column),
            columns => *columns = None,
        }
    }
    indexes.retain(|index, _| !numbered.contains(index));
    Ok(indexes)
}

/// # Errors
/// A row would replace another than the one with its keys, or none.
fn check_indexes(place: &str, options: &Options, indexes: &Indexes) -> Result<()> {
    let (table, keys) = (&options.table, &options.keys);
    let has_keys = |columns: &Vec<String>| keys.iter().all(|key| columns.contains(key));
    let is_of_keys =
        |columns: &Vec<String>| has_keys(columns) && columns.iter().all(|name| keys.contains(name));
    let quoted: Vec<_> = keys.iter().map(|key| MariaDb::quote(key)).collect();
    if !indexes.values().flatten().any(is_of_keys) {
        return Err(Error::failed(format!(
            "`upsert` needs a unique index on its keys, and table `{table}` of {place} has none: ALTER TABLE {} ADD \
             UNIQUE ({})",
            MariaDb::table(table),
            quoted.join(", ")
        )));
    }
    let other = indexes.iter().find(|(_, columns)| !columns.as_ref().is_some_and(has_keys));
    if let Some((index, _)) = other {
        return Err(Error::failed(format!(
            "table `{table}` of {place} has the unique index `{index}` beside that of the keys of `upsert`: MariaDB \
             would let a row replace another one that meets it there; drop the index, or upsert by its columns"
        )));
    }
    Ok(())
}

impl Database for MariaDbTable {
    const RULES: Rules = Rules {
        nul: None,
        nan: Some("MariaDB has no NaN"),
        infinite: Some("MariaDB has no infinity"),
        beyond_i64: None,
    };

    fn take_tokens(&mut self, sink: &str, subtask: Subtask) -> Result<Tokens> {
        let place = self.session.place().to_owned();
        let (index, count) = numbers(subtask);
        let newest_epoch = positional(NEWEST_EPOCH);
        let action = |link: &mut Link| {
            link.execute("BEGIN")?;
            link.write(ADD_TOKEN, vec![sink.into(), index.into()])?;
            let taken = || vec![sink.into(), count.into(), index.into()];
            link.write(TAKE_TOKENS, taken())?;
            let rows = link.query(TAKEN_TOKENS, taken())?;
            let newest = link.query(&newest_epoch, vec![sink.into()])?;
            link.execute("COMMIT")?;
            let mut tokens = Tokens::default();
            for row in &rows {
                tokens.generations.insert(get::<i64>(row, 0)? as u32, get(row, 1)?);
            }
            let newest: i64 = newest.first().map_or(Ok(0), |row| get(row, 0))?;
            tokens.newest_epoch = newest.try_into().unwrap_or(0);
            Ok(tokens)
        };
        let refused =
            |said: &Said| format!("{place}: table `{TOKENS}`: {}; {}", said.describe(), said.way_out());
        self.session.call(action, refused)
    }

    fn show(&mut self, piece: &Piece<'_>, turn: Option<Turn<'_>>) -> Result<()> {
        let place = self.session.place().to_owned();
        let MariaDbTable { session, options, readings, insert } = self;
        let action = |link: &mut Link| {
            link.execute("BEGIN")?;
            if let Some(turn) = &turn
                && !is_due(link, turn)?
            {
                return link.execute("ROLLBACK");
            }
            write_rows(link, piece, readings, insert)?;
            if let Some(Turn { sink, subtask, epoch, .. }) = &turn {
                let values = vec![(*epoch).into(), (*sink).into(), i64::from(*subtask).into()];
                link.write(&positional(ADVANCE_TOKEN), values)?;
            }
            link.execute("COMMIT")
        };
        let refused = |said: &Said| {
            let row = said.row.map(|row| format!("; the row: {}", piece.cells.show(row, readings.len())));
            let (row, table) = (row.unwrap_or_default(), &options.table);
            format!("{place} refuses rows for table `{table}`: {}{row}; {}", said.describe(), said.way_out())
        };
        session.call(action, refused)
    }
}

/// Locks the token until the transaction ends.
fn is_due(link: &mut Link, turn: &Turn<'_>) -> Result<bool, Failure> {
    let sql = format!("{} FOR UPDATE", positional(READ_TOKEN));
    let rows = link.query(&sql, vec![turn.sink.into(), i64::from(turn.subtask).into()])?;
    let found = match rows.first() {
        Some(row) => Some((get(row, 0)?, get(row, 1)?)),
        None => None,
    };
    Ok(turn.is_due(found)?)
}

/// # Errors
/// As [`insert_rows`], with the row that is refused: to find it, all of them are written once more, the later
/// ones one by one. Nothing of that is committed.
fn write_rows(
    link: &mut Link,
    piece: &Piece<'_>,
    readings: &[Reading],
    insert: &mut Insert,
) -> Result<(), Failure> {
    let (begin, failure) = match insert_rows(link, piece, readings, insert, usize::MAX) {
        Ok(()) => return Ok(()),
        Err(failed) => failed,
    };
    let Failure::Refused(_) = &failure else { return Err(failure) };
    link.execute("ROLLBACK")?;
    match insert_rows(link, piece, readings, insert, begin) {
        Err((row, Failure::Refused(said))) => {
            Err(Failure::Refused(Box::new(Said { row: Some(row), ..*said })))
        }
        _ => Err(failure),
    }
}

/// Writes all rows, from a given one on one by one.
///
/// # Errors
/// The server refuses, or is lost; with the first row of the statement.
fn insert_rows(
    link: &mut Link,
    piece: &Piece<'_>,
    readings: &[Reading],
    insert: &mut Insert,
    singly_from: usize,
) -> Result<(), (usize, Failure)> {
    let (mut cells, mut written) = (piece.cells, 0);
    let mut values = Vec::new();
    while !cells.is_empty() {
        let (mut rows, mut bytes) = (0, 0);
        while rows < insert.rows_max && bytes < BYTES_MAX && !cells.is_empty() {
            bytes += read_row(&mut cells, readings, &mut values).map_err(|error| (written, error.into()))?;
            rows += 1;
        }
        while rows > 0 {
            let together = if written < singly_from { 1 << rows.ilog2() } else { 1 };
            let later = values.split_off(together * readings.len());
            let now = std::mem::replace(&mut values, later);
            link.write(insert.of(together), now).map_err(|failure| (written, failure))?;
            rows -= together;
            written += together;
        }
    }
    Ok(())
}
