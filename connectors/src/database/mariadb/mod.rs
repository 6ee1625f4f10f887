//! `MariaDbSink`: rows into a table of MariaDB.
//!
//! 1. `server`: where the server is, without saying the password
//! 2. `session`: a connection that comes back, and waits as long as it may
//! 3. `failure`: what went wrong: gone for now, or refused
//! 4. `row`: cells as the server takes them
//! 5. `table`: what a writer does there

mod failure;
mod row;
mod server;
mod session;
mod table;

use headwater::Result;
use headwater::batch::Record;
use headwater::sink::{OutputMode, Sink, SinkParallelism, SinkWriter, Subtask};

use self::server::{KIND, Server};
use self::table::MariaDbTable;
use super::address::Address;
use super::options::{Options, sink_options};
use super::writer::Writer;

/// Writes rows to a table of MariaDB, with one connection per subtask.
///
/// Rows are kept with their epoch and written when it is durable, many per statement, in one transaction per epoch
/// and subtask. With [`exactly_once`](Self::exactly_once) that transaction also writes a token of the epoch to the
/// table `headwater_tokens`, so that each row is there exactly once, whatever happens to the job, the server or
/// the connection between them. Without it rows are there at least once: after a crash those of an epoch may
/// be there twice. The table must be one of InnoDB, or of another engine with transactions. A server with
/// `innodb_flush_log_at_trx_commit` other than 1 may lose what it has committed when its machine dies.
///
/// Each field of the record goes to the column of its name; a record without fields goes to `value`. Columns
/// that no field has get their defaults. Integers of 64 bits also go into `datetime`, `timestamp` (both of UTC)
/// and `date`, as milliseconds since 1970, to the precision of the column. Text is `utf8mb4`. Nested records and
/// lists are JSON. MariaDB has no NaN and no infinity: a row with one fails the run before its epoch is durable.
/// `table` may name the database, too: `sales.orders`.
///
/// **Nothing is cut to fit.** The session is strict (`STRICT_ALL_TABLES`), what the server would cut or round
/// without an error is refused as well, and so are columns that cannot hold the values of their field.
/// **A row that the table refuses** (a value that the column cannot hold, a constraint) fails the run, with the
/// row and the way out in the error. Its epoch is durable: the next run tries it again, and fails again, until
/// the table takes the row, or the sink has [`upsert`](Self::upsert).
///
/// [`upsert`](Self::upsert) is `ON DUPLICATE KEY UPDATE`, which any unique index triggers: a table with another
/// one than that of the keys is refused. Whether two texts are the same key is for the column to say: with most
/// collations `a` and `A` are, and the later row replaces the other. Tables that the sink makes compare bytes; a
/// key of them is a text of up to 255 characters.
///
/// A server that is away is waited for, two minutes unless [`patience`](Self::patience) says so. The rows of one
/// epoch are in memory, and no others: while the sink waits, the job does.
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::{Generator, MariaDbSink};
///
/// let flow = StreamBuilder::new("orders");
/// flow.source("numbers", Generator::new(1_000, |n| n % 10))
///     .key_by_value()
///     .count()
///     .output_mode(OutputMode::Update)
///     .sink("totals", MariaDbSink::from_env("MARIADB_URL", "totals")
///         .exactly_once("orders-totals")
///         .upsert(&["key"])
///         .create_table());
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MariaDbSink {
    address: Address,
    options: Options,
}

impl MariaDbSink {
    /// A sink into a table; the URL is `mysql://USER:PASSWORD@HOST:PORT/DATABASE`. The connection is not
    /// encrypted. The password is shown nowhere.
    #[must_use]
    pub fn new(url: impl Into<String>, table: impl Into<String>) -> Self {
        MariaDbSink { address: Address::url(&KIND, url.into()), options: Options::new(table.into()) }
    }

    /// A sink whose URL is in an environment variable, which is read when the job starts.
    ///
    /// ```
    /// use headwater_connectors::MariaDbSink;
    ///
    /// let sink = MariaDbSink::from_env("MARIADB_URL", "sales.orders").exactly_once("orders");
    /// ```
    #[must_use]
    pub fn from_env(variable: impl Into<String>, table: impl Into<String>) -> Self {
        let address = Address::variable(&KIND, variable.into());
        MariaDbSink { address, options: Options::new(table.into()) }
    }

    sink_options!();
}

impl<T: Record> Sink<T> for MariaDbSink {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        self.options.accepts(mode)
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let table = |options, fields| MariaDbTable::open(self.address.read(Server::parse)?, options, fields);
        Ok(Box::new(Writer::<T, _>::open(&self.options, subtask, table)?))
    }
}
