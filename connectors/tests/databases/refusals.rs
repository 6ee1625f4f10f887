//! What cannot be written is refused with its place, its cause and the way out, and without the password.

use headwater::config::EngineConfig;
use headwater::prelude::*;
use headwater::sink::Sink;
use headwater_connectors::{MemorySource, PostgresSink, SqliteSink};

use super::{Kind, ONLY, has, refused, server, show};

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    id: u64,
    name: Option<String>,
}

fn row(id: u64, name: &str) -> Row {
    Row { id, name: (name != "null").then(|| name.to_owned()) }
}

fn open(sink: &impl Sink<Row>) -> String {
    refused(sink.open(ONLY).map(|_| ()))
}

#[test]
fn a_server_that_cannot_be_used_is_named() {
    let Some(server) = server(Kind::Postgres, "a_server_that_cannot_be_used_is_named") else { return };
    let password = server.url.split(':').nth(2).unwrap().split('@').next().unwrap();
    let sink = |url: &str| PostgresSink::new(url, "rows");
    let wrong = sink(&server.url.replace(password, "sesame"));
    let error = open(&wrong);
    has(
        &error,
        &["PostgreSQL at 127.0.0.1:", "password authentication failed", "give the right user and password"],
    );
    assert!(!format!("{error} {wrong:?}").contains("sesame"));
    let database = format!("{}/nowhere", server.url.rsplit_once('/').unwrap().0);
    has(&open(&sink(&database)), &["\"nowhere\" does not exist", "create the database"]);
    let hasty = sink("postgres://me:sesame@127.0.0.1:9/shop").patience(std::time::Duration::ZERO);
    let nobody = open(&hasty);
    has(&nobody, &["PostgreSQL at 127.0.0.1:9/shop (user me)", "refused", "run the job again", ".patience("]);
    assert!(!nobody.contains("sesame"));
    has(&open(&PostgresSink::from_env("HEADWATER_UNSET", "rows")), &["export HEADWATER_UNSET=postgres://"]);
}

#[test]
fn a_table_that_cannot_take_the_record_is_refused_when_the_job_starts() {
    let Some(server) =
        server(Kind::Postgres, "a_table_that_cannot_take_the_record_is_refused_when_the_job_starts")
    else {
        return;
    };
    let table = server.fresh("missing");
    let error = open(&server.sink(&table));
    has(
        &error,
        &["has no table", ".create_table()", "CREATE TABLE", "\"id\" numeric(20) NOT NULL, \"name\" text"],
    );
    server.ask(&format!("CREATE TABLE {table} (id bigint, nom text)"));
    let error = open(&server.sink(&table));
    has(&error, &["no column for the field `name`", "id, nom", "ADD COLUMN \"name\" text"]);
    server
        .ask(&format!("ALTER TABLE {table} RENAME nom TO name; ALTER TABLE {table} ADD other int NOT NULL"));
    has(&open(&server.sink(&table)), &["column `other`", "must have a value", "give the column a default"]);
    server.ask(&format!("ALTER TABLE {table} ALTER other SET DEFAULT 1"));
    let error = open(&server.sink(&table).upsert(&["nom"]));
    has(&error, &["the key `nom`", "no field of the record", "id, name"]);
    let error = refused(show(&server.sink(&table).upsert(&["id"]), &[row(1, "a")]));
    has(&error, &[&table, "CREATE UNIQUE INDEX"]);
    has(&open(&server.sink("")), &["cannot be the name"]);
    server.forget(&table);
}

#[test]
fn a_row_that_the_table_refuses_is_shown() {
    let Some(server) = server(Kind::Postgres, "a_row_that_the_table_refuses_is_shown") else { return };
    let table = server.fresh("refused");
    server.ask(&format!("CREATE TABLE {table} (id bigint PRIMARY KEY, name varchar(300) NOT NULL)"));
    let sink = server.sink(&table).exactly_once(&table);
    let try_rows = |rows: &[Row]| refused(show(&sink, rows));
    let error = try_rows(&[row(1, "a"), row(2, "b"), row(1, "ü\t")]);
    has(&error, &["epoch 1", &table, &format!("{table}_pkey"), "(id)=(1)", "1, \"ü\\t\"", ".upsert(&[..])"]);
    has(
        &try_rows(&[row(1, "a"), row(2, "null")]),
        &["column `name`", "null value", "the row: 2, null", "NOT NULL"],
    );
    let error = try_rows(&[row(u64::MAX, "a")]);
    has(
        &error,
        &["out of range for type bigint", "the row: 18446744073709551615, \"a\"", "ALTER the column"],
    );
    let error = try_rows(&[row(1, &"x".repeat(301))]);
    has(&error, &["too long", "xxx.."]);
    assert!(error.len() < 800, "{error}");
    let error = try_rows(&[row(1, "a"), row(2, "a\0b")]);
    has(
        &error,
        &["field `name` of the row (2, \"a\\0b\")", "cannot store the character NUL", "filter such rows"],
    );
    assert_eq!(server.ask(&format!("SELECT count(*) FROM {table}")), "0");
    assert_eq!(server.ask(&format!("SELECT epoch FROM headwater_tokens WHERE sink = '{table}'")), "0");
    // The same epoch, once the table takes it.
    show(&sink.clone().upsert(&["id"]), &[row(1, "a"), row(2, "b"), row(1, "c")]).unwrap();
    assert_eq!(server.ask(&format!("SELECT * FROM {table} ORDER BY id")), "1|c\n2|b");
    server.forget(&table);
}

