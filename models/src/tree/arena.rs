//! `Arena`: the nodes of a tree in one flat list, and how leaves become branches.

use headwater::prelude::Record;

use super::leaf::{Leaf, Opinion};
use super::random::Random;
use super::split::{Certainty, Split, Verdict, judge};

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// A branch or a leaf.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Node {
    /// What a branch asks: is this feature at most this?
    feature: u32,
    cut: f64,
    /// Where those go of which it is true, and the others; [`NONE`] of a leaf.
    below: u32,
    above: u32,
    depth: u32,
    /// Empty in a branch.
    leaf: Leaf,
}

/// When and how far a tree grows.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Growth {
    pub(super) grace: f64,
    pub(super) delta: f64,
    pub(super) tie: f64,
    pub(super) nodes_max: u32,
    pub(super) depth_max: u32,
    /// Each leaf watches as many features, drawn at random, as the root of their number; otherwise all.
    pub(super) draws_features: bool,
}

impl Growth {
    /// Of a tree that keeps what it has grown.
    pub(super) fn careful() -> Self {
        let (nodes_max, depth_max) = (10_000, 64);
        Growth { grace: 200.0, delta: 1e-7, tie: 0.05, nodes_max, depth_max, draws_features: false }
    }

    /// Of a tree that is replaced where it fails.
    pub(super) fn eager() -> Self {
        Growth { grace: 50.0, delta: 0.01, ..Growth::careful() }
    }
}

/// All nodes of a tree.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Arena {
    growth: Growth,
    nodes: Vec<Node>,
    /// Nodes that are no longer part of the tree.
    free: Vec<u32>,
    random: Random,
}

impl Arena {
    /// A tree of one leaf, which is node 0.
    pub(super) fn new(growth: Growth, seed: u64) -> Self {
        let mut arena = Arena { growth, nodes: Vec::new(), free: Vec::new(), random: Random::new(seed) };
        arena.plant(0, Leaf::default());
        arena
    }

    pub(super) fn growth(&mut self) -> &mut Growth {
        &mut self.growth
    }

    /// Nodes in use.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Nodes in use and not.
    pub(super) fn capacity(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn depth(&self, node: u32) -> u32 {
        self.nodes[node as usize].depth
    }

    /// The greatest depth of a node that is in use.
    pub(super) fn depth_greatest(&self) -> u32 {
        self.nodes.iter().map(|node| node.depth).max().unwrap_or(0)
    }

    /// Whether as many further nodes are allowed.
    pub(super) fn has_room(&self, nodes: usize) -> bool {
        self.len() + nodes <= self.growth.nodes_max as usize
    }

    /// A new leaf that nothing leads to yet.
    pub(super) fn plant(&mut self, depth: u32, leaf: Leaf) -> u32 {
        let node = Node { feature: 0, cut: 0.0, below: NONE, above: NONE, depth, leaf };
        match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        }
    }

    /// Gives back one node.
    pub(super) fn release(&mut self, node: u32) {
        self.nodes[node as usize] =
            Node { feature: 0, cut: 0.0, below: NONE, above: NONE, depth: 0, leaf: Leaf::default() };
        self.free.push(node);
    }

    /// Where a branch leads to, for those at or below its cut and those above; `None` of a leaf.
    #[inline]
    pub(super) fn children(&self, node: u32) -> Option<[u32; 2]> {
        let node = &self.nodes[node as usize];
        (node.below != NONE).then_some([node.below, node.above])
    }

    /// Puts another node in the place of a child.
    pub(super) fn replace_child(&mut self, branch: u32, old: u32, new: u32) {
        let node = &mut self.nodes[branch as usize];
        if node.below == old {
            node.below = new;
        } else {
            node.above = new;
        }
    }

    /// Where a branch sends a row; `None` of a leaf.
    #[inline]
    pub(super) fn next(&self, node: u32, row: &[f64]) -> Option<u32> {
        let node = &self.nodes[node as usize];
        if node.below == NONE {
            return None;
        }
        // A feature that a row does not have is taken for zero.
        let value = row.get(node.feature as usize).copied().unwrap_or(0.0);
        Some(if value <= node.cut { node.below } else { node.above })
    }

