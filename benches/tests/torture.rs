//! A short torture with every test run: a job is killed some forty times, and no row is wrong.
#![allow(clippy::panic, reason = "a failed test says what the program said")]

use std::process::Command;

#[test]
fn a_job_that_is_killed_again_and_again_shows_every_row_once() {
    let torture = Command::new(env!("CARGO_BIN_EXE_torture"))
        .args(["--kills", "40", "--cycle-kills", "20", "--minutes", "0.3"])
        .output();
    let output = torture.unwrap_or_else(|error| panic!("torture cannot be started: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
