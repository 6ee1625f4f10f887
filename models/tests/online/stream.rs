//! Learners in a topology: the same scores as without one, whatever crashes; and what they do not take.

use headwater::prelude::*;
use headwater::testing::{Ledger, Simulation};
use headwater_connectors::{Collect, MemorySource};
use headwater_models::online::{GaussianNb, LogisticSgd, Poly2, QrRls, Scaled};
use headwater_models::{LearnStream, Learner, Scored};

use crate::streams::sea;

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    sensor: u32,
    a: f64,
    b: f64,
    c: f64,
    label: Option<bool>,
}

/// The first rows of SEA; some have no label, and their sensors take turns.
fn rows(count: usize) -> Vec<Row> {
    let row = |(number, ([a, b, c], label)): (usize, ([f64; 3], bool))| Row {
        sensor: (number % 3) as u32,
        a,
        b,
        c,
        label: (number % 10 != 9).then_some(label),
    };
    sea().take(count).enumerate().map(row).collect()
}

fn features(row: RowView<'_>) -> [f64; 3] {
    [row.a, row.b, row.c]
}

/// What a loop over the rows gives: the bits of each score, and how many rows were learned before, per sensor.
fn by_loop(rows: &[Row], learner: &impl Learner<Label = bool>) -> Vec<Scored<Row, f64>> {
    let mut learners = std::collections::HashMap::new();
    let score = |record: &Row| {
        let (own, learned) = learners.entry(record.sensor).or_insert_with(|| (learner.clone(), 0));
        let before = *learned;
        let score = own.score(&features(record.view()));
        if let Some(label) = record.label {
            own.learn(&features(record.view()), label);
            *learned += 1;
        }
        Scored { record: record.clone(), score, learned: before }
    };
    rows.iter().map(score).collect()
}

/// Each sensor's rows, in their order.
fn sorted(mut rows: Vec<Scored<Row, f64>>) -> Vec<Scored<Row, f64>> {
    rows.sort_by_key(|row| row.record.sensor);
    rows
}

fn learner() -> impl Learner<Label = bool> {
    Scaled::new(Poly2::new(LogisticSgd::new(0.05)))
}

#[test]
fn a_topology_scores_as_a_loop_does() {
    let (flow, out) = (StreamBuilder::new("learn"), Collect::new());
    let source = flow.source("rows", MemorySource::new(vec![rows(3000)]));
    let (scored, rejected) =
        source.key_by(|row| row.sensor).learn_online(learner(), features, |row| row.label);
    scored.sink("scored", out.clone());
    rejected.sink("rejected", Collect::new());
    flow.build().unwrap().run(EngineConfig::default().parallelism(2)).unwrap();
    assert_eq!(sorted(out.take()), sorted(by_loop(&rows(3000), &learner())));
}

/// Power is lost at random points, disks fail, and what was learned behind the last epoch is learned again.
#[test]
fn what_is_learned_survives_crashes_to_the_last_bit() {
    let expected = sorted(by_loop(&rows(600), &learner()));
    let mut crashes = 0;
    for seed in 0..60 {
        let (flow, out) = (StreamBuilder::new("learn"), Ledger::new());
        let source = flow.source("rows", MemorySource::new(vec![rows(600)]));
        let (scored, rejected) =
            source.key_by(|row| row.sensor).learn_online(learner(), features, |row| row.label);
        scored.sink("scored", out.clone());
        rejected.sink("rejected", Collect::new());
        let mut config = EngineConfig::default().parallelism(1 + seed as usize % 3);
        config.batch.rows_max = 16;
        let simulation = Simulation::new(seed).steps_max(5_000_000);
        let report = simulation.run_with_crashes(&flow.build().unwrap(), &config, 4).unwrap();
        crashes += report.crashes;
        assert_eq!(sorted(out.take().unwrap()), expected, "seed {seed}");
    }
    assert!(crashes > 60, "{crashes} crashes");
}

#[test]
fn what_cannot_be_learned_from_is_rejected_and_the_others_go_on() {
    let mut all = rows(500);
    all[100].a = f64::NAN;
    all[200].b = f64::INFINITY;
    all[300].c = -1e101;
    let good: Vec<Row> = all
        .iter()
        .enumerate()
        .filter(|(at, _)| ![100, 200, 300].contains(at))
        .map(|(_, row)| row.clone())
        .collect();
    let (flow, out, bad) = (StreamBuilder::new("learn"), Collect::new(), Collect::new());
    let source = flow.source("rows", MemorySource::new(vec![all]));
    let (scored, rejected) =
        source.key_by(|row| row.sensor).learn_online(learner(), features, |row| row.label);
    scored.sink("scored", out.clone());
    rejected.sink("rejected", bad.clone());
    flow.build().unwrap().run(EngineConfig::default().parallelism(1)).unwrap();
    assert_eq!(sorted(out.take()), sorted(by_loop(&good, &learner())));
    let bad = bad.take();
    let reasons: Vec<_> = bad.iter().map(|row| row.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "feature 0 is NaN: features must be numbers within 1e100",
            "feature 1 is inf: features must be numbers within 1e100",
            "feature 2 is -1e101: features must be numbers within 1e100",
        ]
    );
    assert!(bad[0].payload.contains("sensor: 1") && bad[0].line == 101, "{:?}", bad[0]);
}

#[test]
fn rows_of_another_width_are_rejected() {
    let (flow, out, bad) = (StreamBuilder::new("learn"), Collect::new(), Collect::new());
    let source =
        flow.source("rows", MemorySource::new(vec![vec![vec![1.0, 2.0], vec![1.0], vec![3.0, 4.0]]]));
    let (scored, rejected) = source.key_by(|_| 0_u8).learn_online(
        QrRls::new(),
        |row| row.iter().collect::<Vec<f64>>(),
        |row| row.get(0),
    );
    scored.sink("scored", out.clone());
    rejected.sink("rejected", bad.clone());
    flow.build().unwrap().run(EngineConfig::default()).unwrap();
    assert_eq!(out.take().len(), 2);
    assert_eq!(bad.take()[0].reason, "it has 1 features, those before had 2: give each record the same");
}

#[test]
fn a_class_that_cannot_be_is_rejected() {
    let (flow, out, bad) = (StreamBuilder::new("learn"), Collect::new(), Collect::new());
    let source = flow.source("rows", MemorySource::new(vec![vec![0_u32, 1, 4_000_000_000, 1]]));
    let (scored, rejected) =
        source.key_by(|_| 0_u8).learn_online(GaussianNb::new(), |class| [f64::from(class % 2)], Some);
    scored.sink("scored", out.clone());
    rejected.sink("rejected", bad.clone());
    flow.build().unwrap().run(EngineConfig::default()).unwrap();
    assert_eq!(out.take().len(), 3);
    assert_eq!(bad.take()[0].reason, "the class is 4000000000: classes go from 0 to 9999");
}
