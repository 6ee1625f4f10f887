//! Learners stay finite whatever finite rows they get.

use headwater_models::online::{
    Ftrl, GaussianNb, KMeans, LinearSgd, LogisticSgd, OneVsRest, PassiveAggressive, Poly2, QrRls, Scaled,
    Steps,
};
use headwater_models::{Learner, Unfit, best_class, check_row};

use crate::streams::draws;

/// Constant, almost equal, huge, tiny and useless features.
fn awkward(row: usize) -> ([f64; 8], f64) {
    let [a, b, noise] = draws(3, row);
    let features =
        [a, a + 1e-9 * b, 1.0, 0.0, 1e12 * b, 1e-12 * a, if row.is_multiple_of(1000) { 1.0 } else { 0.0 }, b];
    (features, 3.0 * a - 2.0 * b + 0.01 * noise)
}

const ROWS: usize = 200_000;

#[test]
fn forgetting_least_squares_stay_finite() {
    for forgetting in [0.9, 0.99, 0.995, 0.998, 0.999, 1.0] {
        let mut learner = QrRls::new().forgetting(forgetting);
        let mut newest = 0.0;
        for row in 0..ROWS {
            let (features, target) = awkward(row);
            let score = learner.score_and_learn(&features, target);
            if row > 1000 {
                newest = (score - target).abs();
                assert!(newest < 2.0, "{forgetting} row {row}: {score} for {target}");
            }
        }
        assert!(newest < 0.1, "{forgetting}: {newest}");
        assert!(learner.weights().iter().all(|weight| weight.is_finite()));
    }
}

#[test]
fn a_column_that_was_not_seen_for_long_is_taken_up_again() {
    let mut learner = QrRls::new().forgetting(0.99);
    for row in 0..100_000 {
        let [a, b] = draws(5, row);
        let late = if row < 99_000 { 0.0 } else { b };
        learner.learn(&[a, late], a + 5.0 * late);
    }
    assert!((learner.weights()[1] - 5.0).abs() < 1e-6, "{:?}", learner.weights());
}

#[test]
fn linear_learners_stay_finite() {
    fn check<L: Learner<Label = bool>>(mut learner: L) {
        for row in 0..ROWS / 10 {
            let (features, target) = awkward(row);
            let score = learner.score_and_learn(&features, target > 0.5);
            assert!((0.0..=1.0).contains(&score), "row {row}: {score}");
        }
    }
    check(LogisticSgd::new(0.1));
    check(LogisticSgd::new(Steps::inverse_scaling(0.5, 0.25).l2(1e-4)));
    check(LogisticSgd::new(Steps::adagrad(0.1)));
    check(PassiveAggressive::new(1.0));
    check(PassiveAggressive::squared(1.0));
    check(Ftrl::new(0.1).l1(0.5).l2(0.1));
    check(Scaled::new(Poly2::new(Ftrl::new(0.1))));
    let mut linear = LinearSgd::new(0.01);
    (0..ROWS / 10).map(awkward).for_each(|(row, target)| linear.learn(&row, target));
    assert!(linear.weights().iter().all(|weight| weight.is_finite()));
}

#[test]
fn adagrad_and_inverse_scaling_learn_what_there_is_to_learn() {
    for steps in [Steps::adagrad(0.5), Steps::inverse_scaling(0.5, 0.25), Steps::constant(0.05)] {
        let mut learner = LinearSgd::new(steps.clone());
        for row in 0..20_000 {
            let [a, b] = draws(11, row);
            learner.learn(&[a, b], 4.0 * a - b + 2.0);
        }
        assert!((learner.score(&[0.5, 0.5]) - 3.5).abs() < 1e-2, "{steps:?}: {learner:?}");
    }
}

#[test]
fn ftrl_gives_useless_features_no_weight() {
    let mut learner = Ftrl::new(0.1).l1(20.0);
    for row in 0..20_000 {
        let [a, b, c] = draws(13, row);
        learner.learn(&[a - 0.5, b - 0.5, c - 0.5], a > 0.5);
    }
    let weights: Vec<f64> = learner.weights().collect();
    assert!(weights[0] > 1.0 && weights[1..] == [0.0, 0.0], "{weights:?}");
}

#[test]
fn classes_from_learners_of_two() {
    let mut learner = OneVsRest::new(Scaled::new(LogisticSgd::new(0.1)));
    let of = |row: usize| {
        let [a, b] = draws(17, row);
        let class = if a + b < 0.7 {
            0
        } else if a > b {
            1
        } else {
            2
        };
        ([a, b, a * b], class)
    };
    let mut right = 0;
    for row in 0..10_000 {
        let (features, class) = of(row);
        let scores = learner.score_and_learn(&features, class);
        assert!(scores.is_empty() || (scores.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        right += usize::from(row >= 5_000 && best_class(&scores) == Some(class));
    }
    assert!(right > 4_600, "{right} of 5000");
}

#[test]
fn one_class_alone_is_certain() {
    let mut learner = GaussianNb::new();
    assert!(learner.score(&[1.0]).is_empty());
    for _ in 0..10 {
        learner.learn(&[1.0], 0);
    }
    assert_eq!(learner.score(&[2.0]), vec![1.0]);
}

#[test]
fn centres_follow_their_rows() {
    let centre_of = |row: usize| if row.is_multiple_of(2) { 0.0 } else { 10.0 };
    let mut learner = KMeans::new(2).decay(0.99);
    for row in 0..5_000 {
        let [a, b] = draws(19, row);
        let drift = row as f64 / 1000.0;
        learner.learn(&[centre_of(row) + a + drift, b]);
    }
    let mut middles: Vec<f64> = learner.centres().iter().map(|centre| centre.middle[0]).collect();
    middles.sort_by(f64::total_cmp);
    // A centre stands for its last hundred rows, in which the drift was 0.2 less in the mean.
    assert!((middles[0] - 5.3).abs() < 0.1 && (middles[1] - 15.3).abs() < 0.1, "{middles:?}");
}

#[test]
fn a_row_that_is_no_row_of_numbers_is_named() {
    assert_eq!(check_row(&[0.0, 1e100]), Ok(()));
    for bad in [f64::INFINITY, f64::NEG_INFINITY, 1.1e100] {
        assert_eq!(check_row(&[0.0, 1.0, bad]), Err(Unfit::Feature { index: 2, value: bad }));
    }
}
