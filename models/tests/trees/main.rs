//! Trees against figures of independent implementations, and what must hold of them whatever the rows are.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod half_space;
mod prequential;
mod properties;
#[path = "../online/streams.rs"]
#[allow(dead_code, reason = "not every stream is one of classes")]
mod streams;
