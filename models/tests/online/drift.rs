//! Detectors raise their alarms at the rows at which River raises them.

use headwater::batch::Record;
use headwater_models::drift::{Adwin, Ddm, Detector, Drift, HddmA, Kswin, PageHinkley};

use crate::streams::{bernoulli, normals};

fn alarms(detector: &impl Detector, values: &[f64]) -> Vec<usize> {
    let mut detector = detector.clone();
    let rows = values.iter().enumerate();
    rows.filter(|(_, value)| detector.update(**value) == Drift::Drift).map(|(row, _)| row).collect()
}

/// The streams of the figures: rates of errors, and normal numbers.
fn rates() -> [Vec<f64>; 4] {
    let mut gradual = vec![(5000, 0.2)];
    gradual.extend((1..=20).map(|step| (250, 0.2 + 0.3 * f64::from(step) / 20.0)));
    gradual.push((2000, 0.5));
    [
        bernoulli(&[(5000, 0.2), (5000, 0.4)]),
        bernoulli(&[(3000, 0.1), (3000, 0.3), (4000, 0.1)]),
        bernoulli(&[(50_000, 0.2)]),
        bernoulli(&gradual),
    ]
}

fn numbers() -> [Vec<f64>; 3] {
    [
        normals(&[(2000, 0.0, 1.0), (2000, 1.0, 1.0)]),
        normals(&[(20_000, 0.0, 1.0)]),
        normals(&[(3000, 0.0, 1.0), (3000, 0.0, 3.0)]),
    ]
}

#[track_caller]
fn assert_alarms(detector: &impl Detector, streams: &[Vec<f64>], expected: &[&[usize]]) {
    let found: Vec<_> = streams.iter().map(|values| alarms(detector, values)).collect();
    assert_eq!(found, expected);
}

#[test]
fn adwin_cuts_where_river_does() {
    assert_alarms(&Adwin::new(), &rates(), &[&[5215], &[3167, 6111], &[], &[6591, 9311]]);
    assert_alarms(&Adwin::new(), &numbers(), &[&[2047], &[], &[3359]]);
    let quick = Adwin::with_delta(0.05);
    assert_alarms(&quick, &rates(), &[&[5183], &[3071, 6079], &[], &[6303, 8479, 9727]]);
    assert_alarms(&quick, &numbers(), &[&[2047], &[], &[3263]]);
}

#[test]
fn adwin_knows_the_mean_of_its_window() {
    let mut detector = Adwin::new();
    for value in &rates()[0] {
        detector.update(*value);
    }
    assert_eq!(detector.width(), 4784.0);
    assert!((detector.mean() - 0.392_767_559).abs() < 1e-9);
    assert!((detector.squares() - 1_140.989_757_525).abs() < 1e-9);
}

#[test]
fn page_hinkley_alarms_where_river_does() {
    let false_ones = [12_912, 27_218, 34_706, 47_202];
    let expected: [&[usize]; 4] = [&[5228], &[3307, 6143], &false_ones, &[6314, 7960, 9703]];
    assert_alarms(&PageHinkley::default(), &rates(), &expected);
    let first: Vec<_> = numbers().iter().map(|values| alarms(&PageHinkley::default(), values)[0]).collect();
    assert_eq!(first[0], 2037);
}

#[test]
fn ddm_alarms_where_river_does() {
    let early = [952, 1010, 1111];
    let with = |last: usize| [&early[..], &[last]].concat();
    assert_alarms(&Ddm::new(), &rates(), &[&with(5241), &[3413], &early, &with(6526)]);
}

#[test]
fn hddm_alarms_where_river_does() {
    assert_alarms(&HddmA::new(), &rates(), &[&[5260], &[3177], &[], &[6366, 8114, 9717, 10_093]]);
}

#[test]
fn kswin_sees_a_spread_that_leaves_the_mean() {
    let [_, same, spread] = numbers();
    let detector = Kswin::new().window(200, 600);
    let found = alarms(&detector, &spread);
    assert!(found.iter().all(|row| *row > 3000) && found.first().is_some_and(|row| *row < 3400), "{found:?}");
    assert!(alarms(&detector, &same).is_empty());
}

/// What is kept of a detector in the middle of a stream is all that it needs to go on.
#[test]
fn a_detector_goes_on_from_what_was_kept_of_it() {
    fn check(mut detector: impl Detector + PartialEq + std::fmt::Debug) {
        for value in &rates()[1] {
            let mut again = Record::from_view(detector.view());
            assert_eq!(detector, again);
            assert_eq!(detector.update(*value), Detector::update(&mut again, *value));
        }
    }
    check(Adwin::new());
    check(PageHinkley::default());
    check(Ddm::new());
    check(HddmA::new());
}
