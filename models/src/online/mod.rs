//! Learners of our own, which score a row and then learn from it.
//!
//! 1. `vector`: sums in one order everywhere
//! 2. `scaler`, `poly2`: what a learner sees of the features
//! 3. `sgd`, `passive_aggressive`, `ftrl`: linear models, step by step
//! 4. `qr_rls`: linear models that are exact after every row
//! 5. `naive_bayes`: classes from counts, means and variances
//! 6. `one_vs_rest`: many classes from learners for two
//! 7. `kmeans`: clusters

mod ftrl;
mod kmeans;
mod naive_bayes;
mod one_vs_rest;
mod passive_aggressive;
mod poly2;
mod qr_rls;
mod scaler;
mod sgd;
mod vector;

pub use self::ftrl::Ftrl;
pub use self::kmeans::{Centre, KMeans};
pub use self::naive_bayes::{BernoulliNb, GaussianNb, MultinomialNb};
pub use self::one_vs_rest::OneVsRest;
pub use self::passive_aggressive::{PassiveAggressive, PassiveAggressiveRegressor};
pub use self::poly2::Poly2;
pub use self::qr_rls::QrRls;
pub use self::scaler::{Scaled, StandardScaler};
pub use self::sgd::{LinearSgd, LogisticSgd, Steps};
pub(crate) use self::vector::normalise;
