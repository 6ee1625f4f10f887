//! `ManualClock`: time that moves only when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::time::Clock;

/// A clock that a test holds. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now_ms: Arc<AtomicU64>,
    /// The wall time at zero.
    began_ms: i64,
}

impl ManualClock {
    /// A clock at zero.
    #[must_use]
    pub fn new() -> Self {
        ManualClock::default()
    }

    /// A clock at zero, when it is `wall_ms` on the wall (ms since 1970): for what must not mix up the two.
    #[must_use]
    pub fn began_at(wall_ms: i64) -> Self {
        ManualClock { began_ms: wall_ms, ..ManualClock::default() }
    }

    /// Moves time on to so many ms since the clock began.
    pub fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, SeqCst);
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
        self.began_ms + self.now_ms.load(SeqCst) as i64
    }
}
