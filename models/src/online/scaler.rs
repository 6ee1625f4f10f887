//! `StandardScaler` and `Scaled`: features with mean 0 and deviation 1.

use headwater::prelude::Record;

use super::vector::widen;
use crate::learner::{Learner, MadeRow, Score};

/// The running mean and deviation of each feature.
///
/// Welford (1962); merged by Chan, Golub and LeVeque (1983). The deviation is that of the rows seen (divided by n,
/// not by n - 1), and a feature that never changed becomes 0.
#[derive(Record, Clone, Debug, Default, PartialEq)]
pub struct StandardScaler {
    rows: u64,
    means: Vec<f64>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
}

impl StandardScaler {
    /// A scaler that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        StandardScaler::default()
    }

    /// Rows seen.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The mean of each feature.
    #[must_use]
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// The variance of each feature.
    pub fn variances(&self) -> impl Iterator<Item = f64> {
        let rows = self.rows.max(1) as f64;
        self.squares.iter().map(move |squares| squares / rows)
    }

    /// Takes a row into account.
    #[inline]
    pub fn learn(&mut self, row: &[f64]) {
        widen(&mut self.means, row.len());
        widen(&mut self.squares, row.len());
        self.rows += 1;
        let rows = self.rows as f64;
        for ((value, mean), squares) in row.iter().zip(&mut self.means).zip(&mut self.squares) {
            let distance = value - *mean;
            *mean += distance / rows;
            *squares += distance * (value - *mean);
        }
    }

    /// Takes the rows of another scaler into account, as if they had been learned here.
    pub fn merge(&mut self, other: &StandardScaler) {
        if other.rows == 0 {
            return;
        }
        widen(&mut self.means, other.means.len());
        widen(&mut self.squares, other.means.len());
        let (own, others) = (self.rows as f64, other.rows as f64);
        let rows = own + others;
        for index in 0..other.means.len() {
            let distance = other.means[index] - self.means[index];
            self.squares[index] += other.squares[index] + distance * distance * (own * others / rows);
            self.means[index] += distance * (others / rows);
        }
        self.rows += other.rows;
    }

    /// The row in deviations from the mean.
    #[inline]
    pub(crate) fn scaled(&self, row: &[f64]) -> MadeRow {
        let rows = self.rows as f64;
        let known = self.means.iter().zip(&self.squares).map(Some).chain(std::iter::repeat(None));
        row.iter()
            .zip(known)
            .map(|(value, known)| match known {
                Some((mean, squares)) if *squares > 0.0 => (value - mean) / (squares / rows).sqrt(),
                _ => 0.0,
            })
            .collect()
    }
}

/// A learner that sees scaled features.
///
/// A row is scored with the means and deviations known so far; when it is learned from, they learn first.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Scaled<L> {
    scaler: StandardScaler,
    learner: L,
}

impl<L> Scaled<L> {
    /// In front of `learner`.
    #[must_use]
    pub fn new(learner: L) -> Self {
        Scaled { scaler: StandardScaler::new(), learner }
    }

    /// What it knows of the features.
    #[must_use]
    pub fn scaler(&self) -> &StandardScaler {
        &self.scaler
    }

    /// What learns from the scaled features.
    #[must_use]
    pub fn learner(&self) -> &L {
        &self.learner
    }
}

impl<L: Learner> Learner for Scaled<L> {
    type Label = L::Label;

    #[inline]
    fn score(&self, row: &[f64]) -> Score<Self> {
        self.learner.score(&self.scaler.scaled(row))
    }

    #[inline]
    fn learn(&mut self, row: &[f64], label: L::Label) {
        self.scaler.learn(row);
        self.learner.learn(&self.scaler.scaled(row), label);
    }
}
