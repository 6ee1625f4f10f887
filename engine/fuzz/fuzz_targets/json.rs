//! Arbitrary bytes as JSON lines.
#![no_main]

#[path = "../bodies/json.rs"]
mod body;
#[path = "../../../connectors/tests/reading/mod.rs"]
mod reading;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::json_bytes(data));
