//! What is MariaDB's own: values as its client reads them, and what it would cut or take without a word.

use headwater::prelude::*;
use headwater::sink::Sink;
use headwater_connectors::MariaDbSink;

use super::{Kind, ONLY, has, refused, server, show};

#[derive(Record, Clone, Debug, PartialEq)]
struct Inner {
    name: String,
    values: Vec<f64>,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Values {
    small: u8,
    unsigned: u64,
    signed: i64,
    wide: i128,
    float: f64,
    single: f32,
    flag: bool,
    text: String,
    maybe: Option<i64>,
    inner: Inner,
    list: Vec<u64>,
}

fn values(n: usize) -> Values {
    let texts =
        ["", "tab\tline\nback\\slash \\N \\. return\r nul\0 ", "ünïcödé 🦀 'quote' \"double\" `back`?"];
    Values {
        small: u8::MAX,
        unsigned: [0, u64::MAX, i64::MAX as u64][n],
        signed: [i64::MIN, i64::MAX, 0][n],
        wide: [i128::MIN, i128::MAX, 0][n],
        float: [f64::MIN_POSITIVE, f64::MAX, 0.1][n],
        single: [f32::MIN_POSITIVE, f32::MAX, -0.5][n],
        flag: n == 1,
        text: texts[n].to_owned(),
        maybe: [None, Some(-1), Some(i64::MIN)][n],
        inner: Inner { name: texts[n].replace('\0', ""), values: vec![0.5, -1e300] },
        list: vec![n as u64, u64::MAX],
    }
}

#[test]
fn mariadb_has_the_values_that_were_written() {
    let Some(server) = server(Kind::MariaDb, "mariadb_has_the_values_that_were_written") else { return };
    let table = server.fresh("values");
    show(&server.sink(&table).create_table(), &[values(0), values(1), values(2)]).unwrap();
    let types = server.ask(&format!(
        "SELECT group_concat(column_type ORDER BY ordinal_position), group_concat(DISTINCT collation_name) FROM \
         information_schema.columns WHERE table_schema = database() AND table_name = '{table}'"
    ));
    assert_eq!(
        types,
        "tinyint(3) unsigned,bigint(20) unsigned,bigint(20),decimal(39,0),double,float,tinyint(1),longtext,\
         bigint(20),longtext,longtext|utf8mb4_bin,utf8mb4_nopad_bin"
    );
    let expected = [
        "255|0|-9223372036854775808|-170141183460469231731687303715884105728|2.2250738585072014e-308|1|0|NULL|[0,\
         18446744073709551615]",
        "255|18446744073709551615|9223372036854775807|170141183460469231731687303715884105727|\
         1.7976931348623157e308|1|1|-1|[1,18446744073709551615]",
        "255|9223372036854775807|0|0|0.1|1|0|-9223372036854775808|[2,18446744073709551615]",
    ];
    for (n, expected) in expected.into_iter().enumerate() {
        // The client shows fewer digits of a float than it has.
        let single = values(n).single;
        let of_row = format!("FROM {table} WHERE `unsigned` = {}", values(n).unsigned);
        let found = server.ask(&format!(
            "SELECT small, `unsigned`, `signed`, wide, `float`, abs(single / {single:e} - 1) < 1e-7, flag, maybe, list \
             {of_row}"
        ));
        assert_eq!(found, expected);
        let hex: String = values(n).text.bytes().map(|byte| format!("{byte:02X}")).collect();
        let found = server.ask(&format!(
            "SELECT concat('x', hex(text)), hex(json_value(`inner`, '$.name')) = hex(replace(text, char(0), '')), \
             json_value(`inner`, '$.values[1]') = -1e300 {of_row}"
        ));
        assert_eq!(found, format!("x{hex}|1|1"));
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let row = Values { float: value, ..values(0) };
        let error = refused(show(&server.sink(&table), &[row]));
        has(&error, &["field `float`", "MariaDB has no ", "filter such rows"]);
    }
    server.forget(&table);
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Event {
    at: i64,
    stamp: i64,
    second: i64,
    day: u64,
    maybe_at: Option<i64>,
    id: String,
    price: String,
}

#[test]
fn columns_of_other_types_take_times_and_text() {
    let Some(server) = server(Kind::MariaDb, "columns_of_other_types_take_times_and_text") else { return };
    let table = server.fresh("types");
    server.ask(&format!(
        "CREATE TABLE {table} (row bigint AUTO_INCREMENT PRIMARY KEY, price decimal(10, 2), id uuid, at datetime(3), \
         stamp timestamp(6), second datetime, day date, maybe_at datetime(3), said varchar(9) DEFAULT 'default')"
    ));
    let id = "00000000-0000-0000-0000-000000000001".to_owned();
    let event = |at: i64, maybe_at| Event {
        at,
        stamp: 1_000,
        second: at,
        day: at.unsigned_abs(),
        maybe_at,
        id: id.clone(),
        price: "12.50".to_owned(),
    };
    let rows = [event(1_700_000_000_123, None), event(-1, Some(951_782_400_000))];
    show(&server.sink(&table), &rows).unwrap();
    assert_eq!(
        server.ask(&format!("SET time_zone = '+00:00'; SELECT * FROM {table} ORDER BY row")),
        format!(
            "1|12.50|{id}|2023-11-14 22:13:20.123|1970-01-01 00:00:01.000000|2023-11-14 22:13:20|2023-11-14|NULL|\
             default\n2|12.50|{id}|1969-12-31 23:59:59.999|1970-01-01 00:00:01.000000|1969-12-31 23:59:59|\
             1970-01-01|2000-02-29 00:00:00.000|default"
        )
    );
    let error = refused(show(&server.sink(&table), &[event(i64::MAX, None)]));
    has(&error, &["9223372036854775807 milliseconds", "years 1 to 9999"]);
    // The zero of a timestamp is no time for MariaDB.
    let error = refused(show(&server.sink(&table), &[Event { stamp: 0, ..event(1, None) }]));
    has(&error, &["Incorrect datetime value", "stamp", "the row: 1, 0,", "ALTER the column"]);
    // It would round, and only mention that.
    let error = refused(show(&server.sink(&table), &[Event { price: "1.239".to_owned(), ..event(1, None) }]));
    has(&error, &["'price'", "\"1.239\"", "ALTER the column"]);
    assert_eq!(server.ask(&format!("SELECT count(*) FROM {table}")), "2");
    server.forget(&table);
}

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
    let Some(server) = server(Kind::MariaDb, "a_server_that_cannot_be_used_is_named") else { return };
    let password = server.url.split(':').nth(2).unwrap().split('@').next().unwrap();
    let sink = |url: &str| MariaDbSink::new(url, "rows");
    let wrong = sink(&server.url.replace(password, "sesame"));
    let error = open(&wrong);
    has(&error, &["MariaDB at 127.0.0.1:", "Access denied", "give the right user and password"]);
    assert!(!format!("{error} {wrong:?}").contains("sesame"));
    let database = format!("{}/nowhere", server.url.rsplit_once('/').unwrap().0);
    has(&open(&sink(&database)), &["Unknown database 'nowhere'", "create the database"]);
    let hasty = sink("mysql://me:sesame@127.0.0.1:9/shop").patience(std::time::Duration::ZERO);
    let nobody = open(&hasty);
    has(&nobody, &["MariaDB at 127.0.0.1:9/shop (user me)", "refused", "run the job again", ".patience("]);
    assert!(!nobody.contains("sesame"));
    has(&open(&MariaDbSink::from_env("HEADWATER_UNSET", "rows")), &["export HEADWATER_UNSET=mysql://"]);
}

#[test]
fn a_table_that_cannot_take_the_record_is_refused_when_the_job_starts() {
    let test = "a_table_that_cannot_take_the_record_is_refused_when_the_job_starts";
    let Some(server) = server(Kind::MariaDb, test) else { return };
    let table = server.fresh("missing");
    let error = open(&server.sink(&table));
    has(&error, &["has no table", ".create_table()", "`id` bigint unsigned NOT NULL, `name` longtext)"]);
    server.ask(&format!("CREATE TABLE {table} (id bigint, nom text)"));
    let error = open(&server.sink(&table));
    has(&error, &["no column for the field `name`", "id, nom", "ADD COLUMN `name` longtext"]);
    let change = |what: &str| {
        server.ask(&format!("ALTER TABLE {table} {what}"));
    };
    change("RENAME COLUMN nom TO name, ADD other int NOT NULL");
    has(&open(&server.sink(&table)), &["column `other`", "must have a value", "give the column a default"]);
    change("ALTER other SET DEFAULT 1");
    change("MODIFY id double");
    let error = open(&server.sink(&table));
    has(&error, &["column `id`", "is double", "fewer digits", "MODIFY `id` bigint unsigned"]);
    change("MODIFY id bigint, ENGINE = Aria");
    let error = open(&server.sink(&table));
    has(&error, &["is one of Aria, which has no transactions", "ENGINE = InnoDB"]);
    change("ENGINE = InnoDB");
    server.ask(&format!("CREATE OR REPLACE VIEW {table}_view AS SELECT * FROM {table}"));
    has(&open(&server.sink(&format!("{table}_view"))), &["is a view", "name the table behind it"]);
    server.ask(&format!("DROP VIEW {table}_view"));
    has(&open(&server.sink("")), &["cannot be the name"]);
    has(&open(&server.sink(&table).exactly_once(&"x".repeat(256))), &["up to 255 characters"]);
    server.forget(&table);
}

#[test]
fn a_row_replaces_only_the_one_with_its_keys() {
    let Some(server) = server(Kind::MariaDb, "a_row_replaces_only_the_one_with_its_keys") else { return };
    let table = server.fresh("indexes");
    server.ask(&format!(
        "CREATE TABLE {table} (row bigint AUTO_INCREMENT PRIMARY KEY, id bigint, name varchar(300))"
    ));
    let sink = server.sink(&table).upsert(&["id"]);
    let change = |what: &str| {
        server.ask(&format!("ALTER TABLE {table} {what}"));
    };
    has(&open(&sink), &["needs a unique index on its keys", "ADD UNIQUE (`id`)"]);
    change("ADD UNIQUE two (id, name)");
    has(&open(&sink), &["needs a unique index on its keys"]);
    change("ADD UNIQUE one (id)");
    // One of more columns than the keys meets no other row, and nor does a number that the server gives.
    show(&sink, &[row(1, "a"), row(2, "b"), row(1, "c")]).unwrap();
    assert_eq!(server.ask(&format!("SELECT id, name FROM {table} ORDER BY id")), "1|c\n2|b");
    change("ADD UNIQUE other (name)");
    has(&open(&sink), &["the unique index `other`", "replace another one", "drop the index"]);
    change("DROP INDEX other, ADD UNIQUE part (name(3))");
    has(&open(&sink), &["the unique index `part`"]);
    server.forget(&table);
}

#[test]
fn a_row_that_the_table_refuses_is_shown_and_nothing_is_cut() {
    let test = "a_row_that_the_table_refuses_is_shown_and_nothing_is_cut";
    let Some(server) = server(Kind::MariaDb, test) else { return };
    let table = server.fresh("refused");
    server.ask(&format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, name varchar(300) NOT NULL, CHECK (name <> 'never'))"
    ));
    let sink = server.sink(&table).exactly_once(&table);
    let try_rows = |rows: &[Row]| refused(show(&sink, rows));
    let error = try_rows(&[row(1, "a"), row(2, "b"), row(1, "ü\t")]);
    has(
        &error,
        &["epoch 1", &table, "Duplicate entry '1'", "PRIMARY", "the row: 1, \"ü\\t\"", ".upsert(&[..])"],
    );
    // In the second of several statements, and a row that only an earlier statement makes a wrong one.
    let mut many: Vec<Row> = (0..700).map(|n| row(n, "x")).collect();
    many[600] = row(3, "again");
    has(&try_rows(&many), &["Duplicate entry '3'", "the row: 3, \"again\""]);
    let error = try_rows(&[row(1, "a"), row(2, "null"), row(3, "c")]);
    has(&error, &["cannot be null", "the row: 2, null", "NOT NULL"]);
    let error = try_rows(&[row(1, "b"), row(u64::MAX, "a")]);
    has(&error, &["Out of range value", "the row: 18446744073709551615, \"a\"", "ALTER the column"]);
    for end in ["x", " "] {
        let error = try_rows(&[row(1, "b"), row(2, &("x".repeat(300) + end)), row(3, "c")]);
        has(&error, &["column 'name'", "the row: 2, \"xxx", "xxx..", "ALTER the column"]);
        assert!(error.len() < 800, "{error}");
    }
    has(&try_rows(&[row(1, "b"), row(2, "never")]), &["CONSTRAINT", "the row: 2, \"never\"", "in its way"]);
    assert_eq!(server.ask(&format!("SELECT count(*) FROM {table}")), "0");
    assert_eq!(server.ask(&format!("SELECT epoch FROM headwater_tokens WHERE sink = '{table}'")), "0");
    let error = try_rows(&[row(1, "b"), row(2, &"x".repeat(17 << 20))]);
    has(&error, &["max_allowed_packet"]);
    // The same epoch, once the table takes it.
    show(&sink.clone().upsert(&["id"]), &[row(1, "a"), row(2, "b"), row(0, "c"), row(1, "d")]).unwrap();
    assert_eq!(server.ask(&format!("SELECT * FROM {table} ORDER BY id")), "0|c\n1|d\n2|b");
    server.forget(&table);
}
