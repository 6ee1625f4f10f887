//! `ManualClock`: time that moves only when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::time::Clock;

/// A clock that a test holds. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now_ms: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock at zero.
    #[must_use]
    pub fn new() -> Self {
        ManualClock::default()
    }

    /// Moves time on.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(by.as_millis() as u64, SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic_ms(&self) -> u64 {
        self.now_ms.load(SeqCst)
    }

    fn wall_ms(&self) -> i64 {
        self.now_ms.load(SeqCst) as i64
    }
}
