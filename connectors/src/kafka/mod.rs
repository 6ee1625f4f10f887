//! `KafkaSource` and `KafkaSink`: topics of Apache Kafka in and out, exactly once.
//!
//! 1. `cluster`: [`KafkaCluster`], where it is and how to get in
//! 2. `source`: [`KafkaSource`], one reader per partition, positions in our own epochs
//! 3. `reader`: the consumer that the partitions of a source share
//! 4. `sink`: [`KafkaSink`], what is written and with which guarantee
//! 5. `plain`: rows sent as they come
//! 6. `transactions`: an epoch as one short transaction, and how its outcome is found out
//! 7. `token`: the topic in which a transaction leaves which epoch it was
//! 8. `staged`: what the epoch log keeps of an epoch's rows
//! 9. `producer`, `topic`: what the others need of the client library

mod cluster;
mod message;
mod plain;
mod producer;
mod reader;
mod sink;
mod source;
mod staged;
mod token;
mod topic;
mod transactions;

pub use self::cluster::KafkaCluster;
pub use self::message::KafkaMessage;
pub use self::sink::KafkaSink;
pub use self::source::{KafkaPosition, KafkaSource};
