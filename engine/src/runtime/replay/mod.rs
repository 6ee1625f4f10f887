//! Replay: epochs of a durable job run again, from a snapshot and the same input, on one thread, with nothing
//! shown to the world.
//!
//! 1. `past`: what snapshots and the log have of the epochs in question
//! 2. `said`: what an epoch says, to be compared
//! 3. `input`: what the sources gave: read again, or as it was packed
//! 4. `capsule`: a directory that has all a replay needs, for another machine
//!
//! The records of an epoch are those that the job had read in it, partition by partition, as its positions
//! say. One thread steps the instances in a fixed order and the clock stands still within an epoch, so that
//! the same epochs give the same bytes each time. What the job itself did may differ where it depended on
//! the moment: the order of rows of several partitions, a partition that was idle for a while. Where state,
//! counts or watermarks differ from the log, the replay says so.

mod capsule;
mod input;
mod past;
mod said;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

pub(super) use self::capsule::is_capsule;
pub use self::capsule::{CapsuleReport, export_capsule};
use self::input::Inputs;
use self::past::Past;
use self::said::Said;
use super::assembly::{Assembled, assemble};
use super::epochs::Epochs;
use super::job::{Durable, DurableLog, Job, kind_of};
use super::steps::Steps;
use crate::batch::Value;
use crate::config::EngineConfig;
use crate::epoch::{EntryKind, decode_record, encode_record};
use crate::error::{Error, Result};
use crate::stage::{EpochBoard, Poison, Positions, Tape};
use crate::time::{Clock, Epoch};
use crate::topology::{NodeKind, Topology};

/// A row that a sink would have been given.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedRow {
    /// Name of the sink.
    pub sink: String,
    /// The row.
    pub row: Value,
}

/// An epoch that was run again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplayedEpoch {
    /// Its number.
    pub epoch: u64,
    /// When it was committed, in milliseconds since 1970.
    pub wall_ms: i64,
    /// Records read in it, rejected ones included.
    pub records: u64,
    /// What sinks were given, by sink, in order.
    pub rows: Vec<ReplayedRow>,
    /// What is not as the log has it, in sentences.
    pub differences: Vec<String>,
}

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// The epoch behind which it began; 0 is the beginning of the job.
    pub base: u64,
    /// The first epoch that was asked for.
    pub from: u64,
    /// The last epoch.
    pub to: u64,
    /// Records read, rejected ones included, from the base on.
    pub records: u64,
    /// Rows that sinks were given, from `from` on.
    pub rows: u64,
    /// Epochs, from the base on, that are not as the log has them.
    pub different: u64,
    /// The program and its topology are not those that made the capsule: what is different.
    pub notes: Vec<String>,
}

/// Runs the epochs `from` to `to` of the job in `directory` again, and gives each to `visit`. `None` is the
/// first epoch that can be replayed, and the last that is committed. A job that is running is not disturbed;
/// nothing is written but in a temporary directory.
///
/// ```
/// use headwater::prelude::*;
/// use headwater::runtime::replay;
/// use headwater_connectors::{Collect, MemorySource};
///
/// # if !cfg!(feature = "rocksdb") {
/// #     return Ok(());
/// # }
/// # let place = std::env::temp_dir().join(format!("headwater-doc-replay-{}", std::process::id()));
/// let topology = || {
///     let flow = StreamBuilder::new("job");
///     let words = MemorySource::from(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]);
///     let counts = flow.source("words", words).key_by_value().count();
///     counts.output_mode(OutputMode::Append).sink("out", Collect::new());
///     flow.build()
/// };
/// topology()?.run(EngineConfig::default().state_dir(&place))?;
///
/// let mut rows = Vec::new();
/// let summary = replay(&topology()?, &place, None, None, &mut |epoch| {
///     rows.extend(epoch.rows.iter().map(|row| row.row.to_string()));
///     Ok(())
/// })?;
/// rows.sort();
/// assert_eq!(rows, [r#"{"key":"a","value":2}"#, r#"{"key":"b","value":1}"#]);
/// assert_eq!((summary.records, summary.different), (3, 0));
/// # std::fs::remove_dir_all(&place)?;
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
/// There is no job, or no snapshot and log of these epochs any more; the input has changed or cannot be read
/// again; a source, operator or `visit` failed.
pub fn replay(
    topology: &Topology,
    directory: impl AsRef<Path>,
    from: Option<u64>,
    to: Option<u64>,
    visit: &mut dyn FnMut(&ReplayedEpoch) -> Result<()>,
) -> Result<ReplaySummary> {
    let past = Past::open(topology, directory.as_ref(), from, to)?;
    let mut inputs = Inputs::open(topology, &past)?;
    let mut summary = ReplaySummary {
        base: past.base.0,
        from: past.from.0,
        to: past.to.0,
        notes: past.notes.clone(),
        ..ReplaySummary::default()
    };
    let scratch = Scratch::new()?;
    let mut run = Run::start(topology, &past, &scratch.0)?;
    for (epoch, said) in &past.epochs {
        let records = inputs.feed(*epoch, &run.tape)?;
        let again = run.epoch(*epoch, said, past.said_before(*epoch))?;
        let rows = run.tape.take_rows().into_iter();
        let rows: Vec<_> = rows.map(|told| ReplayedRow { sink: told.sink, row: told.row }).collect();
        let replayed = ReplayedEpoch {
            epoch: *epoch,
            wall_ms: said.wall_ms,
            records,
            differences: again.map_or(Vec::new(), |again| said.differences(&again, |name| past.is_end(name))),
            rows,
        };
        summary.records += records;
        summary.different += u64::from(!replayed.differences.is_empty());
        if *epoch >= past.from.0 {
            summary.rows += replayed.rows.len() as u64;
            visit(&replayed)?;
        }
    }
    Ok(summary)
}

