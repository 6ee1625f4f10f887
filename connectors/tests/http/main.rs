//! HTTP in and out, over real connections on this host: by hand, simulated with crashes, and killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers stand outside of test functions"
)]

mod crashes;
mod curl;
#[path = "../listening/mod.rs"]
mod listening;
mod polled;
mod receiver;
mod sink;
mod source;
mod wire;
