//! Sinks over files: rows as CSV or JSON lines, in one file or in a folder of files.
//!
//! 1. `csv`, `json`: the sinks [`CsvSink`](crate::CsvSink) and [`JsonLinesSink`](crate::JsonLinesSink)
//! 2. `output`: the two phases of a file: staged with the epoch, shown when it is committed
//! 3. `objects`: the same for objects of a store; `text`: one or the other
//! 4. `staged`: the bytes that an epoch keeps for it
//! 5. `layout`: names of files, and when a folder's next file begins

mod csv;
mod json;
mod layout;
#[cfg(feature = "object-store")]
mod objects;
mod output;
mod staged;
mod text;

pub use self::csv::CsvSink;
pub use self::json::JsonLinesSink;
