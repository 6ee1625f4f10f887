//! `HalfSpaceTrees`: how unusual a row is among the newest ones, without labels.

use std::fmt;

use headwater::prelude::Record;

use super::random::Random;

/// A deeper tree has more nodes than there is memory for.
const DEPTH_MAX: u32 = 20;
/// A node that fewer rows of a window came to is not looked into: this part of them.
const CROWD_MIN: f64 = 0.1;

/// A tree whose nodes lie as in a heap: those below node `n` are `2 n + 1` and `2 n + 2`.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Space {
    /// The feature of each branch, and the value from which on a row goes to the second child.
    features: Vec<u32>,
    cuts: Vec<f64>,
    /// How many rows of the last whole window came to each node, and of the window that is being filled.
    reference: Vec<u64>,
    newest: Vec<u64>,
}

impl Space {
    fn new(depth: u32, ranges: &[(f64, f64)], random: &mut Random) -> Self {
        let branches = (1 << depth) - 1;
        let masses = vec![0; 2 * branches + 1];
        let (features, cuts) = (vec![0; branches], vec![0.0; branches]);
        let mut space = Space { features, cuts, newest: masses.clone(), reference: masses };
        // Each tree has another idea of where the rows are: around a random point, and beyond the range on
        // both sides.
        let mut work: Vec<_> = ranges.iter().map(|range| around(*range, random.unit())).collect();
        space.cut(0, &mut work, random);
        space
    }

    fn cut(&mut self, node: usize, work: &mut [(f64, f64)], random: &mut Random) {
        if node >= self.cuts.len() {
            return;
        }
        let feature = random.below(work.len());
        let (low, high) = work[feature];
        let middle = low / 2.0 + high / 2.0;
        (self.features[node], self.cuts[node]) = (feature as u32, middle);
        work[feature] = (low, middle);
        self.cut(2 * node + 1, work, random);
        work[feature] = (middle, high);
        self.cut(2 * node + 2, work, random);
        work[feature] = (low, high);
    }

    /// The child that a row goes to; `None` of a leaf.
    #[inline]
    fn next(&self, node: usize, row: &[f64]) -> Option<usize> {
        let value = row.get(*self.features.get(node)? as usize).copied().unwrap_or(0.0);
        Some(2 * node + if value < self.cuts[node] { 1 } else { 2 })
    }

    /// How many times as many rows as if they lay evenly are where this row is.
    fn density(&self, row: &[f64], window: f64) -> f64 {
        let (mut node, mut parts) = (0, 1.0);
        while self.reference[node] as f64 >= CROWD_MIN * window {
            let Some(next) = self.next(node, row) else { break };
            node = next;
            parts *= 2.0;
        }
        self.reference[node] as f64 * parts / window
    }

    fn learn(&mut self, row: &[f64]) {
        let mut node = Some(0);
        while let Some(at) = node {
            self.newest[at] += 1;
            node = self.next(at, row);
        }
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.reference, &mut self.newest);
        self.newest.fill(0);
    }

    fn merge(&mut self, other: &Space) {
        let masses = self.reference.iter_mut().chain(&mut self.newest);
        masses.zip(other.reference.iter().chain(&other.newest)).for_each(|(own, other)| *own += other);
    }
}

/// The range in which a tree cuts a feature.
fn around((low, high): (f64, f64), part: f64) -> (f64, f64) {
    let width = high - low;
    let (middle, reach) = (low + part * width, 2.0 * part.max(1.0 - part) * width);
    (middle - reach, middle + reach)
}

/// Half-space trees (Tan, Ting and Liu, IJCAI 2011).
///
/// Each tree halves the space again and again, by features that are drawn at random, before it has seen a
/// row. It counts how many rows of a window come to each part; a row is unusual where few rows of the window
/// before came to.
///
/// All draws come from the seed, so that learners with equal seeds have the same trees: what each has counted
/// [adds up](Self::merge).
///
/// ```
/// use headwater_models::tree::HalfSpaceTrees;
///
/// let mut trees = HalfSpaceTrees::new(42);
/// for n in 0..500 {
///     trees.learn(&[0.5 + 0.001 * f64::from(n % 7), 0.2 + 0.001 * f64::from(n % 11)]);
/// }
/// assert!(trees.score(&[0.503, 0.204]) < 0.1);
/// assert!(trees.score(&[0.1, 0.9]) > 0.5);
/// ```
#[derive(Record, Clone, Debug, PartialEq)]
pub struct HalfSpaceTrees {
    seed: u64,
    count: u32,
    depth: u32,
    window: u64,
    /// Of each feature; those further on have `[0, 1]`.
    ranges: Vec<(f64, f64)>,
    /// Whether the rows of the first window say the ranges.
    learns_ranges: bool,
    /// Empty until the ranges are known.
    trees: Vec<Space>,
    /// Rows of the window that is being filled.
    rows: u64,
    /// Windows that the trees have seen.
    windows: u64,
}

