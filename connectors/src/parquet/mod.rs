//! Parquet: columns in files, read and written without Arrow.
//!
//! 1. `write`: [`ParquetSink`](crate::ParquetSink)
//! 2. `read`: [`ParquetFile`](crate::ParquetFile)

mod read;
mod write;

pub use self::read::{ParquetFile, ParquetPosition};
pub use self::write::ParquetSink;
