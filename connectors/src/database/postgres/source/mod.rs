//! `PostgresSource`: rows out of a table or a query of PostgreSQL, in the order of a key.
//!
//! 1. `plan`: which columns the fields are, and the queries
//! 2. `scan`: portions of rows, read on a thread that may wait
//! 3. `decode`: a row as a record
//! 4. `reader`: portions as records, and what is none

mod decode;
mod plan;
mod reader;
mod scan;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use headwater::batch::Record;
use headwater::source::{Boundedness, Source, SourceReader};
use headwater::{Error, Result};

use self::plan::What;
use self::reader::Reader;
use self::scan::Scan;
use super::super::address::Address;
use super::super::cells::{base_of, fields};
use super::server::{KIND, Server};
use super::session::{READER, Session};

/// Where a [`PostgresSource`] is: the key of the last row that it gave, column by column, as text; nothing at
/// the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, headwater::prelude::Record)]
pub struct PostgresPosition {
    /// The values of the key's columns.
    pub key: Vec<String>,
}

/// Reads the rows of a table or of a query, in the order of a key: those that are there, or also those that
/// come.
///
/// Each field of the record is read from the column of its name, a record without fields from `value`; other
/// columns are left out. What a column is must go with its field, which is looked at when the job starts:
/// integers (also `numeric`), floats, `boolean`, text (a `String` takes any column, as PostgreSQL writes it),
/// `timestamptz`, `timestamp` and `date` as 64 bits of milliseconds since 1970, `json`, `jsonb`, arrays and
/// composite types as nested records and lists. Anything else is for a query to cast. A NULL in a field that is
/// no `Option`, a number that does not fit, JSON that is another record: such a row goes to the rejected
/// stream, with its table and key.
///
/// # What is read, and read again
///
/// Rows are read in the order of the key: the primary key, or [`key`](Self::key), whose values must tell rows
/// apart and are never NULL. The position is the last key that was given; after a crash, and after a connection
/// that is lost, the source goes on behind it. Rows that do not change in the meantime are so given once, and
/// again only where the job goes back to an older epoch.
///
/// **A table as it is** ([`table`](Self::table), [`query`](Self::query)) is read in one snapshot, in portions
/// of about a megabyte. The snapshot ends with its connection: what is read behind a crash is read as it is
/// then. A row that is inserted, changed or deleted while the job runs counts as it was, or as it is, but once;
/// only where its key changes, it may be both or neither.
///
/// **What comes** ([`incremental`](Self::incremental)) is asked for every second, or [as often as you
/// say](Self::every), by a key that grows: a serial or identity column. Rows whose key does not grow, and what
/// happens to rows that were read, are not seen. Keys are taken before they are committed, so that a lower one
/// may be seen later: the source gives a row when all transactions have ended that had begun when its key was
/// first seen, at least one interval before. So a transaction that stays open for long, in any database of the
/// server, holds new rows back. One thing is beyond that: a program that takes a key, and only after that
/// interval begins to write, such as one that makes keys by its own clock. Its row is lost if a later key was
/// given before.
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::{Console, PostgresSource};
///
/// #[derive(Record, Clone, Debug)]
/// struct Order {
///     id: u64,
///     customer: Option<String>,
///     placed_at: i64,
/// }
///
/// let flow = StreamBuilder::new("orders");
/// flow.source("orders", PostgresSource::<Order>::from_env("POSTGRES_URL", "sales.orders").incremental("id"))
///     .filter(|order| order.customer.is_some())
///     .sink("known", Console::json());
/// flow.build()?.run(EngineConfig::default())?;
/// # Ok::<(), headwater::Error>(())
/// ```
pub struct PostgresSource<T> {
    address: Address,
    what: What,
    keys: Vec<String>,
    every: Option<Duration>,
    patience: Duration,
    _record: PhantomData<fn() -> T>,
}

