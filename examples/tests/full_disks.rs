//! A real job on a disk that is really full: it says so and ends, and goes on when there is space.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers stand outside of tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Says inside of the namespace which folder the small disk is mounted on.
const INSIDE: &str = "HEADWATER_SMALL_DISK";

const DISK_KIB: u64 = 20 << 10;

/// Ways to a namespace in which a disk can be mounted: for everybody, and for root.
const WAYS: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];

/// Runs this test again where it may mount a disk, and there its body with the folder of that disk.
fn on_a_small_disk(test: &str, body: impl FnOnce(&Path)) {
    if let Some(disk) = std::env::var_os(INSIDE) {
        return body(Path::new(&disk));
    }
    build_bids();
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size={DISK_KIB}k tmpfs '{}'", folder.path().display());
    let inside = |way: &[&str], then: &str| {
        let mut command = Command::new("unshare");
        command.args(way).args(["sh", "-c", &format!("{mount} && {then}")]);
        command.env(INSIDE, folder.path());
        command
    };
    let works = |way: &&&[&str]| inside(way, "true").output().is_ok_and(|output| output.status.success());
    let Some(way) = WAYS.iter().find(works) else {
        return skipped(test);
    };
    let program = std::env::current_exe().unwrap();
    let again = format!("exec '{}' --exact {test} --nocapture", program.display());
    let output = inside(way, &again).output().unwrap();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "{}", text(&output.stdout));
}

/// Nobody shall take a test for passed that has not run.
fn skipped(test: &str) {
    let said = format!(
        "skipped: {test}: a disk cannot be mounted here (unshare --user --map-root-user --mount is refused); \
         run it as root: sudo -E env PATH=\"$PATH\" cargo test --release --workspace --test full_disks"
    );
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{said}");
    // Past the test harness, which keeps what a passing test prints.
    std::io::stderr().write_all(format!("{said}\n").as_bytes()).unwrap();
}

fn bids() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_counting-job")).with_file_name("examples").join("bids")
}

/// A test that is built alone is built without the examples.
fn build_bids() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = bids().ancestors().nth(3).unwrap().to_owned();
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--workspace", "--example", "bids"]);
    command.env("CARGO_TARGET_DIR", target).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(command.status().unwrap().success());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// 60,000 bids on 20,000 auctions, out of order within a second.
fn write_input(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for part in 0..2 {
        let mut lines = String::new();
        for number in 0..30_000 {
            let (auction, price, date_time) = (draw(20_000), draw(1_000), number * 2 + draw(1_000));
            let rest = r#""bidder":1,"channel":"c","url":"u""#;
            let bid = format!(r#"{{"auction":{auction},"price":{price},"date_time":{date_time},{rest}}}"#);
            writeln!(lines, "{bid}").unwrap();
        }
        fs::write(folder.join(format!("part-{part}.json")), lines).unwrap();
    }
}

/// One job: where it reads, and what it writes where.
struct Job {
    input: PathBuf,
    state: PathBuf,
    output: PathBuf,
}

impl Job {
    fn run(&self, more: &[&str]) -> Output {
        let mut command = Command::new(bids());
        command.args(["--workload", "w2", "--rate", "60000", "--epoch-ms", "20", "--snapshot-ms", "200"]);
        command.arg("--input").arg(&self.input).arg("--state").arg(&self.state);
        command.arg("--output").arg(&self.output).args(more);
        command.env("RUST_BACKTRACE", "0").output().unwrap()
    }

    /// The files that have their names, which means that they are complete.
    fn shown(&self) -> BTreeMap<PathBuf, String> {
        let Ok(entries) = fs::read_dir(&self.output) else { return BTreeMap::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let complete = paths.filter(|path| path.extension().is_some_and(|extension| extension == "csv"));
        complete.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
    }

    fn rows(&self) -> Vec<String> {
        let mut rows: Vec<_> =
            self.shown().values().flat_map(|file| file.lines().map(str::to_owned)).collect();
        rows.sort_unstable();
        rows
    }

    /// The log is as good as it was, as far as there is one.
    fn verify(&self) {
        let verified = self.run(&["checkpoints", "verify"]);
        let is_new = text(&verified.stderr).contains("holds no job");
        assert!(verified.status.success() || is_new, "{}{}", text(&verified.stdout), text(&verified.stderr));
    }
}

/// Runs a job again and again with a little more space, until there is enough.
fn climb(disk: &Path, job: &Job, place: &Path, steps_kib: &[u64]) {
    let others = disk.parent().unwrap();
    let calm = Job {
        input: job.input.clone(),
        state: others.join(format!("{}-calm-state", disk.file_name().unwrap().display())),
        output: others.join(format!("{}-calm-rows", disk.file_name().unwrap().display())),
    };
    let finished = calm.run(&["--quiet"]);
    assert!(finished.status.success(), "{}", text(&finished.stderr));
    let filler = disk.join("filler");
    for free_kib in steps_kib {
        fs::write(&filler, vec![0; ((DISK_KIB - free_kib) << 10) as usize]).unwrap_or_default();
        let before = job.shown();
        let stopped = job.run(&["--quiet"]);
        let said = text(&stopped.stderr);
        assert_eq!(stopped.status.code(), Some(1), "{free_kib} KiB are enough: {said}");
        assert!(said.contains("the disk of") && said.contains(place.to_str().unwrap()), "{said}");
        assert!(
            said.contains("is full: free some space, or configure a directory on a larger disk"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        let shown = job.shown();
        assert!(before.iter().all(|(path, rows)| shown.get(path) == Some(rows)), "rows were taken back");
        // What the job has is within its limit; the rest of the disk is somebody else's.
        fs::remove_file(&filler).unwrap();
        job.verify();
    }
    let finished = job.run(&[]);
    let said = text(&finished.stderr);
    assert!(finished.status.success() && said.contains("going on behind epoch"), "{said}");
    assert!(job.rows() == calm.rows() && job.rows().len() > 40_000, "not the rows of an undisturbed run");
    job.verify();
    [calm.state, calm.output].iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
}

fn beside(disk: &Path, name: &str) -> PathBuf {
    let folder = disk.with_file_name(format!("{}-{name}", disk.file_name().unwrap().display()));
    assert!(!folder.exists());
    folder
}

#[test]
fn a_full_state_directory_is_said_and_the_job_goes_on_when_there_is_space() {
    on_a_small_disk("a_full_state_directory_is_said_and_the_job_goes_on_when_there_is_space", |disk| {
        let (input, output) = (beside(disk, "input"), beside(disk, "rows"));
        write_input(&input);
        let job = Job { input: input.clone(), state: disk.join("state"), output: output.clone() };
        // Nothing; a log without epochs; some epochs; a log that the store has no space to take over.
        climb(disk, &job, &disk.join("state"), &[0, 24, 150, 200, 600, 1_500]);
        [input, output].iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    });
}

#[test]
fn a_full_output_folder_is_said_and_the_job_goes_on_when_there_is_space() {
    on_a_small_disk("a_full_output_folder_is_said_and_the_job_goes_on_when_there_is_space", |disk| {
        let (input, state) = (beside(disk, "input"), beside(disk, "state"));
        write_input(&input);
        let job = Job { input: input.clone(), state: state.clone(), output: disk.join("rows") };
        climb(disk, &job, &disk.join("rows"), &[0, 24, 200, 500]);
        [input, state].iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    });
}
