//! Damaged state directories: they go back to a snapshot, and no row is wrong, missing or doubled.
#![cfg(feature = "rocksdb")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

mod jobs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use headwater::batch::hash_bytes;
use headwater::config::RestartStrategy;
use headwater::prelude::*;
use headwater::runtime::{Inspection, Summary, create_savepoint};
use headwater::storage::DirectoryStorage;
use headwater::time::Epoch;
use headwater::wal::{EpochLog, JobId, LogBegin, LogLimits, RecordKind};
use tempfile::TempDir;

use self::jobs::{Numbers, Rows};

const COUNT: u64 = 20_000;

/// A job that is run piece by piece.
struct Job {
    directory: TempDir,
    rows: Rows,
    numbers: Numbers,
    kept: usize,
}

impl Job {
    fn new(kept: usize) -> Self {
        let (directory, rows) = (TempDir::new().unwrap(), Rows::new());
        Job { directory, rows, numbers: Numbers::new(COUNT), kept }
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("job")
    }

    fn store(&self) -> PathBuf {
        self.place().join("state")
    }

    fn snapshot(&self, epoch: u64) -> PathBuf {
        self.place().join("snapshots").join(epoch.to_string())
    }

    fn config(&self) -> EngineConfig {
        let config = EngineConfig::default().parallelism(2).epoch_interval(ms(1)).state_dir(self.place());
        config.snapshot_interval(ms(1)).snapshots_kept(self.kept)
    }

    fn topology(&self) -> Topology {
        self.rows.topology("job", &self.numbers)
    }

    /// Reads up to a number and stops behind a snapshot that has it.
    fn run_to(&self, gate: u64) {
        self.numbers.gate.store(gate, SeqCst);
        let running = self.topology().start(self.config()).unwrap();
        while running.report().records_read() < gate {
            std::thread::yield_now();
        }
        let epoch = running.report().epoch;
        while self.kept > 0 && self.snapshots().last().is_none_or(|newest| *newest <= epoch) {
            std::thread::yield_now();
        }
        running.stop();
        running.wait().unwrap();
    }

    /// Runs to the end; what was restored, and the sum.
    fn finish(&self) -> (Option<String>, Summary) {
        self.numbers.gate.store(u64::MAX, SeqCst);
        let restart = RestartStrategy::FixedDelay { attempts_max: 5, delay_ms: 0 };
        let running = self.topology().start(self.config().restart(restart)).unwrap();
        let restored = running.restored().map(str::to_owned);
        (restored, running.wait().unwrap())
    }

    /// Runs to the end and compares all rows.
    #[track_caller]
    fn finish_well(&self) -> String {
        let (restored, summary) = self.finish();
        assert_eq!(summary.records_read(), COUNT);
        self.rows.check(COUNT);
        restored.unwrap_or_default()
    }

    /// Epochs of complete snapshots, ascending.
    fn snapshots(&self) -> Vec<u64> {
        let Ok(folder) = fs::read_dir(self.place().join("snapshots")) else { return Vec::new() };
        let names = folder.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let mut epochs: Vec<u64> = names.collect();
        epochs.sort_unstable();
        epochs
    }

    fn inspect(&self) -> Inspection {
        Inspection::open(&self.topology(), self.place()).unwrap()
    }

    fn refusal(&self, config: EngineConfig) -> String {
        self.topology().start(config).unwrap_err().to_string()
    }
}

/// Tables of a store, the newest last.
fn tables(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let mut tables: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "sst")).collect();
    tables.sort();
    tables
}

fn named(store: &Path, start: &str) -> PathBuf {
    let mut entries = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start)).unwrap()
}

/// Flips a bit of this one name: links to the file keep what they had.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn flip_tables(store: &Path) {
    // Not the small ones: they hold the epoch, which is read at once.
    let large = |table: &&PathBuf| fs::metadata(table).unwrap().len() > 2_000;
    tables(store).iter().filter(large).for_each(|table| flip(table, 20));
}

