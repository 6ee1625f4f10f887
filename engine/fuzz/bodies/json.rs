//! Arbitrary bytes as JSON lines: every line is a record or is rejected, however the file is read; what is read
//! as a record is JSON, and is read the same again.
#![allow(dead_code, reason = "each user takes its part")]

use bumpalo::Bump;
use headwater::prelude::*;
use headwater_connectors::JsonLines;
use headwater_connectors::format::{JsonKeys, decode_json_line, encode_json_line};

use crate::reading::{file, read_by};

#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Inner {
    text: Option<String>,
    values: Vec<f64>,
}

#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Line {
    id: u64,
    delta: Option<i32>,
    paid: bool,
    name: String,
    inner: Inner,
    pairs: Vec<(u8, String)>,
}

pub(crate) fn json_bytes(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').map(std::str::from_utf8);
    let mut keys = JsonKeys::default();
    let mut alone = 0;
    for line in lines.clone().flatten() {
        let arena = Bump::new();
        if let Ok(record) = decode_json_line::<Line>(line, &arena, &mut keys) {
            read_again(&Line::from_view(record));
            let value = serde_json::from_str::<serde_json::Value>(line);
            // What is too large or too deep for the other one is JSON all the same, and so is half a character in
            // a text that is passed over.
            let is_json = value.as_ref().err().is_none_or(|error| {
                let said = error.to_string();
                ["out of range", "recursion limit", "surrogate", "hex escape"]
                    .iter()
                    .any(|part| said.contains(part))
            });
            assert!(is_json, "{line:?} is no JSON: {value:?}");
            alone += 1;
        }
    }
    // A file takes a hundred times as long as its lines.
    if bytes.len().is_multiple_of(8) {
        let count = read_file(bytes);
        if let (true, Some(count)) = (lines.clone().all(|line| line.is_ok()), count) {
            assert_eq!(alone, count, "lines read alone are others than those of the file");
        }
    }
}

/// How many records a file has, if it can be read to its end.
fn read_file(bytes: &[u8]) -> Option<usize> {
    let (_folder, path) = file("rows.jsonl", bytes);
    let source = JsonLines::<Line>::new(&path);
    let whole = read_by(&source, 1024);
    let slow = read_by(&source, 1);
    assert_eq!(whole.records, slow.records);
    assert_eq!(whole.rejected, slow.rejected);
    assert_eq!(whole.error, slow.error);
    whole.records.iter().for_each(read_again);
    whole.error.is_none().then_some(whole.records.len())
}

fn read_again(line: &Line) {
    let mut text = Vec::new();
    encode_json_line::<Line>(line.view(), &mut text);
    let text = String::from_utf8(text).unwrap();
    let (arena, mut keys) = (Bump::new(), JsonKeys::default());
    let again = decode_json_line::<Line>(&text, &arena, &mut keys).map(Line::from_view);
    assert!(again.as_ref().is_ok_and(|again| again == line), "{line:?} was written as {text}: {again:?}");
}
