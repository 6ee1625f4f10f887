//! `KafkaSource` and `KafkaSink` against a real broker: the kit for connectors, and what users meet.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod broker;
#[cfg(all(feature = "avro", feature = "protobuf"))]
mod schemas;
#[cfg(feature = "kafka-tls")]
mod secure;
mod sink;
mod source;
