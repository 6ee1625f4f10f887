//! The command line of a topology binary: flags, progress on standard error, Ctrl-C, exit codes, operations.
//!
//! 1. `operations`: `checkpoints` and `state`: what a durable job has, only to look at
//! 2. `output`: tables for people, JSON for programs
//! 3. `snapshots`: `savepoint`, and the snapshots that `checkpoints` shows
//! 4. `wal`: the log of a job, record by record
//! 5. `replay`: epochs run again, and capsules of them
//! 6. `progress`: the line on standard error while a job runs
//!
//! Results go to standard output and nothing else does, so `job > results` stays clean.

mod operations;
mod output;
mod progress;
mod replay;
mod snapshots;
mod wal;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use self::operations::{Checkpoints, State};
use self::progress::Progress;
pub use self::replay::{Capsule, Range};
pub use self::snapshots::Savepoint;
pub use self::wal::{Kind, Wal};
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::runtime::{Summary, discard};
use crate::sink::with_clear_terminal;
use crate::topology::Topology;

/// The flags that every topology takes; flatten them into a program's own with `#[command(flatten)]`.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Instances of each stage; the number of cores unless given.
    #[arg(long, value_name = "N")]
    pub parallelism: Option<usize>,
    /// Milliseconds between two epochs.
    #[arg(long, value_name = "N")]
    pub epoch_ms: Option<u64>,
    /// Keep every epoch and the state in this directory, and go on with what an earlier run left there.
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
    /// Forget what an earlier run left in the state directory, and begin at the beginning.
    #[arg(long, requires = "state")]
    pub no_resume: bool,
    /// Go on although the log is damaged: `truncate-at=LSN` gives up everything from this record on.
    #[arg(long, value_name = "truncate-at=LSN", requires = "state", conflicts_with = "no_resume")]
    pub recover: Option<Recover>,
    /// Begin with the savepoint in this folder; the state directory has no job yet.
    #[arg(long, value_name = "SAVEPOINT", requires = "state")]
    pub from: Option<PathBuf>,
    /// Sinks write to other places than those of the job that made the savepoint.
    #[arg(long, requires = "from")]
    pub new_output: bool,
    /// Milliseconds between two snapshots of the state directory; 300000 unless given.
    #[arg(long, value_name = "N")]
    pub snapshot_ms: Option<u64>,
    /// How many snapshots are kept, 0 for none; 3 unless given.
    #[arg(long, value_name = "N")]
    pub snapshots: Option<usize>,
    /// Keep what sockets and sensors give in the log, so that `wal replay` has it.
    #[arg(long, requires = "state")]
    pub record: bool,
    /// Reject a record at which the program panics twice, and go on.
    #[arg(long)]
    pub reject_poison: bool,
    /// No progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    /// The engine's configuration with these flags applied.
    #[must_use]
    pub fn config(&self) -> EngineConfig {
        let mut config = EngineConfig::default();
        if let Some(parallelism) = self.parallelism {
            config.parallelism = parallelism;
        }
        if let Some(epoch_ms) = self.epoch_ms {
            config.epoch_interval_ms = epoch_ms;
        }
        if let Some(snapshot_ms) = self.snapshot_ms {
            config.snapshot_interval_ms = snapshot_ms;
        }
        if let Some(snapshots) = self.snapshots {
            config.snapshots_kept = snapshots;
        }
        config.start_from.clone_from(&self.from);
        config.new_output = self.new_output;
        config.record_input = self.record;
        config.reject_poison = self.reject_poison;
        config.state_dir.clone_from(&self.state);
        config.log_truncate_at = self.recover.map(|Recover::TruncateAt(lsn)| lsn);
        config
    }
}

/// What to do about a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recover {
    /// Give up the records from the one with this number on.
    TruncateAt(u64),
}

impl FromStr for Recover {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lsn = text.strip_prefix("truncate-at=").and_then(|lsn| lsn.parse().ok());
        lsn.map(Recover::TruncateAt)
            .ok_or_else(|| "write truncate-at=LSN, with the number that `wal verify` says".to_owned())
    }
}

#[derive(Parser)]
#[command(about = "A headwater topology")]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: Options,
}

