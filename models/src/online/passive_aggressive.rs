//! `PassiveAggressive` and `PassiveAggressiveRegressor`: the smallest change that puts a row right.

use headwater::prelude::Record;

use super::vector::{add_scaled, dot, logistic, widen};
use crate::learner::Learner;

/// Weights that change as little as a row asks for (Crammer et al., JMLR 7, 2006). The last weight is that of a
/// feature that is always 1.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Aggression {
    limit: f64,
    is_squared: bool,
    weights: Vec<f64>,
    bias: f64,
}

impl Aggression {
    #[inline]
    fn margin(&self, row: &[f64]) -> f64 {
        dot(&self.weights, row) + self.bias
    }

    /// Moves towards `direction`, as far as `loss` asks for.
    #[inline]
    fn correct(&mut self, row: &[f64], loss: f64, direction: f64) {
        widen(&mut self.weights, row.len());
        if loss <= 0.0 {
            return;
        }
        let length = dot(row, row) + 1.0;
        let step = if self.is_squared {
            loss / (length + 1.0 / (2.0 * self.limit))
        } else {
            (loss / length).min(self.limit)
        };
        add_scaled(&mut self.weights, step * direction, row);
        self.bias += step * direction;
    }
}

/// Classification by hinge loss. The score is the logistic function of the margin, so that 0.5 divides the
/// classes.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct PassiveAggressive {
    aggression: Aggression,
}

impl PassiveAggressive {
    /// PA-I: no row moves the weights by more than `limit` times itself.
    #[must_use]
    pub fn new(limit: f64) -> Self {
        let aggression = Aggression { limit, is_squared: false, weights: Vec::new(), bias: 0.0 };
        PassiveAggressive { aggression }
    }

    /// PA-II: a row moves the weights by `loss / (length + 1 / (2 limit))` times itself.
    #[must_use]
    pub fn squared(limit: f64) -> Self {
        let mut learner = PassiveAggressive::new(limit);
        learner.aggression.is_squared = true;
        learner
    }

    /// One weight per feature.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.aggression.weights
    }
}

impl Learner for PassiveAggressive {
    type Label = bool;

    fn score(&self, row: &[f64]) -> f64 {
        logistic(self.aggression.margin(row))
    }

    fn learn(&mut self, row: &[f64], label: bool) {
        self.score_and_learn(row, label);
    }

    fn score_and_learn(&mut self, row: &[f64], label: bool) -> f64 {
        let margin = self.aggression.margin(row);
        let direction = if label { 1.0 } else { -1.0 };
        self.aggression.correct(row, 1.0 - direction * margin, direction);
        logistic(margin)
    }
}

/// Regression that is content within `epsilon` of the target.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct PassiveAggressiveRegressor {
    aggression: Aggression,
    epsilon: f64,
}

impl PassiveAggressiveRegressor {
    /// No row moves the weights by more than `limit` times itself.
    #[must_use]
    pub fn new(limit: f64, epsilon: f64) -> Self {
        PassiveAggressiveRegressor { aggression: PassiveAggressive::new(limit).aggression, epsilon }
    }
}

impl Learner for PassiveAggressiveRegressor {
    type Label = f64;

    fn score(&self, row: &[f64]) -> f64 {
        self.aggression.margin(row)
    }

    fn learn(&mut self, row: &[f64], label: f64) {
        self.score_and_learn(row, label);
    }

    fn score_and_learn(&mut self, row: &[f64], label: f64) -> f64 {
        let score = self.aggression.margin(row);
        let direction = if label > score { 1.0 } else { -1.0 };
        self.aggression.correct(row, (label - score).abs() - self.epsilon, direction);
        score
    }
}
