//! Sources over files: lines of text, CSV rows and JSON lines; plain, gzip or zstd; whole or growing.
//!
//! 1. `text`, `csv`, `json`: the sources [`TextFile`], [`CsvFile`] and [`JsonLines`]
//! 2. `options`: what all of them can be told
//! 3. `paths`: which files a path stands for
//! 4. `reader`: records from a window over one file
//! 5. `window`: the reused buffer
//! 6. `input`: the bytes of one file, decompressed

mod csv;
mod input;
mod json;
mod options;
mod paths;
mod reader;
mod text;
mod window;

pub use self::csv::CsvFile;
pub use self::json::JsonLines;
pub use self::reader::FilePosition;
pub use self::text::TextFile;
