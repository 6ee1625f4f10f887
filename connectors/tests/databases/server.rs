//! Servers that are killed, stand still, or lose connections: a writer waits and goes on, or says why not.
//!
//! Each test has a proxy of its own in front of the server, so that the others keep theirs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use headwater::config::EngineConfig;
use headwater::prelude::*;
use headwater::sink::Sink;
use headwater::time::Epoch;

use super::crashes::{EACH, job};
use super::place::AnySink;
use super::{Kind, ONLY, Place, on_servers, refused, stage};

/// What happens to a statement that has `COMMIT` in it.
#[derive(Clone, Copy, PartialEq)]
enum AtCommit {
    Passes,
    /// The connection ends before the server has it.
    LostBefore,
    /// The server has it, and nobody hears the answer.
    LostBehind,
}

#[derive(Default)]
struct World {
    plan: Mutex<Vec<AtCommit>>,
    /// Connections are refused.
    is_away: AtomicBool,
    /// Nothing that the server says is passed on.
    is_silent: AtomicBool,
    connections: AtomicU64,
}

struct Proxy {
    address: String,
    world: Arc<World>,
}

impl Proxy {
    fn new(server: &Place) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (host, world) = (host(&server.url), Arc::new(World::default()));
        let proxied = Arc::clone(&world);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if proxied.is_away.load(SeqCst) {
                    continue;
                }
                proxied.connections.fetch_add(1, SeqCst);
                let server = TcpStream::connect(&host).unwrap();
                pass(client, server, &proxied);
            }
        });
        Proxy { address, world }
    }

    fn sink(&self, server: &Place, table: &str) -> AnySink {
        let url = server.url.replace(&host(&server.url), &self.address);
        server.sink_at(&url, table).exactly_once(table).create_table()
    }

    fn plan(&self, plan: &[AtCommit]) {
        *self.world.plan.lock().unwrap() = plan.iter().rev().copied().collect();
    }
}

fn host(url: &str) -> String {
    url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned()
}

