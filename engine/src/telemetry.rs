//! What a run counts, and the only list of metric names.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::Counter;

/// Labels: `topology`, `operator`. Never a key or a user's data.
pub(crate) const RECORDS_IN: &str = "headwater_records_in_total";
pub(crate) const RECORDS_OUT: &str = "headwater_records_out_total";
pub(crate) const RECORDS_LATE: &str = "headwater_late_records_total";
pub(crate) const RECORDS_REJECTED: &str = "headwater_rejected_records_total";
pub(crate) const EPOCHS: &str = "headwater_epochs_total";
pub(crate) const RESTARTS: &str = "headwater_restarts_total";

/// Counts of one instance of a node; written once per batch. The same counts go to the recorder of the
/// `metrics` crate, if the program has installed one.
#[derive(Debug)]
pub struct Meter {
    records_in: AtomicU64,
    records_out: AtomicU64,
    late: AtomicU64,
    rejected: AtomicU64,
    /// The newest that any instance reached.
    watermark: AtomicI64,
    /// What holds the watermark back, in words; written rarely.
    holding: Mutex<Option<String>>,
    /// The first record that was rejected, and why.
    rejection: OnceLock<String>,
    exported: Exported,
}

/// The same counts as the recorder's counters.
struct Exported {
    records_in: Counter,
    records_out: Counter,
    late: Counter,
    rejected: Counter,
}

impl std::fmt::Debug for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exported")
    }
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            records_in: self.records_in + other.records_in,
            records_out: self.records_out + other.records_out,
            late: self.late + other.late,
            rejected: self.rejected + other.rejected,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(counts: I) -> Counts {
        counts.fold(Counts::default(), |sum, counts| sum + counts)
    }
}

/// A reading of a [`Meter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, headwater_derive::Record)]
pub struct Counts {
    /// Records taken; for a source, records read, rejected ones included.
    pub records_in: u64,
    /// Records given.
    pub records_out: u64,
    /// Records that came after all their windows had closed.
    pub late: u64,
    /// Records that could not be understood.
    pub rejected: u64,
}

impl Meter {
    /// The counts of an instance of a node, which go on from those of an earlier run.
    pub(crate) fn shared(topology: &str, operator: &str, before: Counts) -> Arc<Meter> {
        let counter = |name: &'static str| {
            let (topology, operator) = (topology.to_owned(), operator.to_owned());
            metrics::counter!(name, "topology" => topology, "operator" => operator)
        };
        Arc::new(Meter {
            records_in: AtomicU64::new(before.records_in),
            records_out: AtomicU64::new(before.records_out),
            late: AtomicU64::new(before.late),
            rejected: AtomicU64::new(before.rejected),
            watermark: AtomicI64::new(i64::MIN),
            holding: Mutex::new(None),
            rejection: OnceLock::new(),
            exported: Exported {
                records_in: counter(RECORDS_IN),
                records_out: counter(RECORDS_OUT),
                late: counter(RECORDS_LATE),
                rejected: counter(RECORDS_REJECTED),
            },
        })
    }

    pub(crate) fn add_in(&self, records: usize) {
        self.records_in.fetch_add(records as u64, Relaxed);
        self.exported.records_in.increment(records as u64);
    }

    pub(crate) fn add_out(&self, records: usize) {
        self.records_out.fetch_add(records as u64, Relaxed);
        self.exported.records_out.increment(records as u64);
    }

    pub(crate) fn add_late(&self, records: usize) {
        self.late.fetch_add(records as u64, Relaxed);
        self.exported.late.increment(records as u64);
    }

    pub(crate) fn add_rejected(&self, records: usize) {
        self.rejected.fetch_add(records as u64, Relaxed);
        self.exported.rejected.increment(records as u64);
    }

    pub(crate) fn reach(&self, watermark: i64) {
        self.watermark.fetch_max(watermark, Relaxed);
    }

    /// Keeps the sentence about the first rejected record.
    pub(crate) fn reject(&self, sentence: impl FnOnce() -> String) {
        self.rejection.get_or_init(sentence);
    }

    /// The first record that was rejected, and why.
    #[must_use]
    pub fn rejection(&self) -> Option<&str> {
        self.rejection.get().map(String::as_str)
    }

    pub(crate) fn hold(&self, reason: Option<String>) {
        *self.holding.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// What holds the watermark back, in words.
    #[must_use]
    pub fn holding(&self) -> Option<String> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest watermark that an instance of the node reached.
    #[must_use]
    pub fn watermark(&self) -> Option<i64> {
        Some(self.watermark.load(Relaxed)).filter(|time| *time != i64::MIN)
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            records_in: self.records_in.load(Relaxed),
            records_out: self.records_out.load(Relaxed),
            late: self.late.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }
}
