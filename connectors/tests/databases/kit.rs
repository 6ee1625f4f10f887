//! The kit for connectors: a crash behind every call, over real databases.

use headwater::prelude::*;
use headwater::testing::{SinkCheck, check_sink};
use mysql::prelude::Queryable;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::NoTls;

use super::{Kind, Place, on_all};

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
enum Reader {
    Postgres(Runtime, tokio_postgres::Client),
    MariaDb(mysql::Conn),
    Sqlite(rusqlite::Connection),
}

impl Reader {
    fn new(place: &Place) -> Self {
        match place.kind {
            Kind::Postgres => {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                let client = runtime.block_on(async {
                    let (client, connection) = tokio_postgres::connect(&place.url, NoTls).await.unwrap();
                    tokio::spawn(connection);
                    client
                });
                Reader::Postgres(runtime, client)
            }
            Kind::MariaDb => Reader::MariaDb(mysql::Conn::new(place.url.as_str()).unwrap()),
            Kind::Sqlite => Reader::Sqlite(rusqlite::Connection::open(&place.url).unwrap()),
        }
    }

    fn execute(&mut self, sql: &str) {
        match self {
            Reader::Postgres(runtime, client) => runtime.block_on(client.batch_execute(sql)).unwrap(),
            Reader::MariaDb(client) => client.query_drop(sql).unwrap(),
            Reader::Sqlite(database) => database.execute_batch(sql).unwrap(),
        }
    }

    fn rows(&mut self, table: &str) -> Vec<(i64, String)> {
        let sql = format!("SELECT number, text FROM {table} ORDER BY at");
        match self {
            Reader::Postgres(runtime, client) => {
                let rows = runtime.block_on(client.query(&sql, &[])).unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Reader::MariaDb(client) => client.query(sql).unwrap(),
            Reader::Sqlite(database) => {
                let mut rows = database.prepare(&sql).unwrap();
                let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect()
            }
        }
    }

    /// Writers of killed jobs keep their connections, of which a server has so many.
    fn end_all_of(&mut self, name: &str) {
        match self {
            Reader::Postgres(..) => self.execute(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
            )),
            Reader::MariaDb(client) => client.query_drop(format!("KILL USER '{name}'@'127.0.0.1'")).unwrap(),
            Reader::Sqlite(_) => (),
        }
    }
}

/// The numbers of rows, all of which must be whole.
fn numbers(rows: Vec<(i64, String)>) -> Vec<u64> {
    let number = |(number, text): (i64, String)| {
        assert_eq!(text, row(number as u64).text);
        number as u64
    };
    rows.into_iter().map(number).collect()
}

fn each_row_is_there_once_behind_every_crash(place: &Place) {
    let (name, reader) = (place.fresh("kit"), std::cell::RefCell::new(Reader::new(place)));
    // Connections that have the name of the test.
    let (url, at) = match place.kind {
        Kind::Postgres => (format!("{}?application_name={name}", place.url), "bigserial"),
        Kind::MariaDb => {
            place.ask(&format!(
                "CREATE USER {name}@'127.0.0.1' IDENTIFIED BY 'sesame'; GRANT ALL ON headwater.* TO \
                 {name}@'127.0.0.1'"
            ));
            let server = place.url.split_once('@').unwrap().1;
            (format!("mysql://{name}:sesame@{server}"), "bigint AUTO_INCREMENT PRIMARY KEY")
        }
        Kind::Sqlite => (place.url.clone(), "integer PRIMARY KEY"),
    };
    let report = check_sink(
        |trial| {
            let (table, mut reader) = (format!("{name}_{trial}"), reader.borrow_mut());
            reader.end_all_of(&name);
            reader.execute(&format!("DROP TABLE IF EXISTS {table}"));
            reader.execute(&format!("CREATE TABLE {table} (number bigint, text text, at {at})"));
            Ok(place.sink_at(&url, &table).exactly_once(&table))
        },
        |trial| Ok(numbers(reader.borrow_mut().rows(&format!("{name}_{trial}")))),
        &SinkCheck::new(row).rows(10).trials_max(trials()),
    );
    let (report, mut reader) = (report.unwrap(), reader.into_inner());
    assert!(report.trials >= 30, "{report:?}");
    reader.end_all_of(&name);
    for trial in 0..report.trials {
        reader.execute(&format!("DROP TABLE {name}_{trial}"));
    }
    reader.execute(&format!("DELETE FROM headwater_tokens WHERE sink LIKE '{name}%'"));
    if place.kind == Kind::MariaDb {
        reader.execute(&format!("DROP USER {name}@'127.0.0.1'"));
    }
}

on_all!(each_row_is_there_once_behind_every_crash);
