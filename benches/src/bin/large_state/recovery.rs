//! Killed with a tail of the log that the store does not have: how long until the next run reads a record?

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use benches::meter::process_cpu_ns;
use headwater::prelude::*;
use headwater::runtime::{Inspection, RunningTopology};
use headwater::state::{RocksStore, StateStore};

use super::job::{Measured, store_of, wait_for_records};
use super::{Part, say};

/// What is said when the parent may kill.
pub(crate) const READY: &str = "ready";

/// Epochs that the log has and the store has not, and the bytes of what they say.
fn tail(measured: &Measured, state: &Path) -> Result<(u64, u64)> {
    let applied = applied(state)?;
    let inspection = Inspection::open(&measured.topology()?, state)?;
    let behind = inspection.epochs()?.into_iter().filter(|epoch| epoch.epoch > applied);
    Ok(behind.fold((0, 0), |(epochs, bytes), epoch| (epochs + 1, bytes + epoch.bytes())))
}

fn applied(state: &Path) -> Result<u64> {
    let store = RocksStore::open_to_read(store_of(state))?;
    store.map_or(Ok(0), |store| store.applied().map(|epoch| epoch.0))
}

fn wait_for_epochs(running: &RunningTopology, count: u64) {
    let until = running.report().epoch + count;
    while running.report().epoch < until && !running.wait_for(Duration::from_millis(20)) {}
}

/// One run between two kills: lets the store catch up behind `caught` records, reads on to `stop`, and waits
/// to be killed; without `stop` it goes on to the end of the input and checks its result.
pub(crate) fn leg(part: &Part, caught: Option<u64>, stop: Option<u64>) -> Result<()> {
    let holds: Vec<u64> = caught.into_iter().chain(stop).collect();
    let measured = Measured::new(part, &holds);
    let state = part.state.as_deref().ok_or_else(|| Error::failed("no directory"))?;
    if state.exists() {
        let (epochs, bytes) = tail(&measured, state)?;
        say("tail_epochs", epochs as f64);
        say("tail_bytes", bytes as f64);
    }
    let (began, before) = (Instant::now(), process_cpu_ns());
    let running = measured.start()?;
    loop {
        let is_over = running.wait_for(Duration::from_micros(200));
        if is_over || measured.gates.began.load(Relaxed) {
            break;
        }
    }
    say("start_ms", began.elapsed().as_secs_f64() * 1e3);
    say("start_cpu_ms", (process_cpu_ns() - before) as f64 / 1e6);
    if let Some(caught) = caught {
        wait_for_records(&running, caught)?;
        wait_for_epochs(&running, 3);
        let epoch = running.report().epoch;
        while applied(state)? < epoch && !running.wait_for(Duration::from_secs(1)) {}
        measured.gates.open(caught);
    }
    if let Some(stop) = stop {
        wait_for_records(&running, stop)?;
        wait_for_epochs(&running, 3);
        say(READY, 1.0);
    }
    running.wait()?;
    say("right", f64::from(measured.is_right()));
    Ok(())
}

/// Runs a leg in a process of its own and kills it when it is ready; returns what it said.
pub(crate) fn run_and_kill(command: &mut Command) -> std::io::Result<Vec<(String, f64)>> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut said = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line?;
        let Some((name, value)) = line.split_once(' ') else { continue };
        said.push((name.to_owned(), value.parse().unwrap_or(f64::NAN)));
        if name == READY {
            child.kill()?;
        }
    }
    child.wait()?;
    Ok(said)
}
