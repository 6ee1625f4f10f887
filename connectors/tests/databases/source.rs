//! Rows out of PostgreSQL: every row once from wherever a reader goes on, and no row passed over.

use std::time::Duration;

use headwater::prelude::*;
use headwater::source::{Boundedness, Poll, Rejected, Source, SourceReader};
use headwater::testing::{ManualClock, SourceCheck, check_source, poll_source};
use headwater_connectors::{PostgresPosition, PostgresSource};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

use super::{Kind, Place, has, refused, server};

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    id: u64,
    name: String,
    small: Option<u8>,
}

/// More polls than any test needs; each gives the other thread a turn.
const POLLS_MAX: u64 = 50_000_000;

/// A reader that is driven by hand.
struct Driven<T: Record> {
    reader: Box<dyn SourceReader<T, PostgresPosition>>,
    clock: ManualClock,
    rows: Vec<T>,
    rejected: Vec<Rejected>,
}

impl<T: Record> Driven<T> {
    fn open(source: &PostgresSource<T>, position: Option<PostgresPosition>) -> Result<Self> {
        let reader = source.open("rows", position)?;
        Ok(Driven { reader, clock: ManualClock::new(), rows: Vec::new(), rejected: Vec::new() })
    }

    fn poll(&mut self) -> Result<Poll> {
        let (rows, rejected, poll) = poll_source(self.reader.as_mut(), &self.clock, 10)?;
        self.clock.advance(Duration::from_secs(1));
        self.rows.extend(rows);
        self.rejected.extend(rejected);
        std::thread::yield_now();
        Ok(poll)
    }

    fn poll_until(&mut self, done: impl Fn(&Self, Poll) -> bool) -> Result<()> {
        for _ in 0..POLLS_MAX {
            let poll = self.poll()?;
            if done(self, poll) {
                return Ok(());
            }
        }
        panic!("gave up with {} rows", self.rows.len());
    }

    fn until_end(mut self) -> Result<(Vec<T>, Vec<Rejected>)> {
        self.poll_until(|_, poll| poll == Poll::Finished)?;
        Ok((self.rows, self.rejected))
    }
}

fn all<T: Record>(source: &PostgresSource<T>) -> Result<(Vec<T>, Vec<Rejected>)> {
    Driven::open(source, None)?.until_end()
}

/// Rows 1 to 300, of which every tenth is none: by turns its name is NULL and its number too large.
fn rows_of(server: &Place, name: &str) -> String {
    let table = server.fresh(name);
    server.ask(&format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, other text, small int, name text); INSERT INTO {table} SELECT n, \
         'x', CASE WHEN n % 20 = 0 THEN 256 WHEN n % 3 = 0 THEN n % 256 END, CASE WHEN n % 20 <> 10 THEN \
         repeat('ü', n % 50) || n END FROM generate_series(1, 300) AS n"
    ));
    table
}

fn source(server: &Place, table: &str) -> PostgresSource<Row> {
    PostgresSource::table(&server.url, table)
}

