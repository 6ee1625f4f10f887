//! Test, then train: each row is scored before it is learned from. The counts are those of River and numpy.

use headwater_models::online::{
    Ftrl, GaussianNb, LinearSgd, LogisticSgd, PassiveAggressive, Poly2, QrRls, Scaled,
};
use headwater_models::{Learner, best_class};

use crate::streams::{Friedman, agrawal, friedman, sea};

/// How many rows of SEA and of AGRAWAL a learner of two classes gets right.
fn right(learner: &impl Learner<Label = bool>) -> (usize, usize) {
    let (mut of_sea, mut of_agrawal) = (learner.clone(), learner.clone());
    let sea = sea().filter(|(row, label)| (of_sea.score_and_learn(row, *label) > 0.5) == *label).count();
    let agrawal = agrawal().filter(|(row, label)| (of_agrawal.score_and_learn(row, *label) > 0.5) == *label);
    (sea, agrawal.count())
}

#[test]
fn logistic_regression_counts_as_river_does() {
    assert_eq!(right(&Scaled::new(LogisticSgd::new(0.01))), (35_239, 29_770));
    assert_eq!(right(&Scaled::new(LogisticSgd::new(0.1))), (34_376, 29_282));
}

#[test]
fn products_of_features_see_what_one_feature_does_not() {
    assert_eq!(right(&Scaled::new(Poly2::new(LogisticSgd::new(0.01)))), (34_788, 35_414));
    assert_eq!(right(&Scaled::new(Poly2::new(Ftrl::new(0.1)))), (34_490, 32_986));
}

#[test]
fn ftrl_counts_as_its_paper_says() {
    assert_eq!(right(&Scaled::new(Ftrl::new(0.1))), (34_705, 28_432));
    assert_eq!(right(&Scaled::new(Ftrl::new(0.5))), (35_191, 29_582));
}

#[test]
fn passive_aggressive_counts_as_its_paper_says() {
    assert_eq!(right(&Scaled::new(PassiveAggressive::new(0.01))), (35_136, 30_547));
}

#[test]
fn gaussian_naive_bayes_counts_as_numpy_does() {
    fn right<const D: usize>(rows: impl Iterator<Item = ([f64; D], bool)>) -> usize {
        let mut learner = GaussianNb::new();
        let is_right = |(row, label): &([f64; D], bool)| {
            let class = best_class(&learner.score_and_learn(row, u32::from(*label)));
            class.unwrap_or(0) == u32::from(*label)
        };
        rows.filter(is_right).count()
    }
    assert_eq!((right(sea()), right(agrawal())), (33_511, 26_883));
}

/// Root of the mean squared error over a Friedman stream.
fn rmse(learner: &impl Learner<Label = f64>, kind: Friedman) -> f64 {
    let (mut learner, mut squares, mut rows) = (learner.clone(), 0.0, 0);
    for (row, target) in friedman(kind) {
        squares += (learner.score_and_learn(&row, target) - target).powi(2);
        rows += 1;
    }
    (squares / f64::from(rows)).sqrt()
}

#[track_caller]
fn assert_rmse(learner: &impl Learner<Label = f64>, recurring: f64, expanding: f64) {
    let found = (rmse(learner, Friedman::GlobalRecurring), rmse(learner, Friedman::LocalExpanding));
    assert!((found.0 - recurring).abs() < 1e-6 && (found.1 - expanding).abs() < 1e-6, "{found:?}");
}

#[test]
fn regressors_have_the_errors_of_the_figures() {
    assert_rmse(&Scaled::new(LinearSgd::new(0.01)), 2.782_709, 3.285_488);
    assert_rmse(&QrRls::new(), 3.161_042, 3.275_167);
}

#[test]
fn least_squares_of_products_that_forget_follow_a_drift() {
    // One forgetting for both streams, which was not chosen on either.
    assert_rmse(&Poly2::new(QrRls::new().forgetting(0.999)), 1.886_231, 2.418_997);
}
