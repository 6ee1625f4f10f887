//! Arbitrary bytes for what reads bytes: the bodies of the fuzz targets, on their corpus and changes of it.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers stand outside of test functions")]

#[path = "../fuzz/bodies/corpus.rs"]
mod corpus;
#[path = "../fuzz/bodies/manifest.rs"]
mod manifest;
#[cfg(feature = "cli")]
#[path = "../fuzz/bodies/options.rs"]
mod options;
#[path = "../fuzz/bodies/state.rs"]
mod state;

use self::corpus::try_body;

#[test]
fn arbitrary_bytes_as_state_are_refused_or_read_the_same_again() {
    try_body("state", 20_000, state::state_bytes);
}

#[test]
fn arbitrary_bytes_as_a_manifest_are_refused_or_read_the_same_again() {
    try_body("manifest", 20_000, manifest::manifest_bytes);
}

#[cfg(feature = "cli")]
#[test]
fn arbitrary_text_as_a_command_line_is_a_checked_configuration_or_an_error() {
    try_body("options", 2_000, options::options_bytes);
}
