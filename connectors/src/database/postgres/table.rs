//! `PostgresTable`: the table, its tokens, and the transactions of a writer.

use headwater::Result;
use headwater::batch::{FieldType, Schema};
use headwater::sink::Subtask;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{ToSql, Type};

use super::super::cells::Rules;
use super::super::failure::Refusal;
use super::super::options::Options;
use super::super::staged::Piece;
use super::super::statement::{
    ADD_TOKEN, ADVANCE_TOKEN, Column, Dialect, NEWEST_EPOCH, READ_TOKEN, TAKE_TOKENS, TOKENS, columns,
    create_table, create_tokens, insert_into, keys, match_columns,
};
use super::super::token::{Tokens, Turn, numbers};
use super::super::writer::Database;
use super::copy::{Reading, copy_row};
use super::failure::Failure;
use super::server::Server;
use super::session::{Link, Session, WRITER};

/// Serializes who makes tables: `IF NOT EXISTS` alone fails when two do at once.
const MAKING: &str = "SELECT pg_advisory_xact_lock(5215583126474683236)";

/// SQL as PostgreSQL has it.
pub(super) struct Postgres;

impl Dialect for Postgres {
    fn column_type(field: &FieldType) -> &'static str {
        match field {
            FieldType::Bool => "boolean",
            FieldType::U8 | FieldType::I8 | FieldType::I16 => "smallint",
            FieldType::U16 | FieldType::I32 => "integer",
            FieldType::U32 | FieldType::I64 => "bigint",
            FieldType::U64 => "numeric(20)",
            FieldType::U128 | FieldType::I128 => "numeric(39)",
            FieldType::F32 => "real",
            FieldType::F64 => "double precision",
            FieldType::String => "text",
            _ => "jsonb",
        }
    }

    const TABLE_OPTIONS: &'static str = "";

    fn table(name: &str) -> String {
        name.split('.').map(Self::quote).collect::<Vec<_>>().join(".")
    }
}

pub(super) struct PostgresTable {
    session: Session,
    options: Options,
    /// What each column makes of its values.
    readings: Vec<Reading>,
    /// What is executed before rows are copied, how they are, and what is executed behind that.
    before_copy: String,
    copy: String,
    behind_copy: String,
}

impl PostgresTable {
    /// Connects, makes what is missing, and looks at the columns.
    ///
    /// # Errors
    /// The server is away, or the table cannot take the rows.
    pub(super) fn open(server: Server, options: Options, fields: Vec<(String, Schema)>) -> Result<Self> {
        let mut session = Session::new(server, WRITER, options.patience);
        let place = session.place().to_owned();
        let refused = |said: &DbError| {
            format!("{place}: table `{}`: {}; {}", options.table, said.describe(), said.way_out())
        };
        if options.exactly_once.is_some() {
            session.call(async |link| make(link, TOKENS, &create_tokens::<Postgres>()).await, refused)?;
        }
        let table = Postgres::table(&options.table);
        if options.creates {
            let create = create_table::<Postgres>(&options, &fields);
            session.call(async |link| make(link, &table, &create).await, refused)?;
        }
        let found = session.call(async |link| columns_of(link, &table).await, refused)?;
        let matched = match_columns::<Postgres>(&place, &options, &fields, &found)?;
        let readings = matched.iter().map(|column| Reading::of(&column.of_type)).collect();
        let names = columns::<Postgres>(&fields);
        if options.keys.is_empty() {
            let copy = format!("COPY {table} ({names}) FROM STDIN");
            let (before_copy, behind_copy) = (String::new(), String::new());
            return Ok(PostgresTable { session, options, readings, before_copy, copy, behind_copy });
        }
        // A statement may replace a row once: of rows with the same keys the last is taken. In the order of the
        // keys two writers wait for each other, and never both.
        let keys = keys::<Postgres>(&options);
        let before_copy = format!(
            "CREATE TEMP TABLE IF NOT EXISTS headwater_rows ON COMMIT DELETE ROWS AS SELECT {names}, 0::bigint AS \
             headwater_row FROM {table} WITH NO DATA"
        );
        let copy = format!("COPY pg_temp.headwater_rows ({names}, headwater_row) FROM STDIN");
        let behind_copy = format!(
            "{} SELECT {names} FROM (SELECT DISTINCT ON ({keys}) * FROM pg_temp.headwater_rows ORDER BY {keys}, \
             headwater_row DESC) AS newest ORDER BY {keys}{}",
            insert_into::<Postgres>(&options, &fields),
            Postgres::on_conflict(&options, &fields)
        );
        Ok(PostgresTable { session, options, readings, before_copy, copy, behind_copy })
    }
}

/// Makes a table if it is missing. It is looked for first: who may write may not be allowed to make one.
async fn make(link: &Link, table: &str, create: &str) -> Result<(), Failure> {
    let found = link.query("SELECT to_regclass($1) IS NOT NULL", &[(&table, Type::TEXT)]).await?;
    if found.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    link.execute(&format!("BEGIN; {MAKING}; {create}; COMMIT")).await
}

