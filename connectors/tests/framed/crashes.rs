//! Clients send again what was not acknowledged: each record counts once, whatever happens to the job.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headwater_connectors::{FramedClient, FramedSocket};

use super::listening::{
    assert_each_once, counted_once_in_simulated_crashes, free_port, kill_when, listener,
    run_the_job_that_is_killed,
};

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
        let (listener, address) = listener();
        let senders: Vec<_> = (0..clients).map(|index| client(&address, index, count)).collect();
        let source = FramedSocket::lines("").on(listener).until_ended(clients as usize);
        let join = || {
            for sender in senders {
                assert_eq!(sender.join().unwrap().unwrap(), count + 1);
            }
        };
        crashes += counted_once_in_simulated_crashes(seed, source, join, clients * count).crashes;
    }
    assert!(crashes > 40, "{crashes} crashes");
}

/// The job of the test below, in a process of its own; says where it is and counts what it gets.
#[test]
#[ignore = "the other test starts it"]
fn a_job_that_is_killed() {
    let variables = ["FRAMED_DIRECTORY", "FRAMED_ADDRESS"].map(|name| std::env::var(name).ok());
    let [Some(directory), Some(address)] = variables else { return };
    let source = FramedSocket::lines(address).until_ended(2);
    run_the_job_that_is_killed(source, Path::new(&directory), Duration::from_millis(5));
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
        let wanted = kill * 2 * count / (kills + 1);
        kill_when(start(directory.path(), &address), || progress.load(SeqCst) >= wanted);
    }
    assert!(start(directory.path(), &address).wait().unwrap().success());
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_each_once(directory.path(), 2 * count);
}
