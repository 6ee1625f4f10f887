//! What an operation prints: tables for people, one JSON object per line for programs.

use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use crate::batch::Value;
use crate::error::{Error, Result};

/// Standard output.
pub(super) struct Output {
    out: BufWriter<Stdout>,
    pub(super) json: bool,
    /// Whoever read it has gone, which ends the operation and is no failure.
    gone: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Output { out: BufWriter::new(io::stdout()), json, gone: false }
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: impl std::fmt::Display) -> Result<()> {
        let written = writeln!(self.out, "{line}");
        self.check(written)
    }

    /// Writes a line for people only.
    pub(super) fn say(&mut self, line: impl std::fmt::Display) -> Result<()> {
        if self.json { Ok(()) } else { self.line(line) }
    }

    /// Writes what is buffered; `done` is what the operation came to.
    pub(super) fn finish(mut self, done: Result<()>) -> Result<()> {
        let flushed = self.out.flush();
        let flushed = self.check(flushed);
        if self.gone { Ok(()) } else { done.and(flushed) }
    }

    fn check(&mut self, written: io::Result<()>) -> Result<()> {
        written.map_err(|error| {
            self.gone |= error.kind() == ErrorKind::BrokenPipe;
            Error::from(error)
        })
    }
}

/// A table for people: as wide as it must be, numbers to the right.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these columns; those that begin with `>` hold numbers.
    pub(super) fn new(columns: &[&str]) -> Self {
        let names = columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        Table { rows: vec![names], right: columns.iter().map(|name| name.starts_with('>')).collect() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn print(&self, out: &mut Output) -> Result<()> {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<_> = (0..self.right.len()).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let gap = if line.is_empty() { "" } else { "  " };
                // Writing to a String cannot fail.
                let _ = match right {
                    true => write!(line, "{gap}{cell:>width$}"),
                    false => write!(line, "{gap}{cell:<width$}"),
                };
            }
            out.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// Bytes as people write them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// A value as a cell: text without its quotes, the fields of a record without their braces.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The value that a text of JSON says.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    // Integers of 128 bits are more than the parser takes.
    if let Ok(number) = text.parse() {
        return Ok(Value::Unsigned(number));
    }
    if let Ok(number) = text.parse() {
        return Ok(Value::Signed(number));
    }
    serde_json::from_str(text).map(of_json).map_err(|error| error.to_string())
}

fn of_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::Unsigned(number.into()),
            (None, Some(number)) => Value::Signed(number.into()),
            _ => number.as_f64().map_or(Value::Null, Value::Number),
        },
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(of_json).collect()),
        serde_json::Value::Object(fields) => {
            Value::Record(fields.into_iter().map(|(name, value)| (name, of_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!([0, 1023, 1024, 1_572_864].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB"]);
    }

    #[test]
    fn keys_are_json() {
        assert_eq!(parse("-3"), Ok(Value::Signed(-3)));
        let largest = u128::MAX;
        assert_eq!(parse(&largest.to_string()), Ok(Value::Unsigned(largest)));
        assert_eq!(parse(r#"["a", 7]"#), Ok(vec![Value::from("a"), Value::from(7)].into()));
        assert!(parse("hall-1").is_err());
    }
}
