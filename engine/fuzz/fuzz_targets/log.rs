//! Arbitrary bytes as the segments of a log.
#![no_main]

#[path = "../bodies/log.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::log_bytes(data));