#[test]
fn sqlite_refuses_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.sqlite");
    let sink = SqliteSink::new(&file, "rows").exactly_once("rows");
    has(&open(&sink), &["has no table `rows`", ".create_table()", "\"id\" INTEGER NOT NULL, \"name\" TEXT"]);
    let database = rusqlite::Connection::open(&file).unwrap();
    database.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").unwrap();
    let error = refused(show(&sink, &[row(1, "a"), row(1, "b")]));
    has(&error, &["rows.sqlite", "UNIQUE constraint failed: rows.id", "the row: 1, \"b\"", ".upsert(&[..])"]);
    let error = refused(show(&sink, &[row(1, "a"), row(2, "null")]));
    has(&error, &["NOT NULL constraint failed: rows.name", "the row: 2, null"]);
    show(&sink.clone().upsert(&["id"]), &[row(1, "a"), row(1, "b"), row(2, "c")]).unwrap();
    let read = |sql: &str| -> String { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(read("SELECT group_concat(id || name) FROM rows"), "1b,2c");
    // Another writes for too long.
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let hasty = sink.patience(std::time::Duration::ZERO);
    has(&open(&hasty), &["rows.sqlite", "locked", ".patience(..)"]);
    std::fs::write(folder.path().join("text"), "no database at all, ".repeat(100)).unwrap();
    let error = open(&SqliteSink::new(folder.path().join("text"), "rows"));
    has(&error, &["text", "not a database", "name another file"]);
}

#[test]
fn a_result_that_changes_needs_keys() {
    let build = |sink: SqliteSink, mode| {
        let flow = StreamBuilder::new("modes");
        let rows = flow.source("numbers", MemorySource::new(vec![vec![1_u64]]));
        rows.key_by_value().count().output_mode(mode).sink("rows", sink);
        flow.build().map(|_| ())
    };
    let (plain, upsert) = (SqliteSink::new("x", "rows"), SqliteSink::new("x", "rows").upsert(&["key"]));
    build(plain.clone(), OutputMode::Append).unwrap();
    build(upsert.clone(), OutputMode::Append).unwrap();
    build(upsert.clone(), OutputMode::Update).unwrap();
    for (sink, mode) in
        [(plain.clone(), OutputMode::Update), (plain, OutputMode::Complete), (upsert, OutputMode::Complete)]
    {
        has(&refused(build(sink, mode)), &["rows", &mode.to_string()]);
    }
}

#[test]
fn a_job_that_begins_anew_does_not_hide_behind_older_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let sink = SqliteSink::new(folder.path().join("rows.sqlite"), "rows").exactly_once("it's").create_table();
    let run = |state: Option<&str>| {
        let flow = StreamBuilder::new("anew");
        flow.source("numbers", MemorySource::new(vec![(0..100).collect::<Vec<u64>>()]))
            .sink("rows", sink.clone());
        let mut config = EngineConfig::default();
        if let Some(state) = state {
            config = config.state_dir(folder.path().join(state));
        }
        flow.build().unwrap().run(config)
    };
    run(Some("state")).unwrap();
    run(Some("state")).unwrap();
    let error = refused(run(None));
    has(&error, &["`it's` has shown rows up to epoch", "begins anew", "state directory", "sink = 'it''s'"]);
    has(&refused(run(Some("other"))), &["begins anew"]);
    let database = rusqlite::Connection::open(folder.path().join("rows.sqlite")).unwrap();
    let count: i64 = database.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 100);
    database.execute("UPDATE headwater_tokens SET epoch = 1000000", []).unwrap();
    has(&refused(run(Some("state"))), &["up to epoch 1000000", "its state is older than the table"]);
}
