//! `PostgresSink` and `PostgresSource`: rows into a table of PostgreSQL, and out of one.
//!
//! 1. `server`: where the server is, without saying the password
//! 2. `session`: a connection that comes back, and waits as long as it may
//! 3. `failure`: what went wrong: gone for now, or refused
//! 4. `copy`: cells as `COPY` reads them
//! 5. `table`: what a writer does there
//! 6. `source`: rows out of a table or a query

mod copy;
mod failure;
mod server;
mod session;
mod source;
mod table;

use headwater::Result;
use headwater::batch::Record;
use headwater::sink::{OutputMode, Sink, SinkParallelism, SinkWriter, Subtask};

use self::server::{KIND, Server};
pub use self::source::{PostgresPosition, PostgresSource};
use self::table::PostgresTable;
use super::address::Address;
use super::options::{Options, sink_options};
use super::writer::Writer;

/// Writes rows to a table of PostgreSQL, with one connection per subtask.
///
/// Rows are kept with their epoch and written when it is durable, with `COPY`, in one transaction per epoch and
/// subtask. With [`exactly_once`](Self::exactly_once) that transaction also writes a token of the epoch to the
/// table `headwater_tokens`, so that each row is there exactly once, whatever happens to the job, the server or
/// the connection between them. Without it rows are there at least once: after a crash those of an epoch may
/// be there twice.
///
/// Each field of the record goes to the column of its name; a record without fields goes to `value`. Columns
/// that no field has get their defaults. A column may have any type that reads the text of the value: a
/// `String` goes into `text`, `uuid`, `date`, an enum. Integers of 64 bits also go into `timestamptz`,
/// `timestamp` and `date`, as milliseconds since 1970. Nested records and lists are JSON. `table` may name the
/// schema, too: `sales.orders`.
///
/// **A row that the table refuses** (a value that the column cannot hold, a constraint) fails the run, with the
/// row and the way out in the error. Its epoch is durable: the next run tries it again, and fails again, until
/// the table takes the row, or the sink has [`upsert`](Self::upsert).
///
/// A server that is away is waited for, two minutes unless [`patience`](Self::patience) says so. The rows of one
/// epoch are in memory, and no others: while the sink waits, the job does.
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::{Generator, PostgresSink};
///
/// let flow = StreamBuilder::new("orders");
/// flow.source("numbers", Generator::new(1_000, |n| n % 10))
///     .key_by_value()
///     .count()
///     .output_mode(OutputMode::Update)
///     .sink("totals", PostgresSink::from_env("POSTGRES_URL", "totals")
///         .exactly_once("orders-totals")
///         .upsert(&["key"])
///         .create_table());
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PostgresSink {
    address: Address,
    options: Options,
}

impl PostgresSink {
    /// A sink into a table; the URL is `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. The connection is not
    /// encrypted. The password is shown nowhere.
    #[must_use]
    pub fn new(url: impl Into<String>, table: impl Into<String>) -> Self {
        PostgresSink { address: Address::url(&KIND, url.into()), options: Options::new(table.into()) }
    }

    /// A sink whose URL is in an environment variable, which is read when the job starts.
    ///
    /// ```
    /// use headwater_connectors::PostgresSink;
    ///
    /// let sink = PostgresSink::from_env("POSTGRES_URL", "sales.orders").exactly_once("orders");
    /// ```
    #[must_use]
    pub fn from_env(variable: impl Into<String>, table: impl Into<String>) -> Self {
        PostgresSink {
            address: Address::variable(&KIND, variable.into()),
            options: Options::new(table.into()),
        }
    }

    sink_options!();
}

impl<T: Record> Sink<T> for PostgresSink {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        self.options.accepts(mode)
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let table = |options, fields| PostgresTable::open(self.address.read(Server::parse)?, options, fields);
        Ok(Box::new(Writer::<T, _>::open(&self.options, subtask, table)?))
    }
}
