//! `Ddm`: a rate of errors that has left its least value too far behind.

use headwater::prelude::Record;

use super::{Detector, Drift};

/// The drift detection method (Gama et al., SBIA 2004), for errors that are 0 or 1.
///
/// Of the rate `p` of errors and its deviation `s = sqrt(p (1 - p) / n)`, the least `p + s` is kept: two
/// deviations above it are a warning, three a drift.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Ddm {
    count: u64,
    rate: f64,
    least_rate: f64,
    least_deviation: f64,
    is_over: bool,
}

/// Numbers before the first alarm.
const WARM_UP: u64 = 30;
const WARNING: f64 = 2.0;
const DRIFT: f64 = 3.0;

impl Default for Ddm {
    fn default() -> Self {
        Ddm::new()
    }
}

impl Ddm {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        let least = f64::INFINITY;
        Ddm { count: 0, rate: 0.0, least_rate: least, least_deviation: least, is_over: false }
    }
}

impl Detector for Ddm {
    fn update(&mut self, value: f64) -> Drift {
        if self.is_over {
            *self = Ddm::new();
        }
        if !value.is_finite() {
            return Drift::None;
        }
        self.count += 1;
        self.rate += (value - self.rate) / self.count as f64;
        let deviation = (self.rate * (1.0 - self.rate) / self.count as f64).max(0.0).sqrt();
        if self.count <= WARM_UP {
            return Drift::None;
        }
        let level = self.rate + deviation;
        if level <= self.least_rate + self.least_deviation {
            (self.least_rate, self.least_deviation) = (self.rate, deviation);
        }
        if level > self.least_rate + DRIFT * self.least_deviation {
            self.is_over = true;
            return Drift::Drift;
        }
        let is_near = level > self.least_rate + WARNING * self.least_deviation;
        if is_near { Drift::Warning } else { Drift::None }
    }
}