#[test]
fn a_table_can_be_read_again_from_every_position() {
    let Some(server) = server(Kind::Postgres, "a_table_can_be_read_again_from_every_position") else {
        return;
    };
    let table = rows_of(&server, "source");
    let check = SourceCheck::new().idle_polls_max(POLLS_MAX as usize, std::thread::yield_now);
    let url = &server.url;
    for source in [
        source(&server, &table),
        source(&server, &format!("public.{table}")).key("name").key("id"),
        PostgresSource::query(url, format!("SELECT * FROM {table} -- all of it")).key("id"),
    ] {
        // Where the name is the key, those without one are no rows at all.
        if !format!("{source:?}").contains("\"name\"") {
            let report = check_source(|| Ok(source.clone()), &check).unwrap();
            assert_eq!((report.records, report.rejected), (270, 30));
        } else {
            has(&refused(all(&source)), &[&table, "rows without a key", "`name`, `id` is NULL"]);
        }
    }
    let check = check.records_max(300).positions_max(10);
    let incremental = source(&server, &table).incremental("id").every(Duration::ZERO);
    assert_eq!(incremental.boundedness(), Boundedness::Unbounded);
    let report = check_source(|| Ok(incremental.clone()), &check).unwrap();
    assert_eq!((report.records, report.rejected), (270, 30));
    let (rows, rejected) = all(&source(&server, &table)).unwrap();
    let row = |n: u64| Row {
        id: n,
        name: "ü".repeat(n as usize % 50) + &n.to_string(),
        small: n.is_multiple_of(3).then_some(n as u8),
    };
    let expected: Vec<_> = (1..=300).filter(|n| n % 10 > 0).map(row).collect();
    assert_eq!(rows, expected);
    has(&rejected[0].origin, &["PostgreSQL at 127.0.0.1:", &table, "key 10"]);
    has(&rejected[0].reason, &["name", "is NULL", "no Option"]);
    has(&rejected[1].reason, &["small", "256"]);
    has(&rejected[1].payload, &["20, ", "ü20, 256"]);
    server.forget(&table);
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Inner {
    name: String,
    values: Vec<f64>,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Values {
    id: i32,
    unsigned: u64,
    wide: i128,
    float: f64,
    single: f32,
    flag: bool,
    text: String,
    at: i64,
    day: Option<i64>,
    inner: Option<Inner>,
    list: Vec<i64>,
    price: String,
    kind: String,
}

#[test]
fn values_are_read_as_they_are() {
    let Some(server) = server(Kind::Postgres, "values_are_read_as_they_are") else { return };
    let table = server.fresh("types");
    server.ask(&format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, unsigned numeric, wide numeric(39), float float8, single real, \
         flag bool, text text, at timestamptz, day date, \"inner\" jsonb, list bigint[], price \
         numeric(10, 2), kind uuid); INSERT INTO {table} VALUES \
         (1, 18446744073709551615, '-170141183460469231731687303715884105728', \
         'Infinity', 0.1, true, E'tab\\t\\\\N ü''\"', '2023-11-14 23:13:20.123456+01', '2000-02-29', \
         '{{\"values\": [0.5, -1e300], \"name\": \"a\\nb\"}}', '{{1,-9223372036854775808}}', 12.5, \
         '00000000-0000-0000-0000-000000000001'), (2, 0, 0, 5e-324, '-Infinity', false, '', '1969-12-31 \
         23:59:59.9995+00', NULL, NULL, '{{}}', 0, '00000000-0000-0000-0000-000000000002'), (3, 0.5, 0, 0, 0, \
         false, '', now(), NULL, NULL, '{{}}', 0, '00000000-0000-0000-0000-000000000003'), (4, 0, 0, 0, 0, false, \
         '', 'infinity', NULL, NULL, '{{}}', 0, '00000000-0000-0000-0000-000000000003'), (5, 0, 0, 0, 0, false, \
         '', now(), NULL, '{{\"name\": 1}}', '{{}}', 0, '00000000-0000-0000-0000-000000000003')"
    ));
    let source = PostgresSource::<Values>::table(&server.url, &table);
    let (rows, rejected) = all(&source).unwrap();
    let first = Values {
        id: 1,
        unsigned: u64::MAX,
        wide: i128::MIN,
        float: f64::INFINITY,
        single: 0.1,
        flag: true,
        text: "tab\t\\N ü'\"".to_owned(),
        at: 1_700_000_000_123,
        day: Some(951_782_400_000),
        inner: Some(Inner { name: "a\nb".to_owned(), values: vec![0.5, -1e300] }),
        list: vec![1, i64::MIN],
        price: "12.50".to_owned(),
        kind: "00000000-0000-0000-0000-000000000001".to_owned(),
    };
    let second = Values {
        id: 2,
        unsigned: 0,
        wide: 0,
        float: 5e-324,
        single: f32::NEG_INFINITY,
        flag: false,
        text: String::new(),
        at: -1,
        day: None,
        inner: None,
        list: vec![],
        price: "0.00".to_owned(),
        kind: "00000000-0000-0000-0000-000000000002".to_owned(),
    };
    assert_eq!(rows, [first, second]);
    for (rejected, words) in rejected.iter().zip([["unsigned", "0.5"], ["at", "infinity"], ["inner", "name"]])
    {
        has(&rejected.reason, &words);
    }
    assert_eq!(rejected.len(), 3);
    // Records without fields.
    let query = |sql: &str| PostgresSource::<u64>::query(&server.url, sql).key("value");
    let (rows, _) = all(&query("SELECT n AS value FROM generate_series(1, 5000) AS n")).unwrap();
    assert_eq!(rows, (1..=5_000).collect::<Vec<_>>());
    let lists =
        PostgresSource::<Vec<u8>>::query(&server.url, "SELECT ARRAY[1, 2] AS value, 1 AS id").key("id");
    assert_eq!(all(&lists).unwrap().0, [[1, 2]]);
    server.forget(&table);
}

#[test]
fn what_cannot_be_read_is_refused_when_the_job_starts() {
    let test = "what_cannot_be_read_is_refused_when_the_job_starts";
    let Some(server) = server(Kind::Postgres, test) else { return };
    let table = server.fresh("refused");
    let refusal = |source: &PostgresSource<Row>| refused(all(source).map(|_| ()));
    has(&refusal(&source(&server, &table)), &["PostgreSQL at 127.0.0.1:", &table, "does not exist"]);
    server.ask(&format!("CREATE TABLE {table} (id bigint, name text)"));
    has(&refusal(&source(&server, &table)), &["has no primary key", ".key(\"id\")"]);
    let by_id = source(&server, &table).key("id");
    has(&refusal(&by_id), &["no column `small`", "id, name", "SELECT .. AS \"small\""]);
    has(&refusal(&source(&server, &table).key("nom")), &["no column `nom`"]);
    server.ask(&format!("ALTER TABLE {table} ADD small text"));
    has(&refusal(&by_id), &["column `small`", "is text", "U8", "casts the column"]);
    server.ask(&format!("ALTER TABLE {table} DROP small, ADD small int"));
    assert_eq!(all(&by_id).unwrap().0, []);
    server.ask(&format!("INSERT INTO {table} SELECT n / 2, 'x' FROM generate_series(2, 401) AS n"));
    has(&refusal(&by_id), &[&table, "several rows have the key", "= 1:", ".key(..)"]);
    server.ask(&format!("INSERT INTO {table} VALUES (NULL, 'x')"));
    has(&refusal(&by_id), &["rows without a key", "`id` is NULL"]);
    let wrong = PostgresSource::<Row>::query(&server.url, "SELECT nothing FROM nowhere").key("id");
    has(&refusal(&wrong), &["the query", "\"nowhere\" does not exist"]);
    let writes = format!("DELETE FROM {table} RETURNING *");
    has(&refusal(&PostgresSource::query(&server.url, writes).key("id")), &["the query", "syntax error"]);
    has(&refusal(&source(&server, &table).every(Duration::ZERO)), &["incremental(COLUMN)"]);
    let unset = PostgresSource::<Row>::from_env("HEADWATER_UNSET", "rows");
    has(&refusal(&unset), &["export HEADWATER_UNSET=postgres://"]);
    let hasty = PostgresSource::<Row>::table("postgres://me:sesame@127.0.0.1:9/shop", "rows");
    assert!(!format!("{hasty:?}").contains("sesame"));
    let error = refusal(&hasty.patience(Duration::ZERO));
    has(&error, &["127.0.0.1:9/shop (user me)", "reads on behind the last committed epoch", ".patience("]);
    assert!(!error.contains("sesame"));
    server.forget(&table);
}

#[test]
fn a_table_is_read_as_it_was_when_reading_began() {
    let Some(server) = server(Kind::Postgres, "a_table_is_read_as_it_was_when_reading_began") else { return };
    let table = rows_of(&server, "snapshot");
    let mut reader = Driven::open(&source(&server, &table), None).unwrap();
    reader.poll_until(|reader, _| !reader.rows.is_empty()).unwrap();
    server.ask(&format!("UPDATE {table} SET name = 'changed'; DELETE FROM {table} WHERE id % 2 = 0"));
    let (rows, rejected) = reader.until_end().unwrap();
    assert_eq!((rows.len(), rejected.len()), (270, 30));
    assert!(rows.iter().all(|row| row.name != "changed"));
    server.forget(&table);
}

/// Ends the connections of readers of a table.
fn end_connections(server: &Place, table: &str) -> bool {
    server.ask(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{table}'"
    )) != "0"
}

