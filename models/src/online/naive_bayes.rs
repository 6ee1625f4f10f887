//! `GaussianNb`, `BernoulliNb` and `MultinomialNb`: classes whose features are taken to be independent.

use headwater::prelude::Record;

use super::StandardScaler;
use super::vector::{normalise, widen};
use crate::learner::Learner;

/// Makes room for a class.
fn class_of<T: Clone>(classes: &mut Vec<T>, class: u32, empty: T) -> Option<&mut T> {
    let index = class as usize;
    if classes.len() <= index {
        classes.resize(index + 1, empty);
    }
    classes.get_mut(index)
}

/// Logarithm of the part of all rows that are of a class.
fn log_prior(rows: u64, all: u64) -> f64 {
    (rows as f64 / all as f64).ln()
}

/// Features that are normally distributed within a class.
///
/// The mean and variance of each class are those of its rows, by Welford's method; two learners of any parts of a
/// stream [merge](Self::merge) into one.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct GaussianNb {
    epsilon: f64,
    classes: Vec<StandardScaler>,
}

impl Default for GaussianNb {
    fn default() -> Self {
        GaussianNb::new()
    }
}

impl GaussianNb {
    /// Knows no class; `epsilon` is 1e-9.
    #[must_use]
    pub fn new() -> Self {
        GaussianNb { epsilon: 1e-9, classes: Vec::new() }
    }

    /// Added to each variance, so that a feature that did not vary can be divided by.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        GaussianNb { epsilon, ..self }
    }

    /// Takes the rows of another into account.
    pub fn merge(&mut self, other: &GaussianNb) {
        for (class, statistics) in (0..).zip(&other.classes) {
            if let Some(own) = class_of(&mut self.classes, class, StandardScaler::new()) {
                own.merge(statistics);
            }
        }
    }

    fn log_likelihood(&self, statistics: &StandardScaler, row: &[f64], all: u64) -> f64 {
        if statistics.rows() == 0 {
            return f64::NEG_INFINITY;
        }
        let terms = row.iter().zip(statistics.means()).zip(statistics.variances()).map(
            |((value, mean), variance)| {
                let (variance, distance) = (variance + self.epsilon, value - mean);
                (std::f64::consts::TAU * variance).ln() + distance * distance / variance
            },
        );
        log_prior(statistics.rows(), all) - 0.5 * terms.sum::<f64>()
    }
}

impl Learner for GaussianNb {
    type Label = u32;

    fn score(&self, row: &[f64]) -> Vec<f64> {
        let all = self.classes.iter().map(StandardScaler::rows).sum();
        normalise(self.classes.iter().map(|class| self.log_likelihood(class, row, all)).collect())
    }

    fn learn(&mut self, row: &[f64], label: u32) {
        if let Some(class) = class_of(&mut self.classes, label, StandardScaler::new()) {
            class.learn(row);
        }
    }
}

/// How often what was seen in a class.
#[derive(Record, Clone, Debug, Default, PartialEq)]
pub struct Counts {
    rows: u64,
    sums: Vec<f64>,
}

/// Counts per class, with `alpha` more of everything (Laplace), so that nothing is impossible.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Tables {
    alpha: f64,
    classes: Vec<Counts>,
}

impl Tables {
    fn new(alpha: f64) -> Self {
        Tables { alpha, classes: Vec::new() }
    }

    fn add(&mut self, label: u32, row: impl ExactSizeIterator<Item = f64>) {
        let Some(class) = class_of(&mut self.classes, label, Counts::default()) else { return };
        class.rows += 1;
        widen(&mut class.sums, row.len());
        class.sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }

    fn merge(&mut self, other: &Tables) {
        for (class, counts) in (0..).zip(&other.classes) {
            let Some(own) = class_of(&mut self.classes, class, Counts::default()) else { continue };
            own.rows += counts.rows;
            widen(&mut own.sums, counts.sums.len());
            own.sums.iter_mut().zip(&counts.sums).for_each(|(sum, other)| *sum += other);
        }
    }

    fn probabilities(&self, log_likelihood: impl Fn(&Counts) -> f64) -> Vec<f64> {
        let all = self.classes.iter().map(|class| class.rows).sum();
        let of = |class: &Counts| match class.rows {
            0 => f64::NEG_INFINITY,
            rows => log_prior(rows, all) + log_likelihood(class),
        };
        normalise(self.classes.iter().map(of).collect())
    }
}

/// Features that are there (above 0) or not.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct BernoulliNb {
    tables: Tables,
}

impl BernoulliNb {
    /// Knows no class; `alpha` above 0, usually 1.
    #[must_use]
    pub fn new(alpha: f64) -> Self {
        BernoulliNb { tables: Tables::new(alpha) }
    }

    /// Takes the rows of another into account.
    pub fn merge(&mut self, other: &BernoulliNb) {
        self.tables.merge(&other.tables);
    }
}

impl Learner for BernoulliNb {
    type Label = u32;

    fn score(&self, row: &[f64]) -> Vec<f64> {
        let alpha = self.tables.alpha;
        self.tables.probabilities(|class| {
            let rows = class.rows as f64 + 2.0 * alpha;
            let seen = class.sums.iter().zip(row).map(|(sum, value)| {
                let part = (sum + alpha) / rows;
                if *value > 0.0 { part.ln() } else { (1.0 - part).ln() }
            });
            seen.sum()
        })
    }

    fn learn(&mut self, row: &[f64], label: u32) {
        self.tables.add(label, row.iter().map(|value| f64::from(u8::from(*value > 0.0))));
    }
}

/// Features that are counts, such as the words of a text. Less than 0 counts as 0.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct MultinomialNb {
    tables: Tables,
}

impl MultinomialNb {
    /// Knows no class; `alpha` above 0, usually 1.
    #[must_use]
    pub fn new(alpha: f64) -> Self {
        MultinomialNb { tables: Tables::new(alpha) }
    }

    /// Takes the rows of another into account.
    pub fn merge(&mut self, other: &MultinomialNb) {
        self.tables.merge(&other.tables);
    }
}

impl Learner for MultinomialNb {
    type Label = u32;

    fn score(&self, row: &[f64]) -> Vec<f64> {
        let alpha = self.tables.alpha;
        self.tables.probabilities(|class| {
            let all = class.sums.iter().sum::<f64>() + alpha * class.sums.len() as f64;
            class.sums.iter().zip(row).map(|(sum, value)| value.max(0.0) * ((sum + alpha) / all).ln()).sum()
        })
    }

    fn learn(&mut self, row: &[f64], label: u32) {
        self.tables.add(label, row.iter().map(|value| value.max(0.0)));
    }
}
