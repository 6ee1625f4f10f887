//! The operations of a durable job, through the command line, against an independent count of its numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers stand outside of tests")]

mod damage;
mod replay;
mod snapshots;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A job in a directory of its own.
struct Job {
    directory: TempDir,
}

/// What an operation said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn fails(&self, code: i32, sentence: &str) {
        assert_eq!(self.code, code, "{} {}", self.out, self.err);
        let all = format!("{}{}", self.out, self.err);
        assert!(all.contains(sentence), "`{sentence}` is not in: {all}");
    }
}

impl Job {
    fn new() -> Self {
        Job { directory: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counting-job"));
        command.arg("--state").arg(self.state()).arg("--output").arg(self.directory.path().join("rows"));
        command.args(flags).env("RUST_BACKTRACE", "0");
        command
    }

    fn say(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// The lines of an operation that succeeds.
    #[track_caller]
    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let said = self.say(&[arguments, &["--json"]].concat());
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The text of an operation that succeeds.
    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        said.out
    }

    fn start(&self, numbers: &str, fail_at: &str) -> Child {
        let flags = ["--quiet", "--rate", "40000", "--epoch-ms", "10", "--parallelism", "2"];
        let numbers = ["--numbers", numbers, "--fail-at", fail_at];
        let mut command = self.command(&[&flags[..], &numbers].concat());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs until it fails at a number, with some epochs committed.
    fn run_until(&self, fail_at: &str) {
        let said = Said::of(self.start("1000000", fail_at).wait_with_output().unwrap());
        said.fails(1, "told to fail");
    }

    fn epochs(&self) -> Vec<u64> {
        let epochs = self.lines(&["checkpoints", "list"]);
        let epochs = epochs.iter().filter(|line| line["of"].is_null());
        epochs.map(|epoch| epoch["epoch"].as_u64().unwrap()).collect()
    }

    /// The numbers that belong to the last committed epoch, by the positions of the source.
    fn numbers(&self) -> Vec<u64> {
        let last = self.lines(&["checkpoints", "list"]).pop().unwrap();
        let partitions = last["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 2);
        let of = |partition: &Value| {
            let first: u64 = partition["partition"].as_str().unwrap().parse().unwrap();
            (0..partition["position"].as_u64().unwrap()).map(move |given| first + given * 2)
        };
        let numbers: Vec<u64> = partitions.iter().flat_map(of).collect();
        let read = last["counts"].as_array().unwrap().iter().find(|node| node["node"] == "numbers").unwrap();
        assert_eq!(read["in"], numbers.len());
        numbers
    }
}

fn word(number: u64) -> &'static str {
    if number.is_multiple_of(7) { "seven" } else { "other" }
}

/// Everything in a directory with its length, its time and, if it is small, its bytes.
fn image(directory: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::metadata(&path).unwrap();
            if meta.is_dir() {
                open.push(path);
                continue;
            }
            let bytes = if meta.len() < 1 << 20 { fs::read(&path).unwrap() } else { Vec::new() };
            all.insert(path, (meta.len(), meta.modified().unwrap(), bytes));
        }
    }
    all
}

