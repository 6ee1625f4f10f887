//! `Scan`: reads rows in the order of their key, portion by portion, on a thread that may wait.

use std::mem;
use std::thread;

use headwater::batch::Schema;
use headwater::{Error, Result};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_postgres::Row;
use tokio_postgres::error::DbError;
use tokio_postgres::types::Type;

use super::super::super::failure::Refusal;
use super::super::super::statement::Dialect;
use super::super::failure::Failure;
use super::super::session::{Link, Session};
use super::super::table::Postgres;
use super::plan::{Plan, What, column};

/// Rows of a portion: about so many bytes, and never more than so many rows.
const PORTION_BYTES: usize = 1 << 20;
const PORTION_ROWS: usize = 4_096;
/// Rows that are asked for before it is known how large they are.
const FIRST_ROWS: usize = 16;

/// Rows in the order of their key.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) rows: Vec<Row>,
    /// There are no more for now.
    pub(super) is_last: bool,
}

/// A key that was the last one when it was seen, and the transaction from which on all were still to begin.
#[derive(Clone, Debug)]
struct Seen {
    key: Vec<String>,
    next_transaction: i64,
}

/// Reads rows behind a key.
pub(super) struct Scan {
    session: Session,
    what: What,
    cursor: Cursor,
}

/// Where a scan is.
struct Cursor {
    plan: Plan,
    /// New rows are waited for.
    follows: bool,
    /// The last key that was given.
    last: Vec<String>,
    /// Of the connection whose cursor is open.
    open_on: Option<u64>,
    seen: Option<Seen>,
    /// Up to where rows are settled.
    bound: Vec<String>,
    portion_rows: usize,
    /// A cursor was opened, and has given nothing yet.
    is_begin: bool,
}

/// A source that asks for one portion after the other.
pub(super) struct Portions {
    asks: Sender<()>,
    portions: Receiver<Result<Portion>>,
}

impl Portions {
    pub(super) fn ask(&self) {
        // One that has ended has said why.
        let _ = self.asks.try_send(());
    }

    /// The portion that was asked for, when it is there.
    pub(super) fn take(&mut self) -> Result<Option<Portion>> {
        match self.portions.try_recv() {
            Ok(portion) => portion.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err(Error::failed("the thread that reads the table has ended"))
            }
        }
    }
}

fn refused(place: &str, what: &What) -> impl Fn(&DbError) -> String + Sync + use<> {
    let at = format!("{place}: {}", what.name());
    move |said| format!("{at}: {}; change the source or the table, and run the job again", said.describe())
}

impl Scan {
    /// Connects, and looks at the columns.
    ///
    /// # Errors
    /// The server is away, or the record cannot be read from there.
    pub(super) fn open(
        mut session: Session,
        what: &What,
        keys: &[String],
        fields: &[(String, Schema)],
        follows: bool,
        last: Vec<String>,
    ) -> Result<Self> {
        let place = session.place().to_owned();
        let refused = refused(&place, what);
        let sql = format!("SELECT * FROM {} LIMIT 0", what.from());
        let found = session.call(async |link| link.describe(&sql).await, &refused)?;
        let of_table = match what {
            What::Table(_) => session.call(async |link| key_columns(link, what).await, &refused)?,
            What::Query(_) => KeyColumns::default(),
        };
        let keys = if keys.is_empty() { of_table.primary.clone() } else { keys.to_vec() };
        if keys.is_empty() {
            return Err(Error::failed(format!(
                "{place}: {} has no primary key, and without a key its rows could not be read again from where a \
                 job was: name a column with another value in each row, `.key(\"id\")`",
                what.name()
            )));
        }
        let mut typed = Vec::new();
        for key in &keys {
            let of = column(what, key, &found).map_err(|error| error.at(&place))?.oid();
            let name = session.call(
                async |link| link.query("SELECT format_type($1, NULL)", &[(&of, Type::OID)]).await,
                &refused,
            )?;
            typed.push((key.clone(), name.first().map(|row| row.get(0)).unwrap_or_default()));
        }
        let plan = Plan::new(what, typed, fields, &found).map_err(|error| error.at(&place))?;
        if !last.is_empty() && last.len() != keys.len() {
            return Err(Error::failed(format!(
                "{place}: {} was read by a key of {} columns, and now has one of {}: go on with the key that it had, \
                 or begin anew",
                what.name(),
                last.len(),
                keys.len()
            )));
        }
        if !keys.iter().all(|key| of_table.never_null.contains(key)) {
            let sql = plan.without_key();
            let rows = session.call(async |link| link.query(&sql, &[]).await, &refused)?;
            if rows.first().is_some_and(|row| row.get(0)) {
                return Err(Error::failed(format!(
                    "{place}: {} has rows without a key: `{}` is NULL; leave them out, or name another key",
                    what.name(),
                    keys.join("`, `")
                )));
            }
        }
        Ok(Scan {
            session,
            what: what.clone(),
            cursor: Cursor {
                plan,
                follows,
                last,
                open_on: None,
                seen: None,
                bound: Vec::new(),
                portion_rows: FIRST_ROWS,
                is_begin: false,
            },
        })
    }

