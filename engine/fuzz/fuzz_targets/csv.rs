//! Arbitrary bytes as CSV.
#![no_main]

#[path = "../bodies/csv.rs"]
mod body;
#[path = "../../../connectors/tests/reading/mod.rs"]
mod reading;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::csv_bytes(data));
