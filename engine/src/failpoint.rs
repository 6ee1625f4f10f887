//! Named places at which a torture test ends the process; without the feature `failpoints` they are nothing.
//!
//! | variable | meaning |
//! |---|---|
//! | `HEADWATER_FAIL=NAME:K:MS` | the process aborts MS milliseconds after the K-th passing of NAME |
//! | `HEADWATER_BUG=NAME` | the engine has a mistake, so that a test can show that it would find it |
//! | `HEADWATER_SEGMENT_BYTES=N` | size of a segment of the epoch log |
//! | `HEADWATER_KEPT_BYTES=N` | rows of an epoch that a file sink keeps with it |
//!
//! The variables are read once, and only with the feature.

/// Every place, in the order of the protocol; those of recovery begin with `recover`.
pub const POINTS: &[&str] = &[
    "source.barrier",
    "source.positions",
    "source.passed",
    "instance.barrier",
    "instance.passed",
    "keep.delta",
    "keep.store",
    "sink.prepare",
    "sink.prepared",
    "epoch.complete",
    "log.append",
    "log.appended",
    "log.rotate.synced",
    "log.rotate.created",
    "log.rotate.written",
    "commit.write",
    "commit.written",
    "commit.synced",
    "commit.done",
    "store.handed",
    "store.apply",
    "store.applied",
    "store.flushed",
    "snapshot.linked",
    "snapshot.checked",
    "snapshot.manifest",
    "snapshot.synced",
    "snapshot.done",
    "snapshot.remove",
    "snapshot.removed",
    "truncate.remove",
    "truncate.removed",
    "epoch.committed",
    "sink.commit",
    "sink.committed",
    "file.early",
    "file.early.synced",
    "file.put",
    "file.pending.synced",
    "publish.cut",
    "publish.synced",
    "publish.renamed",
    "publish.done",
    "source.committed",
    "source.acknowledged",
    "epoch.last",
    "recover.locked",
    "recover.claimed",
    "recover.looked",
    "recover.copied",
    "recover.header",
    "recover.log",
    "recover.seed.copied",
    "recover.seed.committed",
    "recover.nodes",
    "recover.restore.marked",
    "recover.restore.copied",
    "recover.restore.aside",
    "recover.restore.unmarked",
    "recover.restore.done",
    "recover.store.applied",
    "recover.store",
    "recover.sink",
    "recover.sink.done",
    "recover.file.piece",
    "recover.file.closed",
    "recover.file.removed",
    "recover.file.cut",
];

/// Every mistake that can be chosen, and what it is. `make mutants` shows that each is noticed.
pub const BUGS: &[(&str, &str)] = &[
    ("aborted-attempt-counts", "records of a run that was cut short count with the epoch of the next"),
    ("barrier-overtakes", "a barrier goes in front of the rows that were read before it"),
    ("checksum-ignored", "a record of the log counts whatever its checksum says"),
    ("commit-unsynced", "an epoch is called durable without a sync"),
    ("delivered-early", "output that a sink still needs the log for is called delivered"),
    ("end-forgotten", "a partition that was finished is read again by the next run"),
    ("gap-accepted", "a missing record is taken for the end of a segment"),
    ("next-start-lost", "a window operator forgets which window fires next"),
    ("not-recommitted", "output that was committed and not shown is not shown by the next run"),
    ("not-replayed", "the store is not brought up to the last commit"),
    ("older-output-forgotten", "only the output of the last epoch is shown again"),
    ("partial-write-left", "a write that a full disk cut short stays in the log"),
    ("partials-kept", "partial results do not leave with the barrier"),
    ("positions-late", "positions are taken when more has been read than belongs to the epoch"),
    ("published-uncut", "a file is shown with rows of an epoch that is not committed"),
    ("read-past-barrier", "an input is read on while others have not delivered their barrier"),
    ("removed-namespaces-unlogged", "the log does not hear of windows that are gone"),
    ("segment-unlisted", "a new segment of the log is not synced into its directory"),
    ("shown-early", "rows are shown before their epoch is durable"),
    ("store-ahead", "the store calls itself an epoch further than it is"),
    ("store-first", "the store sees an epoch before the log has committed it"),
    ("sync-retried", "a failed sync is tried again and believed"),
    ("tail-trusted", "what an earlier run wrote and may not have synced is taken for durable"),
    ("truncated-too-far", "segments are removed that a reader still needs"),
    ("truncated-unsnapped", "segments are removed that the newest snapshots need to be of use"),
    ("truncated-unstored", "segments are removed that the store has not taken over"),
    ("watermark-lost", "a window operator forgets how far event time had come"),
    ("zombie-commits", "a run that was replaced does not look before it calls an epoch committed"),
];

#[cfg(feature = "failpoints")]
mod armed {
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    struct Armed {
        name: String,
        left: AtomicU64,
        wait_ms: u64,
    }

    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// A place that was chosen ends the process here.
    pub fn pass(name: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| {
            let chosen = variable("HEADWATER_FAIL")?;
            let mut parts = chosen.split(':');
            let name = parts.next()?.to_owned();
            let mut number = || parts.next().and_then(|part| part.parse().ok());
            Some(Armed { name, left: AtomicU64::new(number().unwrap_or(1)), wait_ms: number().unwrap_or(0) })
        });
        let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else { return };
        if armed.left.fetch_sub(1, SeqCst) == 1 {
            // Somebody reads it, or nobody does: the process ends either way.
            let _ = writeln!(std::io::stderr(), "fail point {name}");
            // This thread stands still, the others go on: what must not overtake it has the time to.
            let never = Mutex::new(());
            let waiting = never.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = Condvar::new().wait_timeout(waiting, Duration::from_millis(armed.wait_ms));
            std::process::abort();
        }
    }

    /// True when this mistake was chosen.
    #[must_use]
    pub fn bug(name: &str) -> bool {
        static BUG: OnceLock<Option<String>> = OnceLock::new();
        BUG.get_or_init(|| variable("HEADWATER_BUG")).as_deref() == Some(name)
    }

    /// Another limit than the usual one, to reach what only large jobs reach.
    #[must_use]
    pub fn limit(name: &str, usual: u64) -> u64 {
        static LIMITS: OnceLock<[Option<u64>; 2]> = OnceLock::new();
        let limits = LIMITS.get_or_init(|| {
            ["HEADWATER_SEGMENT_BYTES", "HEADWATER_KEPT_BYTES"]
                .map(|name| variable(name).and_then(|value| value.parse().ok()))
        });
        let index = usize::from(name == "HEADWATER_KEPT_BYTES");
        limits[index].unwrap_or(usual)
    }
}

#[cfg(not(feature = "failpoints"))]
mod armed {
    /// A place that a torture test may choose.
    #[inline(always)]
    pub fn pass(_: &str) {}

    /// A mistake that a torture test may choose.
    #[inline(always)]
    #[must_use]
    pub fn bug(_: &str) -> bool {
        false
    }

    /// A limit that a torture test may change.
    #[inline(always)]
    #[must_use]
    pub fn limit(_: &str, usual: u64) -> u64 {
        usual
    }
}

pub use armed::{bug, limit, pass};
