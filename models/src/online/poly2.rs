//! `Poly2`: products of features, so that a linear learner sees how they act together.

use headwater::prelude::Record;

use crate::learner::{Learner, MadeRow, Score};

/// A learner that sees the features, and the product of every two of them: `d (d + 3) / 2` from `d`.
///
/// Put it behind a scaler: `Scaled::new(Poly2::new(..))`.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Poly2<L> {
    learner: L,
}

impl<L> Poly2<L> {
    /// In front of `learner`.
    #[must_use]
    pub fn new(learner: L) -> Self {
        Poly2 { learner }
    }

    /// What learns from the products.
    #[must_use]
    pub fn learner(&self) -> &L {
        &self.learner
    }
}

/// The features, then `row[i] * row[j]` for all `i <= j`, rows first.
fn products(row: &[f64]) -> MadeRow {
    let mut all = MadeRow::with_capacity(row.len() * (row.len() + 3) / 2);
    all.extend_from_slice(row);
    for (first, value) in row.iter().enumerate() {
        all.extend(row[first..].iter().map(|other| value * other));
    }
    all
}

impl<L: Learner> Learner for Poly2<L> {
    type Label = L::Label;

    fn score(&self, row: &[f64]) -> Score<Self> {
        self.learner.score(&products(row))
    }

    fn learn(&mut self, row: &[f64], label: L::Label) {
        self.learner.learn(&products(row), label);
    }

    fn score_and_learn(&mut self, row: &[f64], label: L::Label) -> Score<Self> {
        self.learner.score_and_learn(&products(row), label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_there_once() {
        assert_eq!(products(&[2.0, 3.0, 5.0])[..], [2.0, 3.0, 5.0, 4.0, 6.0, 10.0, 9.0, 15.0, 25.0]);
    }
}
