//! `Ftrl`: logistic regression whose useless weights are exactly zero.

use headwater::prelude::Record;

use super::vector::{logistic, widen};
use crate::learner::Learner;

/// FTRL-proximal (McMahan et al., KDD 2013, algorithm 1). The weight of a feature follows from what it keeps:
/// `0` if `|z| <= l1`, otherwise `-(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2)`. The bias has no `l1`.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Ftrl {
    alpha: f64,
    beta: f64,
    l1: f64,
    l2: f64,
    /// Sums of gradients, less what the weights have moved; the bias first.
    z: Vec<f64>,
    /// Sums of squared gradients; the bias first.
    n: Vec<f64>,
}

impl Ftrl {
    /// A model that knows nothing; `alpha` is the rate, `beta` is 1.
    #[must_use]
    pub fn new(alpha: f64) -> Self {
        Ftrl { alpha, beta: 1.0, l1: 0.0, l2: 0.0, z: Vec::new(), n: Vec::new() }
    }

    /// Larger: the first steps are shorter.
    #[must_use]
    pub fn beta(self, beta: f64) -> Self {
        Ftrl { beta, ..self }
    }

    /// Features with less to say than this have weight 0.
    #[must_use]
    pub fn l1(self, l1: f64) -> Self {
        Ftrl { l1, ..self }
    }

    /// Pulls all weights towards 0.
    #[must_use]
    pub fn l2(self, l2: f64) -> Self {
        Ftrl { l2, ..self }
    }

    /// One weight per feature.
    pub fn weights(&self) -> impl Iterator<Item = f64> {
        self.z.iter().zip(&self.n).skip(1).map(|(z, n)| self.weight(*z, *n, self.l1))
    }

    #[inline]
    fn weight(&self, z: f64, n: f64, l1: f64) -> f64 {
        if z.abs() <= l1 {
            return 0.0;
        }
        -(z - z.signum() * l1) / ((self.beta + n.sqrt()) / self.alpha + self.l2)
    }

    /// The row with a feature in front that is always 1.
    fn with_bias(row: &[f64]) -> impl Iterator<Item = f64> {
        std::iter::once(1.0).chain(row.iter().copied())
    }

    fn margin(&self, row: &[f64]) -> f64 {
        let penalties = std::iter::once(0.0).chain(std::iter::repeat(self.l1));
        let kept = self.z.iter().zip(&self.n).zip(penalties);
        kept.zip(Self::with_bias(row)).map(|(((z, n), l1), value)| self.weight(*z, *n, l1) * value).sum()
    }
}

impl Learner for Ftrl {
    type Label = bool;

    fn score(&self, row: &[f64]) -> f64 {
        logistic(self.margin(row))
    }

    fn learn(&mut self, row: &[f64], label: bool) {
        self.score_and_learn(row, label);
    }

    fn score_and_learn(&mut self, row: &[f64], label: bool) -> f64 {
        widen(&mut self.z, row.len() + 1);
        widen(&mut self.n, row.len() + 1);
        let score = self.score(row);
        let slope = score - f64::from(u8::from(label));
        let penalties = std::iter::once(0.0).chain(std::iter::repeat(self.l1));
        for ((index, value), l1) in Self::with_bias(row).enumerate().zip(penalties) {
            let (z, n) = (self.z[index], self.n[index]);
            let weight = self.weight(z, n, l1);
            let gradient = slope * value;
            let moved = ((n + gradient * gradient).sqrt() - n.sqrt()) / self.alpha;
            self.z[index] = z + gradient - moved * weight;
            self.n[index] = n + gradient * gradient;
        }
        score
    }
}
