//! Where rows go in a test: a server that runs, or a SQLite file, asked by the database's own client.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use headwater::batch::Record;
use headwater::prelude::*;
use headwater::sink::{Sink, SinkParallelism, SinkWriter, Subtask};
use headwater_connectors::{MariaDbSink, PostgresSink, SqliteSink};
use rusqlite::types::ValueRef;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

impl Kind {
    /// Its name, as `scripts/services` has it, and the variable that its URL is in.
    pub(crate) fn service(self) -> (&'static str, &'static str) {
        match self {
            Kind::Postgres => ("postgres", "POSTGRES_URL"),
            Kind::MariaDb => ("mariadb", "MARIADB_URL"),
            Kind::Sqlite => ("sqlite", ""),
        }
    }
}

/// A database.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// Or the path of a file.
    pub(crate) url: String,
    _folder: Option<tempfile::TempDir>,
}

/// The server, or why the test is skipped.
pub(crate) fn server(kind: Kind, test: &str) -> Option<Place> {
    let (service, variable) = kind.service();
    match std::env::var(variable) {
        Ok(url) => Some(Place::at(kind, url)),
        Err(_) => {
            let way = format!(
                "scripts/services up {service}; eval \"$(scripts/services env)\"; cargo test --release --workspace \
                 --features full --test databases"
            );
            // Past the harness, which keeps what a test that passes prints.
            let line = format!("skipped: {test} needs {service}: {way}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            None
        }
    }
}

/// Runs a test, if there is what it needs.
pub(crate) fn with(kind: Kind, name: &str, test: impl FnOnce(&Place)) {
    if kind == Kind::Sqlite {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("rows.sqlite").to_str().unwrap().to_owned();
        return test(&Place { kind, url, _folder: Some(folder) });
    }
    if let Some(place) = server(kind, name) {
        test(&place);
    }
}

/// The same tests for each server.
macro_rules! on_servers {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[test]
            fn $name() {
                crate::place::with(crate::Kind::Postgres, stringify!($name), super::$name);
            })*
        }
        mod mariadb {
            $(#[test]
            fn $name() {
                crate::place::with(crate::Kind::MariaDb, stringify!($name), super::$name);
            })*
        }
    };
}

/// The same tests for each database.
macro_rules! on_all {
    ($($name:ident),* $(,)?) => {
        crate::on_servers!($($name),*);
        mod sqlite {
            $(#[test]
            fn $name() {
                crate::place::with(crate::Kind::Sqlite, stringify!($name), super::$name);
            })*
        }
    };
}

pub(crate) use {on_all, on_servers};

impl Place {
    pub(crate) fn at(kind: Kind, url: String) -> Self {
        Place { kind, url, _folder: None }
    }

