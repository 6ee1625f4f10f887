//! Snapshots, fallback and savepoints, through the command line.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::{Job, Said, check_state};

impl Job {
    pub(super) fn start_with_snapshots(&self, numbers: &str, fail_at: &str) -> Child {
        let flags = ["--rate", "40000", "--epoch-ms", "10", "--parallelism", "2", "--snapshot-ms", "50"];
        let numbers = ["--numbers", numbers, "--fail-at", fail_at];
        let mut command = self.command(&[&flags[..], &numbers].concat());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What `checkpoints list` says of this kind.
    pub(super) fn copies(&self, kind: &str) -> Vec<Value> {
        let lines = self.lines(&["checkpoints", "list"]);
        lines.into_iter().filter(|line| line["of"] == kind).collect()
    }

    /// Asks until there is a job that can answer.
    fn create_savepoint(&self, name: &str) -> Said {
        loop {
            let said = self.say(&["savepoint", "create", "--name", name]);
            if !said.err.contains("holds no job") && !said.err.contains("has not committed an epoch") {
                return said;
            }
        }
    }
}

fn path_of(copy: &Value) -> PathBuf {
    PathBuf::from(copy["path"].as_str().unwrap())
}

#[test]
fn a_damaged_store_is_said_at_the_start_and_nothing_is_missing() {
    let job = Job::new();
    Said::of(job.start_with_snapshots("1000000", "24000").wait_with_output().unwrap())
        .fails(1, "told to fail");
    let snapshots = job.copies("snapshot");
    let newest = snapshots.last().unwrap();
    assert!(newest["files"].as_u64().unwrap() > 3 && newest["problem"].is_null(), "{newest}");
    let epoch = newest["epoch"].to_string();
    let text = job.text(&["checkpoints", "list"]);
    assert!(text.contains("manifest") && text.contains("snapshot"), "{text}");
    let shown = &job.lines(&["checkpoints", "show", &epoch])[0];
    assert_eq!(*shown.get("epoch").unwrap_or(&shown["says"]["epoch"]), newest["epoch"]);
    let verified = &job.lines(&["checkpoints", "verify"])[0];
    assert_eq!(verified["snapshots"], json!(snapshots.len()));

    fs::remove_file(job.state().join("state/CURRENT")).unwrap();
    let numbers = ["--numbers", "40000", "--parallelism", "3", "--quiet"];
    let said = job.say(&numbers);
    assert_eq!(said.code, 0, "{}", said.err);
    let parts = [
        "counting: the state store could not be used (its file `CURRENT` is missing)",
        &format!("went back to the snapshot of epoch {epoch}, and the log goes on to epoch"),
    ];
    assert!(parts.iter().all(|part| said.err.contains(part)), "{}", said.err);
    assert_eq!(job.lines(&["state", "get", "seven", "--operator", "count"])[0]["value"], 40_000 / 7 + 1);
}

#[test]
fn a_savepoint_of_a_running_job_is_a_job_of_its_own() {
    let job = Job::new();
    let child = job.start_with_snapshots("60000", "1000000");
    let said = job.create_savepoint("live");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("savepoint `live` of epoch") && said.out.contains("--from"), "{}", said.out);
    assert_eq!(Said::of(child.wait_with_output().unwrap()).code, 0);
    // The job has ended: this takes the place of a run.
    let made = job.lines(&["savepoint", "create"]).pop().unwrap();
    assert_eq!((&made["name"], &made["is_last"]), (&json!("savepoint-1"), &json!(true)));
    job.say(&["savepoint", "create", "--name", "live"]).fails(1, "is there already: choose another name");
    job.say(&["savepoint", "create", "--name", "a/b"]).fails(2, "is no name of a savepoint");
    let savepoints = job.copies("savepoint");
    assert_eq!(savepoints.len(), 2);
    let text = job.text(&["checkpoints", "show", "live"]);
    assert!(
        text.contains("savepoint `") && text.contains("positions") && text.contains("numbers  0"),
        "{text}"
    );
    let says = &job.lines(&["checkpoints", "show", "live"])[0]["says"];
    let read = says["counts"].as_array().unwrap().iter().find(|node| node["node"] == "numbers").unwrap();
    let read = read["in"].as_u64().unwrap();
    assert!(read < 60_000);

    let place = path_of(&savepoints[0]);
    let place = place.to_str().unwrap();
    let flags = ["--from", place, "--numbers", "60000", "--parallelism", "3", "--epoch-ms", "10"];
    let lost = Job::new();
    let said = lost.say(&flags);
    if said.code != 0 {
        said.fails(1, "a job that begins with a savepoint and writes elsewhere says so with --new-output");
    }
    let other = Job::new();
    let said = other.say(&[&flags[..], &["--new-output", "--fail-at", "50000", "--rate", "40000"]].concat());
    said.fails(1, "told to fail");
    assert!(said.err.contains(&format!("{read} read before")), "{}", said.err);
    check_state(&other);
    other.say(&flags).fails(2, "has a job already");
    let said = other.say(&["--numbers", "60000", "--quiet"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for job in [&job, &other] {
        let count = &job.lines(&["state", "get", "seven", "--operator", "count"])[0]["value"];
        assert_eq!(*count, 60_000 / 7 + 1);
        assert_eq!(job.lines(&["checkpoints", "verify"])[0]["ok"], json!(true));
    }
    Job::new().say(&["--from", "/nowhere"]).fails(1, "is no savepoint");
}
