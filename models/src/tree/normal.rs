//! `Normal`: a feature within a class, taken to be normally distributed.

use headwater::prelude::Record;

/// Weighted mean and spread (Welford), and the range, of the values of a feature.
#[derive(Record, Clone, Debug, Default, PartialEq)]
pub struct Normal {
    weight: f64,
    mean: f64,
    /// Weighted sum of squared distances from the mean.
    squares: f64,
    least: f64,
    greatest: f64,
}

impl Normal {
    #[inline]
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        if self.weight == 0.0 {
            (self.least, self.greatest) = (value, value);
        }
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        self.weight += weight;
        let distance = value - self.mean;
        self.mean += weight / self.weight * distance;
        self.squares += weight * distance * (value - self.mean);
    }

    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// The least and the greatest value, if there is any.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        (self.weight > 0.0).then_some((self.least, self.greatest))
    }

    fn variance(&self) -> f64 {
        if self.weight > 1.0 { self.squares / (self.weight - 1.0) } else { 0.0 }
    }

    /// Logarithm of the density at a value; `None` while all values were the same.
    #[inline]
    pub(super) fn log_density(&self, value: f64) -> Option<f64> {
        let variance = self.variance();
        if variance <= 0.0 {
            return None;
        }
        let distance = value - self.mean;
        Some(-0.5 * ((std::f64::consts::TAU * variance).ln() + distance * distance / variance))
    }

    /// How much of the weight is thought to be at or below a value.
    pub(super) fn weight_below(&self, value: f64) -> f64 {
        if value < self.least {
            return 0.0;
        }
        if value >= self.greatest {
            return self.weight;
        }
        let deviation = self.variance().sqrt();
        if deviation == 0.0 {
            return 0.0;
        }
        self.weight * normal_below((value - self.mean) / deviation)
    }
}

/// The part of a standard normal distribution that is below a value.
fn normal_below(value: f64) -> f64 {
    0.5 * (1.0 + error_function(value / std::f64::consts::SQRT_2))
}

/// Where the error function is 1 to the last bit.
const ERROR_FUNCTION_END: f64 = 6.0;

/// The error function, by `2 / sqrt(pi) exp(-x^2) x sum((2 x^2)^n / (1 3 5 .. (2n + 1)))`: all terms are
/// positive, so nothing cancels.
fn error_function(x: f64) -> f64 {
    if x.abs() >= ERROR_FUNCTION_END {
        return x.signum();
    }
    let square = 2.0 * x * x;
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-17 {
        odd += 2.0;
        term *= square / odd;
        sum += term;
    }
    (std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_has_the_values_of_the_tables() {
        // Abramowitz and Stegun, table 7.1.
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (5.9, 1.0),
            (6.0, 1.0),
        ] {
            assert!((error_function(x) - expected).abs() < 4e-16, "{x}: {}", error_function(x));
            assert_eq!(error_function(-x), -error_function(x));
        }
        assert_eq!(normal_below(f64::INFINITY), 1.0);
        assert_eq!(normal_below(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn weights_count_as_often_as_they_say() {
        let (mut once, mut often) = (Normal::default(), Normal::default());
        for value in [3.0, 5.0, 4.0] {
            once.add(value, 2.0);
            often.add(value, 1.0);
            often.add(value, 1.0);
        }
        assert!((once.mean - often.mean).abs() < 1e-12 && (once.squares - often.squares).abs() < 1e-12);
        assert_eq!((once.weight_below(2.0), once.weight_below(5.0)), (0.0, 6.0));
        assert!((once.weight_below(4.0) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_value_that_never_changed_has_no_density() {
        let mut normal = Normal::default();
        (0..10).for_each(|_| normal.add(7.0, 1.0));
        assert_eq!(normal.log_density(7.0), None);
        normal.add(8.0, 1.0);
        assert!(normal.log_density(7.0) > normal.log_density(9.0));
    }
}
