//! `LinearSgd` and `LogisticSgd`: linear models that follow the gradient of one row at a time.

use headwater::prelude::Record;

use super::vector::{add_scaled, dot, logistic, widen};
use crate::learner::Learner;

/// The largest gradient that a step follows, so that one outlier cannot throw a model out of all numbers.
const GRADIENT_MAX: f64 = 1e12;

/// How long the steps are.
///
/// | | length of step `t` |
/// |---|---|
/// | constant | `rate` |
/// | [`inverse_scaling`](Self::inverse_scaling) | `rate / t^power` |
/// | [`adagrad`](Self::adagrad) | per feature, `rate / sqrt(sum of its squared gradients)` (Duchi et al. 2011) |
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Steps {
    rate: f64,
    power: f64,
    is_adagrad: bool,
    l2: f64,
}

impl Steps {
    /// Steps of the same length.
    #[must_use]
    pub fn constant(rate: f64) -> Self {
        Steps { rate, power: 0.0, is_adagrad: false, l2: 0.0 }
    }

    /// Steps that become shorter with each row.
    #[must_use]
    pub fn inverse_scaling(rate: f64, power: f64) -> Self {
        Steps { power, ..Steps::constant(rate) }
    }

    /// Steps that become shorter for a feature with all that was learned of it.
    #[must_use]
    pub fn adagrad(rate: f64) -> Self {
        Steps { is_adagrad: true, ..Steps::constant(rate) }
    }

    /// Each step also takes this part of the gradient of half the squared weights (ridge).
    #[must_use]
    pub fn l2(self, l2: f64) -> Self {
        Steps { l2, ..self }
    }
}

impl From<f64> for Steps {
    fn from(rate: f64) -> Self {
        Steps::constant(rate)
    }
}

/// Weights, and what the next step needs to know.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Descent {
    steps: Steps,
    rows: u64,
    weights: Vec<f64>,
    bias: f64,
    /// Sums of squared gradients, the bias last; empty unless the steps ask for them.
    squares: Vec<f64>,
}

impl Descent {
    fn new(steps: Steps) -> Self {
        Descent { steps, rows: 0, weights: Vec::new(), bias: 0.0, squares: Vec::new() }
    }

    #[inline]
    fn margin(&self, row: &[f64]) -> f64 {
        dot(&self.weights, row) + self.bias
    }

    /// Goes against the gradient `slope * row` of the loss of a row.
    #[inline]
    fn step(&mut self, row: &[f64], slope: f64) {
        self.rows += 1;
        widen(&mut self.weights, row.len());
        let Steps { rate, power, is_adagrad, l2 } = self.steps;
        if is_adagrad {
            return self.adagrad_step(row, slope);
        }
        let rate = if power == 0.0 { rate } else { rate / (self.rows as f64).powf(power) };
        if l2 != 0.0 {
            self.weights.iter_mut().for_each(|weight| *weight -= rate * l2 * *weight);
        }
        add_scaled(&mut self.weights, -(rate * slope), row);
        self.bias -= rate * slope;
    }

    fn adagrad_step(&mut self, row: &[f64], slope: f64) {
        let Steps { rate, l2, .. } = self.steps;
        widen(&mut self.squares, row.len() + 1);
        let bias = std::slice::from_mut(&mut self.bias);
        let gradients = row.iter().map(|value| slope * value).chain(std::iter::once(slope));
        let decays = std::iter::repeat_n(l2, row.len()).chain(std::iter::once(0.0));
        let weights = self.weights[..row.len()].iter_mut().chain(bias);
        for (((gradient, decay), weight), squares) in
            gradients.zip(decays).zip(weights).zip(&mut self.squares)
        {
            let gradient = gradient + decay * *weight;
            *squares += gradient * gradient;
            if *squares > 0.0 {
                *weight -= rate * gradient / squares.sqrt();
            }
        }
    }
}

/// Words that both models have.
macro_rules! descends {
    ($name:ident) => {
        impl $name {
            /// A model that knows nothing; `steps` is a rate, or [`Steps`].
            #[must_use]
            pub fn new(steps: impl Into<Steps>) -> Self {
                $name { descent: Descent::new(steps.into()) }
            }

            /// One weight per feature.
            #[must_use]
            pub fn weights(&self) -> &[f64] {
                &self.descent.weights
            }

            /// The margin of a row of zeros.
            #[must_use]
            pub fn bias(&self) -> f64 {
                self.descent.bias
            }

            /// Rows learned from.
            #[must_use]
            pub fn rows(&self) -> u64 {
                self.descent.rows
            }
        }
    };
}

/// Linear regression with squared loss `(p - y)^2 / 2` of `p = weights . row + bias`.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct LinearSgd {
    descent: Descent,
}

descends!(LinearSgd);

impl Learner for LinearSgd {
    type Label = f64;

    #[inline]
    fn score(&self, row: &[f64]) -> f64 {
        self.descent.margin(row)
    }

    #[inline]
    fn learn(&mut self, row: &[f64], label: f64) {
        self.score_and_learn(row, label);
    }

    #[inline]
    fn score_and_learn(&mut self, row: &[f64], label: f64) -> f64 {
        let score = self.score(row);
        self.descent.step(row, (score - label).clamp(-GRADIENT_MAX, GRADIENT_MAX));
        score
    }
}

/// Logistic regression with log-loss of `p = 1 / (1 + exp(-(weights . row + bias)))`.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct LogisticSgd {
    descent: Descent,
}

descends!(LogisticSgd);

impl Learner for LogisticSgd {
    type Label = bool;

    #[inline]
    fn score(&self, row: &[f64]) -> f64 {
        logistic(self.descent.margin(row))
    }

    #[inline]
    fn learn(&mut self, row: &[f64], label: bool) {
        self.score_and_learn(row, label);
    }

    #[inline]
    fn score_and_learn(&mut self, row: &[f64], label: bool) -> f64 {
        let score = self.score(row);
        self.descent.step(row, score - f64::from(u8::from(label)));
        score
    }
}
