//! What the engine owes its sources: it acknowledges what cannot be lost, and reads partitions that are added.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod acknowledge;
#[cfg(feature = "rocksdb")]
mod discovery;
