//! Sinks over files: rows as CSV or JSON lines, in one file or in a folder of files.
//!
//! 1. `csv`, `json`: the sinks [`CsvSink`](crate::CsvSink) and [`JsonLinesSink`](crate::JsonLinesSink)
//! 2. `output`: the two phases of a file: staged with the epoch, shown when it is committed
//! 3. `staged`: the bytes that an epoch keeps for it
//! 4. `layout`: names of files, and when a folder's next file begins

mod csv;
mod json;
mod layout;
mod output;
mod staged;

pub use self::csv::CsvSink;
pub use self::json::JsonLinesSink;
