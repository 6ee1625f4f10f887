//! Sources and sinks for [`headwater`] topologies.

pub mod file;
pub mod format;

mod console;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod database;
mod file_sink;
mod for_each;
mod framed;
mod generator;
mod host;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod memory;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod registry;
mod share;
mod socket;

pub use self::console::Console;
#[cfg(feature = "postgres")]
pub use self::database::PostgresSink;
#[cfg(feature = "sqlite")]
pub use self::database::SqliteSink;
pub use self::file::{CsvFile, JsonLines, TextFile};
pub use self::file_sink::{CsvSink, JsonLinesSink};
pub use self::for_each::{ForEach, RowWriter};
pub use self::framed::{ClientPosition, FramedClient, FramedPosition, FramedSocket};
pub use self::generator::{Generator, Rate, SourceExt, Throttled};
pub use self::host::{HostMetrics, HostReading};
#[cfg(feature = "http")]
pub use self::http::{HttpPosition, HttpRequestPosition, HttpSink, HttpSource};
#[cfg(feature = "kafka")]
pub use self::kafka::{KafkaCluster, KafkaMessage, KafkaPosition, KafkaSink, KafkaSource};
pub use self::memory::{Collect, MemorySource};
#[cfg(any(feature = "avro", feature = "protobuf"))]
pub use self::registry::SchemaRegistry;
pub use self::share::EpochShare;
pub use self::socket::SocketLines;
