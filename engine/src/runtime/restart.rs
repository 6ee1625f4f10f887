//! When to try again after a failure, and what to do better then.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::RestartStrategy;
use crate::error::Error;
use crate::stage::{Poison, PoisonRecord};

/// Remembers the failures of a run.
#[derive(Debug)]
pub(crate) struct Restarts {
    strategy: RestartStrategy,
    count: u32,
    /// Times of the recent failures, in milliseconds of the monotonic clock.
    recent: VecDeque<u64>,
}

impl Restarts {
    pub(crate) fn new(strategy: RestartStrategy) -> Self {
        Restarts { strategy, count: 0, recent: VecDeque::new() }
    }

    /// How long to wait before the next attempt, in milliseconds; `None` to give up.
    pub(crate) fn after_failure(&mut self, now_ms: u64) -> Option<u64> {
        self.count += 1;
        match self.strategy {
            RestartStrategy::Never => None,
            RestartStrategy::FixedDelay { attempts_max, delay_ms } => {
                (self.count <= attempts_max).then_some(delay_ms)
            }
            RestartStrategy::Exponential { attempts_max, delay_ms, delay_max_ms, factor } => {
                let grown = delay_ms as f64 * factor.max(1.0).powi(self.count as i32 - 1);
                (self.count <= attempts_max).then_some((grown as u64).min(delay_max_ms))
            }
            RestartStrategy::FailureRate { failures_max, interval_ms, delay_ms } => {
                self.recent.push_back(now_ms);
                while self.recent.front().is_some_and(|time| now_ms.saturating_sub(*time) > interval_ms) {
                    self.recent.pop_front();
                }
                (self.recent.len() <= failures_max as usize).then_some(delay_ms)
            }
        }
    }
}

/// Most records that a run rejects as poison: more are a mistake in the program.
const POISON_MAX: usize = 1_000;

/// Looks for the record at which a run panics.
#[derive(Debug, Default)]
pub(crate) struct PoisonSearch {
    /// What the next attempt knows.
    pub(crate) poison: Arc<Poison>,
    known: Vec<PoisonRecord>,
}

impl PoisonSearch {
    /// True when the next attempt may do better behind this error: because it knows the record, or because it
    /// will find it. Only instances of sources know which record they are at.
    pub(crate) fn goes_on(&mut self, error: &Error, is_of_source: impl Fn(&str) -> bool) -> bool {
        let Error::Panicked { place, message } = error else { return self.starts_over() };
        if !self.poison.is_careful {
            if self.known.len() >= POISON_MAX || !is_of_source(place) {
                return false;
            }
            self.poison = Arc::new(Poison::new(true, &self.known));
            return true;
        }
        let Some(culprit) = self.poison.culprit(place, message) else { return self.starts_over() };
        tracing::warn!(?culprit, "a record at which the program panics is rejected");
        self.known.push(culprit);
        self.starts_over();
        true
    }

    /// The next attempt goes at full speed again; false.
    fn starts_over(&mut self) -> bool {
        self.poison = Arc::new(Poison::new(false, &self.known));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_delay_gives_up_after_its_attempts() {
        let mut restarts = Restarts::new(RestartStrategy::FixedDelay { attempts_max: 2, delay_ms: 7 });
        assert_eq!([0, 1, 2].map(|now| restarts.after_failure(now)), [Some(7), Some(7), None]);
    }

    #[test]
    fn an_exponential_delay_grows_to_its_limit() {
        let strategy =
            RestartStrategy::Exponential { attempts_max: 9, delay_ms: 10, delay_max_ms: 35, factor: 2.0 };
        let mut restarts = Restarts::new(strategy);
        assert_eq!([0, 1, 2].map(|now| restarts.after_failure(now)), [Some(10), Some(20), Some(35)]);
    }

    #[test]
    fn a_failure_rate_forgets_old_failures() {
        let strategy = RestartStrategy::FailureRate { failures_max: 1, interval_ms: 100, delay_ms: 1 };
        let mut restarts = Restarts::new(strategy);
        assert_eq!([0, 200, 250].map(|now| restarts.after_failure(now)), [Some(1), Some(1), None]);
    }
}
