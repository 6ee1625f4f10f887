//! `Learner`: what scores a row and then learns from it, and the rows that none of them takes.

use std::fmt;

use headwater::batch::Record;
use smallvec::SmallVec;

/// The largest magnitude of a feature or a target: its square, summed over any stream, is still finite.
pub const VALUE_MAX: f64 = 1e100;

/// A row that was made of another one; up to 128 features need no allocation.
pub(crate) type MadeRow = SmallVec<[f64; 128]>;

/// Scores rows of features, and learns from them one at a time.
///
/// A learner is a [`Record`]: what it has learned is ordinary keyed state of a topology, with all that
/// follows from that (epochs, snapshots, `state get`). It does the same arithmetic in the same order wherever
/// it runs, so equal rows in equal order leave equal bytes.
///
/// A learner takes its width from the first row that it learns from, and scores as if it had learned nothing until
/// then. Rows must be fit to be learned from ([`check_row`]): a stream sends others to its rejected rows.
///
/// ```
/// use headwater_models::Learner;
/// use headwater_models::online::{LogisticSgd, Scaled};
///
/// let mut learner = Scaled::new(LogisticSgd::new(0.1));
/// for n in 0..1000 {
///     let row = [f64::from(n % 10), 5.0];
///     learner.learn(&row, row[0] > 4.5);
/// }
/// assert!(learner.score(&[9.0, 5.0]) > 0.9 && learner.score(&[0.0, 5.0]) < 0.1);
/// ```
pub trait Learner: Record + Clone {
    /// What is learned of a row: a number, true or false, or the number of a class.
    type Label: Label;

    /// What is thought of a row before its label is known.
    fn score(&self, row: &[f64]) -> Score<Self>;

    /// Learns from a row whose label is known.
    fn learn(&mut self, row: &[f64], label: Self::Label);

    /// Scores a row, and then learns from it; what both need is computed once.
    #[inline]
    fn score_and_learn(&mut self, row: &[f64], label: Self::Label) -> Score<Self> {
        let score = self.score(row);
        self.learn(row, label);
        score
    }
}

/// What a learner says of a row.
pub type Score<L> = <<L as Learner>::Label as Label>::Score;

/// What rows are labelled with.
pub trait Label: Record + Copy + fmt::Debug {
    /// What a learner says of a row before it knows the label.
    type Score: Record + Clone + fmt::Debug;

    /// Why nothing can be learned from this label.
    ///
    /// # Errors
    /// It is no number, or too large.
    fn check(self) -> Result<(), Unfit> {
        Ok(())
    }
}

/// Regression: the score is the predicted number.
impl Label for f64 {
    type Score = f64;

    fn check(self) -> Result<(), Unfit> {
        if self.abs() <= VALUE_MAX { Ok(()) } else { Err(Unfit::Label(self)) }
    }
}

/// Two classes: the score is the probability of `true`.
impl Label for bool {
    type Score = f64;
}

/// Classes from 0: the score is the probability of each class that was seen, and may be empty.
impl Label for u32 {
    type Score = Vec<f64>;

    fn check(self) -> Result<(), Unfit> {
        if self <= CLASS_MAX { Ok(()) } else { Err(Unfit::Class(self)) }
    }
}

/// The largest number of a class: learners keep something for each class up to the largest that they have seen.
pub const CLASS_MAX: u32 = 9_999;

/// The class with the highest probability, the first of equals; `None` of no classes.
///
/// ```
/// assert_eq!(headwater_models::best_class(&[0.2, 0.5, 0.3]), Some(1));
/// ```
#[must_use]
pub fn best_class(probabilities: &[f64]) -> Option<u32> {
    let mut best: Option<(u32, f64)> = None;
    for (class, probability) in (0..).zip(probabilities) {
        if best.is_none_or(|(_, highest)| *probability > highest) {
            best = Some((class, *probability));
        }
    }
    best.map(|(class, _)| class)
}

/// Why nothing can be learned from a row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unfit {
    /// A feature is no number, infinite, or larger than [`VALUE_MAX`].
    Feature {
        /// Its position in the row, from 0.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// The label is no number, infinite, or larger than [`VALUE_MAX`].
    Label(f64),
    /// The class is larger than [`CLASS_MAX`].
    Class(u32),
    /// It has other features than the rows before it.
    Width {
        /// Its features.
        found: usize,
        /// Those of the rows before.
        known: usize,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Feature { index, value } => {
                write!(f, "feature {index} is {value:e}: features must be numbers within {VALUE_MAX:e}")
            }
            Unfit::Label(value) => {
                write!(f, "the label is {value:e}: labels must be numbers within {VALUE_MAX:e}")
            }
            Unfit::Class(class) => write!(f, "the class is {class}: classes go from 0 to {CLASS_MAX}"),
            Unfit::Width { found, known } => {
                write!(f, "it has {found} features, those before had {known}: give each record the same")
            }
        }
    }
}

impl std::error::Error for Unfit {}

/// Says whether every feature of a row is a number that learners can take.
///
/// ```
/// use headwater_models::check_row;
///
/// assert!(check_row(&[1.0, -2.5]).is_ok());
/// let error = check_row(&[1.0, f64::NAN]).unwrap_err();
/// assert_eq!(error.to_string(), "feature 1 is NaN: features must be numbers within 1e100");
/// ```
///
/// # Errors
/// The first feature that is not.
#[inline]
pub fn check_row(row: &[f64]) -> Result<(), Unfit> {
    let unfit = row.iter().position(|value| value.is_nan() || value.abs() > VALUE_MAX);
    unfit.map_or(Ok(()), |index| Err(Unfit::Feature { index, value: row[index] }))
}
