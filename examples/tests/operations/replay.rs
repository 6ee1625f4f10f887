//! Replays and capsules, through the command line.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Job, Said, image, word};

/// What a program without numbers says of a directory.
fn elsewhere(directory: &Path, rows: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counting-job"));
    command.arg("--state").arg(directory).arg("--output").arg(rows).args(["--numbers", "0"]);
    Said::of(command.args(arguments).env("RUST_BACKTRACE", "0").output().unwrap())
}

impl Job {
    /// What the program with all numbers, paced as they were, says.
    fn replay(&self, arguments: &[&str]) -> String {
        self.text(&[&["--numbers", "1000000", "--rate", "40000"], arguments].concat())
    }
}

#[test]
fn a_replay_gives_what_the_numbers_come_to_and_the_same_bytes_each_time() {
    let job = Job::new();
    job.run_until("6000");
    job.run_until("12000");
    let (numbers, before) = (job.numbers(), image(&job.state()));
    let said = job.replay(&["wal", "replay", "--json"]);
    assert!(said == job.replay(&["wal", "replay", "--json"]), "a second replay gives other bytes");
    assert!(before == image(&job.state()), "a replay has changed the directory");

    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (sum, rows) = lines.split_last().unwrap();
    assert_eq!(
        (&sum["records"], &sum["different"], &sum["base"]),
        (&numbers.len().into(), &0.into(), &0.into())
    );
    // The counts change from epoch to epoch; the last of them are those of all numbers.
    for wanted in ["seven", "other"] {
        let of_word = |row: &&Value| row["sink"] == "rows" && row["row"]["_1"] == wanted;
        let last = rows.iter().rfind(of_word).unwrap();
        let count = numbers.iter().filter(|number| word(**number) == wanted).count();
        assert_eq!(last["row"]["_2"], count, "{wanted}");
    }
    let said = job.replay(&["wal", "replay", "--compare"]);
    assert!(said.contains("state, counts and watermarks are as the log has them"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    job.say(&["wal", "replay", "--from", "100000"]).fails(2, "there are no epochs from 100000");
}

#[test]
fn a_capsule_is_all_that_another_machine_needs() {
    let job = Job::new();
    job.run_until("12000");
    let epochs = job.epochs();
    let (from, to) = (epochs[epochs.len() / 2].to_string(), epochs.last().unwrap().to_string());
    let range = ["--from", &from, "--to", &to];
    let there = job.replay(&[&["wal", "replay"], &range[..]].concat());

    let place = tempfile::tempdir().unwrap();
    let capsule = place.path().join("capsule");
    let path = capsule.to_str().unwrap();
    let said = job.replay(&[&["capsule", "export", path], &range[..]].concat());
    assert!(
        said.contains(&format!("of epochs {from} to {to}")) && said.contains("wal replay --state"),
        "{said}"
    );
    job.say(&["capsule", "export", path]).fails(1, "is there already");

    let rows = job.directory.path().join("rows");
    let here = elsewhere(&capsule, &rows, &["wal", "replay"]);
    assert_eq!((here.code, here.out == there), (0, true), "{}", here.err);
    elsewhere(&capsule, &rows, &[]).fails(1, "is a capsule, and no run goes on in one");
    elsewhere(&capsule, &rows, &["--no-resume"]).fails(1, "is a capsule");
    // Without its input the job itself cannot be replayed.
    elsewhere(&job.state(), &rows, &["wal", "replay"]).fails(1, "fewer records than the job has read");
    let other = elsewhere(&capsule, &rows, &["--name", "other", "wal", "replay"]);
    other.fails(1, "was written by the topology `counting`");
}
