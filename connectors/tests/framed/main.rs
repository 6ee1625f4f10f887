//! Framed sockets, from real connections on this host: by hand, simulated with crashes, and killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

mod crashes;
#[path = "../listening/mod.rs"]
mod listening;
mod python;
mod server;
mod wire;
