//! Ordinary least squares on bounded data, by linfa.

use linfa::Dataset;
use linfa::traits::Fit;
use linfa_linear::LinearRegression;
use ndarray::{Array1, ArrayView1, ArrayView2};

use crate::Model;

/// Why a model could not be fitted.
#[derive(Debug)]
pub struct FitError(String);

impl std::fmt::Display for FitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FitError {}

/// A linear model: `intercept + weights . features`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearModel {
    weights: Array1<f64>,
    intercept: f64,
}

impl LinearModel {
    /// A model with known parameters.
    #[must_use]
    pub fn new(weights: Array1<f64>, intercept: f64) -> Self {
        LinearModel { weights, intercept }
    }

    /// Fits the weights and intercept that minimise the sum of squared errors. `features` has shape
    /// `[rows, columns]`, `targets` `[rows]`.
    ///
    /// ```
    /// use headwater_models::{LinearModel, Model};
    /// use ndarray::array;
    ///
    /// let model = LinearModel::fit(array![[0.0], [1.0], [2.0]].view(), array![1.0, 3.0, 5.0].view())?;
    /// assert!((model.score(array![[10.0]].view())[0] - 21.0).abs() < 1e-9);
    /// # Ok::<(), headwater_models::FitError>(())
    /// ```
    ///
    /// # Errors
    /// The shapes do not fit, or the features depend on each other so that no fit is unique.
    pub fn fit(features: ArrayView2<'_, f64>, targets: ArrayView1<'_, f64>) -> Result<Self, FitError> {
        if features.nrows() != targets.len() {
            let (rows, targets) = (features.nrows(), targets.len());
            return Err(FitError(format!("{rows} rows of features, but {targets} targets")));
        }
        let dataset = Dataset::new(features.to_owned(), targets.to_owned());
        let fitted = LinearRegression::default()
            .fit(&dataset)
            .map_err(|error| FitError(format!("least squares found no fit: {error}")))?;
        Ok(LinearModel { weights: fitted.params().to_owned(), intercept: fitted.intercept() })
    }

    /// One weight per feature.
    #[must_use]
    pub fn weights(&self) -> ArrayView1<'_, f64> {
        self.weights.view()
    }

    /// The score of a row of zeros.
    #[must_use]
    pub fn intercept(&self) -> f64 {
        self.intercept
    }
}

impl Model for LinearModel {
    fn features(&self) -> usize {
        self.weights.len()
    }

    fn score(&self, features: ArrayView2<'_, f64>) -> Array1<f64> {
        if features.ncols() != self.weights.len() {
            return Array1::from_elem(features.nrows(), f64::NAN);
        }
        features.dot(&self.weights) + self.intercept
    }
}
