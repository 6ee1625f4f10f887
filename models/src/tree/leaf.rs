//! `Leaf`: what a leaf knows of the rows that came to it, and what it thinks of a row.

use headwater::prelude::Record;
use smallvec::SmallVec;

use super::normal::Normal;
use crate::online::normalise;

/// One number per class of a leaf.
pub(super) type PerClass = SmallVec<[f64; 8]>;

/// A class within a leaf.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Class {
    number: u32,
    weight: f64,
    /// One per watched feature, of the rows since the leaf began to watch; empty until there is one.
    features: Vec<Normal>,
}

impl Class {
    fn new(number: u32, weight: f64) -> Self {
        Class { number, weight, features: Vec::new() }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn features(&self) -> &[Normal] {
        &self.features
    }
}

/// Counts classes, and within each class the values of the features.
#[derive(Record, Clone, Debug, Default, PartialEq)]
pub struct Leaf {
    /// In the order in which they came.
    classes: Vec<Class>,
    /// The weight at the last attempt to split.
    attempted: f64,
    /// How much weight the largest class and naive Bayes would each have got right.
    largest_right: f64,
    bayes_right: f64,
    /// The features that are watched; all, if empty.
    watched: Vec<u32>,
}

/// What a leaf thinks of a row; `bayes` has the logarithm of the likelihood of each of its classes.
pub(super) struct Opinion {
    largest: Option<usize>,
    bayes: PerClass,
}

/// The position of the greatest, the first of equals.
fn greatest(numbers: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, number) in numbers.enumerate() {
        if best.is_none_or(|(_, highest)| number > highest) {
            best = Some((index, number));
        }
    }
    best.map(|(index, _)| index)
}

impl Leaf {
    /// Begins with classes that its parent expects.
    pub(super) fn new(classes: impl Iterator<Item = (u32, f64)>, watched: Vec<u32>) -> Self {
        let classes: Vec<_> = classes.map(|(number, weight)| Class::new(number, weight)).collect();
        let attempted = classes.iter().map(|class| class.weight).sum();
        Leaf { classes, attempted, watched, ..Leaf::default() }
    }

    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    pub(super) fn watched(&self) -> &[u32] {
        &self.watched
    }

    pub(super) fn watch(&mut self, features: Vec<u32>) {
        self.watched = features;
    }

    pub(super) fn weights(&self) -> impl Iterator<Item = f64> {
        self.classes.iter().map(|class| class.weight)
    }

    pub(super) fn weight(&self) -> f64 {
        self.weights().sum()
    }

    /// True when it has got so much weight since the last time that this was true.
    pub(super) fn is_due(&mut self, grace: f64) -> bool {
        let weight = self.weight();
        // Weights from a split are no integers: the last bit of a sum must not decide.
        let is_due = weight - self.attempted >= grace - 1e-6;
        if is_due {
            self.attempted = weight;
        }
        is_due
    }

    /// Begins to watch its features anew.
    pub(super) fn forget_features(&mut self) {
        self.classes.iter_mut().for_each(|class| class.features = Vec::new());
    }

    #[inline]
    fn log_likelihood(&self, class: &Class, row: &[f64], all: f64) -> f64 {
        let mut sum = (class.weight / all).ln();
        if self.watched.is_empty() {
            for (normal, value) in class.features.iter().zip(row) {
                sum += normal.log_density(*value).unwrap_or(0.0);
            }
        } else {
            for (normal, feature) in class.features.iter().zip(&self.watched) {
                let value = row.get(*feature as usize).copied().unwrap_or(0.0);
                sum += normal.log_density(value).unwrap_or(0.0);
            }
        }
        sum
    }

    /// What it thinks of a row before it has learned from it.
    pub(super) fn opinion(&self, row: &[f64]) -> Opinion {
        let all = self.weight();
        let likelihood = |class: &Class| match class.weight {
            weight if weight > 0.0 => self.log_likelihood(class, row, all),
            _ => f64::NEG_INFINITY,
        };
        Opinion { largest: greatest(self.weights()), bayes: self.classes.iter().map(likelihood).collect() }
    }

    /// Whether it trusts naive Bayes more than the largest class.
    fn trusts_bayes(&self) -> bool {
        self.bayes_right >= self.largest_right
    }

    /// The number of the class that it expects.
    pub(super) fn best(&self, opinion: &Opinion) -> Option<u32> {
        let best = match self.trusts_bayes() {
            true => greatest(opinion.bayes.iter().copied()),
            false => opinion.largest,
        };
        best.map(|index| self.classes[index].number)
    }

    /// The probability of each class, by its number.
    pub(super) fn probabilities(&self, opinion: &Opinion) -> Vec<f64> {
        let Some(last) = self.classes.iter().map(|class| class.number).max() else { return Vec::new() };
        if self.trusts_bayes() {
            let mut logs = vec![f64::NEG_INFINITY; last as usize + 1];
            for (class, log) in self.classes.iter().zip(&opinion.bayes) {
                logs[class.number as usize] = *log;
            }
            let probabilities = normalise(logs);
            // Of a row that is impossible in every class, only the sizes of the classes are known.
            if !probabilities.is_empty() {
                return probabilities;
            }
        }
        let mut probabilities = vec![0.0; last as usize + 1];
        let all = self.weight();
        for class in self.classes.iter().filter(|_| all > 0.0) {
            probabilities[class.number as usize] = class.weight / all;
        }
        probabilities
    }

    /// Learns from a row, of which it thought `opinion`.
    pub(super) fn learn(&mut self, row: &[f64], number: u32, weight: f64, opinion: &Opinion) {
        let is = |index: usize| self.classes[index].number == number;
        if opinion.largest.is_none_or(is) {
            self.largest_right += weight;
        }
        if greatest(opinion.bayes.iter().copied()).is_some_and(is) {
            self.bayes_right += weight;
        }
        let known = self.classes.iter().position(|class| class.number == number);
        let index = known.unwrap_or(self.classes.len());
        if known.is_none() {
            self.classes.push(Class::new(number, 0.0));
        }
        let class = &mut self.classes[index];
        class.weight += weight;
        let watched = if self.watched.is_empty() { row.len() } else { self.watched.len() };
        if class.features.len() < watched {
            class.features.resize(watched, Normal::default());
        }
        if self.watched.is_empty() {
            class.features.iter_mut().zip(row).for_each(|(normal, value)| normal.add(*value, weight));
        } else {
            for (normal, feature) in class.features.iter_mut().zip(&self.watched) {
                normal.add(row.get(*feature as usize).copied().unwrap_or(0.0), weight);
            }
        }
    }
}