impl HalfSpaceTrees {
    /// Ten trees of depth 8 with a window of 250 rows, for features in `[0, 1]`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        HalfSpaceTrees {
            seed,
            count: 10,
            depth: 8,
            window: 250,
            ranges: Vec::new(),
            learns_ranges: false,
            trees: Vec::new(),
            rows: 0,
            windows: 0,
        }
    }

    /// So many trees, at least one.
    #[must_use]
    pub fn trees(self, count: u32) -> Self {
        HalfSpaceTrees { count: count.max(1), ..self }
    }

    /// How often each tree halves the space, at most 20 times.
    #[must_use]
    pub fn depth(self, depth: u32) -> Self {
        HalfSpaceTrees { depth: depth.min(DEPTH_MAX), ..self }
    }

    /// A row is held against the window before, which had so many rows, at least one.
    #[must_use]
    pub fn window(self, rows: u64) -> Self {
        HalfSpaceTrees { window: rows.max(1), ..self }
    }

    /// The least and the greatest value that is usual, of each feature.
    #[must_use]
    pub fn ranges(self, ranges: Vec<(f64, f64)>) -> Self {
        HalfSpaceTrees { ranges, ..self }
    }

    /// The first window says what is usual of each feature, and nothing else: counting begins with the second
    /// one.
    #[must_use]
    pub fn learned_ranges(self) -> Self {
        HalfSpaceTrees { learns_ranges: true, ranges: Vec::new(), ..self }
    }

    /// How unusual a row is, from 0 to 1: `1 / (1 + d)`, where `d` is how many times as many rows are around
    /// it as if all lay evenly. 0 until there is a window to hold it against.
    #[must_use]
    pub fn score(&self, row: &[f64]) -> f64 {
        if self.windows == 0 || self.trees.is_empty() {
            return 0.0;
        }
        let window = self.window as f64;
        let sum: f64 = self.trees.iter().map(|tree| tree.density(row, window)).sum();
        1.0 / (1.0 + sum / self.trees.len() as f64)
    }

    /// Counts a row. The first one says how many features there are.
    pub fn learn(&mut self, row: &[f64]) {
        if self.trees.is_empty() {
            if self.learns_ranges {
                self.learn_ranges(row);
                return;
            }
            self.plant(row.len());
        }
        self.trees.iter_mut().for_each(|tree| tree.learn(row));
        self.rows += 1;
        if self.rows >= self.window {
            self.trees.iter_mut().for_each(Space::turn);
            self.rows = 0;
            self.windows += 1;
        }
    }

    /// Scores a row, and then counts it.
    pub fn score_and_learn(&mut self, row: &[f64]) -> f64 {
        let score = self.score(row);
        self.learn(row);
        score
    }

    /// Takes the rows of another into account: as one that has seen the rows of both, with windows as long as
    /// those of both together.
    ///
    /// # Errors
    /// Their trees are not the same, or one has seen more windows than the other. Nothing has changed then.
    pub fn merge(&mut self, other: &HalfSpaceTrees) -> Result<(), Unlike> {
        let shape = |trees: &HalfSpaceTrees| (trees.seed, trees.count, trees.depth, trees.learns_ranges);
        if shape(self) != shape(other) || self.ranges != other.ranges {
            return Err(Unlike("their seed, number, depth or ranges differ"));
        }
        let cuts = |trees: &HalfSpaceTrees| trees.trees.first().map(|tree| tree.cuts.clone());
        if cuts(self).zip(cuts(other)).is_some_and(|(own, other)| own != other) {
            return Err(Unlike("their rows have different numbers of features"));
        }
        if self.windows != other.windows {
            return Err(Unlike("one has seen more windows"));
        }
        if self.trees.is_empty() {
            self.trees.clone_from(&other.trees);
        } else {
            self.trees.iter_mut().zip(&other.trees).for_each(|(own, other)| own.merge(other));
        }
        self.rows += other.rows;
        self.window += other.window;
        Ok(())
    }

    fn learn_ranges(&mut self, row: &[f64]) {
        for (index, value) in row.iter().enumerate() {
            match self.ranges.get_mut(index) {
                Some((low, high)) => (*low, *high) = (low.min(*value), high.max(*value)),
                None => self.ranges.push((*value, *value)),
            }
        }
        self.rows += 1;
        if self.rows >= self.window {
            self.rows = 0;
            self.plant(self.ranges.len());
        }
    }

    fn plant(&mut self, features: usize) {
        let mut random = Random::new(self.seed);
        let mut ranges = self.ranges.clone();
        ranges.resize(features.max(1), (0.0, 1.0));
        self.trees = (0..self.count).map(|_| Space::new(self.depth, &ranges, &mut random)).collect();
    }
}

/// Why two learners cannot be made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlike(&'static str);

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "half-space trees cannot be merged: {}; begin them with equal settings", self.0)
    }
}

impl std::error::Error for Unlike {}
