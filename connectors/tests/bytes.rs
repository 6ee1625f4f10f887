//! Arbitrary bytes as CSV and JSON lines: the bodies of the fuzz targets, on their corpus and changes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers stand outside of test functions")]

#[path = "../../engine/fuzz/bodies/corpus.rs"]
mod corpus;
#[path = "../../engine/fuzz/bodies/csv.rs"]
mod csv_body;
#[path = "../../engine/fuzz/bodies/json.rs"]
mod json_body;
mod reading;

use self::corpus::try_body;

#[test]
fn arbitrary_bytes_as_csv_are_records_or_rejected_however_they_are_read() {
    try_body("csv", 5_000, csv_body::csv_bytes);
}

#[test]
fn arbitrary_bytes_as_json_lines_are_records_or_rejected_however_they_are_read() {
    try_body("json", 5_000, json_body::json_bytes);
}
