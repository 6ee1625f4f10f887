//! Models inside a headwater topology.
//!
//! What is here is the floor: a model scores a matrix of features, one row per record, a batch at a time.
//! [`LinearModel`] is fitted by linfa's ordinary least squares on bounded data.

mod linear;

use ndarray::{Array1, ArrayView2};

pub use self::linear::{FitError, LinearModel};

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
