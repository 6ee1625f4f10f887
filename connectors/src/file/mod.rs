//! Sources over files: lines of text, CSV rows and JSON lines; plain, gzip or zstd; whole or growing.
//!
//! 1. `text`, `csv`, `json`: the sources [`TextFile`], [`CsvFile`] and [`JsonLines`]
//! 2. `options`: what all of them can be told
//! 3. `paths`: which files a path stands for
//! 4. `reader`: one open file and the place in it
//! 5. `records`: from bytes to records
//! 6. `window`: the reused buffer
//! 7. `input`: the bytes of one file, decompressed

mod csv;
mod input;
mod json;
mod options;
pub(crate) mod paths;
mod reader;
mod records;
mod text;
mod window;

pub use self::csv::CsvFile;
pub use self::json::JsonLines;
pub use self::reader::FilePosition;
pub use self::text::TextFile;
