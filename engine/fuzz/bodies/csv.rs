//! Arbitrary bytes as CSV: every row is a record or is rejected, however the file is read, and a record is read
//! the same again.
#![allow(dead_code, reason = "each user takes its part")]

use bumpalo::Bump;
use headwater::prelude::*;
use headwater_connectors::CsvFile;
use headwater_connectors::format::{CsvColumns, decode_csv_row, encode_csv_row};

use crate::reading::{file, read_by};

#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Row {
    id: u64,
    delta: Option<i32>,
    amount: f64,
    paid: bool,
    name: String,
    tags: Vec<String>,
}

/// The first byte says whether there is a header, and what stands between cells.
pub(crate) fn csv_bytes(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let delimiter = [b',', b';', b'\t', b'|'][usize::from(how >> 1 & 3)];
    if let Ok(text) = std::str::from_utf8(bytes) {
        let mut columns = CsvColumns::declared::<Row>(delimiter).unwrap();
        for line in text.lines() {
            let arena = Bump::new();
            if let Ok(row) = decode_csv_row::<Row>(line, &mut columns, &arena) {
                read_again(&Row::from_view(row), delimiter);
            }
        }
    }
    // A file takes a hundred times as long as its rows.
    if bytes.len().is_multiple_of(8) {
        read_file(bytes, how & 1 == 1, delimiter);
    }
}

fn read_file(bytes: &[u8], header: bool, delimiter: u8) {
    let (_folder, path) = file("rows.csv", bytes);
    let source = CsvFile::<Row>::new(&path).header(header).delimiter(delimiter);
    let whole = read_by(&source, 1024);
    let slow = read_by(&source, 1);
    assert_eq!(texts(&whole.records), texts(&slow.records));
    assert_eq!(whole.rejected, slow.rejected);
    assert_eq!(whole.error, slow.error);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(whole.records.len() + whole.rejected.len() <= lines, "more rows than lines");
    whole.records.iter().for_each(|row| read_again(row, delimiter));
}

/// Texts are equal also where a number is none.
fn texts(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

fn read_again(row: &Row, delimiter: u8) {
    let mut text = Vec::new();
    encode_csv_row::<Row>(row.view(), delimiter, &mut text);
    let text = String::from_utf8(text).unwrap();
    let (arena, mut columns) = (Bump::new(), CsvColumns::declared::<Row>(delimiter).unwrap());
    let again = decode_csv_row::<Row>(text.trim_end_matches(['\r', '\n']), &mut columns, &arena);
    let again = again.map(Row::from_view);
    assert!(again.as_ref().is_ok_and(|again| again == row), "{row:?} was written as {text}: {again:?}");
}
