//! `PageHinkley`: how far the sum of what is above, or below, the mean has come.

use headwater::prelude::Record;

use super::{Detector, Drift};

/// The test of Page (1954), on both sides.
///
/// Of the numbers so far, `m = fading * m + x - mean - tolerance` is a drift upwards when it is more than
/// `threshold` above its least value, and in the same way downwards. The threshold is in units of the
/// numbers: choose it for them.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct PageHinkley {
    tolerance: f64,
    threshold: f64,
    fading: f64,
    count: u64,
    mean: f64,
    up: f64,
    up_least: f64,
    down: f64,
    down_greatest: f64,
    is_over: bool,
}

/// Numbers before the first alarm.
const WARM_UP: u64 = 30;

impl Default for PageHinkley {
    fn default() -> Self {
        PageHinkley::new(50.0)
    }
}

impl PageHinkley {
    /// With a tolerance of 0.005 and a fading of 0.9999.
    #[must_use]
    pub fn new(threshold: f64) -> Self {
        PageHinkley {
            tolerance: 0.005,
            threshold,
            fading: 0.9999,
            count: 0,
            mean: 0.0,
            up: 0.0,
            up_least: f64::INFINITY,
            down: 0.0,
            down_greatest: f64::NEG_INFINITY,
            is_over: false,
        }
    }

    /// Changes of the mean up to this are none.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        PageHinkley { tolerance, ..self }
    }

    /// How much of the sum is left with each number.
    #[must_use]
    pub fn fading(self, fading: f64) -> Self {
        PageHinkley { fading, ..self }
    }
}

impl Detector for PageHinkley {
    fn update(&mut self, value: f64) -> Drift {
        if self.is_over {
            *self = PageHinkley::new(self.threshold).tolerance(self.tolerance).fading(self.fading);
        }
        if !value.is_finite() {
            return Drift::None;
        }
        self.count += 1;
        self.mean += (value - self.mean) / self.count as f64;
        let above = value - self.mean;
        self.up = self.fading * self.up + above - self.tolerance;
        self.down = self.fading * self.down + above + self.tolerance;
        self.up_least = self.up_least.min(self.up);
        self.down_greatest = self.down_greatest.max(self.down);
        let way = (self.up - self.up_least).max(self.down_greatest - self.down);
        self.is_over = self.count >= WARM_UP && way > self.threshold;
        if self.is_over { Drift::Drift } else { Drift::None }
    }
}
