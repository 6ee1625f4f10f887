//! How good scores are: sums that grow with every row, and that can be merged.

use headwater::prelude::Record;

/// The least probability that a logarithm is taken of.
const PROBABILITY_MIN: f64 = 1e-15;

/// How far predicted numbers are from the true ones.
///
/// ```
/// use headwater_models::metrics::RegressionMetrics;
///
/// let mut metrics = RegressionMetrics::new();
/// for (predicted, label) in [(2.0, 1.0), (2.0, 3.0), (5.0, 5.0)] {
///     metrics.add(predicted, label);
/// }
/// assert_eq!(metrics.rows(), 3);
/// assert_eq!(metrics.mae(), 2.0 / 3.0);
/// assert_eq!(metrics.rmse(), (2.0_f64 / 3.0).sqrt());
/// assert_eq!(metrics.r2(), 0.75);
/// ```
#[derive(Record, Clone, Debug, Default, PartialEq)]
pub struct RegressionMetrics {
    rows: u64,
    absolute: f64,
    squared: f64,
    /// Mean of the labels, and their squared distances from it.
    mean: f64,
    spread: f64,
}

impl RegressionMetrics {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        RegressionMetrics::default()
    }

    /// Takes a row into account.
    pub fn add(&mut self, predicted: f64, label: f64) {
        let error = predicted - label;
        self.rows += 1;
        self.absolute += error.abs();
        self.squared += error * error;
        let distance = label - self.mean;
        self.mean += distance / self.rows as f64;
        self.spread += distance * (label - self.mean);
    }

    /// Takes the rows of another into account.
    pub fn merge(&mut self, other: &RegressionMetrics) {
        if other.rows == 0 {
            return;
        }
        let (own, others) = (self.rows as f64, other.rows as f64);
        let distance = other.mean - self.mean;
        self.spread += other.spread + distance * distance * (own * others / (own + others));
        self.mean += distance * (others / (own + others));
        self.rows += other.rows;
        self.absolute += other.absolute;
        self.squared += other.squared;
    }

    /// Rows seen.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Mean absolute error, in units of the label; NaN of no rows.
    #[must_use]
    pub fn mae(&self) -> f64 {
        self.absolute / self.rows as f64
    }

    /// Root of the mean squared error, in units of the label; NaN of no rows.
    #[must_use]
    pub fn rmse(&self) -> f64 {
        (self.squared / self.rows as f64).sqrt()
    }

    /// The part of the labels' variance that is explained: 1 is all, 0 is as good as their mean.
    #[must_use]
    pub fn r2(&self) -> f64 {
        1.0 - self.squared / self.spread
    }
}

/// How often predicted classes are the true ones.
///
/// ```
/// use headwater_models::metrics::ClassMetrics;
///
/// let mut metrics = ClassMetrics::new();
/// for (probabilities, label) in [([0.9, 0.1], 0), ([0.6, 0.4], 1), ([0.2, 0.8], 1), ([0.3, 0.7], 1)] {
///     metrics.add(&probabilities, label);
/// }
/// assert_eq!((metrics.rows(), metrics.correct()), (4, 3));
/// assert_eq!(metrics.confusion(1, 0), 1);
/// assert!((metrics.macro_f1() - (2.0 / 3.0 + 0.8) / 2.0).abs() < 1e-12);
/// assert!((metrics.kappa() - 0.5).abs() < 1e-12);
/// ```
#[derive(Record, Clone, Debug, Default, PartialEq)]
pub struct ClassMetrics {
    rows: u64,
    correct: u64,
    log_loss: f64,
    /// `counts[label][predicted]`.
    counts: Vec<Vec<u64>>,
}

impl ClassMetrics {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        ClassMetrics::default()
    }

    /// Takes a row into account: the probability of each class, and its class. Where there is no probability
    /// yet, the prediction is class 0, and the probability of the class is taken for nothing.
    pub fn add(&mut self, probabilities: &[f64], label: u32) {
        let predicted = crate::learner::best_class(probabilities).unwrap_or(0);
        let probability = probabilities.get(label as usize).copied().unwrap_or(0.0);
        self.log_loss -= probability.clamp(PROBABILITY_MIN, 1.0).ln();
        self.count(label, predicted, 1);
    }

    fn count(&mut self, label: u32, predicted: u32, rows: u64) {
        let (row, column) = (label as usize, predicted as usize);
        let classes = self.counts.len().max(row + 1).max(column + 1);
        if self.counts.len() < classes {
            self.counts.iter_mut().for_each(|counts| counts.resize(classes, 0));
            self.counts.resize(classes, vec![0; classes]);
        }
        self.rows += rows;
        self.correct += if label == predicted { rows } else { 0 };
        self.counts[row][column] += rows;
    }

    /// Takes the rows of another into account.
    pub fn merge(&mut self, other: &ClassMetrics) {
        self.log_loss += other.log_loss;
        for (label, counts) in (0..).zip(&other.counts) {
            for (predicted, rows) in (0..).zip(counts).filter(|(_, rows)| **rows > 0) {
                self.count(label, predicted, *rows);
            }
        }
    }

    /// Rows seen.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows whose class was predicted.
    #[must_use]
    pub fn correct(&self) -> u64 {
        self.correct
    }

    /// How many rows of class `label` were taken for `predicted`.
    #[must_use]
    pub fn confusion(&self, label: u32, predicted: u32) -> u64 {
        let counts = self.counts.get(label as usize);
        counts.and_then(|counts| counts.get(predicted as usize)).copied().unwrap_or(0)
    }

    /// Part of the rows whose class was predicted; NaN of no rows.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.rows as f64
    }

    /// Mean of minus the logarithm of the probability that the true class was given; NaN of no rows.
    #[must_use]
    pub fn log_loss(&self) -> f64 {
        self.log_loss / self.rows as f64
    }

    /// Rows of a class, and rows taken for it.
    fn sums(&self, class: usize) -> (u64, u64) {
        (self.counts[class].iter().sum(), self.counts.iter().map(|counts| counts[class]).sum())
    }

    /// Mean over the classes of `2 precision recall / (precision + recall)`, of those that occur or were
    /// predicted.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let f1 = |class: usize| {
            let (rows, predicted) = self.sums(class);
            (rows + predicted > 0).then(|| 2.0 * self.counts[class][class] as f64 / (rows + predicted) as f64)
        };
        let all: Vec<f64> = (0..self.counts.len()).filter_map(f1).collect();
        all.iter().sum::<f64>() / all.len() as f64
    }

    /// Cohen's kappa: 1 is all correct, 0 is what chance gives to the same numbers of predictions.
    #[must_use]
    pub fn kappa(&self) -> f64 {
        let of_chance = |class| {
            let (rows, predicted) = self.sums(class);
            (rows as f64 / self.rows as f64) * (predicted as f64 / self.rows as f64)
        };
        let chance: f64 = (0..self.counts.len()).map(of_chance).sum();
        (self.accuracy() - chance) / (1.0 - chance)
    }
}
