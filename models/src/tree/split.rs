//! `Split`: where a leaf would be cut in two, and whether it should be.

use super::leaf::{Leaf, PerClass};

/// How many values of each feature are tried.
const CUTS: u32 = 10;
/// Each side of a cut gets more than this part of the rows.
const SIDE_MIN: f64 = 0.01;
/// A leaf of which one class has more than this part is left alone.
const LARGEST_MAX: f64 = 0.99;

/// A feature and a value at which it is cut.
pub(super) struct Split {
    pub(super) feature: u32,
    pub(super) cut: f64,
    /// Number and weight of each class that is expected at or below the cut, and above it.
    pub(super) below: Vec<(u32, f64)>,
    pub(super) above: Vec<(u32, f64)>,
}

/// What is to be done with a leaf.
pub(super) enum Verdict {
    /// Nothing stands out yet.
    Wait,
    /// Nothing would be won: what was seen of the features so far is no longer needed.
    Forget,
    Split(Split),
}

/// What makes a split certain enough.
pub(super) struct Certainty {
    /// How likely a wrong choice may be.
    pub(super) delta: f64,
    /// Below this bound, the best two are as good as each other.
    pub(super) tie: f64,
}

/// The entropy of a distribution, in bits.
fn entropy(weights: &[f64]) -> f64 {
    let (mut sum, mut all) = (0.0, 0.0);
    for weight in weights.iter().filter(|weight| **weight > 0.0) {
        sum -= weight * weight.log2();
        all += weight;
    }
    if all > 0.0 { (sum + all * all.log2()) / all } else { 0.0 }
}

/// The weights of the classes on both sides of a cut.
fn sides(leaf: &Leaf, position: usize, cut: f64) -> (PerClass, PerClass) {
    let normals = leaf.classes().iter().map(|class| class.features().get(position));
    let below: PerClass =
        normals.clone().map(|normal| normal.map_or(0.0, |normal| normal.weight_below(cut))).collect();
    let above =
        normals.zip(&below).map(|(normal, below)| normal.map_or(0.0, |normal| normal.weight() - below));
    let above = above.collect();
    (below, above)
}

/// The information that both sides of a cut give; `None` when one side would be almost empty.
fn merit(before: f64, below: &[f64], above: &[f64]) -> Option<f64> {
    let (left, right) = (below.iter().sum::<f64>(), above.iter().sum::<f64>());
    let all = left + right;
    if !(left / all > SIDE_MIN && right / all > SIDE_MIN) {
        return None;
    }
    Some(before - (left * entropy(below) + right * entropy(above)) / all)
}

/// The best cut of one feature.
fn best_of(leaf: &Leaf, position: usize, before: f64) -> Option<(f64, f64)> {
    let ranges = leaf.classes().iter().filter_map(|class| class.features().get(position)?.range());
    let (least, greatest) = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    let step = (greatest - least) / f64::from(CUTS + 1);
    let mut best: Option<(f64, f64)> = None;
    for cut in (1..=CUTS).map(|number| least + step * f64::from(number)) {
        if !(least < cut && cut < greatest) {
            continue;
        }
        let (below, above) = sides(leaf, position, cut);
        match merit(before, &below, &above) {
            Some(merit) if best.is_none_or(|(highest, _)| merit > highest) => best = Some((merit, cut)),
            _ => {}
        }
    }
    best
}

/// The best cut of all features and the merit of the second best feature.
fn best_two(leaf: &Leaf) -> (Option<(f64, f64, usize)>, f64) {
    let weights: PerClass = leaf.weights().collect();
    let before = entropy(&weights);
    // A feature alone is held against none.
    let (mut best, mut second): (Option<(f64, f64, usize)>, Option<f64>) = (None, None);
    let positions = leaf.classes().iter().map(|class| class.features().len()).max().unwrap_or(0);
    for position in 0..positions {
        let Some((merit, cut)) = best_of(leaf, position, before) else { continue };
        match best {
            Some((highest, ..)) if merit < highest => {
                second = Some(second.map_or(merit, |second| second.max(merit)))
            }
            _ => {
                second = best.map(|(highest, ..)| highest);
                best = Some((merit, cut, position));
            }
        }
    }
    (best, second.unwrap_or(0.0))
}

/// Whether a leaf that was not empty is to be split, by Hoeffding's bound.
pub(super) fn judge(leaf: &Leaf, certainty: &Certainty) -> Verdict {
    let all = leaf.weight();
    let largest = leaf.weights().fold(0.0, f64::max);
    let classes = leaf.weights().filter(|weight| *weight > 0.0).count();
    if classes < 2 {
        return Verdict::Wait;
    }
    if largest / all > LARGEST_MAX {
        return Verdict::Forget;
    }
    let range = (leaf.classes().len().max(2) as f64).log2();
    let bound = (range * range * (1.0 / certainty.delta).ln() / (2.0 * all)).sqrt();
    let (best, second) = best_two(leaf);
    match best {
        Some((merit, cut, position)) if merit - second > bound || bound < certainty.tie => {
            Verdict::Split(split_at(leaf, cut, position))
        }
        None if bound < certainty.tie => Verdict::Forget,
        _ => Verdict::Wait,
    }
}

fn split_at(leaf: &Leaf, cut: f64, position: usize) -> Split {
    let (below, above) = sides(leaf, position, cut);
    let side = |weights: PerClass| {
        let classes = leaf.classes().iter().map(super::leaf::Class::number);
        classes.zip(weights).filter(|(_, weight)| *weight > 0.0).collect()
    };
    let feature = leaf.watched().get(position).copied().unwrap_or(position as u32);
    Split { feature, cut, below: side(below), above: side(above) }
}
