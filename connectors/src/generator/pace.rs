//! `Pace`: a token bucket that says how many records are due by now.

use headwater::{Error, Result};

/// How much time's worth of records may be caught up on after a pause.
const BURST_MS: f64 = 100.0;

/// A rate of records, held against the monotonic clock.
#[derive(Debug)]
pub(super) struct Pace {
    per_ms: f64,
    /// Records that may be given now; below zero when more were given than were due.
    tokens: f64,
    asked_at_ms: Option<u64>,
}

impl Pace {
    /// # Errors
    /// The rate is not a positive number.
    pub(super) fn new(per_second: f64) -> Result<Self> {
        if per_second.is_finite() && per_second > 0.0 {
            Ok(Pace { per_ms: per_second / 1000.0, tokens: 1.0, asked_at_ms: None })
        } else {
            Err(Error::Config(format!("a rate of {per_second} records per second is not above 0")))
        }
    }

    /// How many records may be given at this time.
    pub(super) fn due(&mut self, now_ms: u64) -> u64 {
        let asked_at_ms = self.asked_at_ms.replace(now_ms).unwrap_or(now_ms);
        let passed_ms = now_ms.saturating_sub(asked_at_ms) as f64;
        let tokens_max = (self.per_ms * BURST_MS).max(1.0);
        self.tokens = (self.tokens + passed_ms * self.per_ms).min(tokens_max);
        self.tokens.max(0.0) as u64
    }

    /// Counts records that were given.
    pub(super) fn spend(&mut self, count: u64) {
        self.tokens -= count as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_as_time_passes() {
        let mut pace = Pace::new(1000.0).unwrap();
        assert_eq!(pace.due(5), 1, "the first at once");
        pace.spend(1);
        assert_eq!(pace.due(5), 0);
        assert_eq!(pace.due(15), 10);
        pace.spend(10);
        assert_eq!(pace.due(16), 1);
    }

    #[test]
    fn a_pause_is_not_caught_up_with_a_flood() {
        let mut pace = Pace::new(1000.0).unwrap();
        pace.due(0);
        assert_eq!(pace.due(60_000), 100);
    }

    #[test]
    fn slow_rates_do_not_lose_fractions() {
        let mut pace = Pace::new(0.5).unwrap();
        let mut given = 0;
        for now_ms in (0..=10_000).step_by(7) {
            let due = pace.due(now_ms);
            pace.spend(due);
            given += due;
        }
        assert_eq!(given, 5, "one at the start and one per two seconds: the last is due at 10 000 ms");
    }

    #[test]
    fn more_than_was_due_is_made_up_for() {
        let mut pace = Pace::new(1000.0).unwrap();
        pace.due(0);
        pace.spend(51);
        assert_eq!(pace.due(50), 0);
        assert_eq!(pace.due(52), 2);
    }

    #[test]
    fn a_rate_must_be_positive() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Pace::new(rate).is_err());
        }
    }
}
