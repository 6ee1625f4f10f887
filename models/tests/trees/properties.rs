//! What holds of trees whatever the rows are.

use headwater::batch::{Batch, BatchBuilder, BatchLimits, Record};
use headwater_models::tree::{AdaptiveForest, AdaptiveTree, HalfSpaceTrees, HoeffdingTree};
use headwater_models::{CLASS_MAX, Learner, best_class};

use crate::streams::{agrawal, draws};

/// The bytes of one record.
fn bytes<T: Record>(record: &T) -> Vec<u8> {
    let mut builder = BatchBuilder::<T>::new(BatchLimits::default());
    builder.push(record.view()).unwrap();
    builder.finish().unwrap().bytes().to_vec()
}

fn from_bytes<T: Record>(bytes: &[u8]) -> T {
    T::from_view(Batch::<T>::from_bytes(bytes).unwrap().get(0).unwrap())
}

/// A tree that is written and read again every `step` rows is the tree that never was.
fn check_goes_on<T: Record + Clone + PartialEq>(fresh: &T, step: usize, learn: impl Fn(&mut T, &[f64], u32)) {
    let (mut whole, mut cut) = (fresh.clone(), fresh.clone());
    for (index, (row, label)) in agrawal().step_by(2).enumerate() {
        learn(&mut whole, &row, u32::from(label));
        learn(&mut cut, &row, u32::from(label));
        if index % step == 0 {
            cut = from_bytes(&bytes(&cut));
        }
    }
    assert!(cut == whole);
    assert!(bytes(&cut) == bytes(&whole), "equal trees, other bytes");
}

#[test]
fn a_tree_goes_on_from_its_bytes() {
    check_goes_on(&HoeffdingTree::new(), 321, |tree, row, label| tree.learn(row, label));
    check_goes_on(&AdaptiveTree::new(), 321, |tree, row, label| tree.learn(row, label));
    check_goes_on(&AdaptiveForest::new(3, 9), 1234, |forest, row, label| forest.learn(row, label));
    let ranges = HalfSpaceTrees::new(9).learned_ranges();
    check_goes_on(&ranges, 321, |trees, row, _| trees.learn(row));
}

/// All trees, to be tried on the same rows.
fn all(check: impl Fn(&mut dyn FnMut(&[f64], u32) -> Vec<f64>)) {
    let mut hoeffding = HoeffdingTree::new();
    check(&mut |row, label| hoeffding.score_and_learn(row, label));
    let mut adaptive = AdaptiveTree::new();
    check(&mut |row, label| adaptive.score_and_learn(row, label));
    let mut forest = AdaptiveForest::new(3, 1);
    check(&mut |row, label| forest.score_and_learn(row, label));
}

fn assert_probabilities(score: &[f64]) {
    let is_one = score.is_empty() || (score.iter().sum::<f64>() - 1.0).abs() < 1e-9;
    assert!(is_one && score.iter().all(|probability| (0.0..=1.0).contains(probability)), "{score:?}");
}

#[test]
fn one_class_alone_is_certain() {
    all(|learn| {
        assert_eq!(learn(&[0.5], 2), Vec::<f64>::new());
        for row in 0..2_000 {
            assert_eq!(learn(&draws::<1>(3, row), 2), [0.0, 0.0, 1.0]);
        }
    });
    let mut tree = HoeffdingTree::new().grace(10);
    (0..5_000).for_each(|row| tree.learn(&draws::<2>(3, row), 1));
    assert_eq!(tree.nodes(), 1);
}

#[test]
fn features_that_never_change_are_not_cut() {
    let mut tree = HoeffdingTree::new();
    let mut adaptive = AdaptiveTree::new();
    for row in 0..20_000 {
        let [draw] = draws(5, row);
        let label = u32::from(draw < 0.3);
        assert_probabilities(&tree.score_and_learn(&[1.0, -7.0], label));
        adaptive.learn(&[1.0, -7.0], label);
    }
    assert_eq!((tree.nodes(), adaptive.nodes()), (1, 1));
    assert!((tree.score(&[1.0, -7.0])[1] - 0.3).abs() < 0.02);
}

