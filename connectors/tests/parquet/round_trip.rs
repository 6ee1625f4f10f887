//! What `ParquetSink` writes, `ParquetFile` reads: any record, any cut into batches, epochs and files.

use std::time::Duration;

use headwater::prelude::*;
use headwater_connectors::{ParquetFile, ParquetSink};
use proptest::prelude::*;

use super::{read, seen, write};

#[derive(Record, Clone, Debug, PartialEq)]
struct Numbers {
    a: (u8, u16, u32, u64),
    b: (i8, i16, i32, i64),
    c: (u128, i128),
    d: (f32, f64, bool),
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Item {
    name: String,
    sizes: Option<Vec<Option<i64>>>,
}

type Inmost = Option<(u8, Vec<String>)>;

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    numbers: Numbers,
    text: Option<String>,
    nothing: (),
    items: Vec<Item>,
    deep: Vec<Vec<Inmost>>,
    inner: Option<Item>,
    maybe: Option<Numbers>,
    #[record(rename = "with.dot")]
    dotted: i64,
}

const WIDE: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

fn number() -> impl Strategy<Value = Numbers> {
    let c = (0..=WIDE as u128, -WIDE..=WIDE);
    (any::<(u8, u16, u32, u64)>(), any::<(i8, i16, i32, i64)>(), c, any::<(f32, f64, bool)>())
        .prop_map(|(a, b, c, d)| Numbers { a, b, c, d })
}

fn item() -> impl Strategy<Value = Item> {
    let sizes = proptest::option::of(proptest::collection::vec(any::<Option<i64>>(), 0..4));
    ("\\PC{0,12}", sizes).prop_map(|(name, sizes)| Item { name, sizes })
}

fn row() -> impl Strategy<Value = Row> {
    let inmost = proptest::option::of((any::<u8>(), proptest::collection::vec("[a-c]{0,3}", 0..3)));
    let deep = proptest::collection::vec(proptest::collection::vec(inmost, 0..3), 0..3);
    let items = proptest::collection::vec(item(), 0..3);
    let texts = (proptest::option::of("\\PC{0,20}"), any::<i64>());
    (number(), texts, items, deep, proptest::option::of(item()), proptest::option::of(number())).prop_map(
        |(numbers, (text, dotted), items, deep, inner, maybe)| Row {
            numbers,
            text,
            nothing: (),
            items,
            deep,
            inner,
            maybe,
            dotted,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_back_as_they_were(
        rows in proptest::collection::vec(row(), 1..120),
        epoch_rows in 1_usize..150,
        kept in 0_u64..20_000,
        roll in 1_u64..200,
    ) {
        let folder = tempfile::tempdir().unwrap();
        write(&ParquetSink::new(folder.path()).kept_bytes_max(kept).roll_rows(roll), &rows, epoch_rows);
        let (found, rejected) = read(&ParquetFile::<Row>::read(folder.path())).unwrap();
        prop_assert!(rejected.is_empty(), "{rejected:?}");
        prop_assert_eq!(format!("{found:?}"), format!("{rows:?}"));
    }
}

#[test]
fn more_rows_than_buffers_and_pages_hold() {
    let folder = tempfile::tempdir().unwrap();
    type Row = (u64, Option<String>, Vec<i32>);
    let rows: Vec<Row> = (0..70_000)
        .map(|n| (n * n, (n % 5 > 0).then(|| format!("text {}", n % 1_000)), vec![n as i32; n as usize % 3]))
        .collect();
    write(&ParquetSink::new(folder.path()), &rows, 50_000);
    let (found, _) = read(&ParquetFile::<Row>::read(folder.path())).unwrap();
    assert!(found == rows);
    let (found, _) = read(&ParquetFile::<(u64,)>::read(folder.path())).unwrap();
    assert!(found.iter().map(|row| row.0).eq(rows.iter().map(|row| row.0)));
}

#[test]
fn a_value_without_fields_has_a_column_value() {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<String> = ["a", "", "ß"].map(str::to_owned).to_vec();
    write(&ParquetSink::new(folder.path().join("text")), &words, 2);
    assert_eq!(read(&ParquetFile::<String>::read(folder.path().join("text"))).unwrap().0, words);
    let lists = vec![Some(vec![1_u8, 2]), None, Some(vec![])];
    write(&ParquetSink::new(folder.path().join("lists")), &lists, 2);
    assert_eq!(read(&ParquetFile::<Option<Vec<u8>>>::read(folder.path().join("lists"))).unwrap().0, lists);
}

#[test]
fn files_roll_by_rows_bytes_and_age() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<u64> = (0..10_000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let files = |name: &str, sink: fn(ParquetSink<u64>) -> ParquetSink<u64>| {
        let folder = folder.path().join(name);
        write(&sink(ParquetSink::new(&folder)), &rows, 1_000);
        assert_eq!(read(&ParquetFile::<u64>::read(&folder)).unwrap().0, rows);
        seen(&folder).len()
    };
    assert_eq!(files("end", |sink| sink), 1);
    assert_eq!(files("rows", |sink| sink.roll_rows(3_000)), 4);
    assert_eq!(files("bytes", |sink| sink.roll_bytes(1)), 10);
    // Epochs are a second apart, and a file is as old as its first epoch's end.
    assert_eq!(files("age", |sink| sink.roll_after(Duration::from_secs(4))), 2);
    assert_eq!(files("epochs", |sink| sink.roll_after(Duration::ZERO)), 10);
}

#[test]
fn folders_are_named_by_the_values() {
    let folder = tempfile::tempdir().unwrap();
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Order {
        country: Option<String>,
        at: i64,
        cents: u64,
    }
    let order = |country: Option<&str>, at, cents| Order { country: country.map(str::to_owned), at, cents };
    let rows = [
        order(Some("FR"), 0, 1),
        order(Some("../x"), 86_400_000, 2),
        order(None, -1, 3),
        order(Some("FR"), 86_399_999, 4),
    ];
    let sink =
        ParquetSink::new(folder.path()).partition_by(&["country"]).partition_by_day("at").timestamp("at");
    write(&sink, &rows, 10);
    let files: Vec<_> = seen(folder.path());
    let below: Vec<_> =
        files.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(
        below,
        [
            "country=..%2Fx/date=1970-01-02/part-0-00000001.parquet",
            "country=FR/date=1970-01-01/part-0-00000001.parquet",
            "country=__HIVE_DEFAULT_PARTITION__/date=1969-12-31/part-0-00000001.parquet",
        ]
    );
    let (mut found, _) = read(&ParquetFile::<Order>::read(folder.path())).unwrap();
    found.sort_by_key(|order| order.cents);
    assert_eq!(found, rows);
}

#[test]
fn more_folders_than_files_may_be_open() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<(u32, u64)> = (0..2_000).map(|n| ((n % 300) as u32, n)).collect();
    write(&ParquetSink::new(folder.path()).partition_by(&["_1"]), &rows, 900);
    let (mut found, _) = read(&ParquetFile::<(u32, u64)>::read(folder.path())).unwrap();
    found.sort_by_key(|row| row.1);
    assert_eq!(found, rows);
}
