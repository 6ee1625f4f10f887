//! Least squares row by row is least squares of all rows, however they are dealt out.

use headwater_models::online::{GaussianNb, QrRls, StandardScaler};
use headwater_models::{Learner, LinearModel};
use ndarray::{Array1, Array2};

const COLUMNS: usize = 10;

/// The diabetes rows as scikit-learn gives them: centred, and columns of length 1. The second part is the target.
fn diabetes() -> (Vec<[f64; COLUMNS]>, Vec<f64>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let numbers = |line: &str| -> Vec<f64> { line.split(',').map(|cell| cell.parse().unwrap()).collect() };
    let rows: Vec<Vec<f64>> = text.lines().skip(1).map(numbers).collect();
    let count = rows.len() as f64;
    let means: Vec<f64> =
        (0..COLUMNS).map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / count).collect();
    let lengths: Vec<f64> = (0..COLUMNS)
        .map(|at| rows.iter().map(|row| (row[at] - means[at]).powi(2)).sum::<f64>().sqrt())
        .collect();
    let scaled = |row: &Vec<f64>| std::array::from_fn(|at| (row[at] - means[at]) / lengths[at]);
    (rows.iter().map(scaled).collect(), rows.iter().map(|row| row[COLUMNS]).collect())
}

/// scikit-learn's `LinearRegression` of all rows; the intercept is last.
const COEFFICIENTS: [f64; COLUMNS + 1] = [
    -10.009_866_300,
    -239.815_643_672,
    519.845_920_054,
    324.384_645_502,
    -792.175_638_552,
    476.739_021_005,
    101.043_267_938,
    177.063_237_671,
    751.273_699_557,
    67.626_692_184,
    152.133_484_162_896,
];

#[track_caller]
fn assert_coefficients(weights: &[f64]) {
    assert_eq!(weights.len(), COEFFICIENTS.len());
    for (weight, expected) in weights.iter().zip(COEFFICIENTS) {
        // The figures have nine digits behind the point.
        assert!((weight - expected).abs() < 1e-9 + 5e-10, "{weights:?}");
    }
}

/// Learns the rows that `part` gives this number.
fn learned(parts: usize, part: usize, of: impl Fn(usize) -> usize) -> QrRls {
    let (rows, targets) = diabetes();
    let mut learner = QrRls::new().delta(0.0);
    for (index, (row, target)) in rows.iter().zip(targets).enumerate() {
        if of(index) % parts == part {
            learner.learn(row, target);
        }
    }
    learner
}

#[test]
fn row_by_row_is_all_at_once() {
    assert_coefficients(learned(1, 0, |_| 0).weights());
}

#[test]
fn parts_merge_into_the_whole() {
    let deals: [fn(usize) -> usize; 3] = [|row| row, |row| row / 64, |row| row * row / 7];
    for (parts, deal) in [2, 7, 16].into_iter().flat_map(|parts| deals.map(|deal| (parts, deal))) {
        let mut whole = learned(parts, 0, deal);
        (1..parts).for_each(|part| whole.merge(&learned(parts, part, deal)));
        assert_eq!(whole.rows(), 442);
        assert_coefficients(whole.weights());
    }
}

#[test]
fn linfa_finds_the_same() {
    let (rows, targets) = diabetes();
    let features = Array2::from_shape_fn((rows.len(), COLUMNS), |(row, column)| rows[row][column]);
    let model = LinearModel::fit(features.view(), Array1::from(targets).view()).unwrap();
    let weights: Vec<f64> = model.weights().iter().copied().chain([model.intercept()]).collect();
    assert_coefficients(&weights);
}

#[test]
fn scalers_merge_into_the_whole() {
    let (rows, _) = diabetes();
    let mut whole = StandardScaler::new();
    rows.iter().for_each(|row| whole.learn(row));
    let mut merged = StandardScaler::new();
    for part in 0..5 {
        let mut own = StandardScaler::new();
        rows.iter().skip(part).step_by(5).for_each(|row| own.learn(row));
        merged.merge(&own);
    }
    assert_eq!(merged.rows(), whole.rows());
    for (a, b) in merged.variances().zip(whole.variances()) {
        assert!((a - b).abs() < 1e-15, "{a} {b}");
    }
    for (a, b) in merged.means().iter().zip(whole.means()) {
        assert!((a - b).abs() < 1e-15, "{a} {b}");
    }
}

#[test]
fn naive_bayes_merges_into_the_whole() {
    let (rows, targets) = diabetes();
    let class = |target: f64| u32::from(target > 140.0) + u32::from(target > 200.0);
    let mut whole = GaussianNb::new();
    rows.iter().zip(&targets).for_each(|(row, target)| whole.learn(row, class(*target)));
    let mut merged = GaussianNb::new();
    for part in 0..3 {
        let mut own = GaussianNb::new();
        let rows = rows.iter().zip(&targets).skip(part).step_by(3);
        rows.for_each(|(row, target)| own.learn(row, class(*target)));
        merged.merge(&own);
    }
    for row in &rows {
        let (a, b) = (merged.score(row), whole.score(row));
        assert_eq!(a.len(), 3);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} {b:?}");
    }
}
