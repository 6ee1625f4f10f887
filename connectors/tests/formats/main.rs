//! Avro and Protobuf: what is written is read the same, by us and by the Python libraries; hostile bytes are
//! refused.
#![cfg(all(feature = "avro", feature = "protobuf"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod avro;
mod protobuf;
mod python;
mod records;
