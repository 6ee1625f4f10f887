//! `Session`: a connection that comes back when it is lost, and waits as long as it may.
//!
//! A writer runs on a thread that belongs to another runtime, in which nothing may block; so each call runs on a
//! thread of its own, which ends with the call.

use std::io::Cursor;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::SinkExt;
use headwater::{Error, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use super::super::failure::{Attempts, SINK_LATER, SOURCE_LATER, lock_patience};
use super::failure::Failure;
use super::server::Server;

/// Rows go to the server in pieces of this size.
const COPY_BYTES: usize = 64 << 10;

/// What differs between those who write and those who read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// What is said to the server first.
    greeting: &'static str,
    /// What the next run does when this one had to give up.
    later: &'static str,
}

/// What is committed is synced, and a writer that was stopped in the middle of a transaction does not hold a lock
/// forever.
pub(super) const WRITER: Role = Role {
    greeting: "SELECT set_config('synchronous_commit', 'on', false) \
               WHERE current_setting('synchronous_commit') = 'off'; \
               SET idle_in_transaction_session_timeout = '60s'",
    later: SINK_LATER,
};

/// Text is read as it is written here, and a job that is slower than the table keeps its snapshot.
pub(super) const READER: Role = Role {
    greeting: "SET default_transaction_read_only = on; SET idle_in_transaction_session_timeout = 0; \
               SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; \
               SET extra_float_digits = 1; SET bytea_output = 'hex'; SET standard_conforming_strings = on",
    later: SOURCE_LATER,
};

pub(super) struct Session {
    server: Server,
    role: Role,
    patience: Duration,
    /// How many connections there have been.
    connections: u64,
    runtime: Option<Runtime>,
    link: Option<Link>,
}

/// A connection.
pub(super) struct Link {
    client: Client,
    task: JoinHandle<()>,
    patience: Duration,
    /// Which of the connections of its session it is.
    number: u64,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link = None;
        if let Some(runtime) = self.runtime.take() {
            // The drop of a runtime may not wait inside of another one.
            runtime.shutdown_background();
        }
    }
}

impl Session {
    pub(super) fn new(server: Server, role: Role, patience: Duration) -> Self {
        Session { server, role, patience, connections: 0, runtime: None, link: None }
    }

    /// How the server is called in errors.
    pub(super) fn place(&self) -> &str {
        &self.server.name
    }

    /// Does something with a connection: from the beginning again, with another one, when it is lost. So what is
    /// done must find out how far it was.
    ///
    /// # Errors
    /// The server is away for too long, or refuses; then `refused` says what that means.
    pub(super) fn call<R: Send>(
        &mut self,
        mut action: impl AsyncFnMut(&Link) -> Result<R, Failure> + Send,
        refused: impl Fn(&DbError) -> String + Sync,
    ) -> Result<R> {
        let called = thread::scope(|scope| {
            let call = || {
                let runtime = match self.runtime.take() {
                    Some(runtime) => runtime,
                    None => Builder::new_current_thread().enable_all().build()?,
                };
                let result = runtime.block_on(self.call_until(&mut action, &refused));
                self.runtime = Some(runtime);
                result
            };
            scope.spawn(call).join()
        });
        called.unwrap_or_else(|_| Err(Error::failed("the call of the database panicked")))
    }

    async fn call_until<R>(
        &mut self,
        action: &mut impl AsyncFnMut(&Link) -> Result<R, Failure>,
        refused: &impl Fn(&DbError) -> String,
    ) -> Result<R> {
        let mut attempts = Attempts::new(self.patience, self.role.later);
        loop {
            let failure = match self.attempt(action).await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let was_connected = match self.link.take() {
                Some(link) => {
                    link.close().await;
                    true
                }
                None => false,
            };
            tokio::time::sleep(attempts.after(failure, self.place(), was_connected, refused)?).await;
        }
    }

    async fn attempt<R>(
        &mut self,
        action: &mut impl AsyncFnMut(&Link) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        if let Some(link) = &self.link {
            return action(link).await;
        }
        let connected = in_time(self.patience, self.server.config.connect(NoTls)).await?;
        let (client, connection) = connected;
        let task = tokio::spawn(async {
            // The client hears of it, too.
            let _ = connection.await;
        });
        self.connections += 1;
        let link = Link { client, task, patience: self.patience, number: self.connections };
        let link = self.link.insert(link);
        let greeting = self.role.greeting;
        let lock_ms = lock_patience(self.patience).as_millis();
        link.execute(&format!("{greeting}; SET lock_timeout = {lock_ms}")).await?;
        action(link).await
    }
}

/// What the server answers, if it does so in time.
async fn in_time<R>(
    patience: Duration,
    answer: impl Future<Output = Result<R, tokio_postgres::Error>>,
) -> Result<R, Failure> {
    match tokio::time::timeout(patience.max(Duration::from_millis(100)), answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Silent),
    }
}

impl Link {
    /// Closes the socket before anything else is done: until then the server would keep the transaction, and its
    /// locks, that the connection was in the middle of.
    async fn close(mut self) {
        self.task.abort();
        // It was stopped: that is what it says.
        let _ = (&mut self.task).await;
    }

    /// Which of the connections of its session it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Columns of what a query would give.
    pub(super) async fn describe(&self, sql: &str) -> Result<Vec<(String, Type)>, Failure> {
        let statement = in_time(self.patience, self.client.prepare(sql)).await?;
        let column = |column: &tokio_postgres::Column| (column.name().to_owned(), column.type_().clone());
        Ok(statement.columns().iter().map(column).collect())
    }

    /// Statements without values.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Failure> {
        in_time(self.patience, self.client.batch_execute(sql)).await
    }

    /// A statement with values.
    pub(super) async fn query(
        &self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Failure> {
        in_time(self.patience, self.client.query_typed(sql, values)).await
    }

    /// Rows in the text format of `COPY`; `fill` appends some of them to a buffer until it gives false.
    pub(super) async fn copy(
        &self,
        sql: &str,
        mut fill: impl FnMut(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<(), Failure> {
        let mut sink = pin!(in_time(self.patience, self.client.copy_in::<_, Cursor<Vec<u8>>>(sql)).await?);
        let mut bytes = Vec::with_capacity(2 * COPY_BYTES);
        while fill(&mut bytes)? {
            if bytes.len() >= COPY_BYTES {
                let full = std::mem::replace(&mut bytes, Vec::with_capacity(2 * COPY_BYTES));
                in_time(self.patience, sink.send(Cursor::new(full))).await?;
            }
        }
        if !bytes.is_empty() {
            in_time(self.patience, sink.send(Cursor::new(bytes))).await?;
        }
        in_time(self.patience, sink.finish()).await?;
        Ok(())
    }
}