/// A directory of the replay's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("headwater-replay-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let place = std::env::temp_dir().join(name);
        // A process that had the same id may have left one behind.
        super::job::remove(&place)?;
        std::fs::create_dir_all(&place).map_err(|error| Error::io(&place, error))?;
        Ok(Scratch(place))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The times at which epochs were committed.
#[derive(Debug, Default)]
struct PastClock {
    monotonic_ms: AtomicU64,
    wall_ms: AtomicI64,
}

impl Clock for PastClock {
    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(SeqCst)
    }

    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(SeqCst)
    }
}

/// The job in its scratch directory.
struct Run {
    tape: Arc<Tape>,
    clock: Arc<PastClock>,
    steps: Steps,
    board: Arc<EpochBoard>,
    epochs: Epochs,
    log: DurableLog,
}

impl Run {
    /// Begins the job anew behind the base of the replay.
    fn start(topology: &Topology, past: &Past, scratch: &Path) -> Result<Self> {
        let mut config = EngineConfig::default().state_dir(scratch.join("job")).snapshots_kept(0);
        config.parallelism = past.parallelism();
        config.key_groups = past.key_groups;
        config.start_from = past.place_of_base(&scratch.join("base"))?;
        config.new_output = config.start_from.is_some();
        let Job { mut beginning, log } = Job::open(topology, &config, &scratch.join("job"))?;
        for node in &topology.graph.nodes {
            if let (NodeKind::Source { .. }, Some(restored)) =
                (&node.kind, beginning.nodes.get_mut(&node.name))
            {
                let restored = Arc::make_mut(restored);
                for ((kind, _), bytes) in &mut restored.entries {
                    if *kind == EntryKind::Positions {
                        *bytes = without_places(&node.name, bytes)?;
                    }
                }
            }
        }
        let tape = Arc::new(Tape::new(past.partitions()));
        beginning.tape = Some(Arc::clone(&tape));
        let poison: Vec<_> = past.epochs.values().flat_map(|said| said.poison.iter().cloned()).collect();
        beginning.poison = Arc::new(Poison::new(false, &poison));
        let clock = Arc::new(PastClock::default());
        let assembled = assemble(topology, &config, Arc::clone(&clock) as Arc<dyn Clock>, &beginning)?;
        let Assembled { slots, board, before, .. } = assembled;
        let epochs = Epochs::new(Arc::clone(&board), before, beginning.store);
        Ok(Run { tape, clock, steps: Steps::new(slots), board, epochs, log })
    }

    fn settle(&mut self) -> Result<()> {
        while self.steps.round()? {}
        Ok(())
    }

    /// Runs an epoch whose input is on the tape; what it says. Nothing when the job had ended before.
    fn epoch(&mut self, epoch: u64, said: &Said, before: Option<&Said>) -> Result<Option<Said>> {
        if let Some(before) = before.filter(|before| before.generation == said.generation) {
            let passed = said.wall_ms.saturating_sub(before.wall_ms).max(0);
            self.clock.monotonic_ms.fetch_add(passed.unsigned_abs(), SeqCst);
        }
        self.clock.wall_ms.store(said.wall_ms, SeqCst);
        self.settle()?;
        let Some(started) = self.epochs.start(self.clock.monotonic_ms()) else { return Ok(None) };
        if started.0 != epoch {
            return Err(Error::failed(format!(
                "the log has no epoch {started}, and has epoch {epoch}: run `wal verify`"
            )));
        }
        self.settle()?;
        let Some(complete) = self.epochs.complete(&*self.clock) else {
            let reached = self.board.complete();
            return Err(Error::failed(format!(
                "epoch {epoch} does not come to an end, only epoch {reached} does; please report this"
            )));
        };
        let mut again = Said::default();
        for entry in complete.entries.iter().filter(|entry| entry.kind != EntryKind::StoreChanges) {
            again.add(kind_of(entry.kind), &entry.owner, entry.subtask, &entry.payload.to_vec())?;
        }
        self.log.commit(complete)?;
        self.epochs.commit(Epoch(epoch));
        self.settle()?;
        Ok(Some(again))
    }
}

/// Positions as a tape has them: which partitions are finished, and how many records there were.
fn without_places(source: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut positions: Positions = decode_record(source, bytes)?;
    positions.partitions.iter_mut().for_each(|partition| partition.position.clear());
    encode_record(&positions)
}