    /// What the client answers: a line per row, `|` between columns.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let mut client = match self.kind {
            Kind::Postgres => {
                let mut psql = Command::new("psql");
                psql.args([self.url.as_str(), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]);
                psql
            }
            Kind::MariaDb => {
                let (user, rest) = self.url.trim_start_matches("mysql://").split_once(':').unwrap();
                let (password, rest) = rest.split_once('@').unwrap();
                let (host, database) = rest.split_once('/').unwrap();
                let (host, port) = host.split_once(':').unwrap();
                let mut mariadb = Command::new("mariadb");
                mariadb.env("MYSQL_PWD", password).args([
                    "--no-defaults",
                    "--protocol=tcp",
                    "--batch",
                    "--raw",
                ]);
                mariadb.args([
                    "--default-character-set=utf8mb4",
                    "--skip-column-names",
                    "-h",
                    host,
                    "-P",
                    port,
                ]);
                mariadb.args(["-u", user, database, "-e", sql]);
                mariadb
            }
            Kind::Sqlite => return self.ask_file(sql),
        };
        let said =
            client.output().expect("the client is needed: apt-get install postgresql-client mariadb-client");
        assert!(said.status.success(), "{sql}: {}", String::from_utf8_lossy(&said.stderr));
        let said = String::from_utf8(said.stdout).unwrap().trim_end_matches('\n').to_owned();
        if self.kind == Kind::MariaDb { said.replace('\t', "|") } else { said }
    }

    fn ask_file(&self, sql: &str) -> String {
        let database = rusqlite::Connection::open(&self.url).unwrap();
        let mut statement = database.prepare(sql).unwrap();
        let (width, mut lines) = (statement.column_count(), Vec::new());
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cell = |at| match row.get_ref_unwrap(at) {
                ValueRef::Null => String::new(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Real(value) => value.to_string(),
                ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8(text.to_vec()).unwrap(),
            };
            lines.push((0..width).map(cell).collect::<Vec<_>>().join("|"));
        }
        lines.join("\n")
    }

    pub(crate) fn has_table(&self, table: &str) -> bool {
        let sql = match self.kind {
            Kind::Postgres => format!("SELECT count(*) FROM pg_class WHERE relname = '{table}'"),
            Kind::MariaDb => {
                format!("SELECT count(*) FROM information_schema.tables WHERE table_name = '{table}'")
            }
            Kind::Sqlite => format!("SELECT count(*) FROM sqlite_schema WHERE name = '{table}'"),
        };
        self.ask(&sql) != "0"
    }

    /// The name of a table, and of a sink, that no other test has.
    pub(crate) fn fresh(&self, name: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("t_{name}_{}_{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        self.forget(&name);
        name
    }

    pub(crate) fn forget(&self, name: &str) {
        self.ask(&format!("DROP TABLE IF EXISTS {name}"));
        if self.has_table("headwater_tokens") {
            self.ask(&format!("DELETE FROM headwater_tokens WHERE sink = '{name}'"));
        }
    }

    /// The name between quotes.
    pub(crate) fn quote(&self, name: &str) -> String {
        match self.kind {
            Kind::MariaDb => format!("`{}`", name.replace('`', "``")),
            _ => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    pub(crate) fn sink(&self, table: &str) -> AnySink {
        self.sink_at(&self.url, table)
    }

    pub(crate) fn sink_at(&self, url: &str, table: &str) -> AnySink {
        match self.kind {
            Kind::Postgres => AnySink::Postgres(PostgresSink::new(url, table)),
            Kind::MariaDb => AnySink::MariaDb(MariaDbSink::new(url, table)),
            Kind::Sqlite => AnySink::Sqlite(SqliteSink::new(PathBuf::from(url), table)),
        }
    }
}

/// One of the sinks.
#[derive(Clone, Debug)]
pub(crate) enum AnySink {
    Postgres(PostgresSink),
    MariaDb(MariaDbSink),
    Sqlite(SqliteSink),
}

/// The same for each of them.
macro_rules! each {
    ($self:ident, $sink:ident => $done:expr) => {
        match $self {
            AnySink::Postgres($sink) => AnySink::Postgres($done),
            AnySink::MariaDb($sink) => AnySink::MariaDb($done),
            AnySink::Sqlite($sink) => AnySink::Sqlite($done),
        }
    };
}

impl AnySink {
    pub(crate) fn exactly_once(self, name: &str) -> Self {
        each!(self, sink => sink.exactly_once(name))
    }

    pub(crate) fn upsert(self, keys: &[&str]) -> Self {
        each!(self, sink => sink.upsert(keys))
    }

    pub(crate) fn create_table(self) -> Self {
        each!(self, sink => sink.create_table())
    }

    pub(crate) fn patience(self, patience: Duration) -> Self {
        each!(self, sink => sink.patience(patience))
    }
}

impl<T: Record> Sink<T> for AnySink {
    fn parallelism(&self) -> SinkParallelism {
        match self {
            AnySink::Postgres(sink) => Sink::<T>::parallelism(sink),
            AnySink::MariaDb(sink) => Sink::<T>::parallelism(sink),
            AnySink::Sqlite(sink) => Sink::<T>::parallelism(sink),
        }
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        match self {
            AnySink::Postgres(sink) => Sink::<T>::accepts(sink, mode),
            AnySink::MariaDb(sink) => Sink::<T>::accepts(sink, mode),
            AnySink::Sqlite(sink) => Sink::<T>::accepts(sink, mode),
        }
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        match self {
            AnySink::Postgres(sink) => sink.open(subtask),
            AnySink::MariaDb(sink) => sink.open(subtask),
            AnySink::Sqlite(sink) => sink.open(subtask),
        }
    }
}