#[test]
fn a_damaged_store_goes_back_to_a_snapshot_and_forward_to_the_last_commit() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 7] = [
        ("CURRENT is gone", |store| fs::remove_file(store.join("CURRENT")).unwrap()),
        ("CURRENT is cut", |store| fs::write(store.join("CURRENT"), "").unwrap()),
        ("a bit of the list of tables", |store| flip(&named(store, "MANIFEST"), 30)),
        ("the list of tables is gone", |store| fs::remove_file(named(store, "MANIFEST")).unwrap()),
        ("all is gone", |store| fs::remove_dir_all(store).unwrap()),
        ("it is empty", |store| {
            fs::remove_dir_all(store).unwrap();
            fs::create_dir(store).unwrap();
        }),
        ("it was found before", |store| fs::write(format!("{}.damaged", store.display()), "worms").unwrap()),
    ];
    for (name, damage) in cases {
        let job = Job::new(1);
        [3_000, 6_000, 9_000].into_iter().for_each(|gate| job.run_to(gate));
        let newest = *job.snapshots().last().unwrap();
        assert!(job.inspect().log().complete_from().0 > 0, "the log was never cut off");
        damage(&job.store());
        let restored = job.finish_well();
        let is_kept = restored.contains("the damaged files are in");
        assert_eq!(is_kept, !matches!(name, "all is gone" | "it is empty"), "{restored}");
        let went_back = format!("went back to the snapshot of epoch {newest}, and the log goes on to epoch");
        assert!(restored.contains(&went_back), "{name}: {restored}");
        assert!(job.inspect().verify().unwrap().problems.is_empty());
        assert!(!job.place().join("state.damaged").exists());
    }
}

#[test]
fn damage_that_only_a_read_finds_restarts_the_job_behind_a_snapshot() {
    let mut restarted = 0;
    for _ in 0..4 {
        let job = Job::new(2);
        [3_000, 9_000].into_iter().for_each(|gate| job.run_to(gate));
        flip_tables(&job.store());
        let (restored, summary) = job.finish();
        job.rows.check(COUNT);
        assert!(restored.is_some() || summary.restarts > 0, "nobody has noticed");
        restarted += summary.restarts;
        let aside = fs::read_dir(job.place()).unwrap().map(|entry| entry.unwrap().file_name());
        let aside = aside.filter(|name| name.to_str().unwrap().starts_with("state.damaged-")).count();
        assert_eq!(aside, 1, "what was damaged is kept once");
    }
    assert!(restarted > 0);
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 5] = [
        ("a bit of a table", |place| flip(tables(&place.join("state")).last().unwrap(), 20), "checksum"),
        ("a bit of the manifest", |place| flip(&place.join("manifest"), 50), "is damaged"),
        ("no manifest", |place| fs::remove_file(place.join("manifest")).unwrap(), "is missing"),
        (
            "no table",
            |place| fs::remove_file(tables(&place.join("state")).pop().unwrap()).unwrap(),
            "is missing",
        ),
        (
            "half a file",
            |place| fs::write(place.join("state/CURRENT"), "MAN").unwrap(),
            "has 3 bytes, and had",
        ),
    ];
    for (name, damage, said) in cases {
        let job = Job::new(3);
        [3_000, 6_000, 9_000].into_iter().for_each(|gate| job.run_to(gate));
        let snapshots = job.snapshots();
        let [.., older, newest] = snapshots[..] else { panic!("{snapshots:?}") };
        damage(&job.snapshot(newest));
        let problems = job.inspect().verify().unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains(said)), "{name}: {problems:?}");
        fs::remove_file(job.store().join("CURRENT")).unwrap();
        let restored = job.finish_well();
        let parts =
            [format!("the snapshot of epoch {older}"), format!("that of epoch {newest}"), said.to_owned()];
        assert!(parts.iter().all(|part| restored.contains(part)), "{name}: {restored}");
    }
}

