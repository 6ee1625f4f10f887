//! Models inside a headwater topology.
//!
//! 1. `learner`: [`Learner`], what scores a row and then learns from it
//! 2. [`online`]: learners of our own
//! 3. [`drift`]: detectors of change
//! 4. [`tree`]: trees that grow with their rows, and forests
//! 5. [`metrics`]: how good scores are
//! 6. `stream`: [`LearnStream`], learners inside a topology
//! 7. `linear`: [`LinearModel`], fitted by linfa's ordinary least squares on bounded data
//!
//! A [`Model`] scores a matrix of features, one row per record, a batch at a time.

pub mod drift;
mod learner;
mod linear;
pub mod metrics;
pub mod online;
mod stream;
pub mod tree;

use ndarray::{Array1, ArrayView2};

pub use self::learner::{CLASS_MAX, Label, Learner, Score, Unfit, VALUE_MAX, best_class, check_row};
pub use self::linear::{FitError, LinearModel};
pub use self::stream::{LearnStream, Learning, Scored, ScoredView};

/// A model that turns rows of features into scores.
pub trait Model: Send + Sync {
    /// Number of features that a row must have.
    fn features(&self) -> usize;

    /// One score per row of `features`, which has shape `[rows, self.features()]`.
    ///
    /// # Panics
    /// Never: a matrix of another width gives scores of NaN.
    fn score(&self, features: ArrayView2<'_, f64>) -> Array1<f64>;
}
