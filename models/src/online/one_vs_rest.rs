//! `OneVsRest`: many classes from learners that tell two apart.

use headwater::prelude::Record;

use crate::learner::Learner;

/// One learner per class, each of which tells its class from all others. The probabilities are their scores,
/// divided by the sum of all.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct OneVsRest<L> {
    /// Knows nothing: what the learner of a new class begins as.
    fresh: L,
    learners: Vec<L>,
}

impl<L> OneVsRest<L> {
    /// A copy of `learner`, which knows nothing yet, for each class that is seen.
    #[must_use]
    pub fn new(learner: L) -> Self {
        OneVsRest { fresh: learner, learners: Vec::new() }
    }

    /// One learner per class.
    #[must_use]
    pub fn learners(&self) -> &[L] {
        &self.learners
    }
}

impl<L: Learner<Label = bool>> Learner for OneVsRest<L> {
    type Label = u32;

    fn score(&self, row: &[f64]) -> Vec<f64> {
        let mut scores: Vec<f64> = self.learners.iter().map(|learner| learner.score(row)).collect();
        let sum: f64 = scores.iter().sum();
        if sum > 0.0 {
            scores.iter_mut().for_each(|score| *score /= sum);
        }
        scores
    }

    fn learn(&mut self, row: &[f64], label: u32) {
        if self.learners.len() <= label as usize {
            self.learners.resize(label as usize + 1, self.fresh.clone());
        }
        for (class, learner) in (0..).zip(&mut self.learners) {
            learner.learn(row, class == label);
        }
    }
}