#[test]
fn a_feature_alone_is_cut_only_when_it_tells_something() {
    let mut tree = HoeffdingTree::new();
    for row in 0..3_000 {
        let [draw, label] = draws(7, row);
        tree.learn(&[draw], u32::from(label < 0.5));
    }
    assert_eq!(tree.nodes(), 1);
    for row in 0..3_000 {
        let [draw] = draws(8, row);
        tree.learn(&[draw], u32::from((0.3..0.6).contains(&draw)));
    }
    assert!(tree.nodes() > 1);
}

#[test]
fn huge_and_tiny_features_leave_probabilities() {
    all(|learn| {
        for row in 0..20_000 {
            let [a, b, c, label] = draws(11, row);
            let sign = if a < 0.5 { -1e100 } else { 1e100 };
            let rare = if row % 1000 == 0 { 1e100 } else { 1e-100 * b };
            let features = [sign, 1e100 * (b - 0.5), 1e-300 * c, rare, 1e12 + c];
            assert_probabilities(&learn(&features, u32::from(label < a) + u32::from(c < 0.1)));
        }
    });
    // A row that is impossible in every class has the probabilities of the classes.
    let mut tree = HoeffdingTree::new();
    for row in 0..100 {
        let label = u32::from(row % 4 == 0);
        tree.learn(&[1e-60 * (draws::<1>(15, row)[0] + f64::from(label))], label);
    }
    assert_eq!(tree.score(&[1e100]), [0.75, 0.25]);
    let mut trees = HalfSpaceTrees::new(3).learned_ranges();
    for row in 0..2_000 {
        let [a, b] = draws(12, row);
        let score = trees.score_and_learn(&[if a < 0.5 { -1e100 } else { 1e100 }, 1e-100 * b, 4.0]);
        assert!((0.0..=1.0).contains(&score), "{score}");
    }
}

#[test]
fn a_tree_has_as_many_nodes_and_levels_as_it_may_have() {
    let mut tree = HoeffdingTree::new().nodes_max(9);
    let mut flat = HoeffdingTree::new().depth_max(2);
    let mut adaptive = AdaptiveTree::new().nodes_max(9);
    let mut flat_adaptive = AdaptiveTree::new().depth_max(2);
    let mut forest = AdaptiveForest::new(2, 3).nodes_max(5).depth_max(1);
    let (mut most, mut deepest) = ((0, 0), (0, 0));
    for (row, label) in agrawal() {
        let label = u32::from(label);
        tree.learn(&row, label);
        flat.learn(&row, label);
        adaptive.learn(&row, label);
        flat_adaptive.learn(&row, label);
        forest.learn(&row, label);
        most = (most.0.max(tree.nodes()), most.1.max(adaptive.nodes()));
        deepest = (deepest.0.max(flat.depth()), deepest.1.max(flat_adaptive.depth()));
        // Each of two trees may have another one in the background.
        assert!((2..=12).contains(&forest.nodes()), "{}", forest.nodes());
    }
    assert_eq!((most, deepest), ((9, 9), (2, 2)));
    assert!(flat.nodes() <= 7);
    let mut stump = AdaptiveTree::new().nodes_max(1);
    agrawal().for_each(|(row, label)| stump.learn(&row, u32::from(label)));
    assert_eq!(stump.nodes(), 1);
}

#[test]
fn classes_may_be_far_apart_and_come_late() {
    all(|learn| {
        let mut right = 0;
        for row in 0..12_000 {
            let [a, b] = draws(13, row);
            let class = match (row, a < 0.5) {
                (_, true) => 3,
                (6_000.., _) if b < 0.3 => CLASS_MAX,
                _ => 0,
            };
            let score = learn(&[a, b], class);
            assert_probabilities(&score);
            right += usize::from(row >= 9_000 && best_class(&score) == Some(class));
        }
        assert!(right > 2_700, "{right} of 3,000");
    });
}

#[test]
fn rows_of_another_width_are_taken_as_they_are() {
    all(|learn| {
        for (index, (row, label)) in agrawal().take(10_000).enumerate() {
            let width = [9, 9, 9, 4, 1, 0][index % 6];
            assert_probabilities(&learn(&row[..width], u32::from(label)));
            learn(&[row, row].concat(), u32::from(label));
        }
    });
}
