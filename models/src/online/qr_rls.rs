//! `QrRls`: least squares that is exact after every row, and forgets as it is told to.

use headwater::prelude::Record;

use super::vector::dot;
use crate::learner::{Learner, MadeRow};

/// A diagonal element this small beside its column is what rounding left of it: the feature follows from others.
const DEPENDENT: f64 = 1e-12;

/// Recursive least squares on the triangular factor (QR by Givens rotations: Golub and Van Loan, 5.1 and 6.5).
///
/// Keeps `R` and `z` with `R'R = delta I + sum of rows row'row` and `R'z = sum of rows row'label`, the last
/// column being a feature that is always 1, and both sums weighted by `forgetting` to the power of a row's
/// age in rows. The normal equations, which square the condition of the features, are never formed. Two of
/// them, of any parts of a stream without forgetting, [merge](Self::merge) into what one would have learned.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct QrRls {
    forgetting: f64,
    delta: f64,
    rows: u64,
    /// The upper triangle of `R`, row by row.
    triangle: Vec<f64>,
    z: Vec<f64>,
    /// Squared length of each column of `R`.
    lengths: Vec<f64>,
    weights: Vec<f64>,
}

impl Default for QrRls {
    fn default() -> Self {
        QrRls::new()
    }
}

impl QrRls {
    /// Forgets nothing; `delta` is 1e-3.
    #[must_use]
    pub fn new() -> Self {
        let (triangle, z) = (Vec::new(), Vec::new());
        let (lengths, weights) = (Vec::new(), Vec::new());
        QrRls { forgetting: 1.0, delta: 1e-3, rows: 0, triangle, z, lengths, weights }
    }

    /// Each row counts `forgetting` times as much as the next one: above 0, at most 1 (which forgets nothing).
    #[must_use]
    pub fn forgetting(self, forgetting: f64) -> Self {
        QrRls { forgetting, ..self }
    }

    /// How strongly all weights, the bias among them, are pulled towards 0 before anything is known (ridge).
    /// With 0 they are those of ordinary least squares.
    #[must_use]
    pub fn delta(self, delta: f64) -> Self {
        QrRls { delta, ..self }
    }

    /// One weight per feature, then the bias.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Rows learned from.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn begin(&mut self, columns: usize) {
        if !self.z.is_empty() {
            return;
        }
        let diagonal = self.delta.sqrt();
        self.triangle = Vec::with_capacity(columns * (columns + 1) / 2);
        for row in 0..columns {
            self.triangle.push(diagonal);
            self.triangle.extend(std::iter::repeat_n(0.0, columns - row - 1));
        }
        self.z = vec![0.0; columns];
        self.lengths = vec![self.delta; columns];
        self.weights = vec![0.0; columns];
    }

    /// Rotates a row into the triangle. Its elements become 0 one after the other.
    #[inline]
    fn rotate(&mut self, row: &mut [f64], label: f64) {
        let (columns, mut label) = (self.z.len(), label);
        for (length, value) in self.lengths.iter_mut().zip(&*row) {
            *length += value * value;
        }
        let mut rest = self.triangle.as_mut_slice();
        for column in 0..columns {
            let (own, below) = rest.split_at_mut(columns - column);
            rest = below;
            let value = row[column];
            if value == 0.0 {
                continue;
            }
            let hypotenuse = (own[0] * own[0] + value * value).sqrt();
            if hypotenuse == 0.0 {
                // Both are so small that their squares are nothing.
                continue;
            }
            let (cos, sin) = (own[0] / hypotenuse, value / hypotenuse);
            own[0] = hypotenuse;
            for (own, value) in own[1..].iter_mut().zip(&mut row[column + 1..]) {
                (*own, *value) = (cos * *own + sin * *value, cos * *value - sin * *own);
            }
            let z = &mut self.z[column];
            (*z, label) = (cos * *z + sin * label, cos * label - sin * *z);
        }
    }

    /// Solves `R weights = z` from below.
    fn solve(&mut self) {
        let columns = self.z.len();
        let mut start = self.triangle.len();
        for row in (0..columns).rev() {
            start -= columns - row;
            let own = &self.triangle[start..start + columns - row];
            let rest = dot(&own[1..], &self.weights[row + 1..]);
            let is_dependent = own[0] * own[0] <= DEPENDENT * DEPENDENT * self.lengths[row];
            self.weights[row] = if is_dependent { 0.0 } else { (self.z[row] - rest) / own[0] };
        }
    }

    fn forget(&mut self) {
        if self.forgetting >= 1.0 {
            return;
        }
        let root = self.forgetting.sqrt();
        self.triangle.iter_mut().chain(&mut self.z).for_each(|value| *value *= root);
        self.lengths.iter_mut().for_each(|length| *length *= self.forgetting);
    }

    /// Takes what another has learned into account. Exact when neither forgets: the weights are those of one
    /// learner that saw all rows (each of the two brings its own `delta`). With forgetting both are taken for
    /// equally old.
    ///
    /// The order matters for the last bits: merge parts in the order of their numbers, not of their arrival.
    pub fn merge(&mut self, other: &QrRls) {
        let columns = other.z.len();
        if columns == 0 {
            return;
        }
        self.begin(columns);
        let mut start = 0;
        for row in 0..columns {
            let own = &other.triangle[start..start + columns - row];
            start += columns - row;
            let mut values: MadeRow = std::iter::repeat_n(0.0, row).chain(own.iter().copied()).collect();
            self.rotate(&mut values, other.z[row]);
        }
        self.rows += other.rows;
        self.solve();
    }
}

impl Learner for QrRls {
    type Label = f64;

    #[inline]
    fn score(&self, row: &[f64]) -> f64 {
        dot(&self.weights, row) + self.weights.last().copied().unwrap_or(0.0)
    }

    fn learn(&mut self, row: &[f64], label: f64) {
        self.begin(row.len() + 1);
        self.forget();
        let mut values: MadeRow = row.iter().copied().chain(std::iter::once(1.0)).collect();
        self.rotate(&mut values, label);
        self.rows += 1;
        self.solve();
    }
}