async fn columns_of(link: &Link, table: &str) -> Result<Vec<Column>, Failure> {
    let sql = "SELECT attname::text, format_type(atttypid, NULL), \
                 attnotnull AND NOT atthasdef AND attidentity = '' \
               FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
               ORDER BY attnum";
    let rows = link.query(sql, &[(&table, Type::TEXT)]).await?;
    let column =
        |row: &tokio_postgres::Row| Column { name: row.get(0), of_type: row.get(1), is_needed: row.get(2) };
    Ok(rows.iter().map(column).collect())
}

impl Database for PostgresTable {
    const RULES: Rules = Rules {
        nul: Some("PostgreSQL cannot store the character NUL in text or JSON"),
        nan: None,
        infinite: None,
        beyond_i64: None,
    };

    fn take_tokens(&mut self, sink: &str, subtask: Subtask) -> Result<Tokens> {
        let place = self.session.place().to_owned();
        let (index, count) = numbers(subtask);
        let action = async |link: &Link| {
            link.execute("BEGIN").await?;
            link.query(ADD_TOKEN, &[(&sink, Type::TEXT), (&index, Type::INT8)]).await?;
            let values: [(&(dyn ToSql + Sync), Type); 3] =
                [(&sink, Type::TEXT), (&count, Type::INT8), (&index, Type::INT8)];
            let taken = link.query(TAKE_TOKENS, &values).await?;
            let newest = link.query(NEWEST_EPOCH, &[(&sink, Type::TEXT)]).await?;
            link.execute("COMMIT").await?;
            let mut tokens = Tokens::default();
            for row in &taken {
                let subtask: i64 = row.get(0);
                tokens.generations.insert(subtask as u32, row.get(1));
            }
            let newest: i64 = newest.first().map_or(0, |row| row.get(0));
            tokens.newest_epoch = newest.try_into().unwrap_or(0);
            Ok(tokens)
        };
        let refused =
            |said: &DbError| format!("{place}: table `{TOKENS}`: {}; {}", said.describe(), said.way_out());
        self.session.call(action, refused)
    }

    fn show(&mut self, piece: &Piece<'_>, turn: Option<Turn<'_>>) -> Result<()> {
        let place = self.session.place().to_owned();
        let PostgresTable { session, options, readings, before_copy, copy, behind_copy } = self;
        let is_upsert = !behind_copy.is_empty();
        let action = async |link: &Link| {
            link.execute("BEGIN").await?;
            if let Some(turn) = &turn
                && !is_due(link, turn).await?
            {
                return link.execute("ROLLBACK").await;
            }
            if is_upsert {
                link.execute(before_copy).await?;
            }
            let (mut cells, mut row) = (piece.cells, 0_u64);
            let fill = |out: &mut Vec<u8>| {
                if cells.is_empty() {
                    return Ok(false);
                }
                copy_row(&mut cells, readings, out)?;
                if is_upsert {
                    out.pop();
                    out.extend_from_slice(format!("\t{row}\n").as_bytes());
                    row += 1;
                }
                Ok(true)
            };
            link.copy(copy, fill).await?;
            if is_upsert {
                link.execute(behind_copy).await?;
            }
            if let Some(Turn { sink, subtask, epoch, .. }) = &turn {
                let subtask = i64::from(*subtask);
                let values: [(&(dyn ToSql + Sync), Type); 3] =
                    [(epoch, Type::INT8), (sink, Type::TEXT), (&subtask, Type::INT8)];
                link.query(ADVANCE_TOKEN, &values).await?;
            }
            link.execute("COMMIT").await
        };
        let refused = |said: &DbError| refusal(&place, &options.table, piece, readings.len(), said);
        session.call(action, refused)
    }
}

/// Locks the token until the transaction ends.
async fn is_due(link: &Link, turn: &Turn<'_>) -> Result<bool, Failure> {
    let subtask = i64::from(turn.subtask);
    let sql = format!("{READ_TOKEN} FOR UPDATE");
    let rows = link.query(&sql, &[(&turn.sink, Type::TEXT), (&subtask, Type::INT8)]).await?;
    let found = rows.first().map(|row| (row.get(0), row.get(1)));
    Ok(turn.is_due(found)?)
}

/// What a refused row means, with the row where the server says which it is.
fn refusal(place: &str, table: &str, piece: &Piece<'_>, width: usize, said: &DbError) -> String {
    let line = said.where_().and_then(|place| place.split("line ").nth(1)).and_then(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<usize>().ok()
    });
    let row = match line {
        Some(line) => format!("; the row: {}", piece.cells.show(line.saturating_sub(1), width)),
        None => String::new(),
    };
    let of =
        |what: &str, name: Option<&str>| name.map_or_else(String::new, |name| format!(", {what} `{name}`"));
    let constraint = of("constraint", said.constraint());
    let column = of("column", said.column());
    let said_text = said.describe();
    format!(
        "{place} refuses rows for table `{table}`{column}{constraint}: {said_text}{row}; {}",
        said.way_out()
    )
}
