//! `HddmA`: means of numbers between 0 and 1, with bounds that hold for every distribution.

use headwater::prelude::Record;

use super::{Detector, Drift};

/// Confidence of a drift and of a warning.
const DRIFT: f64 = 0.001;
const WARNING: f64 = 0.005;

/// Drift detection by Hoeffding's bound on averages (Frias-Blanco et al., TKDE 27, 2015), upwards, for
/// numbers between 0 and 1.
#[derive(Record, Clone, Debug, Default, PartialEq)]
pub struct HddmA {
    count: f64,
    sum: f64,
    /// The beginning with the least mean, bound included.
    least_count: f64,
    least_sum: f64,
    is_over: bool,
}

impl HddmA {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        HddmA::default()
    }

    /// Whether all numbers have a greater mean than the least beginning.
    fn is_above(&self, confidence: f64) -> bool {
        if self.least_count == self.count {
            return false;
        }
        let inverse = (self.count - self.least_count) / self.least_count / self.count;
        let bound = (inverse / 2.0 * (2.0 / confidence).ln()).sqrt();
        self.sum / self.count - self.least_sum / self.least_count >= bound
    }
}

impl Detector for HddmA {
    fn update(&mut self, value: f64) -> Drift {
        if self.is_over {
            *self = HddmA::new();
        }
        if !value.is_finite() {
            return Drift::None;
        }
        self.count += 1.0;
        self.sum += value;
        let bound = |count: f64| ((1.0 / DRIFT).ln() / (2.0 * count)).sqrt();
        let is_least = self.least_count == 0.0
            || self.least_sum / self.least_count + bound(self.least_count)
                >= self.sum / self.count + bound(self.count);
        if is_least {
            (self.least_count, self.least_sum) = (self.count, self.sum);
        }
        self.is_over = self.is_above(DRIFT);
        match self.is_over {
            true => Drift::Drift,
            false if self.is_above(WARNING) => Drift::Warning,
            false => Drift::None,
        }
    }
}
