//! Real jobs: lives end in the middle of anything, processes are killed, older runs wake up.

use std::process::{Child, Command, Stdio};

use headwater::config::EngineConfig;
use headwater::prelude::*;
use headwater::sink::{Sink, SinkWriter, Staged, Subtask};
use headwater::testing::Simulation;
use headwater::time::Epoch;
use headwater_connectors::Generator;
use mysql::prelude::Queryable;

use super::{Kind, ONLY, Place, on_all, on_servers, refused, server, stage};

const KEYS: u64 = 50;
pub(crate) const EACH: u64 = 40;
/// More rows, so that lives get behind an epoch before they end.
const EACH_SIMULATED: u64 = 200;

/// Counts keys, and writes the counts and all numbers.
pub(crate) fn job(
    numbers: impl Sink<u64>,
    counts: impl Sink<KeyedResult<u64, u64>>,
    each: u64,
    rate: Option<f64>,
) -> Topology {
    let flow = StreamBuilder::new("counting");
    let source = Generator::new(KEYS * each, |n| n).partitions(3);
    let all = match rate {
        Some(rate) => flow.source("numbers", source.rate(rate)),
        None => flow.source("numbers", source),
    };
    all.sink("rows", numbers);
    all.map(|n| n % KEYS).key_by_value().count().output_mode(OutputMode::Update).sink("counts", counts);
    flow.build().unwrap()
}

/// Many batches, so that lives get behind an epoch before they end.
fn small_batches() -> EngineConfig {
    let mut config = EngineConfig::default().parallelism(2);
    config.batch.rows_max = 16;
    config
}

fn simulated_crashes_leave_each_row_once(place: &Place) {
    let (mut crashes, mut resumed) = (0, 0);
    for seed in 0..10 {
        let (rows, counts) = (place.fresh("crashes"), place.fresh("crashes"));
        let topology = job(
            place.sink(&rows).exactly_once(&rows).create_table(),
            place.sink(&counts).exactly_once(&counts).upsert(&["key"]).create_table(),
            EACH_SIMULATED,
            None,
        );
        let config = small_batches();
        let report = Simulation::new(seed).run_with_crashes(&topology, &config, 6).unwrap();
        (crashes, resumed) = (crashes + report.crashes, resumed + report.resumed);
        let found =
            place.ask(&format!("SELECT count(*), count(DISTINCT value), min(value), max(value) FROM {rows}"));
        assert_eq!(found, "10000|10000|0|9999", "seed {seed}");
        let found = place.ask(&format!("SELECT count(*), min(value), max(value) FROM {counts}"));
        assert_eq!(found, "50|200|200", "seed {seed}");
        place.forget(&rows);
        place.forget(&counts);
    }
    assert!(crashes >= 20 && resumed >= 10, "{crashes} crashes, {resumed} resumed");
}

/// The job of the test below, in a process of its own.
#[test]
#[ignore = "the other test starts it"]
fn a_job_that_is_killed() {
    let [Ok(state), Ok(rows), Ok(counts)] =
        ["KILLED_STATE", "KILLED_ROWS", "KILLED_COUNTS"].map(std::env::var)
    else {
        return;
    };
    let kind = if std::env::var("KILLED_IN").unwrap() == "mariadb" { Kind::MariaDb } else { Kind::Postgres };
    let place = server(kind, "a_job_that_is_killed").unwrap();
    let sink = |table: &str| place.sink(table).exactly_once(table).create_table();
    let config = EngineConfig::default().parallelism(2).epoch_interval(ms(2)).state_dir(state);
    job(sink(&rows), sink(&counts).upsert(&["key"]), EACH, Some(2_000.0)).run(config).unwrap();
}

