//! `Session`: a connection that comes back when it is lost, and waits as long as it may.

use std::thread;
use std::time::Duration;

use headwater::Result;
use mysql::prelude::Queryable;
use mysql::{Conn, Params, Row, Value};

use super::super::failure::{Attempts, SINK_LATER, lock_patience};
use super::failure::{Failure, Said};
use super::server::Server;

/// What is said to the server first: nothing is committed unless we say so, a value that does not fit is an error,
/// and a writer that was stopped in the middle of a transaction does not hold its locks forever.
const GREETING: &str = "SET SESSION autocommit = 0, time_zone = '+00:00', sql_notes = 1, \
    idle_transaction_timeout = 60, sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ZERO_DATE,\
    NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'";

/// Warnings that say of a value that it was changed to fit.
const CUT: &[u16] = &[1264, 1265, 1292, 1366, 1406, 1411, 1416];

pub(super) struct Session {
    server: Server,
    patience: Duration,
    link: Option<Link>,
}

/// A connection.
pub(super) struct Link {
    client: Conn,
}

impl Session {
    pub(super) fn new(server: Server, patience: Duration) -> Self {
        Session { server, patience, link: None }
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
    pub(super) fn call<R>(
        &mut self,
        mut action: impl FnMut(&mut Link) -> Result<R, Failure>,
        refused: impl Fn(&Said) -> String,
    ) -> Result<R> {
        let mut attempts = Attempts::new(self.patience, SINK_LATER);
        loop {
            let failure = match self.attempt(&mut action) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            // Its socket is closed before anything else is done: until then the server would keep the transaction,
            // and its locks, that the connection was in the middle of.
            let was_connected = self.link.take().is_some();
            thread::park_timeout(attempts.after(failure, self.place(), was_connected, &refused)?);
        }
    }

    fn attempt<R>(&mut self, action: &mut impl FnMut(&mut Link) -> Result<R, Failure>) -> Result<R, Failure> {
        if let Some(link) = &mut self.link {
            return action(link);
        }
        let client = Conn::new(self.server.patient(self.patience))?;
        let link = self.link.insert(Link { client });
        let lock_seconds = lock_patience(self.patience).as_secs().max(1);
        link.execute("SET NAMES utf8mb4")?;
        link.execute(&format!(
            "{GREETING}, innodb_lock_wait_timeout = {lock_seconds}, lock_wait_timeout = {lock_seconds}"
        ))?;
        action(link)
    }
}

impl Link {
    /// A statement without values.
    pub(super) fn execute(&mut self, sql: &str) -> Result<(), Failure> {
        Ok(self.client.query_drop(sql)?)
    }

    /// A statement with values, and the rows that it gives.
    pub(super) fn query(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, Failure> {
        let rows = self.client.exec_iter(sql, Params::Positional(values))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A statement that writes values.
    ///
    /// # Errors
    /// Also where the server has changed one to fit, and only warns of it.
    pub(super) fn write(&mut self, sql: &str, values: Vec<Value>) -> Result<(), Failure> {
        self.client.exec_drop(sql, Params::Positional(values))?;
        if self.client.warnings() == 0 {
            return Ok(());
        }
        // Level, code and message.
        let warnings: Vec<Row> = self.client.query("SHOW WARNINGS")?;
        for warning in &warnings {
            let code = warning.get_opt(1).and_then(Result::ok).unwrap_or(0);
            if CUT.contains(&code) {
                let message = warning.get_opt(2).and_then(Result::ok).unwrap_or_default();
                return Err(Failure::Refused(Box::new(Said { code, message, row: None })));
            }
        }
        Ok(())
    }
}