/// What to do with a topology. Add it to a program's own command with
/// `#[command(subcommand)] action: Option<Action>`, and give it to [`act`].
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Run the topology (the default).
    Run,
    /// Print what reads what, and where rows cross between instances.
    Plan,
    /// The epochs that a job has committed. Changes nothing, also while the job is running.
    Checkpoints {
        /// What to look at.
        #[command(subcommand)]
        what: Checkpoints,
        /// One JSON object per line instead of a table.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Savepoints of a job: copies of everything it needs to go on, as of one epoch.
    Savepoint {
        /// What to do.
        #[command(subcommand)]
        what: Savepoint,
        /// A JSON object instead of a sentence.
        #[arg(long, global = true)]
        json: bool,
    },
    /// The keyed state of a job as of its last committed epoch. Changes nothing.
    State {
        /// What to look at.
        #[command(subcommand)]
        what: State,
        /// One JSON object per line instead of a table.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Capsules: what a replay of some epochs needs, for another machine. Changes nothing in the job.
    Capsule {
        /// What to do.
        #[command(subcommand)]
        what: Capsule,
        /// A JSON object instead of a sentence.
        #[arg(long, global = true)]
        json: bool,
    },
    /// The epoch log of a job: its records, and its epochs run again. Changes nothing.
    Wal {
        /// What to look at.
        #[command(subcommand)]
        what: Wal,
        /// One JSON object per line instead of a table.
        #[arg(long, global = true)]
        json: bool,
    },
}

/// Runs a topology as the whole of a program: `run` (the default) or another [`Action`], with the flags of
/// [`Options`].
///
/// # Errors
/// See [`act`].
pub fn run(topology: Topology) -> Result<()> {
    let Command { action, options } = Command::parse();
    act(action, topology, &options).map(|_| ())
}

/// Does what the command line asks for: without an action the topology runs, and what the run came to is
/// returned; an action that only looks prints what it sees and returns nothing.
///
/// ```no_run
/// use clap::Parser;
/// use headwater::cli;
/// # use headwater::prelude::*;
/// # fn build() -> Result<Topology> { unimplemented!() }
///
/// #[derive(Parser)]
/// struct Command {
///     #[command(flatten)]
///     options: cli::Options,
///     #[command(subcommand)]
///     action: Option<cli::Action>,
/// }
///
/// # fn program() -> Result<()> {
/// let command = Command::parse();
/// let Some(summary) = cli::act(command.action, build()?, &command.options)? else { return Ok(()) };
/// # let _ = summary;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The run's own; there is no job in the directory, or it is another's; a `verify` found something wrong.
pub fn act(action: Option<Action>, topology: Topology, options: &Options) -> Result<Option<Summary>> {
    let looked = match action {
        None | Some(Action::Run) => return execute(topology, options).map(Some),
        Some(Action::Plan) => Ok(write!(anstream::stdout(), "{}", topology.describe())?),
        Some(Action::Checkpoints { what, json }) => operations::checkpoints(&what, &topology, options, json),
        Some(Action::Capsule { what, json }) => replay::capsule(&what, &topology, options, json),
        Some(Action::Savepoint { what, json }) => snapshots::savepoint(&what, &topology, options, json),
        Some(Action::State { what, json }) => operations::state(&what, &topology, options, json),
        Some(Action::Wal { what, json }) => wal::wal(&what, &topology, options, json),
    };
    looked.map(|()| None)
}

/// Runs a topology to its end: progress on standard error, and the first Ctrl-C ends the input.
///
/// # Errors
/// The topology cannot start, or a source, operator or sink failed.
pub fn execute(topology: Topology, options: &Options) -> Result<Summary> {
    let name = topology.name().to_owned();
    if let (Some(directory), true) = (&options.state, options.no_resume) {
        discard(directory)?;
    }
    let running = topology.start(options.config())?;
    let place = options.state.as_deref().unwrap_or(Path::new("")).display();
    if let Some(restored) = running.restored() {
        let _ = writeln!(anstream::stderr(), "{name}: {restored}");
    }
    if let (Some(epoch), false) = (running.resumed(), options.quiet) {
        let read = running.report().records_read();
        let _ = writeln!(
            anstream::stderr(),
            "{name}: going on behind epoch {epoch} in {place}, {read} read before"
        );
    }
    let stopper = running.stopper();
    let interrupts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&interrupts);
    // A second handler in one process cannot be installed; the first then keeps its topology.
    let _ = ctrlc::set_handler(move || {
        if counter.fetch_add(1, SeqCst) > 0 {
            #[expect(clippy::disallowed_methods, reason = "the second Ctrl-C asks for just that")]
            std::process::exit(130);
        }
        with_clear_terminal(|| {
            let _ = writeln!(anstream::stderr(), "stopping; press Ctrl-C again to abort");
        });
        stopper.stop();
    });
    let mut progress = Progress::new(&name, options.quiet);
    while !running.wait_for(Duration::from_millis(50)) {
        progress.show(&running);
    }
    progress.finish();
    let summary = running.wait()?;
    progress.sum_up(&summary);
    if summary.had_ended && !options.quiet {
        let _ = writeln!(
            anstream::stderr(),
            "{name} had ended before, nothing was left to do; --no-resume begins at the beginning"
        );
    }
    if interrupts.load(SeqCst) > 0 {
        let _ = match options.state {
            Some(_) => writeln!(
                anstream::stderr(),
                "stopped behind epoch {}; run the same command again to go on",
                summary.epoch
            ),
            None => writeln!(
                anstream::stderr(),
                "stopped before the end of the input, everything read is finished; run the same command again \
                 to start over from the beginning, or with --state DIR to be able to go on"
            ),
        };
    }
    Ok(summary)
}

/// Runs `program` and turns an error into a sentence on standard error and an exit code: 0 finished, 1
/// failed, 2 wrong use.
pub fn main(program: impl FnOnce() -> Result<()>) -> ExitCode {
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "error: {error}");
            match error {
                Error::Config(_) | Error::Topology { .. } => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