#[test]
fn a_connection_that_is_lost_loses_no_row() {
    let Some(server) = server(Kind::Postgres, "a_connection_that_is_lost_loses_no_row") else { return };
    let table = server.fresh("lost");
    server.ask(&format!(
        "CREATE TABLE {table} (value bigint PRIMARY KEY, text text); INSERT INTO {table} SELECT n, repeat('x', 9000) \
         FROM generate_series(1, 3000) AS n"
    ));
    let url = format!("{}?application_name={table}", server.url);
    for source in [
        PostgresSource::<(u64, String)>::query(&url, format!("SELECT value AS _1, text AS _2 FROM {table}"))
            .key("_1"),
        PostgresSource::query(&url, format!("SELECT value AS _1, text AS _2 FROM {table}")).incremental("_1"),
    ] {
        let mut reader = Driven::open(&source, None).unwrap();
        let mut ended = 0;
        for seen in [20, 700, 1_500, 2_990] {
            reader.poll_until(|reader, _| reader.rows.len() >= seen).unwrap();
            ended += u64::from(end_connections(&server, &table));
        }
        reader.poll_until(|reader, _| reader.rows.len() >= 3_000).unwrap();
        let numbers: Vec<_> = reader.rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=3_000).collect::<Vec<_>>());
        assert!(ended >= 3, "{ended} connections were ended");
    }
    server.forget(&table);
}

