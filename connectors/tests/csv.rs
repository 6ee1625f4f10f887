//! CSV: what is accepted, what is refused and why, with the csv crate as the oracle.
#![allow(clippy::expect_used, reason = "a test fails where it stands")]

mod reading;

use headwater::prelude::*;
use headwater::source::Source as _;
use headwater_connectors::CsvFile;
use headwater_connectors::format::{encode_csv_header, encode_csv_row};
use proptest::prelude::*;
use reading::{file, read, read_by, read_from};

#[derive(Record, Clone, Debug, PartialEq)]
struct Place {
    city: String,
    zip: Option<u32>,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Order {
    id: u64,
    delta: i64,
    amount: f64,
    paid: bool,
    name: String,
    note: Option<String>,
    place: Place,
    other: Option<(u32, String)>,
    tags: Vec<String>,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Pair {
    number: u64,
    text: String,
}

fn pair(number: u64, text: &str) -> Pair {
    Pair { number, text: text.to_owned() }
}

prop_compose! {
    fn order()(
        numbers in (any::<u64>(), any::<i64>(), any::<bool>()),
        amount in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        texts in ("[\\PC\",;\n\r]{0,20}", proptest::option::of("[a-z\", \n]{0,9}")),
        city in ".{0,12}",
        zip in any::<Option<u32>>(),
        other in proptest::option::of((any::<u32>(), "[a\",;]{0,3}")),
        tags in proptest::collection::vec("[a\",\\PC]{0,5}", 0..4),
    ) -> Order {
        Order {
            id: numbers.0,
            delta: numbers.1,
            amount,
            paid: numbers.2,
            name: texts.0,
            note: texts.1,
            place: Place { city, zip },
            other,
            tags,
        }
    }
}

fn written<T: Record>(records: &[T], header: bool, delimiter: u8) -> Vec<u8> {
    let mut out = Vec::new();
    if header {
        encode_csv_header::<T>(delimiter, &mut out);
    }
    records.iter().for_each(|record| encode_csv_row::<T>(record.view(), delimiter, &mut out));
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn written_rows_read_back_equal(
        orders in proptest::collection::vec(order(), 0..6),
        header in any::<bool>(),
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t')],
        buffer in prop_oneof![Just(1usize), Just(7), Just(1 << 16)],
    ) {
        let (_folder, path) = file("orders.csv", written(&orders, header, delimiter));
        let source = CsvFile::<Order>::new(&path).header(header).delimiter(delimiter).buffer_bytes(buffer);
        let reading = read(&source);
        prop_assert_eq!(&reading.rejected, &vec![]);
        prop_assert_eq!(reading.error, None);
        prop_assert_eq!(reading.records, orders);
    }

    #[test]
    fn others_read_what_we_write(orders in proptest::collection::vec(order(), 1..5)) {
        let text = written(&orders, true, b',');
        let mut reader = csv::Reader::from_reader(&text[..]);
        let header: Vec<_> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
        prop_assert_eq!(header, Order::schema().columns());
        let rows: Vec<_> = reader.records().collect::<Result<_, _>>().expect("rows");
        prop_assert_eq!(rows.len(), orders.len());
        for (row, order) in rows.iter().zip(&orders) {
            prop_assert_eq!(&row[0], order.id.to_string());
            prop_assert_eq!(row[2].parse::<f64>(), Ok(order.amount));
            prop_assert_eq!(&row[4], order.name.as_str());
            prop_assert_eq!(&row[6], order.place.city.as_str());
        }
    }

    #[test]
    fn we_read_what_others_write(
        rows in proptest::collection::vec((any::<u64>(), "[a-c\",\r\n é😀]{0,12}", any::<i32>()), 1..8),
        order in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
        style in 0..3usize,
        windows in any::<bool>(),
        buffer in prop_oneof![Just(1usize), Just(1 << 16)],
    ) {
        let style = [csv::QuoteStyle::Necessary, csv::QuoteStyle::Always, csv::QuoteStyle::NonNumeric][style];
        let terminator = if windows { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new()
            .quote_style(style)
            .terminator(terminator)
            .from_writer(vec![]);
        let names = ["number", "text", "unknown", "other"];
        writer.write_record(order.iter().map(|at| names[*at])).expect("written");
        for (number, text, unknown) in &rows {
            let cells = [number.to_string(), text.clone(), unknown.to_string(), "\"".to_owned()];
            writer.write_record(order.iter().map(|at| &cells[*at])).expect("written");
        }
        let (_folder, path) = file("pairs.csv", writer.into_inner().expect("written"));
        let reading = read(&CsvFile::<Pair>::new(&path).buffer_bytes(buffer));
        let expected: Vec<_> = rows.iter().map(|(number, text, _)| pair(*number, text)).collect();
        prop_assert_eq!(&reading.rejected, &vec![]);
        prop_assert_eq!(reading.records, expected);
    }

    #[test]
    fn reading_from_every_position_gives_what_followed(orders in proptest::collection::vec(order(), 1..5)) {
        let (_folder, path) = file("orders.csv", written(&orders, true, b','));
        let source = CsvFile::<Order>::new(&path);
        let whole = read_by(&source, 1);
        prop_assert_eq!(&whole.records, &orders);
        let partition = source.partitions().expect("a file").remove(0);
        for (count, _, position) in whole.positions {
            let rest = read_from(&source, &partition, Some(position), 1024);
            prop_assert_eq!(&rest.records[..], &orders[count..]);
        }
    }
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let text = "\u{feff}text, number ,more\r\n\"a\",1,x\r\nb,2,\"y\r\nz\"\r\n\r\nc,3,";
    let (_folder, path) = file("pairs.csv", text);
    let reading = read(&CsvFile::<Pair>::new(&path));
    assert_eq!(reading.records, [pair(1, "a"), pair(2, "b"), pair(3, "c")]);
    assert_eq!(reading.rejected, []);
}

#[test]
fn nested_and_optional_columns_may_be_missing() {
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Row {
        place: Place,
        other: Option<Place>,
        tags: Option<Vec<u64>>,
    }
    let (_folder, path) = file("rows.csv", "place.zip,place.city\n7,a\n,b\n");
    let reading = read(&CsvFile::<Row>::new(&path));
    let row = |city: &str, zip| Row { place: Place { city: city.into(), zip }, other: None, tags: None };
    assert_eq!(reading.records, [row("a", Some(7)), row("b", None)]);
}

#[test]
fn a_row_that_does_not_fit_is_rejected_with_its_place_and_reading_goes_on() {
    let text =
        "number,text\n1,a\nx,b\n2\n3,c,d\n\"4,e\n5,f\n6,\"g\"h\n-1,i\n,j\n1.5,k\n\"multi\nline\",l\n7,m";
    let (_folder, path) = file("pairs.csv", text);
    for buffer in [1, 5, 1 << 16] {
        let reading = read(&CsvFile::<Pair>::new(&path).buffer_bytes(buffer));
        let expected: Vec<_> = [
            (3, "field `number`: `x` is not an integer", "x,b"),
            (4, "the row has 1 cell, but 2 are expected", "2"),
            (5, "the row has 3 cells, but 2 are expected", "3,c,d"),
            (6, "the quote of cell 1 is not closed", "\"4,e"),
            (8, "text follows the closing quote of cell 2", "6,\"g\"h"),
            (9, "field `number`: -1 does not fit u64", "-1,i"),
            (10, "field `number`: the cell is empty", ",j"),
            (11, "field `number`: 1.5 is not a whole number, as u64 needs", "1.5,k"),
            (12, "field `number`: `multi\nline` is not an integer", "\"multi\nline\",l"),
        ]
        .into_iter()
        .map(|(line, reason, payload)| (line, reason.to_owned(), payload.to_owned()))
        .collect();
        let found: Vec<_> =
            reading.rejected.iter().map(|r| (r.line, r.reason.clone(), r.payload.clone())).collect();
        assert_eq!(found, expected);
        for rejected in &reading.rejected {
            assert_eq!(text.find(&rejected.payload), Some(rejected.offset as usize), "{rejected:?}");
        }
        assert_eq!(reading.records, [pair(1, "a"), pair(5, "f"), pair(7, "m")]);
        assert_eq!(reading.error, None);
    }
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line() {
    let text = "1,\"open\n2,b\n3,\"c,\"\n\"";
    let (_folder, path) = file("pairs.csv", text);
    for buffer in [1, 1 << 16] {
        let reading = read(&CsvFile::<Pair>::new(&path).header(false).buffer_bytes(buffer));
        let lines: Vec<_> = reading.rejected.iter().map(|rejected| rejected.line).collect();
        assert_eq!(lines, [1, 4]);
        assert_eq!(reading.records, [pair(2, "b"), pair(3, "c,")]);
    }
    let (_folder, path) = file("pairs.csv", "1,\"open\n2,b\n3,c\n");
    for buffer in [1, 1 << 16] {
        let reading = read(&CsvFile::<Pair>::new(&path).header(false).buffer_bytes(buffer));
        assert_eq!(reading.records, [pair(2, "b"), pair(3, "c")]);
        let rejected = &reading.rejected[0];
        assert_eq!((rejected.line, rejected.offset, rejected.payload.as_str()), (1, 0, "1,\"open"));
        assert!(rejected.reason.contains("never closed"));
    }
    let long = format!("1,\"open\n{}", "2,b\n".repeat(1000));
    let (_folder, path) = file("pairs.csv", long);
    let reading = read(&CsvFile::<Pair>::new(&path).header(false).buffer_bytes(64).line_bytes_max(200));
    assert_eq!(reading.records.len(), 1000);
    assert!(reading.rejected[0].reason.contains("not closed within 200 bytes"));
}

#[track_caller]
fn header_error(header: &str) -> String {
    let (_folder, path) = file("pairs.csv", format!("{header}\n1,a\n"));
    let reading = read(&CsvFile::<Pair>::new(&path));
    assert!(reading.records.is_empty());
    reading.error.expect("an error")
}

#[test]
fn a_header_that_lacks_a_column_is_one_clear_error() {
    let error = header_error("number,name");
    assert!(error.contains("lacks the column `text`; it has `number`, `name`"), "{error}");
    assert!(error.contains("pairs.csv"), "{error}");
    let error = header_error("number;text;more");
    assert!(error.contains("say `.delimiter(b';')`"), "{error}");
    let error = header_error("number\ttext");
    assert!(error.contains("say `.delimiter(b'\\t')`"), "{error}");
    let error = header_error("Number,text");
    assert!(error.contains("`#[record(rename = \"Number\")]`"), "{error}");
    let error = header_error("1,a");
    assert!(error.contains("say `.header(false)`"), "{error}");
    let error = header_error("number,text,number");
    assert!(error.contains("has the column `number` twice"), "{error}");
}

#[test]
fn a_delimiter_that_cannot_work_is_refused() {
    let (_folder, path) = file("pairs.csv", "1,a\n");
    let error = CsvFile::<Pair>::new(&path).delimiter(b'"').partitions().expect_err("refused");
    assert!(error.to_string().contains("cannot separate cells"));
}

#[test]
fn tabs_separate_cells_of_tsv_files() {
    let (_folder, path) = file("pairs.tsv", "number\ttext\n1\ta,b\n");
    assert_eq!(read(&CsvFile::<Pair>::new(&path)).records, [pair(1, "a,b")]);
}

#[test]
fn numbers_and_booleans_may_have_space_around_them() {
    let (_folder, path) = file("rows.csv", " 1, 2.5 , TRUE,-3\n2,nan,0,+4\n");
    let reading = read(&CsvFile::<(u64, f64, bool, i64)>::new(&path).header(false));
    assert_eq!(reading.records[0], (1, 2.5, true, -3));
    assert!(reading.records[1].1.is_nan() && !reading.records[1].2 && reading.records[1].3 == 4);
}

#[test]
fn lists_are_json_in_one_cell() {
    let (_folder, path) = file("rows.csv", "1,\"[1, 2]\"\n2,[]\n3,\"[1\"\n4,\"[1] 2\"\n5,\n");
    let reading = read(&CsvFile::<(u64, Vec<u64>)>::new(&path).header(false));
    assert_eq!(reading.records, [(1, vec![1, 2]), (2, vec![])]);
    let lines: Vec<_> = reading.rejected.iter().map(|rejected| rejected.line).collect();
    assert_eq!(lines, [3, 4, 5]);
}

#[test]
fn an_empty_text_is_not_a_missing_one() {
    let rows = [(1u64, Some(String::new())), (2, None)];
    assert_eq!(written(&rows, false, b','), b"1,\"\"\n2,\n");
    let (_folder, path) = file("rows.csv", written(&rows, false, b','));
    assert_eq!(read(&CsvFile::<(u64, Option<String>)>::new(&path).header(false)).records, rows);
}