fn start(place: &Place, state: &std::path::Path, rows: &str, counts: &str) -> Child {
    let mut job = Command::new(std::env::current_exe().unwrap());
    job.args(["--ignored", "--exact", "crashes::a_job_that_is_killed"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    job.envs([("KILLED_ROWS", rows), ("KILLED_COUNTS", counts), ("KILLED_IN", place.kind.service().0)]);
    job.env("KILLED_STATE", state);
    job.spawn().unwrap()
}

/// Ends connections of jobs in the middle of what they do.
fn end_connections(place: &Place) {
    if place.kind == Kind::Postgres {
        place.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = 'headwater' AND query LIKE '%headwater_tokens%'",
        );
        return;
    }
    let mut client = mysql::Conn::new(place.url.as_str()).unwrap();
    let sql = "SELECT id FROM information_schema.processlist WHERE info LIKE '%headwater_tokens%' \
               AND id <> connection_id()";
    for id in client.query::<u64, _>(sql).unwrap() {
        // It may have ended by itself.
        let _ = client.query_drop(format!("KILL {id}"));
    }
}

fn a_job_and_its_connections_may_be_killed_at_any_time(place: &Place) {
    let folder = tempfile::tempdir().unwrap();
    let (rows, counts) = (place.fresh("killed"), place.fresh("killed"));
    let count = || -> u64 {
        if !place.has_table(&rows) {
            return 0;
        }
        place.ask(&format!("SELECT count(*) FROM {rows}")).parse().unwrap()
    };
    // The job dies when so many rows are there, or loses its connections.
    for (nth, seen) in [100, 500, 900, 1_300, 1_700].into_iter().enumerate() {
        let mut job = start(place, folder.path(), &rows, &counts);
        while count() < seen {
            assert!(job.try_wait().unwrap().is_none(), "the job ended before it was killed");
        }
        if nth % 2 == 0 {
            end_connections(place);
        }
        job.kill().unwrap();
        job.wait().unwrap();
    }
    assert!(start(place, folder.path(), &rows, &counts).wait().unwrap().success());
    let found = place.ask(&format!("SELECT count(*), count(DISTINCT value), max(value) FROM {rows}"));
    assert_eq!(found, "2000|2000|1999");
    assert_eq!(place.ask(&format!("SELECT count(*), min(value), max(value) FROM {counts}")), "50|40|40");
    place.forget(&rows);
    place.forget(&counts);
}

/// What a job's log would hold of three epochs of a writer.
fn staged(writer: &mut dyn SinkWriter<u64>) -> Vec<(Epoch, Staged)> {
    (1..=3)
        .map(|epoch| (Epoch(epoch), stage(writer, epoch, &[epoch * 10, epoch * 10 + 1]).unwrap()))
        .collect()
}

/// A zombie that wakes up behind any of its calls, before or behind the new run's recovery.
fn zombies(make: impl Fn() -> Box<dyn Fn() -> Box<dyn SinkWriter<u64>>>, read: impl Fn() -> Vec<u64>) {
    for shown_before in 0..=3 {
        let open = make();
        let mut zombie = open();
        let epochs = staged(&mut *zombie);
        for (epoch, staged) in &epochs[..shown_before] {
            zombie.commit(*epoch, staged).unwrap();
        }
        let mut new = open();
        // Taken over, and nothing recovered yet: the zombie writes nothing.
        if let Some((epoch, staged)) = epochs.get(shown_before) {
            let error = refused(zombie.commit(*epoch, staged));
            assert!(
                error.contains("taken over by another run") && error.contains("written nothing"),
                "{error}"
            );
        }
        new.recover(epochs.clone()).unwrap();
        let next = stage(&mut *new, 4, &[40]).unwrap();
        assert!(zombie.commit(Epoch(4), &next).is_err());
        new.commit(Epoch(4), &next).unwrap();
        new.commit(Epoch(4), &next).unwrap();
        assert_eq!(read(), [10, 11, 20, 21, 30, 31, 40]);
    }
}

fn a_zombie_writes_nothing(place: &Place) {
    let table = std::cell::RefCell::new(String::new());
    let make = || {
        let fresh = place.fresh("zombie");
        let sink = place.sink(&fresh).exactly_once(&fresh).create_table();
        *table.borrow_mut() = fresh;
        Box::new(move || Sink::<u64>::open(&sink, ONLY).unwrap()) as Box<dyn Fn() -> _>
    };
    let read = || {
        let table = table.borrow();
        let rows = place.ask(&format!("SELECT value FROM {table} ORDER BY value"));
        place.forget(&table);
        rows.lines().map(|line| line.parse().unwrap()).collect()
    };
    zombies(make, read);
}

fn rows_go_by_the_token_of_the_subtask_that_wrote_them(place: &Place) {
    let table = place.fresh("rescaled");
    let sink = place.sink(&table).exactly_once(&table).create_table();
    let open = |index, count| Sink::<u64>::open(&sink, Subtask { index, count }).unwrap();
    let mut old: Vec<_> = (0..3).map(|index| open(index, 3)).collect();
    let staged: Vec<_> = (0..3).map(|index| stage(&mut *old[index], 1, &[index as u64]).unwrap()).collect();
    old[2].commit(Epoch(1), &staged[2]).unwrap();
    // One subtask is left: it has all that was staged, and the older ones are zombies, each by its own token.
    let mut new = open(0, 1);
    new.recover(staged.iter().map(|staged| (Epoch(1), staged.clone())).collect()).unwrap();
    for (index, zombie) in old.iter_mut().enumerate() {
        let next = stage(&mut **zombie, 2, &[100]).unwrap();
        assert!(refused(zombie.commit(Epoch(2), &next)).contains(&format!("subtask {index}")));
    }
    let next = stage(&mut *new, 2, &[7]).unwrap();
    new.commit(Epoch(2), &next).unwrap();
    assert_eq!(place.ask(&format!("SELECT value FROM {table} ORDER BY value")), "0\n1\n2\n7");
    let tokens =
        place.ask(&format!("SELECT subtask, epoch FROM headwater_tokens WHERE sink = '{table}' ORDER BY 1"));
    assert_eq!(tokens, "0|2\n1|1\n2|1");
    place.forget(&table);
}

fn without_a_name_rows_are_there_at_least_once(place: &Place) {
    let table = place.fresh("twice");
    let sink = place.sink(&table).create_table();
    let mut writer = Sink::<u64>::open(&sink, ONLY).unwrap();
    let staged = stage(&mut *writer, 1, &[7, 8]).unwrap();
    writer.commit(Epoch(1), &staged).unwrap();
    Sink::<u64>::open(&sink, ONLY).unwrap().recover(vec![(Epoch(1), staged)]).unwrap();
    let found = place.ask(&format!("SELECT value, count(*) FROM {table} GROUP BY value ORDER BY value"));
    assert_eq!(found, "7|2\n8|2");
    place.forget(&table);
}

mod everywhere {
    use super::*;

    on_all!(
        a_zombie_writes_nothing,
        rows_go_by_the_token_of_the_subtask_that_wrote_them,
        simulated_crashes_leave_each_row_once,
        without_a_name_rows_are_there_at_least_once,
    );
}

on_servers!(a_job_and_its_connections_may_be_killed_at_any_time);
