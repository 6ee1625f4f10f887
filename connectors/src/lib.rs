//! Sources and sinks for [`headwater`] topologies.

pub mod file;
pub mod format;

mod console;
mod csv_file;
mod generator;
mod host;
mod json_file;
mod memory;
mod socket;

pub use self::console::Console;
pub use self::csv_file::CsvSink;
pub use self::file::{CsvFile, JsonLines, TextFile};
pub use self::generator::{Generator, Rate, SourceExt, Throttled};
pub use self::host::{HostMetrics, HostReading};
pub use self::json_file::JsonLinesSink;
pub use self::memory::{Collect, MemorySource};
pub use self::socket::SocketLines;
