//! Arbitrary bytes as values, changes and batches of keyed state.
#![no_main]

#[path = "../bodies/state.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::state_bytes(data));
