//! What a receiver gets, and what becomes of requests that it does not take.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use headwater::prelude::*;
use headwater::sink::{Sink, SinkWriter, Subtask};
use headwater::testing::{Simulation, SinkCheck, check_sink, commit_epoch};
use headwater::time::{Clock, SystemClock};
use headwater_connectors::{Generator, HttpSink};

use super::receiver::{Fate, Receiver};

const ONE: Subtask = Subtask { index: 0, count: 1 };

fn sink(receiver: &Receiver) -> HttpSink<u64> {
    HttpSink::json(&receiver.url).timeout(Duration::from_millis(150)).patience(Duration::from_secs(60))
}

fn batch(rows: std::ops::Range<u64>) -> headwater::batch::Batch<u64> {
    let mut builder = headwater::batch::BatchBuilder::new(headwater::batch::BatchLimits::default());
    rows.for_each(|row| builder.push(row).unwrap());
    builder.finish().unwrap()
}

fn write(writer: &mut dyn SinkWriter<u64>, rows: std::ops::Range<u64>, epoch: u64) -> Result<()> {
    writer.write(&batch(rows))?;
    commit_epoch(writer, epoch, false).map(|_| ())
}

/// Numbers that come from a seed.
fn draw(seed: u64, n: u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ n.wrapping_mul(0xD134_2543_DE82_EF95);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33
}

/// One request in `every` meets something.
fn fates(seed: u64, every: u64) -> impl Fn(u64) -> Fate + Send + Sync {
    const ALL: [Fate; 8] = [
        Fate::Silent,
        Fate::TakenAndBroken,
        Fate::Broken,
        Fate::Busy(0),
        Fate::TakenTwice,
        Fate::TakenAndSilent,
        Fate::Status(500),
        Fate::Status(409),
    ];
    move |n| match draw(seed, n) {
        drawn if drawn % every == 0 => ALL[(drawn / every) as usize % ALL.len()],
        _ => Fate::Taken,
    }
}

#[test]
fn rows_are_posted_when_their_epoch_is_committed_each_request_with_a_key() {
    let receiver = Receiver::start(|_, _| Fate::Taken);
    let one = sink(&receiver).header("X-Job", "orders");
    let mut writer = one.open(ONE).unwrap();
    writer.write(&batch(0..3)).unwrap();
    assert!(receiver.seen().came.is_empty());
    commit_epoch(&mut *writer, 1, false).unwrap();
    assert_eq!(receiver.seen().rows(), ["0", "1", "2"]);
    let several = sink(&receiver).rows_per_request(3);
    let mut writer = several.open(Subtask { index: 1, count: 2 }).unwrap();
    write(&mut *writer, 3..10, 2).unwrap();
    let seen = receiver.seen();
    let bodies: Vec<_> = seen.came.iter().map(|came| came.body.as_str()).collect();
    assert_eq!(bodies, ["0\n", "1\n", "2\n", "3\n4\n5\n", "6\n7\n8\n", "9\n"]);
    let head = seen.came[0].head.to_ascii_lowercase();
    assert!(head.starts_with("post /hook?token=secret-of-the-url http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n") && head.contains("x-job: orders\r\n"),
        "{head}"
    );
    assert!(head.contains("user-agent: headwater/"), "{head}");
    assert!(seen.came[3].head.to_ascii_lowercase().contains("content-type: application/x-ndjson\r\n"));
    let keys: BTreeSet<_> = seen.came.iter().map(|came| came.key.as_str()).collect();
    assert_eq!(keys.len(), 6);
    assert!(seen.came[5].key.ends_with("-2-1-2"), "epoch, subtask, part: {}", seen.came[5].key);
}

