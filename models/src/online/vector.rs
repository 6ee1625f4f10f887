//! Arithmetic on rows, in one order everywhere: sums of floats depend on it.

/// Lanes of a sum: as wide as vector registers are.
const LANES: usize = 4;

/// The sum of the products of two rows; what one has more than the other counts as zero.
#[inline]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut lanes = [0.0; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = whole_a.remainder().iter().zip(whole_b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]) + rest
}

/// Adds a multiple of a row to another.
#[inline]
pub(crate) fn add_scaled(to: &mut [f64], by: f64, row: &[f64]) {
    for (to, value) in to.iter_mut().zip(row) {
        *to += by * value;
    }
}

/// The logistic function `1 / (1 + exp(-margin))`, without overflow on either side.
#[inline]
pub(crate) fn logistic(margin: f64) -> f64 {
    let small = (-margin.abs()).exp();
    let of_positive = 1.0 / (1.0 + small);
    if margin >= 0.0 { of_positive } else { small / (1.0 + small) }
}

/// Makes a vector as long as the row of a first record.
#[inline]
pub(crate) fn widen(values: &mut Vec<f64>, width: usize) {
    if values.len() < width {
        values.resize(width, 0.0);
    }
}

/// Turns log-likelihoods into probabilities that sum to one.
pub(crate) fn normalise(mut logs: Vec<f64>) -> Vec<f64> {
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return Vec::new();
    }
    logs.iter_mut().for_each(|log| *log = (*log - highest).exp());
    let sum: f64 = logs.iter().sum();
    logs.iter_mut().for_each(|probability| *probability /= sum);
    logs
}