    /// The leaf that a row comes to from a node.
    #[inline]
    pub(super) fn leaf_from(&self, mut node: u32, row: &[f64]) -> u32 {
        while let Some(next) = self.next(node, row) {
            node = next;
        }
        node
    }

    pub(super) fn leaf(&self, node: u32) -> &Leaf {
        &self.nodes[node as usize].leaf
    }

    /// A leaf learns from a row, and is split when it is time; says whether it was.
    pub(super) fn learn(&mut self, node: u32, row: &[f64], label: (u32, f64), opinion: &Opinion) -> bool {
        let at = node as usize;
        if self.growth.draws_features && self.nodes[at].leaf.watched().is_empty() {
            let count = (row.len() as f64).sqrt().round() as usize;
            let watched = self.random.sample(count.max(1), row.len());
            self.nodes[at].leaf.watch(watched);
        }
        self.nodes[at].leaf.learn(row, label.0, label.1, opinion);
        let may_grow = self.nodes[at].depth < self.growth.depth_max && self.has_room(2);
        if !may_grow || !self.nodes[at].leaf.is_due(self.growth.grace) {
            return false;
        }
        let certainty = Certainty { delta: self.growth.delta, tie: self.growth.tie };
        match judge(&self.nodes[at].leaf, &certainty) {
            Verdict::Wait => false,
            Verdict::Forget => {
                self.nodes[at].leaf.forget_features();
                false
            }
            Verdict::Split(split) => {
                self.split(node, split);
                true
            }
        }
    }

    fn split(&mut self, node: u32, split: Split) {
        let depth = self.nodes[node as usize].depth + 1;
        let below = self.plant(depth, Leaf::new(split.below.into_iter(), Vec::new()));
        let above = self.plant(depth, Leaf::new(split.above.into_iter(), Vec::new()));
        let branch = &mut self.nodes[node as usize];
        (branch.feature, branch.cut, branch.below, branch.above) = (split.feature, split.cut, below, above);
        branch.leaf = Leaf::default();
    }
}

/// The words of a tree that say when and how far it grows, and how far it has grown.
macro_rules! grows {
    ($tree:ident, $grace:literal, $delta:literal, $included:literal) => {
        impl $tree {
            #[doc = concat!("A leaf looks for a cut after so many rows; ", $grace, ", if not said.")]
            #[must_use]
            pub fn grace(mut self, rows: u32) -> Self {
                self.arena.growth().grace = f64::from(rows.max(1));
                self
            }

            /// How likely a wrong choice of a feature may be, above 0 and below 1;
            #[doc = concat!($delta, ", if not said.")]
            #[must_use]
            pub fn delta(mut self, delta: f64) -> Self {
                self.arena.growth().delta = delta;
                self
            }

            /// When Hoeffding's bound is below this, the best two features are taken to be equally good; 0.05,
            /// if not said.
            #[must_use]
            pub fn tie(mut self, bound: f64) -> Self {
                self.arena.growth().tie = bound;
                self
            }

            /// How many nodes it has at most; 10,000, if not said. Leaves go on learning when it is full.
            #[must_use]
            pub fn nodes_max(mut self, nodes: u32) -> Self {
                self.arena.growth().nodes_max = nodes.max(1);
                self
            }

            /// How many branches there are at most above a leaf; 64, if not said.
            #[must_use]
            pub fn depth_max(mut self, depth: u32) -> Self {
                self.arena.growth().depth_max = depth;
                self
            }

            #[doc = concat!("Branches and leaves", $included, ".")]
            #[must_use]
            pub fn nodes(&self) -> usize {
                self.arena.len()
            }

            /// Branches above the deepest leaf.
            #[must_use]
            pub fn depth(&self) -> u32 {
                self.arena.depth_greatest()
            }
        }
    };
}
pub(super) use grows;