#[test]
fn a_job_that_begins_anew_has_keys_of_its_own() {
    let receiver = Receiver::start(|_, _| Fate::Taken);
    for run in 0..2 {
        let flow = StreamBuilder::new("anew");
        flow.source("numbers", Generator::new(3, move |n| run * 3 + n)).sink("receiver", sink(&receiver));
        flow.build().unwrap().run(EngineConfig::default()).unwrap();
    }
    assert_eq!(receiver.seen().rows(), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_receiver_that_honours_keys_gets_each_row_once() {
    for (seed, rows_per_request) in [(1, 1), (2, 2)] {
        let receivers = Mutex::new(BTreeMap::<u64, Receiver>::new());
        let receiver = |trial: u64| {
            let start = || {
                let fate = fates(seed * 1_000 + trial, 9);
                Receiver::start(move |n, _| fate(n))
            };
            receivers.lock().unwrap().entry(trial).or_insert_with(start).clone()
        };
        let trials = std::env::var("HEADWATER_TRIALS").map_or(40, |trials| trials.parse().unwrap());
        let report = check_sink(
            |trial| Ok(sink(&receiver(trial)).rows_per_request(rows_per_request)),
            |trial| Ok(receiver(trial).seen().rows().iter().map(|row| row.parse().unwrap()).collect()),
            &SinkCheck::new(|n| n).rows(10).trials_max(trials),
        );
        let report = report.unwrap();
        assert!(report.trials >= 30, "{report:?}");
        let receivers = receivers.lock().unwrap();
        let again = |seen: &super::receiver::Seen| seen.came.len() - seen.taken.len();
        let again: usize = receivers.values().map(|of| again(&of.seen())).sum();
        assert!(again > 20, "only {again} requests came again");
    }
}

#[test]
fn a_job_that_crashes_sends_each_row_under_one_key() {
    let mut crashes = 0;
    for seed in 0..10 {
        let fate = fates(seed, 40);
        let receiver = Receiver::start(move |n, _| fate(n));
        let flow = StreamBuilder::new("to-receiver");
        flow.source("numbers", Generator::new(2_000, |n| n).partitions(2))
            .key_by(|n| n % 100)
            .count()
            .output_mode(OutputMode::Append)
            .map(|row| row.key * 1_000 + row.value)
            .sink("receiver", sink(&receiver).rows_per_request(5));
        let config = EngineConfig::default().parallelism(2);
        crashes +=
            Simulation::new(seed).run_with_crashes(&flow.build().unwrap(), &config, 5).unwrap().crashes;
        let mut rows: Vec<u64> = receiver.seen().rows().iter().map(|row| row.parse().unwrap()).collect();
        rows.sort_unstable();
        assert!(rows.iter().copied().eq((0..100).map(|key| key * 1_000 + 20)), "seed {seed}: {rows:?}");
    }
    assert!(crashes > 10, "{crashes} crashes");
}

#[test]
fn a_refused_request_fails_the_run_and_says_what_to_do() {
    let receiver = Receiver::start(|n, _| if n == 1 { Fate::Status(422) } else { Fate::Taken });
    let refusing = sink(&receiver).header("Authorization", "Bearer secret-of-the-header");
    let mut writer = refusing.open(ONE).unwrap();
    let error = write(&mut *writer, 0..3, 1).unwrap_err().to_string();
    for part in [
        "http://127.0.0.1:",
        "refuses a row",
        "422: said 422",
        "-1-0-1",
        "run the job again",
        ".dead_letters(",
    ] {
        assert!(error.contains(part), "`{part}` is missing: {error}");
    }
    assert!(!error.contains("secret"), "{error}");
    assert!(!format!("{refusing:?}").contains("secret"));
    let elsewhere = Receiver::start(|_, _| Fate::Status(307));
    let error = write(&mut *sink(&elsewhere).open(ONE).unwrap(), 0..1, 1).unwrap_err().to_string();
    assert!(error.contains("307: it is elsewhere") && error.contains("give the sink the new URL"), "{error}");
    assert_eq!(elsewhere.seen().came.len(), 1);
}

#[test]
fn refused_requests_are_kept_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused/letters.jsonl");
    let receiver =
        Receiver::start(|_, came| if came.body.contains('4') { Fate::Status(400) } else { Fate::Taken });
    let keeping = sink(&receiver).rows_per_request(2).dead_letters(&path);
    let mut writers = [0, 1].map(|index| keeping.open(Subtask { index, count: 2 }).unwrap());
    write(&mut *writers[0], 0..6, 1).unwrap();
    write(&mut *writers[1], 14..15, 1).unwrap();
    assert_eq!(receiver.seen().rows(), ["0", "1", "2", "3"]);
    let letters: Vec<serde_json::Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["rows"], serde_json::json!([4, 5]));
    assert_eq!((&letters[0]["status"], &letters[0]["answer"]), (&400.into(), &"said 400".into()));
    assert_eq!(letters[1]["rows"], serde_json::json!([14]));
    assert_eq!(letters[0]["key"], receiver.seen().came[2].key);
}

#[test]
fn nobody_waits_longer_than_was_said_and_the_next_run_sends_what_is_left() {
    let receiver = Receiver::start(|n, _| if n < 5 { Fate::Busy(0) } else { Fate::Taken });
    let impatient = sink(&receiver).patience(Duration::ZERO);
    let mut writer = impatient.open(ONE).unwrap();
    writer.write(&batch(0..2)).unwrap();
    let cut = headwater::sink::Cut { epoch: headwater::time::Epoch(1), is_last: false, now_ms: 0 };
    let staged = writer.prepare(cut).unwrap();
    let error = writer.commit(cut.epoch, &staged).unwrap_err().to_string();
    for part in
        ["has not taken a request", "(1 attempts)", "503: said 503", "nothing is lost", ".patience(..)"]
    {
        assert!(error.contains(part), "`{part}` is missing: {error}");
    }
    drop(writer);
    let mut writer = sink(&receiver).open(ONE).unwrap();
    writer.recover(vec![(cut.epoch, staged)]).unwrap();
    let seen = receiver.seen();
    assert_eq!(seen.rows(), ["0", "1"]);
    assert_eq!(seen.came.len(), 7);
    assert!(
        seen.came[..6].iter().all(|came| came.key == seen.came[0].key),
        "the key is that of the first run"
    );
    // Nobody is there at all.
    let gone = HttpSink::<u64>::json("http://127.0.0.1:1/x?secret").patience(Duration::from_millis(1));
    let error = write(&mut *gone.open(ONE).unwrap(), 0..1, 1).unwrap_err().to_string();
    assert!(error.contains("http://127.0.0.1:1 has not taken") && !error.contains("secret"), "{error}");
}