impl<T> Clone for PostgresSource<T> {
    fn clone(&self) -> Self {
        let PostgresSource { address, what, keys, every, patience, _record } = self;
        let (address, what, keys) = (address.clone(), what.clone(), keys.clone());
        PostgresSource { address, what, keys, every: *every, patience: *patience, _record: PhantomData }
    }
}

impl<T> fmt::Debug for PostgresSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PostgresSource { address, what, keys, every, .. } = self;
        let mut shown = f.debug_struct("PostgresSource");
        shown.field("address", address).field("what", what).field("keys", keys).field("every", every);
        shown.finish_non_exhaustive()
    }
}

impl<T: Record> PostgresSource<T> {
    fn new(address: Address, what: What) -> Self {
        let patience = Duration::from_secs(120);
        PostgresSource { address, what, keys: Vec::new(), every: None, patience, _record: PhantomData }
    }

    /// The rows of a table, which may be named with its schema: `sales.orders`. The URL is
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. The connection is not encrypted. The password is shown
    /// nowhere.
    #[must_use]
    pub fn table(url: impl Into<String>, table: impl Into<String>) -> Self {
        Self::new(Address::url(&KIND, url.into()), What::Table(table.into()))
    }

    /// The rows that a query gives, without an `ORDER BY` of its own; it needs a [`key`](Self::key).
    ///
    /// ```
    /// use headwater_connectors::PostgresSource;
    ///
    /// let url = std::env::var("POSTGRES_URL").unwrap_or_default();
    /// let source = PostgresSource::<(i64, String)>::query(url, r#"SELECT id AS "_1", name AS "_2" FROM people"#)
    ///     .key("_1");
    /// ```
    #[must_use]
    pub fn query(url: impl Into<String>, query: impl Into<String>) -> Self {
        Self::new(Address::url(&KIND, url.into()), What::Query(query.into()))
    }

    /// The rows of a table, with a URL in an environment variable, which is read when the job starts.
    #[must_use]
    pub fn from_env(variable: impl Into<String>, table: impl Into<String>) -> Self {
        Self::new(Address::variable(&KIND, variable.into()), What::Table(table.into()))
    }

    /// A column that tells rows apart, in whose order they are read; called again, a further one where it takes
    /// several. A table with a primary key does not need it. An index on the columns makes it quick.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.keys.push(column.into());
        self
    }

    /// Goes on with rows that come, by a [`key`](Self::key) that grows with every row.
    #[must_use]
    pub fn incremental(self, column: impl Into<String>) -> Self {
        let every = self.every.or(Some(Duration::from_secs(1)));
        PostgresSource { every, ..self.key(column) }
    }

    /// How often an [`incremental`](Self::incremental) source asks for new rows (every second).
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = Some(interval);
        self
    }

    /// How long to wait for a server that is away or busy (two minutes) before the run fails.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl<T: Record> Source for PostgresSource<T> {
    type Record = T;
    type Position = PostgresPosition;

    fn boundedness(&self) -> Boundedness {
        if self.every.is_some() { Boundedness::Unbounded } else { Boundedness::Bounded }
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(vec!["rows".to_owned()])
    }

    fn open(
        &self,
        _: &str,
        position: Option<PostgresPosition>,
    ) -> Result<Box<dyn SourceReader<T, PostgresPosition>>> {
        let PostgresSource { address, what, keys, every, patience, .. } = self;
        if every.is_some() && keys.is_empty() {
            return Err(Error::Config("`every` is for `incremental(COLUMN)`: name the column".to_owned()));
        }
        let server = address.read(Server::parse)?;
        let origin = format!("{}, {}", server.name, what.name());
        let session = Session::new(server, READER, *patience);
        let last = position.map(|position| position.key).unwrap_or_default();
        let fields = fields::<T>();
        let scan = Scan::open(session, what, keys, &fields, every.is_some(), last.clone())?;
        let width = scan.key_width();
        Ok(Box::new(Reader::new(scan.start()?, origin, width, base_of::<T>(), *every, last)))
    }
}
