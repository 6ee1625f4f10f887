//! Sources and sinks for [`headwater`] topologies.

pub mod file;
pub mod format;

mod console;
#[cfg(any(feature = "mariadb", feature = "postgres", feature = "sqlite"))]
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
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod registry;
mod share;
mod socket;
mod store;

pub use self::console::Console;
#[cfg(feature = "mariadb")]
pub use self::database::MariaDbSink;
#[cfg(feature = "sqlite")]
pub use self::database::SqliteSink;
#[cfg(feature = "postgres")]
pub use self::database::{PostgresPosition, PostgresSink, PostgresSource};
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
#[cfg(feature = "parquet")]
pub use self::parquet::{ParquetFile, ParquetPosition, ParquetSink};
#[cfg(any(feature = "avro", feature = "protobuf"))]
pub use self::registry::SchemaRegistry;
pub use self::share::EpochShare;
pub use self::socket::SocketLines;