/// Connections with transactions that stay open.
struct Writers {
    runtime: Runtime,
    clients: Vec<Client>,
}

impl Writers {
    fn new(server: &Place, count: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let clients = (0..count)
            .map(|_| {
                runtime.block_on(async {
                    let (client, connection) = tokio_postgres::connect(&server.url, NoTls).await.unwrap();
                    tokio::spawn(connection);
                    client
                })
            })
            .collect();
        Writers { runtime, clients }
    }

    fn say(&self, writer: usize, sql: &str) {
        self.runtime.block_on(self.clients[writer].batch_execute(sql)).unwrap();
    }
}

#[test]
fn rows_that_are_committed_late_are_not_passed_over() {
    let Some(server) = server(Kind::Postgres, "rows_that_are_committed_late_are_not_passed_over") else {
        return;
    };
    let table = server.fresh("late");
    server.ask(&format!("CREATE TABLE {table} (value bigserial PRIMARY KEY, text text)"));
    let writers = Writers::new(&server, 3);
    let source = PostgresSource::<u64>::table(&server.url, &table).incremental("value");
    let mut reader = Driven::open(&source, None).unwrap();
    let insert = format!("INSERT INTO {table} (text) VALUES ('x')");
    let idle = |reader: &mut Driven<u64>| {
        for _ in 0..5 {
            server.ask("SELECT 1");
            (0..200).for_each(|_| {
                reader.poll().unwrap();
            });
        }
    };
    for round in 0..3 {
        let first = round * 3 + 1;
        // The oldest transaction takes the highest key, so that it is not only about the oldest.
        writers.say(0, "BEGIN; SELECT pg_current_xact_id()");
        writers.say(1, &format!("BEGIN; {insert}"));
        writers.say(2, &format!("BEGIN; {insert}"));
        writers.say(0, &format!("{insert}; COMMIT"));
        idle(&mut reader);
        writers.say(2, "COMMIT");
        idle(&mut reader);
        assert_eq!(reader.rows.len() as u64, first - 1, "a row was given although a lower key may come");
        writers.say(1, "COMMIT");
        reader.poll_until(|reader, _| reader.rows.len() as u64 >= first + 2).unwrap();
        assert_eq!(reader.rows, (1..first + 3).collect::<Vec<_>>());
    }
    // A reader that goes on gives what came in the meantime, and nothing twice.
    let position = reader.reader.position();
    assert_eq!(position.key, ["9"]);
    server.ask(&insert);
    let mut reader = Driven::open(&source, Some(position)).unwrap();
    reader.poll_until(|reader, _| !reader.rows.is_empty()).unwrap();
    assert_eq!(reader.rows, [10]);
    server.forget(&table);
}

#[test]
fn a_job_copies_a_table_while_it_grows() {
    let Some(server) = server(Kind::Postgres, "a_job_copies_a_table_while_it_grows") else { return };
    let (from, to) = (server.fresh("from"), server.fresh("to"));
    server.ask(&format!("CREATE TABLE {from} (id bigserial PRIMARY KEY, name text NOT NULL, small int)"));
    let folder = tempfile::tempdir().unwrap();
    let topology = || {
        let flow = StreamBuilder::new("copy");
        let source = source(&server, &from).incremental("id").every(Duration::from_millis(5));
        flow.source("from", source).sink("to", server.sink(&to).exactly_once(&to).create_table());
        flow.build().unwrap()
    };
    let config = || EngineConfig::default().epoch_interval(ms(5)).state_dir(folder.path());
    let count = || match server.has_table(&to) {
        true => server.ask(&format!("SELECT count(*) FROM {to}")).parse::<u64>().unwrap(),
        false => 0,
    };
    for round in 1..=3 {
        let running = topology().start(config()).unwrap();
        for _ in 0..10 {
            server.ask(&format!("INSERT INTO {from} (name) SELECT 'n' FROM generate_series(1, 100)"));
        }
        while count() < round * 1_000 {
            std::thread::yield_now();
        }
        running.stop();
        running.wait().unwrap();
    }
    let found = server.ask(&format!("SELECT count(*), count(DISTINCT id), max(id) FROM {to}"));
    assert_eq!(found, "3000|3000|3000");
    server.forget(&from);
    server.forget(&to);
}
