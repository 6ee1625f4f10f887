//! Time: event time comes from data, timeouts from a monotonic clock that a test can hold.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Event time: milliseconds since 1970-01-01T00:00:00Z, negative before.
pub type Timestamp = i64;

/// Farthest event time, 36 million years from 1970 in either direction; a time beyond it (a sentinel, a
/// misread field) counts as this one. Sums with the lengths of windows stay within [`Timestamp`].
pub const TIME_MAX: Timestamp = i64::MAX / 8;

/// How far event time has come on a channel: no record with a smaller event time is expected any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watermark {
    /// Event time has reached this point.
    At(Timestamp),
    /// Nothing comes from here for now: do not wait for it.
    Idle,
}

impl Watermark {
    /// The watermark before anything is known.
    pub const START: Watermark = Watermark::At(i64::MIN);
    /// The watermark after the last record: closes every window.
    pub const END: Watermark = Watermark::At(i64::MAX);
}

/// The number of one consistent cut through the whole topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The clocks of a run. Operators see time only through it, so that a test or a replay can hold it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since some fixed point; never goes back. For timeouts.
    fn monotonic_ms(&self) -> u64;

    /// Milliseconds since 1970-01-01T00:00:00Z. For stamping readings of the real world only.
    fn wall_ms(&self) -> i64;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

#[expect(clippy::disallowed_methods, reason = "the home of the machine's clocks")]
impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

#[expect(clippy::disallowed_methods, reason = "the home of the machine's clocks")]
impl Clock for SystemClock {
    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn wall_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }
}

/// Whole milliseconds of a duration.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A number of milliseconds.
#[must_use]
pub fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A number of seconds.
#[must_use]
pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A number of minutes.
#[must_use]
pub fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
