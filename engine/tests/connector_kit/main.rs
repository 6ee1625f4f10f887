//! The kit for connectors finds what is wrong with them, and says it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod sinks;
mod sources;

/// The kit must complain in these words.
fn complains<R: std::fmt::Debug>(mistake: &str, result: headwater::Result<R>, words: &[&str]) {
    let said = match result {
        Ok(report) => panic!("{mistake} was not found: {report:?}"),
        Err(error) => error.to_string(),
    };
    assert!(words.iter().all(|word| said.contains(word)), "{mistake}: it said: {said}");
}
