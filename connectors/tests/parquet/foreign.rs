//! Files of other programs are read, and other programs read ours: pyarrow and DuckDB, where they are installed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use headwater::prelude::*;
use headwater_connectors::{ParquetFile, ParquetSink};

use super::{read, seen, write};

/// The Python of the virtual environment that `scripts/python` makes, or of `HEADWATER_PYTHON`.
fn python(module: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3).unwrap_or(Path::new(".")).to_owned();
    let python = std::env::var_os("HEADWATER_PYTHON").map_or(target.join("python/bin/python"), PathBuf::from);
    let has = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if has.is_ok_and(|has| has.status.success()) {
        return Some(python);
    }
    // Not by `eprintln!`, which a test that passes does not show.
    let line = format!("skipped: a test of Parquet needs {module} in {}: scripts/python\n", python.display());
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

/// Runs a script with arguments; what it prints.
fn run(python: &Path, script: &str, arguments: &[&Path]) -> String {
    let run = Command::new(python).arg("-c").arg(script).args(arguments).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Inner {
    a: Option<i32>,
    b: Option<String>,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    id: u64,
    small: Option<i16>,
    name: Option<String>,
    at: i64,
    ratio: Option<f64>,
    flag: Option<bool>,
    money: Option<i128>,
    tags: Option<Vec<Option<String>>>,
    inner: Option<Inner>,
    inners: Option<Vec<Option<Inner>>>,
}

fn row(n: u64) -> Row {
    let text = |n: u64| (n % 3 != 0).then(|| format!("name {}", n % 10));
    let inner = |n: u64| (n % 4 != 0).then(|| Inner { a: (n % 5 != 0).then_some(n as i32), b: text(n) });
    Row {
        id: n,
        small: (n % 7 != 0).then_some(n as i16 - 100),
        name: text(n),
        at: n as i64 * 1_000,
        ratio: (n % 2 != 0).then_some(n as f64 / 4.0),
        flag: (n % 6 != 0).then_some(n % 4 == 1),
        money: (n % 8 != 0).then_some(-(i128::from(n)) * 1_000_000_007),
        tags: (n % 9 != 0).then(|| (0..n % 4).map(text).collect()),
        inner: inner(n),
        inners: (n % 11 != 0).then(|| (0..n % 3).map(|more| inner(n + more)).collect()),
    }
}

/// The same rows, made by pyarrow.
const MAKE: &str = r#"
import sys, decimal, pyarrow as pa, pyarrow.parquet as pq
def text(n): return f"name {n % 10}" if n % 3 else None
def inner(n): return {"a": n if n % 5 else None, "b": text(n)} if n % 4 else None
rows = [{
  "unread": n, "id": n, "small": n - 100 if n % 7 else None, "name": text(n), "at": n * 1000000,
  "ratio": n / 4 if n % 2 else None, "flag": n % 4 == 1 if n % 6 else None,
  "money": decimal.Decimal(-n * 1000000007) if n % 8 else None,
  "tags": [text(i) for i in range(n % 4)] if n % 9 else None, "inner": inner(n),
  "inners": [inner(n + i) for i in range(n % 3)] if n % 11 else None,
} for n in range(3000)]
struct = pa.struct([("a", pa.int32()), ("b", pa.string())])
schema = pa.schema([("unread", pa.float64()), ("id", pa.uint64()), ("small", pa.int16()), ("name", pa.string()),
  ("at", pa.timestamp("us")), ("ratio", pa.float64()), ("flag", pa.bool_()), ("money", pa.decimal128(38, 0)),
  ("tags", pa.list_(pa.string())), ("inner", struct), ("inners", pa.list_(struct))])
table = pa.Table.from_pylist(rows, schema=schema)
out = sys.argv[1]
pq.write_table(table, out + "/snappy-v2.parquet", compression="snappy", data_page_version="2.0",
  row_group_size=700)
pq.write_table(table, out + "/zstd-plain.parquet", compression="zstd", use_dictionary=False, data_page_size=2000)
pq.write_table(table, out + "/gzip-old.parquet", compression="gzip", version="1.0",
  use_compliant_nested_type=False)
pq.write_table(table, out + "/lz4.parquet", compression="lz4", data_page_version="2.0", use_dictionary=["name"])
pq.write_table(table, out + "/int96.parquet", compression="none", use_deprecated_int96_timestamps=True)
delta = {"id": "DELTA_BINARY_PACKED", "small": "DELTA_BINARY_PACKED", "name": "DELTA_BYTE_ARRAY", "at": "PLAIN"}
pq.write_table(table, out + "/delta.parquet", use_dictionary=False, column_encoding=delta, write_page_index=True)
pq.write_table(table, out + "/split.parquet", use_dictionary=False, column_encoding={"ratio": "BYTE_STREAM_SPLIT",
  "name": "DELTA_LENGTH_BYTE_ARRAY"}, row_group_size=1000)
"#;

#[test]
fn files_of_pyarrow_are_read() {
    let Some(python) = python("pyarrow") else { return };
    let folder = tempfile::tempdir().unwrap();
    run(&python, MAKE, &[folder.path()]);
    let expected: Vec<Row> = (0..3_000).map(row).collect();
    let files = seen(folder.path());
    assert_eq!(files.len(), 7);
    for file in files {
        let (rows, rejected) = read(&ParquetFile::<Row>::read(&file)).unwrap();
        assert!(rejected.is_empty(), "{}: {:?}", file.display(), rejected[0]);
        let differs = rows.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert!(differs.is_none() && rows.len() == 3_000, "{}: {differs:?}", file.display());
    }
    let check = headwater::testing::SourceCheck::new().rows_per_poll(150).positions_max(12);
    let all = || Ok(ParquetFile::<Row>::read(folder.path()).splits(2));
    assert_eq!(headwater::testing::check_source(all, &check).unwrap().records, 21_000);
}

#[test]
fn files_of_duckdb_are_read() {
    let Some(python) = python("duckdb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let make = "import sys, duckdb\n\
                for name, packed, version in [('one', 'snappy', 'v1'), ('two', 'zstd', 'v2')]:\n  \
                  duckdb.sql(f\"\"\"copy (select i::ubigint id, 'n' || i % 7 as name, \
                  case when i % 3 = 0 then null else [i, null, i + 1] end as list, \
                  case when i % 5 = 0 then null else {{'a': i::int, 'b': 'x' || i}} end as \"inner\", \
                  make_timestamp(i * 1000000) as at from range(5000) t(i)) to '{sys.argv[1]}/{name}.parquet' \
                  (format parquet, compression {packed}, parquet_version {version}, row_group_size 2048)\"\"\")";
    run(&python, make, &[folder.path()]);
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Made {
        at: i64,
        list: Option<Vec<Option<i64>>>,
        name: String,
        id: u64,
        inner: Option<Inner>,
    }
    let (rows, rejected) = read(&ParquetFile::<Made>::read(folder.path())).unwrap();
    assert_eq!((rows.len(), rejected.len()), (10_000, 0));
    for (at, row) in rows.iter().enumerate() {
        let i = (at % 5_000) as i64;
        let expected = Made {
            at: i * 1_000,
            list: (i % 3 != 0).then(|| vec![Some(i), None, Some(i + 1)]),
            name: format!("n{}", i % 7),
            id: i as u64,
            inner: (i % 5 != 0).then(|| Inner { a: Some(i as i32), b: Some(format!("x{i}")) }),
        };
        assert_eq!(*row, expected);
    }
}

#[test]
fn pyarrow_reads_our_files() {
    let Some(python) = python("pyarrow") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let rows: Vec<Row> = (0..3_000).map(row).collect();
    // Epochs that end row groups, epochs that are kept, several files.
    let sink = ParquetSink::new(&ours).timestamp("at").kept_bytes_max(60_000).roll_rows(2_000);
    write(&sink, &rows, 500);
    std::fs::create_dir(&theirs).unwrap();
    run(&python, MAKE, &[&theirs]);
    let compare = "import sys, pyarrow.parquet as pq\n\
                   ours = pq.read_table(sys.argv[1]).to_pylist()\n\
                   theirs = pq.read_table(sys.argv[2] + '/lz4.parquet').drop(['unread']).to_pylist()\n\
                   for row in ours: row['at'] = row['at'].replace(tzinfo=None)\n\
                   assert ours == theirs, next((a, b) for a, b in zip(ours, theirs) if a != b)\n\
                   schema = pq.read_schema(sys.argv[1] + '/part-0-00000001.parquet')\n\
                   print(schema.field('id').type, schema.field('at').type, schema.field('money').type)";
    assert_eq!(
        run(&python, compare, &[&ours, &theirs]).trim(),
        "uint64 timestamp[ms, tz=UTC] decimal128(38, 0)"
    );
}

#[test]
fn duckdb_reads_our_folders() {
    let Some(python) = python("duckdb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<(String, u64)> =
        (0..1_000).map(|n| (["FR", "DE", "a/b"][n as usize % 3].to_owned(), n)).collect();
    write(&ParquetSink::new(folder.path()).partition_by(&["_1"]), &rows, 300);
    let query = "import sys, duckdb; print(duckdb.sql(\"select _1, count(*), sum(_2) from read_parquet('\" + \
                 sys.argv[1] + \"/*/*.parquet', hive_partitioning = true) group by _1 order by _1\").fetchall())";
    let found = run(&python, query, &[folder.path()]);
    assert_eq!(found.trim(), "[('DE', 333, 166167), ('FR', 334, 166833), ('a/b', 333, 166500)]");
}
