//! Damaged directories and those of another topology, through the command line, as the README promises.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Job, Said, check_state};

/// Flips a bit of a file. It becomes a file of its own: a snapshot may share the bytes of the store.
fn flip_bit(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    let copy = path.with_extension("flipped");
    fs::write(&copy, bytes).unwrap();
    fs::rename(copy, path).unwrap();
}

/// The tables of a store or a snapshot of one.
fn tables(folder: &Path) -> Vec<PathBuf> {
    let mut open = vec![folder.to_owned()];
    let mut tables = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sst") {
                tables.push(path);
            }
        }
    }
    assert!(!tables.is_empty());
    tables
}

/// A job that has failed, with a store and snapshots.
fn with_snapshots() -> Job {
    let job = Job::new();
    Said::of(job.start_with_snapshots("1000000", "24000").wait_with_output().unwrap())
        .fails(1, "told to fail");
    assert!(job.copies("snapshot").len() >= 2);
    job
}

/// Runs to the end; damage that only a read finds ends one run more, with the way out.
fn goes_back(job: &Job, epoch: &str) {
    let numbers = ["--numbers", "40000", "--parallelism", "3", "--quiet"];
    let mut said = job.say(&numbers);
    if said.code != 0 {
        said.fails(1, "is damaged (");
        said.fails(1, "run the job again, which goes back to its newest snapshot");
        assert!(said.err.contains(job.state().to_str().unwrap()), "{}", said.err);
        said = job.say(&numbers);
    }
    assert_eq!(said.code, 0, "{}", said.err);
    let parts =
        ["the state store could not be used", &format!("went back to the snapshot of epoch {epoch},")];
    assert!(parts.iter().all(|part| said.err.contains(part)), "{}", said.err);
    check_end(job);
}

fn check_end(job: &Job) {
    let state = job.lines(&["state", "get", "seven", "--operator", "count"]);
    assert_eq!(state[0]["value"], 40_000 / 7 + 1);
    assert_eq!(job.lines(&["checkpoints", "verify"])[0]["ok"], true);
}

#[test]
fn a_bit_flipped_in_a_table_of_the_store_costs_nothing() {
    let job = with_snapshots();
    let epoch = job.copies("snapshot").last().unwrap()["epoch"].to_string();
    tables(&job.state().join("state")).iter().for_each(|table| flip_bit(table, 10));
    let said = job.say(&["checkpoints", "verify"]);
    said.fails(1, "is damaged (");
    goes_back(&job, &epoch);
}

#[test]
fn a_corrupt_newest_snapshot_is_passed_over() {
    let job = with_snapshots();
    let snapshots = job.copies("snapshot");
    let [.., before, newest] = &snapshots[..] else { unreachable!() };
    let newest_path = PathBuf::from(newest["path"].as_str().unwrap());
    tables(&newest_path).iter().for_each(|table| flip_bit(table, 10));
    let epoch = newest["epoch"].to_string();
    job.say(&["checkpoints", "verify"]).fails(1, &format!("snapshots/{epoch}"));
    fs::remove_file(job.state().join("state/CURRENT")).unwrap();
    goes_back(&job, &before["epoch"].to_string());
}

#[test]
fn a_bit_flipped_in_the_log_is_refused_and_nothing_is_changed() {
    let job = Job::new();
    job.run_until("8000");
    let commits = job.lines(&["wal", "dump", "--kind", "commit"]);
    let damaged = &commits[1];
    let segment = job.state().join(format!("wal/{:010}.log", damaged["segment"].as_u64().unwrap()));
    let at = damaged["offset"].as_u64().unwrap() as usize + 40;
    flip_bit(&segment, at);
    let before = fs::read(&segment).unwrap();
    for _ in 0..2 {
        let said = job.say(&["--quiet", "--numbers", "20000"]);
        said.fails(1, "the log is damaged in");
        said.fails(1, segment.to_str().unwrap());
        said.fails(1, &format!("--recover=truncate-at={}", damaged["lsn"]));
    }
    assert!(fs::read(&segment).unwrap() == before);
    // What flipped comes back, as from a backup: nothing was lost.
    flip_bit(&segment, at);
    job.run_until("16000");
    check_state(&job);
}

#[test]
fn the_state_directory_of_another_topology_is_refused() {
    let job = Job::new();
    job.run_until("4000");
    let said = job.say(&["--quiet", "--name", "another", "--numbers", "9000"]);
    said.fails(1, job.state().to_str().unwrap());
    said.fails(1, "`counting`");
    said.fails(1, "`another`");
    said.fails(1, "use the program that wrote it, or name another directory");
    job.run_until("8000");
    check_state(&job);
}