    /// Reads on a thread of its own, which ends with what it gives portions to.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(mut self) -> Result<Portions> {
        let (asks, mut asked) = channel(1);
        let (give, portions) = channel(1);
        let read = move || {
            while asked.blocking_recv().is_some() {
                let portion = self.portion();
                let has_failed = portion.is_err();
                if give.blocking_send(portion).is_err() || has_failed {
                    return;
                }
            }
        };
        thread::Builder::new().name("headwater-postgres".to_owned()).spawn(read)?;
        Ok(Portions { asks, portions })
    }

    /// How many columns the key has.
    pub(super) fn key_width(&self) -> usize {
        self.cursor.plan.keys.len()
    }

    fn portion(&mut self) -> Result<Portion> {
        let refused = refused(self.session.place(), &self.what);
        let Scan { session, cursor, what } = self;
        let mut portion = session.call(async |link| cursor.fetch(link).await, refused)?;
        let bytes: usize = portion.rows.iter().map(Row::raw_size_bytes).sum();
        if let Some(each) = bytes.checked_div(portion.rows.len()) {
            cursor.portion_rows = (PORTION_BYTES / each.max(1)).clamp(1, PORTION_ROWS);
        }
        cursor.check_keys(&mut portion.rows).map_err(|error| error.at(what.name()).at(session.place()))?;
        Ok(portion)
    }
}

impl Cursor {
    /// The next rows, of the cursor that is open on this connection, or of a new one.
    async fn fetch(&mut self, link: &Link) -> Result<Portion, Failure> {
        if self.open_on != Some(link.number()) {
            self.open_on = None;
            link.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            if self.follows {
                self.settle(link).await?;
                if self.bound.is_empty() || self.bound == self.last {
                    link.execute("COMMIT").await?;
                    return Ok(Portion { rows: Vec::new(), is_last: true });
                }
            }
            let rows = self.plan.rows(&self.last, self.follows.then_some(&self.bound));
            link.execute(&format!("DECLARE headwater_rows NO SCROLL CURSOR FOR {rows}")).await?;
            (self.open_on, self.is_begin) = (Some(link.number()), true);
        }
        let sql = format!("FETCH {} FROM headwater_rows", self.portion_rows);
        let rows = link.query(&sql, &[]).await?;
        let is_last = rows.len() < self.portion_rows;
        if is_last {
            self.open_on = None;
            link.execute("COMMIT").await?;
        }
        Ok(Portion { rows, is_last })
    }

    /// Finds out up to which key rows are settled. A key is, when all transactions have ended that had begun
    /// when it was the last one: each of them may have taken a lower one, and not have committed.
    async fn settle(&mut self, link: &Link) -> Result<(), Failure> {
        // The age of the first transaction that there can be says, modulo 2^32, which is the next one. The
        // snapshot knows only of those up to the last one that has ended.
        let sql = "SELECT oldest, oldest + ((age('3'::xid)::bigint + 3 - oldest) & 4294967295) \
                   FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) AS s";
        let transactions = link.query(sql, &[]).await?;
        let (oldest, next): (i64, i64) = transactions.first().map_or((0, 0), |row| (row.get(0), row.get(1)));
        if let Some(settled) = self.seen.take_if(|seen| oldest >= seen.next_transaction) {
            self.bound = settled.key;
        }
        if self.seen.is_none()
            && let Some(row) = link.query(&self.plan.last(), &[]).await?.first()
        {
            let key = key_of(row, self.plan.keys.len())?;
            self.seen = Some(Seen { key, next_transaction: next });
        }
        Ok(())
    }

    /// Leaves out the row that was the last one, with which a cursor begins, and remembers the last of these.
    ///
    /// # Errors
    /// Two rows have the same key: between two portions one of them could be lost.
    fn check_keys(&mut self, rows: &mut Vec<Row>) -> Result<()> {
        let width = self.plan.keys.len();
        let mut is_begin = mem::take(&mut self.is_begin);
        let mut is_known = false;
        for row in &*rows {
            let key = key_of(row, width)?;
            if key != self.last {
                self.last = key;
            } else if is_begin {
                is_known = true;
            } else {
                let columns: Vec<_> = self.plan.keys.iter().map(|(column, _)| column.as_str()).collect();
                return Err(Error::failed(format!(
                    "several rows have the key {} = {}: some could be lost or come twice; name further columns that \
                     tell them apart: `.key(..)`",
                    columns.join(", "),
                    key.join(", ")
                )));
            }
            is_begin = false;
        }
        if is_known {
            rows.remove(0);
        }
        Ok(())
    }
}

/// The texts of the first columns.
///
/// # Errors
/// One is NULL.
pub(super) fn key_of(row: &Row, width: usize) -> Result<Vec<String>> {
    let text = |at| {
        let text: Option<String> = row.try_get(at).map_err(Error::failed)?;
        text.ok_or_else(|| Error::failed("a row has no key: a column of it is NULL"))
    };
    (0..width).map(text).collect()
}

/// What is known of the columns of a table.
#[derive(Clone, Debug, Default)]
struct KeyColumns {
    primary: Vec<String>,
    never_null: Vec<String>,
}

async fn key_columns(link: &Link, what: &What) -> Result<KeyColumns, Failure> {
    let What::Table(name) = what else { return Ok(KeyColumns::default()) };
    let sql = "SELECT a.attname::text, a.attnotnull, array_position(i.indkey::int2[], a.attnum) IS NOT NULL \
               FROM pg_attribute AS a LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
               ORDER BY array_position(i.indkey::int2[], a.attnum)";
    let rows = link.query(sql, &[(&Postgres::table(name), Type::TEXT)]).await?;
    let names = |at: usize| {
        rows.iter().filter(move |row| row.get(at)).map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    Ok(KeyColumns { primary: names(2), never_null: names(1) })
}
