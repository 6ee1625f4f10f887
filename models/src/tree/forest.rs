//! `AdaptiveForest`: trees that see different rows and features, vote, and are replaced when they fail.

use headwater::prelude::Record;

use super::adaptive::Votes;
use super::arena::{Arena, Growth};
use super::random::Random;
use crate::drift::{Adwin, Detector, Drift};
use crate::learner::{Learner, best_class};

/// How often a tree sees a row, in the mean.
const RATE: f64 = 6.0;
/// How likely a warning, and a drift, may be without a change.
const WARNING: f64 = 0.01;
const DRIFT: f64 = 0.001;

/// A tree, and what may follow it.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Member {
    tree: Arena,
    /// Grows since the last warning.
    background: Option<Arena>,
    warning: Adwin,
    drift: Adwin,
    rows: u64,
    right: u64,
}

impl Member {
    fn new(tree: Arena) -> Self {
        let (warning, drift) = (Adwin::with_delta(WARNING), Adwin::with_delta(DRIFT));
        Member { tree, background: None, warning, drift, rows: 0, right: 0 }
    }

    /// Learns from a row that it has got right or wrong; says whether it asks for a new tree in the
    /// background, and whether it has to go.
    fn learn(&mut self, row: &[f64], label: (u32, f64), is_wrong: f64) -> (bool, bool) {
        for tree in self.background.iter_mut().chain([&mut self.tree]) {
            let node = tree.leaf_from(0, row);
            let opinion = tree.leaf(node).opinion(row);
            tree.learn(node, row, label, &opinion);
        }
        let is_warned = self.warning.update(is_wrong) == Drift::Drift;
        (is_warned, self.drift.update(is_wrong) == Drift::Drift)
    }

    fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        let leaf = self.tree.leaf(self.tree.leaf_from(0, row));
        leaf.probabilities(&leaf.opinion(row))
    }
}

/// An adaptive random forest (Gomes et al., Machine Learning 106, 2017).
///
/// Each tree sees each row as often as a draw says (Poisson, 6 in the mean), and each of its leaves watches
/// only as many features, drawn at random, as the root of their number. A tree whose errors may have become
/// more gets another one in the background, which takes its place when the errors certainly did. Trees vote
/// with the part of the rows that they got right.
///
/// All draws come from a generator that is part of the state: equal seeds and equal rows leave equal forests.
///
/// ```
/// use headwater_models::tree::AdaptiveForest;
/// use headwater_models::{Learner, best_class};
///
/// let mut forest = AdaptiveForest::new(10, 42);
/// for n in 0..2000 {
///     let row = [f64::from(n % 7), f64::from(n % 11)];
///     forest.learn(&row, u32::from(row[0] > 2.0 && row[1] > 5.0));
/// }
/// assert_eq!(best_class(&forest.score(&[5.0, 9.0])), Some(1));
/// assert_eq!(best_class(&forest.score(&[1.0, 9.0])), Some(0));
/// ```
#[derive(Record, Clone, Debug, PartialEq)]
pub struct AdaptiveForest {
    growth: Growth,
    members: Vec<Member>,
    random: Random,
}

impl Default for AdaptiveForest {
    fn default() -> Self {
        AdaptiveForest::new(10, 0)
    }
}

impl AdaptiveForest {
    /// So many trees, at least one.
    #[must_use]
    pub fn new(trees: u32, seed: u64) -> Self {
        let growth = Growth { draws_features: true, ..Growth::eager() };
        let mut random = Random::new(seed);
        let plant = |_| Member::new(Arena::new(growth.clone(), random.next()));
        let members = (0..trees.max(1)).map(plant).collect();
        AdaptiveForest { growth, members, random }
    }

    fn limit(mut self, set: impl Fn(&mut Growth)) -> Self {
        set(&mut self.growth);
        self.members.iter_mut().for_each(|member| set(member.tree.growth()));
        self
    }

    /// How many nodes each tree has at most; 10,000, if not said. Leaves go on learning when it is full.
    #[must_use]
    pub fn nodes_max(self, nodes: u32) -> Self {
        self.limit(|growth| growth.nodes_max = nodes.max(1))
    }

    /// How many branches there are at most above a leaf; 64, if not said.
    #[must_use]
    pub fn depth_max(self, depth: u32) -> Self {
        self.limit(|growth| growth.depth_max = depth)
    }

    /// Branches and leaves of all trees, those in the background included.
    #[must_use]
    pub fn nodes(&self) -> usize {
        let trees = self.members.iter().flat_map(|member| member.background.iter().chain([&member.tree]));
        trees.map(Arena::len).sum()
    }

    /// Adds up the votes of all trees; what a tree has said goes to `heard`.
    fn vote(&self, row: &[f64], mut heard: impl FnMut(&[f64])) -> Vec<f64> {
        let mut votes = Votes::default();
        for member in &self.members {
            let probabilities = member.probabilities(row);
            let is_known = member.rows > 0 && member.right > 0;
            let weight = if is_known { member.right as f64 / member.rows as f64 } else { 1.0 };
            votes.add(&probabilities, weight);
            heard(&probabilities);
        }
        votes.probabilities()
    }

    /// All trees learn, of which each has said a class, or none.
    fn learn_all(&mut self, row: &[f64], label: u32, said: &[Option<u32>]) {
        for (member, said) in self.members.iter_mut().zip(said) {
            let is_right = *said == Some(label);
            member.rows += 1;
            member.right += u64::from(is_right);
            let times = self.random.poisson(RATE);
            if times == 0 {
                continue;
            }
            let is_wrong = f64::from(u8::from(!is_right));
            let (is_warned, is_over) = member.learn(row, (label, f64::from(times)), is_wrong);
            if is_warned {
                member.background = Some(Arena::new(self.growth.clone(), self.random.next()));
                member.warning = Adwin::with_delta(WARNING);
            }
            if is_over {
                let next = member.background.take();
                *member =
                    Member::new(next.unwrap_or_else(|| Arena::new(self.growth.clone(), self.random.next())));
            }
        }
    }
}

impl Learner for AdaptiveForest {
    type Label = u32;

    fn score(&self, row: &[f64]) -> Vec<f64> {
        self.vote(row, |_| ())
    }

    fn learn(&mut self, row: &[f64], label: u32) {
        self.score_and_learn(row, label);
    }

    fn score_and_learn(&mut self, row: &[f64], label: u32) -> Vec<f64> {
        let mut said = Vec::with_capacity(self.members.len());
        let score = self.vote(row, |probabilities| said.push(best_class(probabilities)));
        self.learn_all(row, label, &said);
        score
    }
}
