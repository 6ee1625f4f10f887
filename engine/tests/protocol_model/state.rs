//! The state of the modelled world: what survives a crash, and the job that does not.

use super::list::{Fold, List};
use super::log::Log;

/// The sink whose output lies in the log and whose outside world keeps a token: Kafka, a database.
pub(crate) const TOKEN_SINK: usize = 0;
/// The sink whose output lies in a staged file that a rename makes visible.
pub(crate) const FILE_SINK: usize = 1;

/// Where the job stands; recovery is the steps between `Down` and `Running`.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Crashed. The next start has the next generation.
    Down,
    /// Shuts the previous generation out of a sink's outside world.
    Fence(usize),
    /// Reads the log up to the last commit and the tokens, cuts the rest off.
    Read,
    /// Brings the store up to the last commit.
    Replay,
    /// Shows what was committed and not yet shown.
    Recommit,
    /// Takes records.
    #[default]
    Running,
    /// Everything is delivered.
    Finished,
}

/// The whole world.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) crashes: u8,
    /// Commits whose answer was lost.
    pub(crate) unknowns: u8,
    pub(crate) log: Log,
    pub(crate) store: Store,
    /// Staged files that are not renamed yet.
    pub(crate) files: List<File, 8>,
    pub(crate) outside: [Outside; 2],
    /// Records per source that their sender was told to forget.
    pub(crate) acknowledged: [u8; 2],
    pub(crate) job: Job,
    pub(crate) zombie: Option<Zombie>,
    pub(crate) broken: Broken,
}

/// What no single state shows: a step that went wrong.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) retracted: bool,
    pub(crate) went_back: bool,
    pub(crate) zombie_shown: bool,
}

/// The keyed-state store, a view of the log.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Store {
    pub(crate) current: View,
    /// What a crash takes it back to.
    pub(crate) durable: View,
}

/// Values with the epoch up to which they are applied.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) values: Fold,
    pub(crate) applied: u8,
}

/// A staged file.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct File {
    pub(crate) epoch: u8,
    pub(crate) output: Fold,
    pub(crate) synced: bool,
}

/// What the readers of a sink see.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) seen: Fold,
    /// The newest epoch that is visible.
    pub(crate) token: u8,
    /// The newest epoch that no power loss can take back.
    token_kept: u8,
    /// A request that its sender has given up and that may still arrive.
    pub(crate) late: Option<(u8, Fold)>,
    /// Renames whose directory is not synced: a power loss may undo them.
    pub(crate) renamed: List<File, 8>,
}

impl Outside {
    /// What a power loss cannot take back.
    pub(crate) fn kept(&self) -> (Fold, u8) {
        let mut seen = self.seen;
        self.renamed.iter().for_each(|file| seen.remove_all(file.output));
        (seen, self.token_kept)
    }

    pub(crate) fn show(&mut self, epoch: u8, output: Fold) {
        self.seen.add_all(output);
        self.token = self.token.max(epoch);
        if self.renamed.len() == 0 {
            self.token_kept = self.token;
        }
    }

    /// Syncs the directory; gives the newest epoch that got its name.
    pub(crate) fn sync_names(&mut self) -> Option<u8> {
        self.token_kept = self.token;
        let newest = self.renamed.iter().map(|file| file.epoch).max();
        self.renamed = List::default();
        newest
    }

    /// What a power loss does to names that are not synced; gives the files that lost them.
    pub(crate) fn undo_names(&mut self) -> List<File, 8> {
        (self.seen, self.token) = self.kept();
        std::mem::take(&mut self.renamed)
    }
}

/// The previous generation, paused in the middle of its commit and awake again.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Zombie {
    pub(crate) epoch: u8,
    pub(crate) output: Fold,
    /// It has, or believes it has, a durable `Commit` of its epoch.
    pub(crate) committed: bool,
    /// Sinks that it still wants to commit.
    pub(crate) wants: [bool; 2],
    /// Its last request to the token sink has no answer.
    pub(crate) unknown: bool,
    pub(crate) fenced: [bool; 2],
    /// A later generation has read the log and named the end of this one's segment.
    pub(crate) cut: bool,
    pub(crate) rejected: bool,
}

/// What travels in a channel.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Message {
    Record(u8),
    Barrier(u8),
}

impl Default for Message {
    fn default() -> Self {
        Self::Record(0)
    }
}

/// Where a sink's commit of its next epoch stands.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) enum Attempt {
    #[default]
    Idle,
    /// The answer was lost.
    Unknown,
    /// The file has its name, the directory is not synced.
    Renamed,
}

/// The job in memory. Epoch fields hold the newest epoch for which something has happened.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Job {
    /// Records emitted, per source.
    pub(crate) position: [u8; 2],
    pub(crate) injected: [u8; 2],
    /// `Positions` appended.
    pub(crate) located: [u8; 2],
    pub(crate) channels: [List<Message, 4>; 2],
    pub(crate) operator: Operator,
    /// Epochs that the operator has closed, with their output, until both sinks have staged them.
    pub(crate) closed: List<(u8, Fold), 3>,
    pub(crate) staged: [u8; 2],
    /// The coordinator has started it.
    pub(crate) started: u8,
    /// A record was emitted since the last start.
    pub(crate) fresh: bool,
    /// The epoch that was started after the end of all sources.
    pub(crate) last: u8,
    /// `Commit` appended.
    pub(crate) committing: u8,
    /// `Commit` synced.
    pub(crate) committed: u8,
    pub(crate) delivered: [u8; 2],
    pub(crate) hinted: [u8; 2],
    pub(crate) attempts: [Attempt; 2],
}

/// The operator with two inputs.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Operator {
    /// The keyed state.
    pub(crate) values: Fold,
    /// What is not keyed: watermark, counters. Here the number of records taken.
    pub(crate) blob: u8,
    /// Keys changed since the last barrier.
    pub(crate) changed: u8,
    pub(crate) blocked: [bool; 2],
    pub(crate) aligned: u8,
    /// Output since the last barrier. Both sinks get the same.
    pub(crate) output: Fold,
}
