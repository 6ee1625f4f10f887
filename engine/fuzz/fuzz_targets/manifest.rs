//! Arbitrary bytes as the manifest of a snapshot.
#![no_main]

#[path = "../bodies/manifest.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::manifest_bytes(data));