fn pass(client: TcpStream, server: TcpStream, world: &Arc<World>) {
    let is_deaf = Arc::new(AtomicBool::new(false));
    let (mut from, mut to, plans, deaf) =
        (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(world), Arc::clone(&is_deaf));
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            // The last statement of a transaction, alone: what it is, a length, and its text.
            let commits: [&[u8]; 2] = [b"Q\0\0\0\x0bCOMMIT\0", b"\x07\0\0\0\x03COMMIT"];
            let at_commit = match commits.contains(&&bytes[..count]) {
                true => plans.plan.lock().unwrap().pop().unwrap_or(AtCommit::Passes),
                false => AtCommit::Passes,
            };
            if at_commit == AtCommit::LostBefore {
                break;
            }
            deaf.fetch_or(at_commit == AtCommit::LostBehind, SeqCst);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    let (mut from, mut to, world) = (server, client, Arc::clone(world));
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if is_deaf.load(SeqCst) {
                break;
            }
            if !world.is_silent.load(SeqCst) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

fn a_commit_whose_outcome_nobody_knows_counts_once(server: &Place) {
    use AtCommit::{LostBefore, LostBehind};
    let (table, proxy) = (server.fresh("unknown"), Proxy::new(server));
    let mut writer = Sink::<u64>::open(&proxy.sink(server, &table), ONLY).unwrap();
    let plans: [&[AtCommit]; 5] =
        [&[], &[LostBefore], &[LostBehind], &[LostBefore, LostBefore, LostBehind], &[LostBehind, LostBefore]];
    for (epoch, plan) in (1..).zip(plans) {
        let staged = stage(&mut *writer, epoch, &[epoch, epoch + 100]).unwrap();
        let before = proxy.world.connections.load(SeqCst);
        proxy.plan(plan);
        writer.commit(Epoch(epoch), &staged).unwrap();
        let lost = plan.iter().take_while(|at| **at == LostBefore).count() as u64
            + u64::from(plan.contains(&LostBehind) && plan[0] != LostBehind)
            + u64::from(plan.first() == Some(&LostBehind));
        assert_eq!(proxy.world.connections.load(SeqCst) - before, lost, "epoch {epoch}");
        proxy.plan(&[]);
    }
    let found = server.ask(&format!("SELECT count(*), count(DISTINCT value), sum(value) FROM {table}"));
    assert_eq!(found, "10|10|530");
    server.forget(&table);
}

fn a_writer_waits_for_a_server_that_is_away(server: &Place) {
    let (table, proxy) = (server.fresh("away"), Proxy::new(server));
    let mut writer = Sink::<u64>::open(&proxy.sink(server, &table), ONLY).unwrap();
    let staged = stage(&mut *writer, 1, &[1, 2]).unwrap();
    // Gone in the middle of the commit, and back only when the writer has been seen to try.
    proxy.world.is_away.store(true, SeqCst);
    proxy.plan(&[AtCommit::LostBehind]);
    thread::scope(|scope| {
        let committed = scope.spawn(|| writer.commit(Epoch(1), &staged));
        while !proxy.world.plan.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        proxy.world.is_away.store(false, SeqCst);
        committed.join().unwrap().unwrap();
    });
    assert_eq!(server.ask(&format!("SELECT value FROM {table} ORDER BY 1")), "1\n2");
    server.forget(&table);
}

fn a_server_that_is_away_for_too_long_is_named_and_nothing_is_lost(server: &Place) {
    let (table, proxy) = (server.fresh("gone"), Proxy::new(server));
    let sink = proxy.sink(server, &table).patience(Duration::from_secs(2));
    for is_silent in [false, true] {
        let mut writer = Sink::<u64>::open(&sink, ONLY).unwrap();
        let epoch = 1 + u64::from(is_silent);
        if is_silent {
            writer.recover(vec![(Epoch(1), headwater::sink::Staged::nothing())]).unwrap();
        }
        let staged = stage(&mut *writer, epoch, &[epoch]).unwrap();
        if is_silent {
            proxy.world.is_silent.store(true, SeqCst);
        } else {
            proxy.world.is_away.store(true, SeqCst);
            proxy.plan(&[AtCommit::LostBefore]);
        }
        let error = refused(writer.commit(Epoch(epoch), &staged));
        for word in [" at 127.0.0.1:", "cannot be used for 2s", "nothing is lost", ".patience("] {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(error.contains("does not answer"), is_silent, "{error}");
        proxy.world.is_away.store(false, SeqCst);
        proxy.world.is_silent.store(false, SeqCst);
        let patient = sink.clone().patience(Duration::from_secs(60));
        Sink::<u64>::open(&patient, ONLY).unwrap().recover(vec![(Epoch(epoch), staged)]).unwrap();
    }
    assert_eq!(server.ask(&format!("SELECT value FROM {table} ORDER BY 1")), "1\n2");
    server.forget(&table);
}

fn a_zombie_that_holds_the_lock_is_waited_for(server: &Place) {
    let (table, proxy) = (server.fresh("locked"), Proxy::new(server));
    let direct = server.sink(&table).exactly_once(&table).create_table();
    let mut zombie = Sink::<u64>::open(&proxy.sink(server, &table), ONLY).unwrap();
    let staged = stage(&mut *zombie, 1, &[1, 2]).unwrap();
    // The zombie has written its rows and says COMMIT, of which it will never hear.
    proxy.plan(&[AtCommit::LostBehind]);
    thread::scope(|scope| {
        let woken = scope.spawn(|| zombie.commit(Epoch(1), &staged));
        let mut new = Sink::<u64>::open(&direct, ONLY).unwrap();
        new.recover(vec![(Epoch(1), staged.clone())]).unwrap();
        // Whoever was first: the zombie has shown the epoch, or is told that it may not.
        if let Err(error) = woken.join().unwrap() {
            assert!(error.to_string().contains("taken over by another run"), "{error}");
        }
        let next = stage(&mut *new, 2, &[3]).unwrap();
        new.commit(Epoch(2), &next).unwrap();
    });
    assert_eq!(server.ask(&format!("SELECT value FROM {table} ORDER BY 1")), "1\n2\n3");
    server.forget(&table);
}

/// A server of the test's own, which may be killed.
struct OwnServer {
    kind: Kind,
    folder: tempfile::TempDir,
}

impl OwnServer {
    fn services(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let mut services = Command::new(script);
        services
            .args(arguments)
            .env_remove(self.kind.service().1)
            .env("HEADWATER_SERVICES", self.folder.path());
        let said = services.output().unwrap();
        assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    fn start(kind: Kind) -> (Self, Place) {
        let own = OwnServer { kind, folder: tempfile::tempdir().unwrap() };
        let (service, variable) = kind.service();
        own.services(&["up", service]);
        let (lines, begin) = (own.services(&["env"]), format!("export {variable}="));
        let url = lines.lines().find_map(|line| line.strip_prefix(&begin)).unwrap();
        (own, Place::at(kind, url.to_owned()))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.services(&["wipe", self.kind.service().0]);
    }
}

/// The server of the other tests says that there can be one.
fn a_server_may_be_killed_and_stand_still_under_a_job(other: &Place) {
    let service = other.kind.service().0;
    let (own, server) = OwnServer::start(other.kind);
    let folder = tempfile::tempdir().unwrap();
    let sink = |table: &str| server.sink(table).exactly_once(table).create_table();
    let topology = job(sink("numbers"), sink("counts").upsert(&["key"]), EACH, Some(1_000.0));
    let config = EngineConfig::default().parallelism(2).epoch_interval(ms(2)).state_dir(folder.path());
    let running = topology.start(config).unwrap();
    let count = || server.ask("SELECT count(*) FROM numbers").parse::<u64>().unwrap();
    for (nth, seen) in [100, 500, 900, 1_300].into_iter().enumerate() {
        while count() < seen {
            thread::yield_now();
        }
        if nth % 2 == 0 {
            own.services(&["kill", service]);
            own.services(&["up", service]);
        } else {
            own.services(&["pause", service]);
            own.services(&["resume", service]);
        }
    }
    let summary = running.wait().unwrap();
    assert_eq!((summary.restarts, summary.records_read()), (0, 2_000));
    let found = server.ask("SELECT count(*), count(DISTINCT value), max(value) FROM numbers");
    assert_eq!(found, "2000|2000|1999");
    assert_eq!(server.ask("SELECT count(*), min(value), max(value) FROM counts"), "50|40|40");
}

on_servers!(
    a_commit_whose_outcome_nobody_knows_counts_once,
    a_writer_waits_for_a_server_that_is_away,
    a_server_that_is_away_for_too_long_is_named_and_nothing_is_lost,
    a_zombie_that_holds_the_lock_is_waited_for,
    a_server_may_be_killed_and_stand_still_under_a_job,
);