/// Compares all state with what the numbers of the last epoch come to.
fn check_state(job: &Job) {
    let numbers = job.numbers();
    let mut expected = BTreeMap::new();
    for number in &numbers {
        let count = expected.entry(("count", 0, json!(word(*number)).to_string())).or_insert((0, 0));
        *count = (count.0 + 1, 0);
        let class = json!({"rest": number % 3, "word": word(*number)}).to_string();
        let mean = expected.entry(("means", 0, class)).or_insert((0, 0));
        *mean = (mean.0 + 1, mean.1 + number);
    }
    let mut windows = 0;
    let mut found = BTreeMap::new();
    for row in job.lines(&["state", "export"]) {
        let (namespace, value) = (row["namespace"].as_u64().unwrap(), &row["value"]);
        let key = row["key"].to_string();
        match row["operator"].as_str().unwrap() {
            "count" => drop(found.insert(("count", namespace, key), (value.as_u64().unwrap(), 0))),
            "means" => {
                let sum = value["_2"]["_1"].as_f64().unwrap() as u64;
                found.insert(("means", namespace, key), (value["_1"].as_u64().unwrap(), sum));
            }
            _ => {
                let of = |number: &&u64| **number / 1000 * 1000 == namespace && (**number % 5) == row["key"];
                assert_eq!(*value, numbers.iter().filter(of).count(), "{row}");
                windows += 1;
            }
        }
    }
    assert_eq!(found, expected);
    assert!(windows > 0);
    let seven = &job.lines(&["state", "get", "seven", "--operator", "count"])[0]["value"];
    assert_eq!(*seven, expected[&("count", 0, "\"seven\"".to_owned())].0);
    let mean = &job.lines(&["state", "get", r#"["seven",1]"#, "--operator", "means"])[0];
    assert_eq!(mean["key"], json!({"word": "seven", "rest": 1}));
    let tables = job.lines(&["state", "list"]);
    let rows =
        |operator: &str| tables.iter().find(|table| table["operator"] == operator).unwrap()["rows"].clone();
    assert_eq!((rows("count"), rows("means"), rows("window")), (json!(2), json!(6), json!(windows)));
}

#[test]
fn the_state_is_what_the_numbers_of_the_last_epoch_come_to() {
    let job = Job::new();
    job.run_until("8000");
    check_state(&job);
    assert!(job.text(&["checkpoints", "list"]).contains("there is no state store yet"));
    // The next run begins with a store that has everything before it, and the log has the rest.
    let before = *job.epochs().last().unwrap();
    job.run_until("16000");
    assert!(*job.epochs().last().unwrap() > before);
    check_state(&job);
    let text = job.text(&["checkpoints", "list"]);
    assert!(text.contains(&format!("the state store is at epoch {before}, the log has the rest")), "{text}");
}

#[test]
fn every_operation_speaks_to_people_and_to_programs_and_changes_nothing() {
    let job = Job::new();
    job.run_until("6000");
    job.run_until("12000");
    let before = image(&job.state());
    let last = job.epochs().last().unwrap().to_string();
    let window = job.lines(&["state", "list"]).pop().unwrap()["namespaces"][0]["namespace"].to_string();
    let cases: &[(&[&str], &[&str])] = &[
        (&["checkpoints", "list"], &["epoch", "generation", "`rows`: delivered up to epoch", &last]),
        (
            &["checkpoints", "show", &last],
            &["committed by generation 2", "positions", "numbers  0", "windows-out"],
        ),
        (&["checkpoints", "verify"], &["everything was read and decoded: nothing is wrong"]),
        (&["state", "list"], &["[word: text, rest: u8]", "window", &format!("as of epoch {last}")]),
        (&["state", "get", "seven", "--operator", "count"], &["count", "seven"]),
        (&["state", "get", "3", "--operator", "window"], &[&window]),
        (&["state", "get", "3", "--operator", "window", "--namespace", &window], &[&window]),
        (&["state", "export", "--operator", "count"], &["\"operator\":\"count\""]),
        (&["wal", "dump", "--from", &last, "--to", &last, "--kind", "commit"], &["commit", "yes"]),
        (&["wal", "verify"], &["clean: it ends after a whole record", "generation 2"]),
    ];
    for (arguments, parts) in cases {
        let text = job.text(arguments);
        for part in *parts {
            assert!(text.contains(part), "{arguments:?}: `{part}` is not in\n{text}");
        }
        assert!(!job.lines(arguments).is_empty(), "{arguments:?}");
    }
    let commits = job.lines(&["wal", "dump", "--from", &last, "--to", &last, "--kind", "commit"]);
    assert_eq!((commits.len(), &commits[0]["committed"]), (1, &json!(true)));
    let verified = &job.lines(&["checkpoints", "verify"])[0];
    assert_eq!((&verified["ok"], verified["epoch"].to_string()), (&json!(true), last));
    assert!(before == image(&job.state()), "an operation has changed the directory");
}

#[test]
fn operations_work_while_the_job_is_running() {
    let job = Job::new();
    let mut child = job.start("30000", "1000000");
    let (mut looks, mut newest) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        let said = job.say(&["checkpoints", "verify", "--json"]);
        if said.code == 1 && said.err.contains("holds no job") {
            continue;
        }
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        let epoch = serde_json::from_str::<Value>(&said.out).unwrap()["epoch"].as_u64().unwrap();
        assert!(epoch >= newest);
        (looks, newest) = (looks + 1, epoch);
    }
    assert!(looks > 0 && newest > 0);
    let last = job.lines(&["checkpoints", "list"]).pop().unwrap();
    let read = last["counts"].as_array().unwrap().iter().find(|node| node["node"] == "numbers").unwrap();
    assert_eq!((&last["is_last"], &read["in"]), (&json!(true), &json!(30_000)));
    assert_eq!(job.lines(&["state", "get", "seven", "--operator", "count"])[0]["value"], 30_000 / 7 + 1);
}

/// Flips a bit of the log behind the header of a record.
fn flip(job: &Job, record: &Value) {
    let path = job.state().join(format!("wal/{:010}.log", record["segment"].as_u64().unwrap()));
    let mut bytes = fs::read(&path).unwrap();
    bytes[record["offset"].as_u64().unwrap() as usize + 28] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_is_said_with_the_way_out_and_the_way_out_works() {
    let job = Job::new();
    job.run_until("8000");
    let commits = job.lines(&["wal", "dump", "--kind", "commit"]);
    let damaged = &commits[2];
    flip(&job, damaged);
    let way_out = format!("--recover=truncate-at={}", damaged["lsn"]);
    for operation in [["wal", "verify"], ["checkpoints", "verify"]] {
        job.say(&operation).fails(1, &way_out);
        let said = job.say(&[&operation[..], &["--json"]].concat());
        assert_eq!(said.code, 1);
        assert!(serde_json::from_str::<Value>(&said.out).unwrap().to_string().contains(&way_out));
    }
    assert_eq!(job.epochs(), [1, 2]);
    job.say(&["--quiet"]).fails(1, &way_out);
    job.say(&["--recover=all"]).fails(2, "truncate-at=LSN");
    job.say(&["--quiet", "--fail-at", "0", &way_out]).fails(1, "told to fail");
    let text = job.text(&["wal", "verify"]);
    assert!(text.contains("generation 2") && text.contains("clean"), "{text}");
    job.run_until("8000");
    check_state(&job);
}

#[test]
fn a_write_that_was_cut_short_is_no_damage() {
    let job = Job::new();
    job.run_until("8000");
    let last = job.lines(&["wal", "dump"]).pop().unwrap();
    let epochs = job.epochs();
    flip(&job, &last);
    let text = job.text(&["wal", "verify"]);
    assert!(text.contains("torn: ") && text.contains("is removed by the next run"), "{text}");
    assert_eq!(job.lines(&["wal", "verify"])[0]["end"], "torn");
    let verified = &job.lines(&["checkpoints", "verify"])[0];
    assert_eq!((&verified["ok"], verified["notes"].as_array().unwrap().len()), (&json!(true), 1));
    assert!(job.epochs() == epochs || last["kind"] == "commit");
}

#[test]
fn what_is_no_job_of_this_program_is_refused_with_a_sentence() {
    let job = Job::new();
    let operations: [&[&str]; 4] =
        [&["checkpoints", "list"], &["state", "list"], &["wal", "dump"], &["wal", "verify"]];
    for operation in operations {
        job.say(operation).fails(1, "holds no job: name the directory that the run was given with --state");
    }
    fs::create_dir(job.state()).unwrap();
    job.say(&["checkpoints", "list"]).fails(1, "holds no job");
    let said = Command::new(env!("CARGO_BIN_EXE_counting-job")).args(["wal", "verify"]).output().unwrap();
    Said::of(said).fails(2, "Name the directory of its run with --state DIR");
    job.run_until("4000");
    for operation in operations {
        let other = [&["--name", "another"], operation].concat();
        job.say(&other).fails(1, "was written by the topology `counting`, and this program is `another`");
    }
    job.say(&["checkpoints", "show", "9999"]).fails(1, "the log holds no committed epoch 9999");
    job.say(&["state", "get", "seven"]).fails(2, "say which with --operator: `count`, `means`, `window`");
    job.say(&["state", "get", "x", "--operator", "nobody"]).fails(2, "no operator `nobody` has state");
    job.say(&["state", "get", "x", "--operator", "count"]).fails(1, "x has nothing in `count`");
    job.say(&["state", "get", "x", "--operator", "window"]).fails(2, "whose keys are u64");
}
