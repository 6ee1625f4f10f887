//! The kit for connectors: a crash behind every call, over real databases.

use std::cell::RefCell;

use headwater::prelude::*;
use headwater::testing::{SinkCheck, check_sink};
use headwater_connectors::{PostgresSink, SqliteSink};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

use super::{Server, server};

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    number: u64,
    text: String,
}

fn row(number: u64) -> Row {
    Row { number, text: format!("row \"{number}\"\t{}\\N\n", "x".repeat(number as usize % 50)) }
}

fn trials() -> usize {
    std::env::var("HEADWATER_TRIALS").map_or(60, |trials| trials.parse().unwrap())
}

/// A connection that stays, to look at tables often.
struct Reader {
    runtime: Runtime,
    client: Client,
}

impl Reader {
    fn new(server: &Server) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&server.url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        Reader { runtime, client }
    }

    fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }

    fn rows(&self, sql: &str) -> Vec<(String, String)> {
        let rows = self.runtime.block_on(self.client.query(sql, &[])).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// The numbers of rows, all of which must be whole.
fn numbers(rows: Vec<(String, String)>) -> Vec<u64> {
    let number = |(number, text): (String, String)| {
        let number = number.parse().unwrap();
        assert_eq!(text, row(number).text);
        number
    };
    rows.into_iter().map(number).collect()
}

#[test]
fn postgres_shows_each_row_once_behind_every_crash() {
    let Some(server) = server("postgres_shows_each_row_once_behind_every_crash") else { return };
    let (name, reader) = (server.fresh("kit"), Reader::new(&server));
    let report = check_sink(
        |trial| {
            let table = format!("{name}_{trial}");
            reader.execute(&format!(
                "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (number bigint, text text, at bigserial)"
            ));
            // Writers of killed jobs keep their connections, of which a server has so many.
            reader.execute(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
            ));
            let url = format!("{}?application_name={name}", server.url);
            Ok(PostgresSink::new(url, &table).exactly_once(&table))
        },
        |trial| {
            let sql = format!("SELECT number::text, text FROM {name}_{trial} ORDER BY at");
            Ok(numbers(reader.rows(&sql)))
        },
        &SinkCheck::new(row).rows(10).trials_max(trials()),
    );
    let report = report.unwrap();
    assert!(report.trials >= 30, "{report:?}");
    for trial in 0..report.trials {
        reader.execute(&format!("DROP TABLE {name}_{trial}"));
    }
    reader.execute(&format!("DELETE FROM headwater_tokens WHERE sink LIKE '{name}%'"));
}

#[test]
fn sqlite_shows_each_row_once_behind_every_crash() {
    let folder = tempfile::tempdir().unwrap();
    let file = |trial: u64| folder.path().join(format!("{trial}.sqlite"));
    let open = RefCell::new(None);
    let report = check_sink(
        |trial| Ok(SqliteSink::new(file(trial), "rows").exactly_once("rows").create_table()),
        |trial| {
            if !file(trial).exists() {
                return Ok(Vec::new());
            }
            let mut open = open.borrow_mut();
            let (_, reader) = match &mut *open {
                Some((of, reader)) if *of == trial => (of, reader),
                open => {
                    let reader = rusqlite::Connection::open(file(trial)).unwrap();
                    let (of, reader) = open.insert((trial, reader));
                    (of, reader)
                }
            };
            let mut rows = reader.prepare("SELECT number || '', text FROM rows ORDER BY rowid").unwrap();
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            Ok(numbers(rows.map(Result::unwrap).collect()))
        },
        &SinkCheck::new(row).rows(10).trials_max(trials()),
    );
    let report = report.unwrap();
    assert!(report.trials >= 30, "{report:?}");
}
