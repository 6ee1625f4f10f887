//! Values as the databases have them, read by `psql` and by SQLite itself.

use headwater::prelude::*;
use headwater_connectors::SqliteSink;

use super::{Kind, Place, on_all, on_servers, refused, server, show};

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
    let texts = ["", "tab\tline\nback\\slash \\N \\. return\r", "ünïcödé 🦀 'quote' \"double\""];
    Values {
        small: u8::MAX,
        unsigned: [0, u64::MAX, i64::MAX as u64][n],
        signed: [i64::MIN, i64::MAX, 0][n],
        wide: [i128::MIN, i128::MAX, 0][n],
        float: [f64::NAN, f64::INFINITY, 0.1][n],
        single: [f32::MIN_POSITIVE, f32::MAX, -0.5][n],
        flag: n == 1,
        text: texts[n].to_owned(),
        maybe: [None, Some(-1), Some(i64::MIN)][n],
        inner: Inner { name: texts[n].to_owned(), values: vec![0.5, -1e300] },
        list: vec![n as u64, u64::MAX],
    }
}

#[test]
fn postgres_has_the_values_that_were_written() {
    let Some(server) = server(Kind::Postgres, "postgres_has_the_values_that_were_written") else { return };
    let table = server.fresh("values");
    show(&server.sink(&table).create_table(), &[values(0), values(1), values(2)]).unwrap();
    let types = server.ask(&format!(
        "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = '{table}'::regclass AND attnum > 0"
    ));
    assert_eq!(
        types,
        "smallint,numeric(20,0),bigint,numeric(39,0),double precision,real,boolean,text,bigint,jsonb,jsonb"
    );
    let select = "SELECT small, unsigned, signed, wide, float, single, flag, maybe, list, inner->>'values'";
    let expected = [
        "255|0|-9223372036854775808|-170141183460469231731687303715884105728|NaN|1.1754944e-38|f||[0, \
         18446744073709551615]|[0.5, -1E300]",
        "255|18446744073709551615|9223372036854775807|170141183460469231731687303715884105727|Infinity|\
         3.4028235e+38|t|-1|[1, 18446744073709551615]|[0.5, -1E300]",
        "255|9223372036854775807|0|0|0.1|-0.5|f|-9223372036854775808|[2, 18446744073709551615]|[0.5, -1E300]",
    ];
    let select = select.replace("inner->>'values'", "'[0.5, -1E300]'");
    assert_eq!(server.ask(&format!("{select} FROM {table} ORDER BY ctid")), expected.join("\n"));
    for n in 0..3 {
        let hex: String = values(n).text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let found = server.ask(&format!(
            "SELECT encode(convert_to(text, 'UTF8'), 'hex'), \"inner\"->>'name' = text, \
             (\"inner\"->'values'->>1)::float8 = -1e300 FROM {table} ORDER BY ctid OFFSET {n} LIMIT 1"
        ));
        assert_eq!(found, format!("{hex}|t|t"));
    }
    server.forget(&table);
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Event {
    at: i64,
    day: i64,
    maybe_at: Option<i64>,
    id: String,
    price: String,
}

#[test]
fn columns_of_other_types_read_the_text_of_values() {
    let Some(server) = server(Kind::Postgres, "columns_of_other_types_read_the_text_of_values") else {
        return;
    };
    let table = server.fresh("types");
    server.ask(&format!(
        "CREATE TABLE {table} (row bigserial PRIMARY KEY, price numeric(10, 2), id uuid, at timestamptz NOT NULL, \
         day date, maybe_at timestamp, said text DEFAULT 'default')"
    ));
    let id = "00000000-0000-0000-0000-000000000001".to_owned();
    let event = |at, maybe_at| Event { at, day: at, maybe_at, id: id.clone(), price: "12.50".to_owned() };
    show(&server.sink(&table), &[event(1_700_000_000_123, None), event(-1, Some(951_782_400_000))]).unwrap();
    let sql = format!(
        "SET timezone = 'UTC'; SELECT row, price, id, at, day, maybe_at, said FROM {table} ORDER BY row"
    );
    assert_eq!(
        server.ask(&sql),
        format!(
            "1|12.50|{id}|2023-11-14 22:13:20.123+00|2023-11-14||default\n2|12.50|{id}|1969-12-31 \
             23:59:59.999+00|1969-12-31|2000-02-29 00:00:00|default"
        )
    );
    server.forget(&table);
}

fn a_later_row_replaces_the_one_with_its_keys(place: &Place) {
    let table = place.fresh("upsert");
    let sink = place.sink(&table).upsert(&["_1", "_2"]).create_table();
    let row = |key: u64, other: &str, value: u64| (key, other.to_owned(), value);
    show(&sink, &[row(1, "a", 1), row(1, "b", 2), row(1, "a", 3), row(2, "a", 4), row(1, "a", 5)]).unwrap();
    show(&sink, &[row(1, "b", 6), row(3, "ü", 7), row(1, "A", 8), row(1, "a ", 9)]).unwrap();
    let found = place.ask(&format!("SELECT * FROM {table} ORDER BY 3"));
    assert_eq!(found, "2|a|4\n1|a|5\n1|b|6\n3|ü|7\n1|A|8\n1|a |9");
    place.forget(&table);
    // A record that is nothing but its key.
    let table = place.fresh("upsert");
    let sink = place.sink(&table).upsert(&["value"]).create_table();
    show(&sink, &[1_u64, 2, 1]).unwrap();
    assert_eq!(place.ask(&format!("SELECT * FROM {table} ORDER BY 1")), "1\n2");
    place.forget(&table);
}

/// More than a statement takes, among them rows that are large.
fn many_rows_are_written(place: &Place) {
    let table = place.fresh("many");
    let text = |n: u64| "ü".repeat(if n.is_multiple_of(997) { 400_000 } else { n as usize % 7 });
    let rows: Vec<(u64, String)> = (0..5_000).map(|n| (n, text(n))).collect();
    show(&place.sink(&table).create_table(), &rows).unwrap();
    let length = if place.kind == Kind::MariaDb { "char_length" } else { "length" };
    let found = place.ask(&format!(
        "SELECT count(*), count(DISTINCT _1), sum(_1), sum({length}(_2)), max({length}(_2)) FROM {table}"
    ));
    let letters: usize = rows.iter().map(|(_, text)| text.chars().count()).sum();
    assert_eq!(found, format!("5000|5000|12497500|{letters}|400000"));
    place.forget(&table);
}

on_all!(a_later_row_replaces_the_one_with_its_keys, many_rows_are_written);

fn names_with_quotes_and_schemas_are_names(server: &Place) {
    let schema = server.fresh("schema");
    server.ask(&format!("CREATE SCHEMA {}", server.quote(&schema)));
    for mark in ['"', '`'] {
        let name = format!("a{mark}; DROP TABLE x; --");
        show(&server.sink(&format!("{schema}.{name}")).create_table(), &[1_u64, 2]).unwrap();
        let found =
            server.ask(&format!("SELECT sum(value) FROM {}.{}", server.quote(&schema), server.quote(&name)));
        assert_eq!(found, "3");
    }
    let cascade = if server.kind == Kind::Postgres { "CASCADE" } else { "" };
    server.ask(&format!("DROP SCHEMA {} {cascade}", server.quote(&schema)));
}

mod named {
    use super::*;

    on_servers!(names_with_quotes_and_schemas_are_names);
}

#[test]
fn sqlite_has_the_values_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/values.sqlite");
    let sink = SqliteSink::new(&file, "values\" (x").create_table();
    let mut nul = values(2);
    nul.text = "a\0b".to_owned();
    let mut infinite = values(2);
    infinite.float = f64::INFINITY;
    show(&sink, &[nul.clone(), infinite]).unwrap();
    let database = rusqlite::Connection::open(&file).unwrap();
    let sql = "SELECT json_array(small, unsigned, signed, wide, single, flag, maybe, list, \"inner\"), \
               float, text FROM \"values\"\" (x\" ORDER BY rowid";
    let mut statement = database.prepare(sql).unwrap();
    let found: Vec<(String, f64, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let row: serde_json::Value = serde_json::from_str(&found[0].0).unwrap();
    let fixed = serde_json::json!([255, i64::MAX, 0, "0", -0.5, 0, i64::MIN, "[2,18446744073709551615]"]);
    assert_eq!(row.as_array().unwrap()[..8], fixed.as_array().unwrap()[..]);
    let inner: serde_json::Value = serde_json::from_str(row[8].as_str().unwrap()).unwrap();
    assert_eq!(inner["name"], values(2).text);
    assert_eq!((found[0].1, found[0].2.as_str(), found[1].1), (0.1, "a\0b", f64::INFINITY));
    for (row, reason) in [(values(0), "field `float`"), (values(1), "field `unsigned`")] {
        let error = refused(show(&sink, &[row]));
        assert!(error.contains(reason) && error.contains("SQLite has no"), "{error}");
    }
}
