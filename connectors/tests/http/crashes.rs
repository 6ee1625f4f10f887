//! Senders that send again until they are answered: each record counts once, whatever happens to the job.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headwater::prelude::*;
use headwater_connectors::{CsvSink, HttpSource};

use super::listening::{
    assert_each_once, counted_once_in_simulated_crashes, free_port, kill_when, listener, pause,
    run_the_job_that_is_killed,
};
use super::wire::{Wire, with_key};

/// Records of a request.
const RECORDS: u64 = 20;

/// Sends one request until it is answered; sometimes goes away before the answer, and sends it again.
fn deliver(address: &str, key: &str, body: &str, is_hasty: bool, wait: impl Fn()) {
    let request = with_key(key, body);
    let mut is_hasty = is_hasty;
    loop {
        let Ok(mut wire) = Wire::try_connect(address) else {
            wait();
            continue;
        };
        if wire.stream.write_all(request.as_bytes()).is_err() {
            continue;
        }
        if std::mem::take(&mut is_hasty) {
            let _ = wire.answer();
            continue;
        }
        let answer = loop {
            if let Some(answer) = wire.answer() {
                break answer;
            }
        };
        match answer.status {
            200 => {
                assert_eq!(answer.body, format!("{{\"records\":{RECORDS}}}\n"));
                return;
            }
            0 | 503 => wait(),
            _ => panic!("{answer:?}"),
        }
    }
}

/// Sends numbers of its own.
fn sender(address: &str, index: u64, requests: u64, answered: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (address, answered) = (address.to_owned(), Arc::clone(answered));
    thread::spawn(move || {
        for request in 0..requests {
            let first = (index * requests + request) * RECORDS;
            let body: String = (first..first + RECORDS).map(|n| format!("{n}\n")).collect();
            deliver(&address, &format!("{index}-{request}"), &body, request % 5 == 2, pause);
            answered.fetch_add(1, SeqCst);
        }
    })
}

#[test]
fn what_is_sent_counts_once_in_simulated_crashes() {
    let (senders, requests, mut crashes) = (3, 15, 0);
    for seed in 0..12 {
        let (listener, address) = listener();
        let answered = Arc::default();
        let threads: Vec<_> =
            (0..senders).map(|index| sender(&address, index, requests, &answered)).collect();
        let source = HttpSource::lines("").on(listener).until_requests(senders * requests);
        let join = || threads.into_iter().for_each(|thread| thread.join().unwrap());
        let sent = senders * requests * RECORDS;
        crashes += counted_once_in_simulated_crashes(seed, source, join, sent).crashes;
    }
    assert!(crashes > 12, "{crashes} crashes");
}

#[test]
fn a_job_that_is_stopped_answers_and_the_next_one_knows_what_was_sent() {
    let (state, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (listener, address) = listener();
    let source = HttpSource::lines("").on(listener);
    let body: String = (0..RECORDS).map(|n| format!("{n}\n")).collect();
    for run in 0..3 {
        let flow = StreamBuilder::new("stopped");
        let rows = output.path().join("rows.csv");
        flow.source("requests", source.clone()).sink("rows", CsvSink::folder(rows).header(false));
        let config = EngineConfig::default().epoch_interval(Duration::from_millis(5)).state_dir(state.path());
        let running = flow.build().unwrap().start(config).unwrap();
        deliver(&address, "every-run", &body, false, pause);
        deliver(&address, &format!("run-{run}"), &body, false, pause);
        running.stop();
        running.wait().unwrap();
    }
    // The newest file is not complete, because the input has not ended.
    let all = fs::read_dir(output.path().join("rows.csv")).unwrap();
    let text: String = all.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let mut found: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    found.sort_unstable();
    let expected: Vec<u64> = (0..RECORDS).flat_map(|n| [n; 4]).collect();
    assert_eq!(found, expected, "once for all runs, and once for each of the three");
}

/// The job of the test below, in a process of its own; says where it is and counts what it gets.
#[test]
#[ignore = "the other test starts it"]
fn a_job_that_is_killed() {
    let variables = ["HTTP_DIRECTORY", "HTTP_ADDRESS", "HTTP_REQUESTS"].map(|name| std::env::var(name).ok());
    let [Some(directory), Some(address), Some(requests)] = variables else { return };
    let source = HttpSource::lines(address).until_requests(requests.parse().unwrap());
    run_the_job_that_is_killed(source, Path::new(&directory), Duration::from_millis(2));
}

fn start(directory: &Path, address: &str, requests: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crashes::a_job_that_is_killed"])
        .env("HTTP_DIRECTORY", directory)
        .env("HTTP_ADDRESS", address)
        .env("HTTP_REQUESTS", requests.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_is_sent_counts_once_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let kills = std::env::var("HEADWATER_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let (senders, requests) = (6, 50 * (kills + 1));
    let all = senders * requests;
    let answered = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..senders).map(|index| sender(&address, index, requests, &answered)).collect();
    for kill in 1..=kills {
        let wanted = kill * all / (kills + 1);
        kill_when(start(directory.path(), &address, all), || answered.load(SeqCst) >= wanted);
    }
    assert!(start(directory.path(), &address, all).wait().unwrap().success());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_each_once(directory.path(), all * RECORDS);
    println!("{kills} kills, {all} requests, {} records: 0 missing, 0 doubled", all * RECORDS);
}
