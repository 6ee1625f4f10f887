//! `EngineConfig`: every limit of a run, with its unit in its name.

use std::path::PathBuf;
use std::time::Duration;

use crate::batch::{BatchLimits, GROUPS_DEFAULT, KeyGroup};
use crate::channel::ChannelLimits;
use crate::error::{Error, Result};

/// What happens when a stage fails: an error, or a panic in user code.
///
/// A program built with `panic = "abort"` ends at a panic, and no strategy sees it: whatever started the
/// program must start it again, and with a state directory it goes on behind its last epoch. Without that
/// setting a panic is an error like others, names its stage, and leaves other topologies of the process alone.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub enum RestartStrategy {
    /// The run ends with the error.
    #[default]
    Never,
    /// The topology starts again after `delay_ms`, behind its last epoch or, without a state directory, from the
    /// beginning; at most `attempts_max` times.
    FixedDelay {
        /// Most restarts.
        attempts_max: u32,
        /// Wait before each, in milliseconds.
        delay_ms: u64,
    },
    /// The wait grows from `delay_ms` by `factor` up to `delay_max_ms`.
    Exponential {
        /// Most restarts.
        attempts_max: u32,
        /// First wait, in milliseconds.
        delay_ms: u64,
        /// Longest wait, in milliseconds.
        delay_max_ms: u64,
        /// Growth per restart.
        factor: f64,
    },
    /// Restarts as long as there are at most `failures_max` within `interval_ms`.
    FailureRate {
        /// Most failures within the interval.
        failures_max: u32,
        /// Length of the interval, in milliseconds.
        interval_ms: u64,
        /// Wait before each restart, in milliseconds.
        delay_ms: u64,
    },
}

/// The limits of a run. Every field has a default that suits a laptop.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EngineConfig {
    /// Instances of each stage, and arbiter threads that host them.
    pub parallelism: usize,
    /// When a batch is sent.
    pub batch: BatchLimits,
    /// Longest that a partly filled batch waits while there is other work, in milliseconds. Without
    /// other work it does not wait.
    pub batch_age_max_ms: u64,
    /// What a channel between two instances may hold, within its share of `state_bytes_max`.
    pub channel: ChannelLimits,
    /// Time between two epochs, in milliseconds.
    pub epoch_interval_ms: u64,
    /// Memory for all that grows with the data, in bytes: hot tables, partial results in front of
    /// exchanges, channels, block cache and memtables. State beyond it goes to the disk.
    pub state_bytes_max: usize,
    /// Let a run bound how many arenas the allocator of glibc has (`M_ARENA_MAX`), for the whole process:
    /// one for each instance of a stage and one for the rest, down to two where `state_bytes_max` is small.
    /// Without the bound, memory that the state store has freed stays in arenas of many threads, beyond
    /// `state_bytes_max`. The first run of a process decides. Nothing happens where `MALLOC_ARENA_MAX` is set or
    /// glibc is not the allocator.
    pub bound_arenas: bool,
    /// Most distinct keys that an instance combines before it sends them on, within its share of
    /// `state_bytes_max`.
    pub combined_keys_max: usize,
    /// Number of key groups; fixed for the life of a state directory.
    pub key_groups: KeyGroup,
    /// Where the job keeps its epochs and its state, so that it goes on after whatever ended it. Without
    /// one nothing survives, and a job starts at the beginning of its input.
    pub state_dir: Option<PathBuf>,
    /// Where state larger than memory goes when there is no `state_dir`; a temporary directory if not set.
    pub spill_dir: Option<PathBuf>,
    /// Gives up the records of the epoch log from the one with this number on, if the log is damaged there.
    /// A log without damage is left alone.
    pub log_truncate_at: Option<u64>,
    /// Time between two snapshots of a `state_dir`, in milliseconds.
    pub snapshot_interval_ms: u64,
    /// How many snapshots are kept; with 0 none are made. The log is kept back to the oldest of them.
    pub snapshots_kept: usize,
    /// A savepoint that the job begins with, when its `state_dir` has no job yet.
    pub start_from: Option<PathBuf>,
    /// Sinks of a job that begins with a savepoint write to places of their own: what the first job had not
    /// shown with the epoch of the savepoint stays the first job's.
    pub new_output: bool,
    /// What happens when a stage fails.
    pub restart: RestartStrategy,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
            batch: BatchLimits::default(),
            batch_age_max_ms: 5,
            channel: ChannelLimits::default(),
            epoch_interval_ms: 200,
            state_bytes_max: 512 << 20,
            bound_arenas: true,
            combined_keys_max: 1 << 17,
            key_groups: GROUPS_DEFAULT,
            state_dir: None,
            spill_dir: None,
            log_truncate_at: None,
            snapshot_interval_ms: 300_000,
            snapshots_kept: 3,
            start_from: None,
            new_output: false,
            restart: RestartStrategy::Never,
        }
    }
}

