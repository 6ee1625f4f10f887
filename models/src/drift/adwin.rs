//! `Adwin`: a window of the newest numbers that is cut where its two parts differ.

use headwater::prelude::Record;

use super::{Detector, Drift};

/// Buckets of each size.
const BUCKETS_MAX: usize = 5;
/// Numbers between two looks at the window.
const CLOCK: u64 = 32;
/// The shortest part of a window that has a mean.
const PART_MIN: f64 = 5.0;
/// The shortest window that is looked at.
const WINDOW_MIN: f64 = 10.0;

/// Numbers of which only the sum and the spread are kept.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Bucket {
    sum: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
}

/// Adaptive windowing (Bifet and Gavalda, SDM 2007).
///
/// Every 32 numbers all cuts of the window are tried: where the means of both parts differ by more than
/// chance allows (`sqrt(2 m v d) + 2/3 m d`, with `d = ln(2 ln(n) / delta)`, `v` the variance and `m` the sum
/// of the inverse lengths), the older part is dropped, and that is a drift. The window is kept as buckets of
/// 1, 2, 4 and so on numbers, five of each, so its state grows with the logarithm of its length.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Adwin {
    delta: f64,
    ticks: u64,
    /// Row `i` has buckets of `2^i` numbers, oldest first.
    rows: Vec<Vec<Bucket>>,
    width: f64,
    sum: f64,
    squares: f64,
    is_over: bool,
}

impl Default for Adwin {
    fn default() -> Self {
        Adwin::new()
    }
}

impl Adwin {
    /// With `delta` 0.002.
    #[must_use]
    pub fn new() -> Self {
        Adwin::with_delta(0.002)
    }

    /// `delta`, between 0 and 1, is how likely an alarm without a change may be.
    #[must_use]
    pub fn with_delta(delta: f64) -> Self {
        let rows = vec![Vec::new()];
        Adwin { delta, ticks: 0, rows, width: 0.0, sum: 0.0, squares: 0.0, is_over: false }
    }

    /// How many numbers the window has.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.width
    }

    /// The mean of the window.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.width > 0.0 { self.sum / self.width } else { 0.0 }
    }

    /// The sum of squared distances from the mean of the window.
    #[must_use]
    pub fn squares(&self) -> f64 {
        self.squares
    }

    fn push(&mut self, value: f64) {
        self.rows[0].push(Bucket { sum: value, squares: 0.0 });
        self.width += 1.0;
        if self.width > 1.0 {
            let distance = value - self.sum / (self.width - 1.0);
            self.squares += (self.width - 1.0) * distance * distance / self.width;
        }
        self.sum += value;
        self.compress();
    }

    /// Makes one bucket of the two oldest of a row that has too many.
    fn compress(&mut self) {
        let (mut row, mut count) = (0, 1.0);
        while self.rows[row].len() > BUCKETS_MAX {
            let mut oldest = self.rows[row].drain(..2);
            let (Some(a), Some(b)) = (oldest.next(), oldest.next()) else { return };
            drop(oldest);
            let distance = a.sum / count - b.sum / count;
            let between = count * count * distance * distance / (2.0 * count);
            let merged = Bucket { sum: a.sum + b.sum, squares: a.squares + b.squares + between };
            if row + 1 == self.rows.len() {
                self.rows.push(Vec::new());
            }
            self.rows[row + 1].push(merged);
            row += 1;
            count *= 2.0;
        }
    }

    fn drop_oldest(&mut self) {
        let count = 2f64.powi(self.rows.len() as i32 - 1);
        let Some(row) = self.rows.last_mut().filter(|row| !row.is_empty()) else { return };
        let oldest = row.remove(0);
        self.width -= count;
        self.sum -= oldest.sum;
        let distance = oldest.sum / count - self.sum / self.width;
        self.squares -= oldest.squares + count * self.width * distance * distance / (count + self.width);
        while self.rows.len() > 1 && self.rows.last().is_some_and(Vec::is_empty) {
            self.rows.pop();
        }
    }

    /// True when the means of both parts cannot be the same.
    fn differ(&self, older: f64, older_sum: f64) -> bool {
        let newer = self.width - older;
        if older < PART_MIN || newer < PART_MIN {
            return false;
        }
        let confidence = (2.0 * self.width.ln() / self.delta).ln();
        let inverse = 1.0 / (older - PART_MIN + 1.0) + 1.0 / (newer - PART_MIN + 1.0);
        let variance = self.squares / self.width;
        let limit = (2.0 * inverse * variance * confidence).sqrt() + 2.0 / 3.0 * confidence * inverse;
        (older_sum / older - (self.sum - older_sum) / newer).abs() > limit
    }

    /// Whether there is a cut whose parts differ.
    fn has_cut(&self) -> bool {
        let (mut older, mut older_sum) = (0.0, 0.0);
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            let count = 2f64.powi(row as i32);
            for bucket in buckets {
                older += count;
                older_sum += bucket.sum;
                if older < self.width && self.differ(older, older_sum) {
                    return true;
                }
            }
        }
        false
    }
}

impl Detector for Adwin {
    fn update(&mut self, value: f64) -> Drift {
        if self.is_over {
            *self = Adwin::with_delta(self.delta);
        }
        if !value.is_finite() {
            return Drift::None;
        }
        self.push(value);
        self.ticks += 1;
        if !self.ticks.is_multiple_of(CLOCK) || self.width <= WINDOW_MIN {
            return Drift::None;
        }
        while self.has_cut() {
            self.is_over = true;
            self.drop_oldest();
        }
        if self.is_over { Drift::Drift } else { Drift::None }
    }
}
