//! `Kswin`: the newest numbers are distributed otherwise than those before them.

use headwater::prelude::Record;

use super::{Detector, Drift};

/// The test of Kolmogorov and Smirnov over a sliding window (Raab et al., Neurocomputing 416, 2020), without
/// its random sample: the newest numbers are held against all others of the window.
///
/// It also sees what leaves the mean as it was. Each number costs a pass over the window.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Kswin {
    alpha: f64,
    window_max: u32,
    newest: u32,
    /// Oldest first.
    window: Vec<f64>,
    is_over: bool,
}

impl Default for Kswin {
    fn default() -> Self {
        Kswin::new()
    }
}

impl Kswin {
    /// The newest 30 of 100 numbers, with `alpha` 0.0001.
    #[must_use]
    pub fn new() -> Self {
        Kswin { alpha: 1e-4, window_max: 100, newest: 30, window: Vec::new(), is_over: false }
    }

    /// How likely an alarm without a change may be, with each number.
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        Kswin { alpha, ..self }
    }

    /// The newest so many of so many numbers. Each part has at least two.
    #[must_use]
    pub fn window(self, newest: u32, all: u32) -> Self {
        let newest = newest.max(2);
        Kswin { newest, window_max: all.max(newest + 2), ..self }
    }

    /// The largest distance between the distributions of both parts.
    fn distance(older: &mut [f64], newer: &mut [f64]) -> f64 {
        older.sort_unstable_by(f64::total_cmp);
        newer.sort_unstable_by(f64::total_cmp);
        let (mut a, mut b, mut largest) = (0, 0, 0.0_f64);
        while a < older.len() && b < newer.len() {
            let value = older[a].min(newer[b]);
            a += older[a..].iter().take_while(|other| **other <= value).count();
            b += newer[b..].iter().take_while(|other| **other <= value).count();
            let parts = (a as f64 / older.len() as f64, b as f64 / newer.len() as f64);
            largest = largest.max((parts.0 - parts.1).abs());
        }
        largest
    }
}

impl Detector for Kswin {
    fn update(&mut self, value: f64) -> Drift {
        if self.is_over {
            self.is_over = false;
            let older = self.window.len().saturating_sub(self.newest as usize);
            self.window.drain(..older);
        }
        if !value.is_finite() {
            return Drift::None;
        }
        if self.window.len() >= self.window_max as usize {
            self.window.remove(0);
        }
        self.window.push(value);
        if self.window.len() < self.window_max as usize {
            return Drift::None;
        }
        let mut values = self.window.clone();
        let (older, newer) = values.split_at_mut(self.window.len() - self.newest as usize);
        let inverse = 1.0 / older.len() as f64 + 1.0 / newer.len() as f64;
        let limit = ((2.0 / self.alpha).ln() / 2.0 * inverse).sqrt();
        self.is_over = Kswin::distance(older, newer) > limit;
        if self.is_over { Drift::Drift } else { Drift::None }
    }
}
