//! `HoeffdingTree`: a decision tree that splits a leaf when enough rows say so.

use headwater::prelude::Record;

use super::arena::{Arena, Growth, grows};
use crate::learner::Learner;

/// A very fast decision tree (Domingos and Hulten, KDD 2000) for numeric features.
///
/// Each leaf keeps the mean and spread of every feature within each class. After every 200 rows the leaf
/// looks for the feature and the cut, of ten between its least and greatest value, that tell most about the
/// class; when this feature is better than the second best one by more than chance allows (Hoeffding's
/// bound), or the two can hardly differ, the leaf becomes a branch. A leaf says what naive Bayes says of its
/// rows, or, where that would have been right less often, its largest class.
///
/// It never forgets: where the stream may change, see [`AdaptiveTree`](super::AdaptiveTree).
///
/// ```
/// use headwater_models::tree::HoeffdingTree;
/// use headwater_models::{Learner, best_class};
///
/// let mut tree = HoeffdingTree::new();
/// for n in 0..4000 {
///     let row = [f64::from(n % 7), f64::from(n % 11)];
///     tree.learn(&row, u32::from(row[0] > 2.0 && row[1] > 5.0));
/// }
/// assert_eq!(best_class(&tree.score(&[5.0, 9.0])), Some(1));
/// assert_eq!(best_class(&tree.score(&[1.0, 9.0])), Some(0));
/// ```
#[derive(Record, Clone, Debug, PartialEq)]
pub struct HoeffdingTree {
    arena: Arena,
}

impl Default for HoeffdingTree {
    fn default() -> Self {
        HoeffdingTree::new()
    }
}

impl HoeffdingTree {
    /// One empty leaf.
    #[must_use]
    pub fn new() -> Self {
        HoeffdingTree { arena: Arena::new(Growth::careful(), 0) }
    }
}

grows!(HoeffdingTree, "200", "1e-7", "");

impl Learner for HoeffdingTree {
    type Label = u32;

    fn score(&self, row: &[f64]) -> Vec<f64> {
        let leaf = self.arena.leaf(self.arena.leaf_from(0, row));
        leaf.probabilities(&leaf.opinion(row))
    }

    fn learn(&mut self, row: &[f64], label: u32) {
        let node = self.arena.leaf_from(0, row);
        let opinion = self.arena.leaf(node).opinion(row);
        self.arena.learn(node, row, (label, 1.0), &opinion);
    }

    fn score_and_learn(&mut self, row: &[f64], label: u32) -> Vec<f64> {
        let node = self.arena.leaf_from(0, row);
        let opinion = self.arena.leaf(node).opinion(row);
        let score = self.arena.leaf(node).probabilities(&opinion);
        self.arena.learn(node, row, (label, 1.0), &opinion);
        score
    }
}