#[test]
fn a_receiver_that_says_when_is_not_asked_before() {
    let receiver = Receiver::start(|n, _| if n == 0 { Fate::Busy(1) } else { Fate::Taken });
    let (clock, sink) = (SystemClock::default(), sink(&receiver));
    let mut writer = sink.open(ONE).unwrap();
    let before_ms = clock.monotonic_ms();
    write(&mut *writer, 0..1, 1).unwrap();
    assert!(clock.monotonic_ms() - before_ms >= 1_000);
}

#[test]
fn what_cannot_be_sent_is_refused_before_the_run() {
    let error = |sink: HttpSink<u64>| sink.open(ONE).err().unwrap().to_string();
    let host = "http://localhost";
    for (sink, says) in [
        (HttpSink::json("nowhere"), "http://HOST:PORT/PATH"),
        (HttpSink::json("/path"), "http://HOST:PORT/PATH"),
        (HttpSink::json("ftp://host/"), "begin with http://"),
        (HttpSink::json("https://host/secret"), "name a proxy"),
        (HttpSink::json("http://me:secret@host/"), ".header_from_env("),
        (HttpSink::json_from_env("NO_SUCH_VARIABLE"), "export NO_SUCH_VARIABLE="),
        (
            HttpSink::json(host).header_from_env("X-Key", "NO_SUCH_VARIABLE"),
            "for the header X-Key is not set",
        ),
        (HttpSink::json(host).header("no name", "x"), "is not the name of a header"),
        (HttpSink::json(host).header("X-Key", "secret\nX-Other: x"), "the value of the header X-Key"),
        (HttpSink::json(host).header("idempotency-KEY", "x"), "the sink's own"),
        (HttpSink::json(host).rows_per_request(0), "at least 1"),
    ] {
        let error = error(sink);
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
    assert!(!Sink::<u64>::accepts(&HttpSink::<u64>::json(host), OutputMode::Complete));
}

/// The job of the test below, in a process of its own.
#[test]
#[ignore = "the other test starts it"]
fn a_job_that_sends_and_is_killed() {
    let variables =
        ["HTTP_SINK_DIRECTORY", "HTTP_SINK_URL", "HTTP_SINK_ROWS"].map(|name| std::env::var(name).ok());
    let [Some(directory), Some(url), Some(rows)] = variables else { return };
    let flow = StreamBuilder::new("killed");
    let source = Generator::new(rows.parse().unwrap(), |n| n).partitions(2);
    let sink = HttpSink::<u64>::json(url).rows_per_request(100).timeout(Duration::from_millis(150));
    flow.source("numbers", source).sink("receiver", sink);
    let config = EngineConfig::default().parallelism(2).epoch_interval(Duration::from_millis(2));
    flow.build().unwrap().run(config.state_dir(Path::new(&directory))).unwrap();
}

#[test]
fn each_row_arrives_under_one_key_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let fate = fates(7, 60);
    let receiver = Receiver::start(move |n, _| fate(n));
    let kills = std::env::var("HEADWATER_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let rows = 30_000 * (kills + 1);
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "sink::a_job_that_sends_and_is_killed"])
            .env("HTTP_SINK_DIRECTORY", directory.path().join("job"))
            .env("HTTP_SINK_URL", &receiver.url)
            .env("HTTP_SINK_ROWS", rows.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for kill in 1..=kills {
        let mut job = start();
        while (receiver.seen().taken.len() as u64) * 100 < kill * rows / (kills + 1) {
            assert!(job.try_wait().unwrap().is_none(), "the job ended before it was killed");
            super::listening::pause();
        }
        job.kill().unwrap();
        job.wait().unwrap();
    }
    assert!(start().wait().unwrap().success());
    let seen = receiver.seen();
    let mut found: Vec<u64> = seen.rows().iter().map(|row| row.parse().unwrap()).collect();
    found.sort_unstable();
    assert!(found.iter().copied().eq(0..rows), "{} rows of {rows}", found.len());
    let again = seen.came.len() - seen.taken.len();
    println!(
        "{kills} kills, {} requests, {again} of them again, {rows} rows: 0 missing, 0 doubled",
        seen.came.len()
    );
}
