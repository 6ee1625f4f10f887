//! The same over a real S3 gateway: `scripts/services up s3; eval "$(scripts/services env)"`.
//!
//! Credentials come from the environment of the process, so that each test runs once more as a child that has it.

use std::io::Write as _;
use std::process::Command;

use super::promises;

/// Runs the test again as a child with the environment of the gateway; in the child gives where to write.
fn gateway(test: &str) -> Option<String> {
    let top = std::env::var("HEADWATER_S3_TOP");
    if let Ok(top) = top {
        return Some(top);
    }
    let of = |name: &str| std::env::var(name).ok();
    let (Some(endpoint), Some(bucket)) = (of("S3_ENDPOINT"), of("S3_BUCKET")) else {
        let line =
            format!("skipped: {test} needs S3: scripts/services up s3; eval \"$(scripts/services env)\"\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    };
    let unique = tempfile::Builder::new().prefix("t").tempdir().unwrap();
    let name = unique.path().file_name().unwrap().to_str().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("HEADWATER_S3_TOP", format!("s3://{bucket}/{name}"))
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", of("S3_REGION").unwrap_or_default())
        .env("AWS_ACCESS_KEY_ID", of("S3_ACCESS_KEY").unwrap_or_default())
        .env("AWS_SECRET_ACCESS_KEY", of("S3_SECRET_KEY").unwrap_or_default())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    assert!(!said.contains(&of("S3_SECRET_KEY").unwrap_or("none".into())), "a secret was said");
    None
}

#[test]
fn s3_shows_each_row_once() {
    if let Some(top) = gateway("s3::s3_shows_each_row_once") {
        promises::each_row_is_shown_once(&top, 25);
    }
}

#[test]
fn s3_is_read_on_from_every_position() {
    if let Some(top) = gateway("s3::s3_is_read_on_from_every_position") {
        promises::sources_read_on_from_every_position(&top);
    }
}

#[test]
fn s3_takes_a_job() {
    if let Some(top) = gateway("s3::s3_takes_a_job") {
        promises::a_job_writes_and_another_reads(&top);
        promises::an_object_of_another_job_is_not_written_over(&top);
    }
}