impl EngineConfig {
    /// Instances of each stage.
    #[must_use]
    pub fn parallelism(self, parallelism: usize) -> Self {
        EngineConfig { parallelism, ..self }
    }

    /// Time between two epochs.
    #[must_use]
    pub fn epoch_interval(self, interval: Duration) -> Self {
        EngineConfig { epoch_interval_ms: interval.as_millis() as u64, ..self }
    }

    /// Memory for all that grows with the data, in bytes.
    #[must_use]
    pub fn state_bytes_max(self, bytes: usize) -> Self {
        EngineConfig { state_bytes_max: bytes, ..self }
    }

    /// Where the job keeps its epochs and its state; a run with the same directory goes on where the last
    /// one stopped.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_connectors::{Collect, MemorySource};
    ///
    /// # if !cfg!(feature = "rocksdb") {
    /// #     return Ok(());
    /// # }
    /// # let place = std::env::temp_dir().join(format!("headwater-doc-{}", std::process::id()));
    /// # let run = |out: &Collect<u64>| -> Result<()> {
    /// let flow = StreamBuilder::new("job");
    /// flow.source("numbers", MemorySource::from(vec![1_u64, 2, 3])).sink("out", out.clone());
    /// let summary = flow.build()?.run(EngineConfig::default().state_dir(&place))?;
    /// assert_eq!(summary.records_read(), 3);
    /// # Ok(())
    /// # };
    /// # let out = Collect::new();
    /// # run(&out)?;
    /// # assert_eq!(out.take(), [1, 2, 3]);
    /// // A second run finds that everything is done.
    /// # run(&out)?;
    /// # std::fs::remove_dir_all(&place)?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    #[must_use]
    pub fn state_dir(self, directory: impl Into<PathBuf>) -> Self {
        EngineConfig { state_dir: Some(directory.into()), ..self }
    }

    /// Where state larger than memory goes when nothing survives.
    #[must_use]
    pub fn spill_dir(self, directory: impl Into<PathBuf>) -> Self {
        EngineConfig { spill_dir: Some(directory.into()), ..self }
    }

    /// Time between two snapshots of the state directory: what the job goes back to when its state store is
    /// damaged.
    #[must_use]
    pub fn snapshot_interval(self, interval: Duration) -> Self {
        EngineConfig { snapshot_interval_ms: interval.as_millis() as u64, ..self }
    }

    /// How many snapshots are kept; with 0 none are made.
    #[must_use]
    pub fn snapshots_kept(self, count: usize) -> Self {
        EngineConfig { snapshots_kept: count, ..self }
    }

    /// Begins the job with a savepoint, in a state directory that has no job yet; parallelism may be another
    /// one than that of the job that made it. Its sinks go on with the output of that job; if they write to
    /// other places, set `new_output`.
    #[must_use]
    pub fn start_from(self, savepoint: impl Into<PathBuf>) -> Self {
        EngineConfig { start_from: Some(savepoint.into()), ..self }
    }

    /// What happens when a stage fails.
    #[must_use]
    pub fn restart(self, restart: RestartStrategy) -> Self {
        EngineConfig { restart, ..self }
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// A limit is out of range; the message names it.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(what));
        if self.key_groups == 0 {
            return refuse("`key_groups` must be at least 1".into());
        }
        if self.parallelism == 0 || self.parallelism > usize::from(self.key_groups) {
            return refuse(format!(
                "`parallelism` is {}; it must be 1 to {} (the number of key groups)",
                self.parallelism, self.key_groups
            ));
        }
        if self.batch.rows_max == 0 || self.channel.messages_max == 0 || self.channel.rows_max == 0 {
            return refuse(
                "`batch.rows_max`, `channel.messages_max` and `channel.rows_max` must be at least 1".into(),
            );
        }
        if self.epoch_interval_ms == 0 {
            return refuse("`epoch_interval_ms` must be at least 1".into());
        }
        if self.snapshot_interval_ms == 0 {
            return refuse(
                "`snapshot_interval_ms` must be at least 1; `snapshots_kept` = 0 makes no snapshots".into(),
            );
        }
        if self.new_output && self.start_from.is_none() {
            return refuse("`new_output` goes with `start_from`: other jobs go on with their output".into());
        }
        if self.start_from.is_some() && self.state_dir.is_none() {
            return refuse("`start_from` needs a `state_dir`: where the new job keeps its state".into());
        }
        if self.state_bytes_max < 1 << 20 {
            return refuse(format!(
                "`state_bytes_max` is {}; it must be at least 1 MiB",
                self.state_bytes_max
            ));
        }
        Ok(())
    }
}
