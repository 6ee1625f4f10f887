//! Clients send again what was not acknowledged: each record counts once, whatever happens to the job.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headwater::prelude::*;
use headwater::testing::{Ledger, Simulation};
use headwater_connectors::{CsvSink, FramedClient, FramedSocket};

/// Sends numbers of its own, and checks that nothing is acknowledged that was not sent.
fn client(address: &str, index: u64, count: u64) -> JoinHandle<headwater::Result<u64>> {
    let address = address.to_owned();
    thread::spawn(move || {
        let client = FramedClient::connect(address, format!("client {index}"))?;
        // Little is kept, so that sending waits for acknowledgements all the time.
        let mut client = client.kept_bytes_max(20_000);
        for n in client.acknowledged()..count {
            client.send((index * count + n).to_string())?;
            assert!(client.acknowledged() <= n + 1);
        }
        client.end()
    })
}

#[test]
fn what_clients_send_counts_once_in_simulated_crashes() {
    let (clients, count, mut crashes) = (3, 400, 0);
    for seed in 0..40 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let senders: Vec<_> = (0..clients).map(|index| client(&address, index, count)).collect();
        let (flow, rows) = (StreamBuilder::new("framed"), Ledger::new());
        let source = FramedSocket::lines("").on(listener).until_ended(clients as usize);
        flow.source("clients", source)
            .map(|line| line.parse::<u64>().unwrap_or(u64::MAX))
            .key_by_value()
            .count()
            .output_mode(OutputMode::Append)
            .sink("rows", rows.clone());
        let config = EngineConfig::default().parallelism(2);
        let report = Simulation::new(seed).run_with_crashes(&flow.build().unwrap(), &config, 6).unwrap();
        crashes += report.crashes;
        for sender in senders {
            assert_eq!(sender.join().unwrap().unwrap(), count + 1);
        }
        let found: BTreeMap<u64, u64> =
            rows.take().unwrap().into_iter().map(|row| (row.key, row.value)).collect();
        assert_eq!(found, (0..clients * count).map(|n| (n, 1)).collect(), "seed {seed}");
    }
    assert!(crashes > 40, "{crashes} crashes");
}

/// The job of the test below, in a process of its own; says where it is and counts what it gets.
#[test]
#[ignore = "the other test starts it"]
fn a_job_that_is_killed() {
    let variables = ["FRAMED_DIRECTORY", "FRAMED_ADDRESS"].map(|name| std::env::var(name).ok());
    let [Some(directory), Some(address)] = variables else { return };
    let directory = Path::new(&directory);
    let flow = StreamBuilder::new("killed");
    let (lines, rejected) = flow.source_or_rejected("clients", FramedSocket::lines(address).until_ended(2));
    rejected.sink("rejected", Ledger::new());
    let numbers = lines.map(|line| line.parse::<u64>().unwrap_or(u64::MAX));
    numbers.sink("rows", CsvSink::new(directory.join("rows.csv")).header(false));
    let counts = numbers.key_by_value().count().output_mode(OutputMode::Append);
    counts
        .map(|row| (row.key, row.value))
        .sink("counts", CsvSink::new(directory.join("counts.csv")).header(false));
    let config = EngineConfig::default().parallelism(2).epoch_interval(Duration::from_millis(5));
    flow.build().unwrap().run(config.state_dir(directory.join("job"))).unwrap();
}

fn start(directory: &Path, address: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crashes::a_job_that_is_killed"])
        .env("FRAMED_DIRECTORY", directory)
        .env("FRAMED_ADDRESS", address)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port below those that systems give to outgoing connections.
fn free_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[test]
fn what_clients_send_counts_once_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let kills = std::env::var("HEADWATER_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let count = 50_000;
    let progress = std::sync::Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..2)
        .map(|index| {
            let (address, progress) = (address.clone(), std::sync::Arc::clone(&progress));
            thread::spawn(move || {
                let mut client =
                    FramedClient::connect(address, format!("client {index}")).unwrap().kept_bytes_max(30_000);
                for n in 0..count {
                    client.send((index * count + n).to_string()).unwrap();
                    if n % 100 == 0 {
                        progress.fetch_add(100, SeqCst);
                    }
                }
                assert_eq!(client.end().unwrap(), count + 1);
            })
        })
        .collect();
    for kill in 1..=kills {
        let mut job = start(directory.path(), &address);
        let wanted = kill * 2 * count / (kills + 1);
        while progress.load(SeqCst) < wanted {
            assert!(job.try_wait().unwrap().is_none(), "the job ended before it was killed");
            pause();
        }
        job.kill().unwrap();
        job.wait().unwrap();
    }
    assert!(start(directory.path(), &address).wait().unwrap().success());
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let mut rows: Vec<u64> = read(&directory.path().join("rows.csv"), |line| line.parse().unwrap());
    rows.sort_unstable();
    assert!(rows.iter().copied().eq(0..2 * count), "{} rows", rows.len());
    let mut counts = read(&directory.path().join("counts.csv"), str::to_owned);
    counts.sort_unstable();
    let mut expected: Vec<_> = (0..2 * count).map(|n| format!("{n},1")).collect();
    expected.sort_unstable();
    assert!(counts == expected, "{} counts", counts.len());
}

#[expect(clippy::disallowed_methods, reason = "a test of processes lives in real time")]
fn pause() {
    thread::sleep(Duration::from_millis(1));
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> T) -> Vec<T> {
    fs::read_to_string(path).unwrap().lines().map(parse).collect()
}
