//! The epoch protocol as a model: every crash at every step of a small job, and a bug for every rule.
//!
//! The model checks the design, not the code: a job with two source partitions, an operator that aligns two
//! inputs, a sink with a token (Kafka, a database) and a sink with files, one log and one state store. It goes
//! through all orders of their steps, with power loss, killed processes, lost answers and a zombie in between.
//! Every step uses something up, so every path ends, and a path that ends short of the goal is an error.
//!
//! | model | code |
//! |---|---|
//! | `Log`: the durable part, the tail, `Entry` | the epoch log, `wal/` |
//! | `Step::StartEpoch`, `Finish` | `runtime/coordinator.rs` |
//! | `Step::AppendCommit`, `Sync`, `Truncate` | the coordinator, and the writer of `wal/` |
//! | `Step::Emit`, `Inject`; `Entry::Positions` | `stage/source.rs` |
//! | `Step::Take`: alignment; `Entry::Delta` | `channel/input_gate.rs`, `stage/instance.rs`, `state/` |
//! | `Step::Stage`, `Deliver`, `Resolve`, `SyncDirectory` | `sink.rs`: write, prepare, commit; the connectors |
//! | `Store`, `Step::Apply`, `Flush` | `state/`: RocksDB with `applied_epoch`, flushed atomically |
//! | `Phase::Fence` to `Recommit`, `Step::Restart` | recovery, `runtime/restart.rs` |
//! | the number of crashes so far | the generation in the header of each segment |
//!
//! State is a fold that counts each record, so that a lost or repeated record can be seen; keys change in turn, so
//! that a missing delta can be seen; the operator's blob stands for watermarks and counters. A sink's rows after a
//! barrier wait in the operator's output, which is what a channel in order does.
//!
//! The protocol in one breath: sources log `Positions(N)` as they inject barrier N; the operator aligns and logs
//! `Delta(N)`; sinks log `Staged(N)` (a file is synced before); after all acks `Commit(N)` is appended and synced:
//! N exists. Then sinks show N in order, the store gets the delta, and the log is cut below what the store holds
//! durably and every sink has shown.
//!
//! What is easily forgotten; each has the bug in `BUGS` that shows the need:
//!
//! 1. Outside worlds are fenced before the log is read: a token sink by session, a file sink by renaming
//!    the staging directory of the old generation.
//! 2. The token carries the generation. A zombie that is refused could open a session anew; there it must see that
//!    it has been replaced, and stop.
//! 3. What a killed process left unsynced (log tail, renames) is synced before it is trusted.
//! 4. The new segment names the end of the old one; no later recovery reads beyond it, and a half-written record
//!    never has a successor in its segment.
//! 5. The log is cut below the bound, never at it: the last commit has the positions and the blob.
//! 6. A lost answer: fence the request, read the token, then decide.
//! 7. A file is delivered when its directory is synced. Until then a power loss hides it, and recovery shows it
//!    again: the one way in which visible output can vanish, for as long as the machine is down.
//! 8. What the log does not name is garbage: a staged file of an aborted attempt is removed.
//! 9. A sender forgets what it is told to: it is told of the positions in a durable epoch, not of what was read.
//!
//! `cargo test` explores `SMALL` and all bugs; with `HEADWATER_MODEL_SCALE=1` it explores `LARGE` too, and with
//! `-- --nocapture` it prints the table. Not modelled: another number of subtasks after a restart, the fallback to
//! an older snapshot.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers stand outside of test functions")]

mod list;
mod log;
mod property;
mod recovery;
mod rule;
mod state;
mod step;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use rule::{BUGS, Bug, LARGE, SMALL, Size};
use step::{Protocol, Step};

/// What a run has found.
struct Run {
    unique: usize,
    spent: Duration,
    /// Paths by the name of the property: how it was broken, or how the event came about.
    found: BTreeMap<&'static str, Vec<Step>>,
}

impl Run {
    fn new(size: Size, bug: Option<Bug>, threads: usize) -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "the table says what a run costs; nothing depends on it"
        )]
        let start = Instant::now();
        let checker = Protocol { size, bug }.checker().threads(threads);
        let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found = checker.discoveries().into_iter();
        let found = found.map(|(name, path)| (name, path.into_actions())).collect();
        Self { unique: checker.unique_state_count(), spent: start.elapsed(), found }
    }

    /// The broken rule with the shortest way to it.
    fn broken(&self) -> Option<(&'static str, &[Step])> {
        let events = property::events();
        let broken = self.found.iter().filter(|(name, _)| !events.contains(name));
        broken.map(|(name, path)| (*name, path.as_slice())).min_by_key(|(_, path)| path.len())
    }

    fn print(&self, variant: &str, size: Size, verdict: &str) {
        let zombie = if size.zombies { "zombie" } else { "" };
        println!(
            "{variant:<58} {} {} {} {} {zombie:<6} {:>9} {:>6.2} {verdict}",
            size.records,
            size.crashes,
            size.in_flight,
            size.unknowns,
            self.unique,
            self.spent.as_secs_f64()
        );
    }
}

fn print_head() {
    println!(
        "\n{:<58} records, crashes, epochs in flight, lost answers, zombie, unique states, seconds",
        "variant"
    );
}

/// Explores sizes of the correct protocol: no rule is broken, and every event happens in one of them.
fn hold(sizes: &[Size], threads: usize) -> usize {
    print_head();
    let (mut missing, mut unique) = (property::events(), 0);
    for size in sizes {
        let run = Run::new(*size, None, threads);
        let broken = run.broken();
        run.print("the protocol", *size, broken.map_or("holds", |(name, _)| name));
        assert!(broken.is_none(), "{size:?} breaks a rule: {broken:#?}");
        missing.retain(|event| !run.found.contains_key(event));
        unique += run.unique;
    }
    assert!(missing.is_empty(), "never happens, so nothing was checked about it: {missing:?}");
    unique
}

#[test]
fn the_protocol_holds_whenever_it_crashes() {
    hold(SMALL, 1);
}

#[test]
fn the_protocol_holds_at_scale() {
    if std::env::var_os("HEADWATER_MODEL_SCALE").is_some() {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let unique = hold(LARGE, threads);
        assert!(unique >= 5_000_000, "the large run is no longer large: {unique} states");
    }
}

#[test]
fn every_broken_rule_is_noticed_at_the_smallest_size() {
    print_head();
    let mut wrong = Vec::new();
    for (bug, what, size) in BUGS {
        let run = Run::new(*size, Some(*bug), 1);
        let verdict = run.broken().map(|(name, path)| format!("broken in {} steps: {name}", path.len()));
        run.print(what, *size, verdict.as_deref().unwrap_or("NOT NOTICED"));
        if verdict.is_none() {
            wrong.push(format!("{bug:?} is not noticed at {size:?}"));
        }
        let smaller = size.smaller().into_iter();
        let noticed = smaller.filter(|smaller| Run::new(*smaller, Some(*bug), 1).broken().is_some());
        wrong.extend(noticed.map(|smaller| format!("{bug:?} is noticed at {smaller:?} already")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
