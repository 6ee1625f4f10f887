//! `AdaptiveTree`: a tree that grows other branches where its errors become more.

use headwater::prelude::Record;
use smallvec::{SmallVec, smallvec};

use super::arena::{Arena, Growth, NONE, grows};
use super::leaf::Leaf;
use crate::drift::{Adwin, Detector, Drift};
use crate::learner::Learner;

/// A branch and its alternate must each have been watched for more rows before they are compared.
const ROWS_MIN: f64 = 300.0;
/// How likely a wrong choice between the two may be.
const CHOICE: f64 = 0.05;

/// What is known of the errors of a node and all that is below it.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Watch {
    errors: Adwin,
    /// What may take the place of a branch; [`NONE`] while there is nothing.
    alternate: u32,
}

impl Watch {
    fn new() -> Self {
        Watch { errors: Adwin::new(), alternate: NONE }
    }

    fn alternate(&self) -> Option<u32> {
        (self.alternate != NONE).then_some(self.alternate)
    }
}

/// A Hoeffding adaptive tree (Bifet and Gavalda, IDA 2009): a [`HoeffdingTree`](super::HoeffdingTree) that
/// follows a stream whose labels come to mean something else.
///
/// Every node watches how often it is wrong ([`Adwin`]). A branch whose errors became more grows an alternate
/// beside it, from the newest rows on; when the alternate has become better by more than chance allows it
/// takes the place of the branch, and when worse it is dropped. While there are both, both vote, each with
/// the inverse square of its rate of errors.
///
/// It splits earlier than a tree that never forgets (grace 50, `delta` 0.01), as a wrong split does not stay.
///
/// ```
/// use headwater_models::tree::AdaptiveTree;
/// use headwater_models::{Learner, best_class};
///
/// let mut tree = AdaptiveTree::new();
/// let label = |n: u32, row: &[f64]| u32::from(if n < 5000 { row[0] > 2.0 } else { row[1] > 5.0 });
/// let row = |n: u32| [f64::from(n % 7), f64::from(n % 11)];
/// for n in 0..10_000 {
///     tree.learn(&row(n), label(n, &row(n)));
/// }
/// assert_eq!(best_class(&tree.score(&[6.0, 0.0])), Some(0));
/// assert_eq!(best_class(&tree.score(&[0.0, 10.0])), Some(1));
/// ```
#[derive(Record, Clone, Debug, PartialEq)]
pub struct AdaptiveTree {
    arena: Arena,
    root: u32,
    /// One per node.
    watches: Vec<Watch>,
}

/// What leads to a node.
#[derive(Clone, Copy)]
enum Holder {
    Root,
    /// A branch, of which it is a child.
    Branch(u32),
    /// A branch, of which it is the alternate.
    Beside(u32),
}

/// A node and what leads to it.
#[derive(Clone, Copy)]
struct Place {
    node: u32,
    holder: Holder,
}

/// Subtrees that a row has yet to come to.
type Pending = SmallVec<[Place; 8]>;

impl Default for AdaptiveTree {
    fn default() -> Self {
        AdaptiveTree::new()
    }
}

impl AdaptiveTree {
    /// One empty leaf.
    #[must_use]
    pub fn new() -> Self {
        AdaptiveTree { arena: Arena::new(Growth::eager(), 0), root: 0, watches: vec![Watch::new()] }
    }

    /// Branches that have an alternate.
    #[must_use]
    pub fn alternates(&self) -> usize {
        self.watches.iter().filter_map(Watch::alternate).count()
    }

    /// Gives back a subtree, with its alternates.
    fn release(&mut self, node: u32) {
        let mut left = vec![node];
        while let Some(node) = left.pop() {
            left.extend(self.arena.children(node).into_iter().flatten());
            let watch = std::mem::replace(&mut self.watches[node as usize], Watch::new());
            left.extend(watch.alternate());
            self.arena.release(node);
        }
    }

    /// Begins an alternate, if there is room.
    fn plant_beside(&mut self, branch: u32) {
        if !self.arena.has_room(1) {
            return;
        }
        let alternate = self.arena.plant(self.arena.depth(branch), Leaf::default());
        self.watches.resize(self.arena.capacity(), Watch::new());
        self.watches[branch as usize].alternate = alternate;
    }

    /// Lets the better of a branch and its alternate live; says which one took the place of the branch.
    fn compare(&mut self, branch: Place) -> Option<Place> {
        let own = &self.watches[branch.node as usize];
        let alternate = own.alternate()?;
        let other = &self.watches[alternate as usize];
        let (rows, rows_other) = (own.errors.width(), other.errors.width());
        if rows <= ROWS_MIN || rows_other <= ROWS_MIN {
            return None;
        }
        let (rate, rate_other) = (own.errors.mean(), other.errors.mean());
        let inverse = 1.0 / rows + 1.0 / rows_other;
        let bound = (2.0 * rate * (1.0 - rate) * (2.0 / CHOICE).ln() * inverse).max(0.0).sqrt();
        if (rate - rate_other).abs() <= bound {
            return None;
        }
        self.watches[branch.node as usize].alternate = NONE;
        if rate < rate_other {
            self.release(alternate);
            return None;
        }
        match branch.holder {
            Holder::Root => self.root = alternate,
            Holder::Branch(parent) => self.arena.replace_child(parent, branch.node, alternate),
            Holder::Beside(owner) => self.watches[owner as usize].alternate = alternate,
        }
        self.release(branch.node);
        Some(Place { node: alternate, holder: branch.holder })
    }

