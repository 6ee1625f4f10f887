//! Streams with drift from closed formulas: the same rows in any language.

/// SplitMix64 as a function of the number of the draw.
fn draw(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 * 2f64.powi(-53)
}

/// `K` numbers in `[0, 1)` per row.
pub(crate) fn draws<const K: usize>(seed: u64, row: usize) -> [f64; K] {
    std::array::from_fn(|column| draw(seed, (row * K + column) as u64))
}

/// About normal: the sum of twelve draws, less six (Irwin and Hall).
fn normal(draws: &[f64]) -> f64 {
    draws.iter().sum::<f64>() - 6.0
}

fn between(draw: f64, low: f64, high: f64) -> f64 {
    low + (draw * (high - low + 1.0)).floor()
}

pub(crate) const ROWS: usize = 40_000;
const SEED: u64 = 42;

/// SEA (Street and Kim 2001): four concepts, one label in ten is wrong.
pub(crate) fn sea() -> impl Iterator<Item = ([f64; 3], bool)> {
    (0..ROWS).map(|row| {
        let [a, b, c, noise] = draws(SEED, row);
        let features = [10.0 * a, 10.0 * b, 10.0 * c];
        let limit = [8.0, 9.0, 7.0, 9.5][row * 4 / ROWS];
        (features, (features[0] + features[1] > limit) ^ (noise < 0.1))
    })
}

/// AGRAWAL (1993): its functions 0, 2, 4 and 6, one after the other.
pub(crate) fn agrawal() -> impl Iterator<Item = ([f64; 9], bool)> {
    (0..ROWS).map(|row| {
        let u: [f64; 9] = draws(SEED, row);
        let salary = 20_000.0 + 130_000.0 * u[0];
        let commission = if salary >= 75_000.0 { 0.0 } else { 10_000.0 + 75_000.0 * u[1] };
        let (age, level, car) =
            (between(u[2], 20.0, 80.0), between(u[3], 0.0, 4.0), between(u[4], 1.0, 20.0));
        let zip = between(u[5], 0.0, 8.0);
        let house = (8.0 - zip) * 100_000.0 * (0.5 + u[6]);
        let (years, loan) = (between(u[7], 1.0, 30.0), 500_000.0 * u[8]);
        let is_in = |value: f64, low: f64, high: f64| (low..=high).contains(&value);
        // As River has them, where the third asks for the salary in some places in which the paper has the loan.
        let label = match row * 4 / ROWS {
            0 => !(40.0..60.0).contains(&age),
            1 if age < 40.0 => is_in(level, 0.0, 1.0),
            1 if age < 60.0 => is_in(level, 1.0, 3.0),
            1 => is_in(level, 2.0, 4.0),
            2 if age < 40.0 => is_in(salary, 50e3, 100e3) && is_in(loan, 100e3, 300e3),
            2 if age < 60.0 => false,
            2 if is_in(salary, 25e3, 75e3) => is_in(loan, 300e3, 500e3),
            2 => is_in(loan, 75e3, 300e3),
            _ => 2.0 * (salary + commission) / 3.0 - loan / 5.0 - 20_000.0 <= 1.0,
        };
        ([salary, commission, age, level, car, zip, house, years, loan], label)
    })
}

/// How the concept of a Friedman stream drifts (Ikonomovska 2011).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Friedman {
    /// Another function in the middle third.
    GlobalRecurring,
    /// Other functions in parts of the space that grow.
    LocalExpanding,
}

pub(crate) fn friedman(kind: Friedman) -> impl Iterator<Item = ([f64; 10], f64)> {
    (0..ROWS).map(move |row| {
        let u: [f64; 22] = draws(SEED, row);
        let x: [f64; 10] = std::array::from_fn(|index| u[index]);
        let base = |x: [f64; 5]| {
            10.0 * (std::f64::consts::PI * x[0] * x[1]).sin()
                + 20.0 * (x[2] - 0.5).powi(2)
                + 10.0 * x[3]
                + 5.0 * x[4]
        };
        let usual = base([x[0], x[1], x[2], x[3], x[4]]);
        let clean = match kind {
            Friedman::GlobalRecurring if (ROWS / 3..2 * ROWS / 3).contains(&row) => {
                base([x[3], x[5], x[1], x[0], x[2]])
            }
            Friedman::GlobalRecurring => usual,
            Friedman::LocalExpanding => {
                let since = |quarter: usize| row >= quarter * ROWS / 4;
                let low = x[1] < 0.3 && x[2] < 0.3 && (since(3) || x[3] > 0.7) && (since(2) || x[4] < 0.3);
                let high = x[1] > 0.7 && x[2] > 0.7 && (since(3) || x[3] < 0.3) && (since(2) || x[4] > 0.7);
                match (since(1) && low, since(1) && high) {
                    (true, _) => 10.0 * x[0] * x[1] + 20.0 * (x[2] - 0.5) + 10.0 * x[3] + 5.0 * x[4],
                    (_, true) => {
                        10.0 * (x[0] * x[1]).cos() + 20.0 * (x[2] - 0.5) + x[3].exp() + 5.0 * x[4] * x[4]
                    }
                    _ => usual,
                }
            }
        };
        (x, clean + normal(&u[10..]))
    })
}

/// Ones with a probability that differs from segment to segment.
pub(crate) fn bernoulli(segments: &[(usize, f64)]) -> Vec<f64> {
    let chances = segments.iter().flat_map(|(length, chance)| std::iter::repeat_n(*chance, *length));
    chances.enumerate().map(|(row, chance)| f64::from(u8::from(draw(7, row as u64) < chance))).collect()
}

/// Normal numbers: length, mean and deviation of each segment.
pub(crate) fn normals(segments: &[(usize, f64, f64)]) -> Vec<f64> {
    let shapes = segments.iter().flat_map(|(length, mean, sd)| std::iter::repeat_n((*mean, *sd), *length));
    shapes.enumerate().map(|(row, (mean, sd))| mean + sd * normal(&draws::<12>(7, row))).collect()
}

#[test]
fn the_streams_are_those_of_the_figures() {
    assert_eq!(draw(42, 0), 0.741_564_878_771_823_3);
    let sum: f64 = sea().map(|(row, _)| row.iter().sum::<f64>()).sum();
    assert!((sum - 597_771.045_038_849_8).abs() < 1e-6, "{sum}");
    assert_eq!(sea().filter(|(_, label)| *label).count(), 24_412);
    let labels: Vec<bool> = agrawal().map(|(_, label)| label).collect();
    let of_quarters = labels.chunks(ROWS / 4).map(|quarter| quarter.iter().filter(|label| **label).count());
    assert_eq!(of_quarters.collect::<Vec<_>>(), [6758, 5350, 1943, 5077]);
    for (kind, mean, deviation) in [
        (Friedman::GlobalRecurring, 14.404_052_229_321_3, 4.991_203_101_133_19),
        (Friedman::LocalExpanding, 14.143_624_599_876_3, 5.444_337_185_251_17),
    ] {
        let targets: Vec<f64> = friedman(kind).map(|(_, target)| target).collect();
        let found = targets.iter().sum::<f64>() / ROWS as f64;
        let squares = targets.iter().map(|target| (target - found).powi(2)).sum::<f64>() / ROWS as f64;
        assert!((found - mean).abs() < 1e-9 && (squares.sqrt() - deviation).abs() < 1e-9, "{kind:?}");
    }
    assert_eq!(bernoulli(&[(5000, 0.2), (5000, 0.4)]).iter().sum::<f64>(), 2970.0);
}
