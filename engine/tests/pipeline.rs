//! What comes out of whole topologies, on all three drivers.

use std::collections::BTreeMap;

use headwater::prelude::*;
use headwater::testing::Simulation;
use headwater_connectors::{Collect, Generator};

fn counts(flow: &StreamBuilder) -> Collect<KeyedResult<u64, u64>> {
    let out = Collect::new();
    flow.source("numbers", Generator::new(10_000, |n| n).partitions(3))
        .filter(|n| n % 3 != 0)
        .map(|n| n * 2)
        .key_by(|n| n % 10)
        .count()
        .output_mode(OutputMode::Append)
        .sink("out", out.clone());
    out
}

fn sorted(out: &Collect<KeyedResult<u64, u64>>) -> BTreeMap<u64, u64> {
    out.take().into_iter().map(|row| (row.key, row.value)).collect()
}

#[test]
fn threads_and_simulation_give_the_counts_of_a_loop() {
    let mut expected = BTreeMap::new();
    for n in (0..10_000_u64).filter(|n| n % 3 != 0) {
        *expected.entry(n * 2 % 10).or_insert(0) += 1;
    }
    for parallelism in [1, 2, 4] {
        let flow = StreamBuilder::new("threads");
        let out = counts(&flow);
        flow.build().unwrap().run(EngineConfig::default().parallelism(parallelism)).unwrap();
        assert_eq!(sorted(&out), expected);
        let flow = StreamBuilder::new("simulation");
        let out = counts(&flow);
        let config = EngineConfig::default().parallelism(parallelism);
        Simulation::new(7).run(&flow.build().unwrap(), &config).unwrap();
        assert_eq!(sorted(&out), expected);
    }
}

#[test]
fn complete_mode_sends_the_whole_result_at_any_parallelism() {
    for parallelism in [1, 3] {
        let (flow, out) = (StreamBuilder::new("complete"), Collect::new());
        flow.source("numbers", Generator::new(1_000, |n| n).partitions(2))
            .key_by(|n| n % 10)
            .count()
            .output_mode(OutputMode::Complete)
            .sink("out", out.clone());
        let config = EngineConfig::default().parallelism(parallelism);
        Simulation::new(3).run(&flow.build().unwrap(), &config).unwrap();
        let rows = out.take();
        assert!(!rows.is_empty());
        // Results come whole: ten keys at a time once all have been seen, and the last is final.
        let last: BTreeMap<_, _> = rows[rows.len() - 10..].iter().map(|row| (row.key, row.value)).collect();
        assert_eq!(last, (0..10).map(|key| (key, 100)).collect());
    }
}
