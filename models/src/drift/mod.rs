//! Detectors of drift: they see one number per row, and say when it is no longer what it was.
//!
//! 1. `adwin`: a window that is as long as its mean stays the same; the default
//! 2. `page_hinkley`: sums of what is above or below the mean
//! 3. `ddm`, `hddm`: rates of errors
//! 4. `kswin`: the whole distribution, not the mean alone

mod adwin;
mod ddm;
mod hddm;
mod kswin;
mod page_hinkley;

use headwater::batch::Record;

pub use self::adwin::Adwin;
pub use self::ddm::Ddm;
pub use self::hddm::HddmA;
pub use self::kswin::Kswin;
pub use self::page_hinkley::PageHinkley;

/// What a detector says of the newest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// Nothing has changed.
    #[default]
    None,
    /// It may be changing; of the detectors, [`Ddm`] and [`HddmA`] say so.
    Warning,
    /// It has changed. The detector begins anew with the next number.
    Drift,
}

/// Watches a stream of numbers, such as the errors of a model or the values of a feature.
///
/// ```
/// use headwater_models::drift::{Adwin, Detector, Drift};
///
/// let mut detector = Adwin::new();
/// let mut alarms = Vec::new();
/// for n in 0..2000 {
///     let error = if n < 1000 { 0.0 } else { 1.0 };
///     if detector.update(error) == Drift::Drift {
///         alarms.push(n);
///     }
/// }
/// assert_eq!(alarms, [1023]);
/// ```
pub trait Detector: Record + Clone {
    /// Takes the next number, which must be finite: others are passed over.
    fn update(&mut self, value: f64) -> Drift;
}