#[test]
fn without_a_usable_snapshot_the_log_is_enough_while_it_is_whole() {
    let job = Job::new(3);
    job.run_to(3_000);
    for epoch in job.snapshots() {
        fs::write(job.snapshot(epoch).join("manifest"), "").unwrap();
    }
    // Three snapshots are made before the log is cut off behind the first.
    let whole = job.inspect().log().complete_from().0 == 0;
    fs::remove_file(job.store().join("CURRENT")).unwrap();
    if whole {
        assert!(job.finish_well().contains("made it anew from the log"));
    }

    let job = Job::new(0);
    [3_000, 6_000, 9_000].into_iter().for_each(|gate| job.run_to(gate));
    assert!(job.snapshots().is_empty());
    fs::remove_file(job.store().join("CURRENT")).unwrap();
    let error = job.refusal(job.config());
    let parts = ["no snapshot can replace it (there is none)", "--from", "--no-resume", "CURRENT"];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn when_all_snapshots_are_damaged_the_error_says_which_and_what_to_do() {
    let job = Job::new(2);
    [3_000, 5_000, 7_000, 9_000].into_iter().for_each(|gate| job.run_to(gate));
    let snapshots = job.snapshots();
    snapshots.iter().for_each(|epoch| flip(&job.snapshot(*epoch).join("manifest"), 40));
    fs::remove_dir_all(job.store()).unwrap();
    for attempt in 0..2 {
        let error = job.refusal(job.config());
        let mut parts = vec!["it is gone", "--from", "--no-resume", "the log begins behind epoch"];
        let each: Vec<_> = snapshots.iter().map(|epoch| format!("that of epoch {epoch}")).collect();
        if attempt == 0 {
            parts.extend(each.iter().map(String::as_str));
        }
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn the_log_is_kept_back_to_the_oldest_snapshot_and_every_table_stays() {
    let job = Job::new(2);
    let mut cut = 0;
    for gate in (1..10).map(|piece| piece * 2_000) {
        job.run_to(gate);
        let (snapshots, inspection) = (job.snapshots(), job.inspect());
        assert!(snapshots.len() <= 2, "{snapshots:?}");
        let begins = inspection.log().complete_from().0;
        assert!(
            begins <= snapshots[0],
            "the log begins behind {begins}, the oldest snapshot is {}",
            snapshots[0]
        );
        assert!(begins >= cut);
        cut = begins;
        let found = inspection.verify().unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
        assert_eq!(found.snapshots, snapshots.len() as u64);
        let said: Vec<_> = inspection.snapshots().unwrap().iter().map(|snapshot| snapshot.epoch).collect();
        assert_eq!(said, snapshots);
    }
    assert!(cut > 0);
    assert_eq!(job.finish_well(), "");
}

#[test]
fn epochs_that_were_given_up_are_no_part_of_the_state() {
    let job = Job::new(3);
    [3_000, 6_000, 9_000].into_iter().for_each(|gate| job.run_to(gate));
    let [.., older, newest] = job.snapshots()[..] else { panic!("too few snapshots") };
    let mut place = None;
    let inspection = job.inspect();
    let commits = inspection.log().records(&mut |found| {
        let record = &found.record;
        if record.kind == RecordKind::Commit && record.epoch.0 == older + 1 {
            place = Some((found.segment, found.offset as usize, record.lsn.0));
        }
        Ok(())
    });
    commits.unwrap();
    let (segment, offset, lsn) = place.unwrap();
    flip(&job.place().join(format!("wal/{segment:010}.log")), offset + 28);
    assert!(job.refusal(job.config()).contains("the log is damaged"));
    // What it has shown of the epochs that are given up is the user's to remove.
    let job = Job { rows: Rows::new(), ..job };
    let mut config = job.config();
    config.log_truncate_at = Some(lsn);
    let running = job.topology().start(config).unwrap();
    let restored = running.restored().unwrap().to_owned();
    assert!(restored.contains("epochs that were given up"), "{restored}");
    assert!(
        restored.contains(&format!("the snapshot of epoch {older}, and the log goes on to epoch {older}"))
    );
    assert!(!job.snapshot(newest).exists() || running.report().epoch >= newest);
    running.stop();
    running.wait().unwrap();
    assert!(job.inspect().verify().unwrap().problems.is_empty());
}

/// What a crash can leave between two steps of a restore.
#[test]
fn a_restore_that_was_cut_short_is_done_again() {
    let job = Job::new(2);
    job.run_to(3_000);
    for (step, gate) in (0..6).zip([5_000, 7_000, 9_000, 11_000, 13_000, 15_000]) {
        let (store, marker) = (job.store(), job.place().join("state.damaged"));
        fs::remove_file(store.join("CURRENT")).unwrap();
        if step < 4 {
            fs::write(&marker, "seen before").unwrap();
        }
        if step > 0 {
            fs::create_dir(job.place().join("state.tmp")).unwrap();
            fs::write(job.place().join("state.tmp/CURRENT"), "half").unwrap();
        }
        if step > 1 {
            let _ = fs::remove_dir_all(job.place().join("state.damaged-1"));
            fs::rename(&store, job.place().join("state.damaged-1")).unwrap();
        }
        if step == 5 {
            fs::create_dir(&store).unwrap();
        }
        job.run_to(gate);
        assert!(!marker.exists() && !job.place().join("state.tmp").exists());
        assert!(job.inspect().verify().unwrap().problems.is_empty());
    }
    assert_eq!(job.finish_well(), "");
}

#[test]
fn a_snapshot_that_was_cut_short_is_removed() {
    let job = Job::new(2);
    job.run_to(3_000);
    let left = job.place().join("snapshots/77.tmp/state");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("000001.sst"), "half").unwrap();
    job.run_to(5_000);
    assert!(!left.exists());
    job.finish_well();
}

fn limit() -> Duration {
    Duration::from_secs(60)
}

#[test]
fn a_savepoint_of_a_stopped_job_begins_another_one() {
    for parallelism in [1, 2, 3] {
        let job = Job::new(0);
        [3_000, 9_000].into_iter().for_each(|gate| job.run_to(gate));
        let savepoint = create_savepoint(&job.topology(), job.place(), Some("first"), limit()).unwrap();
        assert_eq!(savepoint, job.place().join("savepoints/first"));
        let error = create_savepoint(&job.topology(), job.place(), Some("first"), limit()).unwrap_err();
        assert!(error.to_string().contains("is there already"), "{error}");
        let second = create_savepoint(&job.topology(), job.place(), None, limit()).unwrap();
        assert!(second.ends_with("savepoint-1"));
        assert_eq!(job.inspect().verify().unwrap().snapshots, 2);

        let before = job.rows.shown_windows();
        let other = Job { rows: Rows::new(), ..Job::new(2) };
        other.numbers.gate.store(9_000, SeqCst);
        let config = other.config().parallelism(parallelism);
        let running = other.topology().start(config.clone().start_from(&savepoint)).unwrap();
        let begun = running.report().records_read();
        assert_eq!((begun, running.resumed().is_some(), running.restored()), (9_000, true, None));
        other.numbers.gate.store(12_000, SeqCst);
        while running.report().records_read() < 12_000 {
            std::thread::yield_now();
        }
        running.stop();
        running.wait().unwrap();
        let error = other.refusal(config.start_from(&savepoint));
        assert!(error.contains("has a job already") && error.contains("leave --from away"), "{error}");
        // What it began with is there again when its store is lost.
        fs::remove_dir_all(other.store()).unwrap();
        let (restored, _) = other.finish();
        assert!(restored.unwrap().contains("it is gone"));
        other.rows.check_behind(&before, COUNT);
        // The first job goes on as if nothing had been.
        let (_, summary) = job.finish();
        assert_eq!(summary.records_read(), COUNT);
    }
}

#[test]
fn a_start_from_a_savepoint_that_was_cut_short_is_repeated() {
    let job = Job::new(0);
    job.run_to(3_000);
    let savepoint = create_savepoint(&job.topology(), job.place(), None, limit()).unwrap();
    let epoch = job.inspect().snapshot("savepoint-1").unwrap().unwrap().0.epoch;
    let before = job.rows.shown_windows();
    for (committed, complete_from) in [(0, epoch), (epoch - 1, epoch), (epoch, epoch + 1)] {
        let other = Job { rows: Rows::new(), ..Job::new(2) };
        fs::create_dir(other.place()).unwrap();
        let begin = LogBegin { committed: Epoch(committed), complete_from: Epoch(complete_from) };
        let limits = LogLimits { begin: Some(begin), ..LogLimits::default() };
        let id = JobId(u128::from(hash_bytes(b"job")));
        drop(EpochLog::open(Arc::new(DirectoryStorage::new(other.place())), id, limits).unwrap());
        fs::create_dir_all(other.snapshot(epoch)).unwrap();
        let error = other.refusal(other.config());
        assert!(error.contains("was cut short") && error.contains("--no-resume"), "{error}");
        let config = other.config().start_from(&savepoint);
        if complete_from != epoch {
            assert!(other.refusal(config).contains("was cut short"));
            continue;
        }
        assert_eq!(other.topology().run(config).unwrap().records_read(), COUNT);
        other.rows.check_behind(&before, COUNT);
    }
}

#[test]
fn a_savepoint_of_a_running_job_begins_another_one() {
    let job = Job::new(2);
    job.numbers.gate.store(6_000, SeqCst);
    let running = job.topology().start(job.config()).unwrap();
    while running.report().records_read() < 6_000 {
        std::thread::yield_now();
    }
    let savepoint = create_savepoint(&job.topology(), job.place(), Some("live"), limit()).unwrap();
    let (report, epoch) = job.inspect().snapshot("live").unwrap().unwrap();
    assert!(report.problem.is_none() && report.epoch > 0);
    let read = epoch.counts.iter().find(|(name, _)| name == "numbers").unwrap().1.records_in;
    assert_eq!(read, 6_000);
    job.numbers.gate.store(u64::MAX, SeqCst);
    running.wait().unwrap();
    let before = job.rows.shown_windows();

    for parallelism in [1, 3] {
        let other = Job { rows: Rows::new(), ..Job::new(2) };
        let config = other.config().parallelism(parallelism).start_from(&savepoint);
        let summary = other.topology().run(config).unwrap();
        assert_eq!(summary.records_read(), COUNT);
        other.rows.check_behind(&before, COUNT);
    }
}

#[test]
fn what_is_no_savepoint_of_this_job_is_refused() {
    let job = Job::new(0);
    let nobody = create_savepoint(&job.topology(), job.place(), None, limit()).unwrap_err().to_string();
    assert!(nobody.contains("holds no job"), "{nobody}");
    job.run_to(3_000);
    let savepoint = create_savepoint(&job.topology(), job.place(), None, limit()).unwrap();
    for name in ["", ".x", "a/b", "..", "x.tmp"] {
        let error = create_savepoint(&job.topology(), job.place(), Some(name), limit()).unwrap_err();
        assert!(error.to_string().contains("is no name of a savepoint"), "{error}");
    }
    let new = Job::new(0);
    let from = |place: &Path| new.config().start_from(place);
    let error = new.refusal(from(&job.place()));
    assert!(error.contains("is no savepoint"), "{error}");
    let error = new.rows.topology("another", &new.numbers).start(from(&savepoint)).unwrap_err().to_string();
    assert!(error.contains("is of the topology `job`, and this program is `another`"), "{error}");
    let mut groups = from(&savepoint);
    groups.key_groups = 64;
    let error = new.refusal(groups);
    assert!(error.contains("64") && error.contains("128"), "{error}");
    let mut nowhere = from(&savepoint);
    nowhere.state_dir = None;
    assert!(new.refusal(nowhere).contains("needs a `state_dir`"));
    flip(&named(&savepoint.join("state"), "MANIFEST"), 9);
    let error = new.refusal(from(&savepoint));
    assert!(error.contains("take another one"), "{error}");
    assert!(!new.store().exists(), "a refused savepoint leaves nothing");
}
