//! Sinks into databases, on real ones: each row is there once, whatever happens.
//!
//! Those of PostgreSQL need a server: `scripts/services up postgres; eval "$(scripts/services env)"`.
#![cfg(all(feature = "postgres", feature = "sqlite"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers stand outside of test functions"
)]

mod crashes;
mod kit;
mod refusals;
mod server;
mod values;

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use headwater::batch::{BatchBuilder, BatchLimits, Record};
use headwater::prelude::*;
use headwater::sink::{Cut, Sink, SinkWriter, Staged, Subtask};
use headwater::time::Epoch;
use headwater_connectors::PostgresSink;

/// A real server.
pub(crate) struct Server {
    pub(crate) url: String,
}

/// The server, or why the test is skipped.
pub(crate) fn server(test: &str) -> Option<Server> {
    match std::env::var("POSTGRES_URL") {
        Ok(url) => Some(Server { url }),
        Err(_) => {
            let way = "scripts/services up postgres; eval \"$(scripts/services env)\"; cargo test \
                       --release --workspace --features postgres,sqlite --test databases";
            // Past the harness, which keeps what a test that passes prints.
            let line = format!("skipped: {test} needs PostgreSQL: {way}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            None
        }
    }
}

impl Server {
    /// What `psql` answers: a line per row, `|` between columns.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args([self.url.as_str(), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let said = psql.output().expect("psql is needed: apt-get install postgresql-client");
        assert!(said.status.success(), "{sql}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
    }

    /// The name of a table, and of a sink, that no other test has.
    pub(crate) fn fresh(&self, name: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("t_{name}_{}_{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        self.psql(&format!("DROP TABLE IF EXISTS {name}"));
        if self.psql("SELECT to_regclass('headwater_tokens') IS NOT NULL") == "t" {
            self.psql(&format!("DELETE FROM headwater_tokens WHERE sink = '{name}'"));
        }
        name
    }

    pub(crate) fn sink(&self, table: &str) -> PostgresSink {
        PostgresSink::new(&self.url, table)
    }

    pub(crate) fn forget(&self, name: &str) {
        self.psql(&format!("DROP TABLE IF EXISTS {name}"));
        if self.psql("SELECT to_regclass('headwater_tokens') IS NOT NULL") == "t" {
            self.psql(&format!("DELETE FROM headwater_tokens WHERE sink = '{name}'"));
        }
    }
}

pub(crate) const ONLY: Subtask = Subtask { index: 0, count: 1 };

pub(crate) fn cut(epoch: u64) -> Cut {
    Cut { epoch: Epoch(epoch), is_last: false, now_ms: epoch }
}

/// Writes rows as one epoch, and gives what it keeps.
pub(crate) fn stage<T: Record>(writer: &mut dyn SinkWriter<T>, epoch: u64, rows: &[T]) -> Result<Staged> {
    let mut batch = BatchBuilder::new(BatchLimits::default());
    rows.iter().try_for_each(|row| batch.push(row.view())).unwrap();
    if let Some(batch) = batch.finish() {
        writer.write(&batch)?;
    }
    writer.prepare(cut(epoch))
}

/// Writes and shows rows as the first epoch of a new writer.
pub(crate) fn show<T: Record>(sink: &impl Sink<T>, rows: &[T]) -> Result<()> {
    let mut writer = sink.open(ONLY)?;
    let staged = stage(&mut *writer, 1, rows)?;
    writer.commit(Epoch(1), &staged).map(|_| ())
}

/// The error of something that must not succeed.
pub(crate) fn refused<R>(result: Result<R>) -> String {
    match result {
        Ok(_) => panic!("this must fail"),
        Err(error) => {
            let text = error.to_string();
            let password = std::env::var("POSTGRES_URL").ok();
            let password = password.as_deref().and_then(|url| url.split(':').nth(2)?.split('@').next());
            assert!(password.is_none_or(|password| !text.contains(password)), "an error shows the password");
            text
        }
    }
}