    /// A branch on the way of a row learns whether the leaf was wrong; says what took its place.
    fn watch(&mut self, branch: Place, wrong: f64, pending: &mut Pending) -> Option<Place> {
        let watch = &mut self.watches[branch.node as usize];
        let rate = watch.errors.mean();
        let is_worse = watch.errors.update(wrong) == Drift::Drift && watch.errors.mean() > rate;
        if is_worse && watch.alternate == NONE {
            self.plant_beside(branch.node);
        } else if let Some(better) = self.compare(branch) {
            return Some(better);
        }
        let alternate = self.watches[branch.node as usize].alternate();
        pending.extend(alternate.map(|node| Place { node, holder: Holder::Beside(branch.node) }));
        None
    }

    /// All nodes of a subtree on the way of a row learn from it.
    fn learn_from(&mut self, mut place: Place, row: &[f64], label: u32, pending: &mut Pending) {
        let end = self.arena.leaf_from(place.node, row);
        let opinion = self.arena.leaf(end).opinion(row);
        let wrong = f64::from(u8::from(self.arena.leaf(end).best(&opinion) != Some(label)));
        while let Some(next) = self.arena.next(place.node, row) {
            if let Some(better) = self.watch(place, wrong, pending) {
                // The row goes on in what took the place.
                pending.push(better);
                return;
            }
            place = Place { node: next, holder: Holder::Branch(place.node) };
        }
        self.watches[end as usize].errors.update(wrong);
        if self.arena.learn(end, row, (label, 1.0), &opinion) {
            self.watches.resize(self.arena.capacity(), Watch::new());
        }
    }

    /// All leaves that a row comes to, the one of the tree itself first.
    fn leaves(&self, row: &[f64]) -> SmallVec<[u32; 8]> {
        let mut pending: SmallVec<[u32; 8]> = smallvec![self.root];
        let mut leaves = SmallVec::new();
        while let Some(mut node) = pending.pop() {
            while let Some(next) = self.arena.next(node, row) {
                pending.extend(self.watches[node as usize].alternate());
                node = next;
            }
            leaves.push(node);
        }
        leaves
    }
}

grows!(AdaptiveTree, "50", "0.01", ", those of alternates included");

impl Learner for AdaptiveTree {
    type Label = u32;

    fn score(&self, row: &[f64]) -> Vec<f64> {
        let leaves = self.leaves(row);
        let of = |node: u32| {
            let leaf = self.arena.leaf(node);
            leaf.probabilities(&leaf.opinion(row))
        };
        if let [leaf] = leaves[..] {
            return of(leaf);
        }
        let mut votes = Votes::default();
        for node in leaves {
            let rate = self.watches[node as usize].errors.mean();
            votes.add(&of(node), if rate > 0.0 { 1.0 / (rate * rate) } else { 1.0 });
        }
        votes.probabilities()
    }

    fn learn(&mut self, row: &[f64], label: u32) {
        let mut pending: Pending = smallvec![Place { node: self.root, holder: Holder::Root }];
        while let Some(place) = pending.pop() {
            self.learn_from(place, row, label, &mut pending);
        }
    }
}

/// A sum of probabilities.
#[derive(Default)]
pub(super) struct Votes {
    sums: Vec<f64>,
}

impl Votes {
    pub(super) fn add(&mut self, probabilities: &[f64], weight: f64) {
        if self.sums.len() < probabilities.len() {
            self.sums.resize(probabilities.len(), 0.0);
        }
        self.sums.iter_mut().zip(probabilities).for_each(|(sum, probability)| *sum += weight * probability);
    }

    pub(super) fn probabilities(mut self) -> Vec<f64> {
        let all: f64 = self.sums.iter().sum();
        if all > 0.0 {
            self.sums.iter_mut().for_each(|sum| *sum /= all);
        }
        self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that something leads to.
    fn reachable(tree: &AdaptiveTree) -> usize {
        let (mut pending, mut count) = (vec![tree.root], 0);
        while let Some(node) = pending.pop() {
            count += 1;
            pending.extend(tree.arena.children(node).into_iter().flatten());
            pending.extend(tree.watches[node as usize].alternate());
        }
        count
    }

    #[test]
    fn every_node_in_use_is_part_of_the_tree_however_often_it_changes() {
        let mut random = super::super::random::Random::new(17);
        let mut tree = AdaptiveTree::new();
        let (mut most, mut roots) = (0, vec![tree.root]);
        for row in 0..60_000 {
            let features = [random.unit(), random.unit(), random.unit()];
            // Another feature says the class, and another way round, after every 3,000 rows.
            let turn = row / 3_000;
            let (a, b) = (features[turn % 3], features[(turn + 1) % 3]);
            let class = u32::from(a > 0.5) ^ u32::from(b > 0.3) ^ (turn as u32 % 2);
            tree.learn(&features, class);
            if row % 50 == 0 {
                assert_eq!(reachable(&tree), tree.nodes(), "row {row}");
                assert_eq!(tree.watches.len(), tree.arena.capacity());
            }
            most = most.max(tree.alternates());
            if roots.last() != Some(&tree.root) {
                roots.push(tree.root);
            }
        }
        // There were alternates beside each other, and the root itself was replaced.
        assert!(most > 1 && roots.len() > 3, "{most} {roots:?}");
    }

    #[test]
    fn an_alternate_may_give_way_to_its_own() {
        let mut tree = AdaptiveTree::new();
        tree.plant_beside(0);
        tree.plant_beside(1);
        for _ in 0..400 {
            tree.watches[1].errors.update(1.0);
            tree.watches[2].errors.update(0.0);
        }
        let better = tree.compare(Place { node: 1, holder: Holder::Beside(0) });
        assert!(better.is_some_and(|place| place.node == 2 && matches!(place.holder, Holder::Beside(0))));
        assert_eq!(
            (tree.root, tree.watches[0].alternate(), reachable(&tree), tree.nodes()),
            (0, Some(2), 2, 2)
        );
    }
}
