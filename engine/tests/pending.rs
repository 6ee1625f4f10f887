//! Sinks whose output stays pending: it is shown again after every crash, whoever had staged it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use headwater::batch::Batch;
use headwater::prelude::*;
use headwater::sink::{Cut, Delivery, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use headwater::testing::Simulation;
use headwater::time::Epoch;
use headwater_connectors::Generator;

/// Rows by the subtask that staged them and the epoch; what is pending is gone when the process is.
#[derive(Default)]
struct Target {
    kept: BTreeMap<(u8, u64), Vec<u64>>,
    pending: BTreeMap<(u8, u64), Vec<u64>>,
}

#[derive(Clone, Default)]
struct Lazy {
    target: Arc<Mutex<Target>>,
    /// Every so many commits of a writer survive by themselves.
    kept_every: u64,
}

struct LazyWriter {
    sink: Lazy,
    subtask: u8,
    rows: Vec<u64>,
    commits: u64,
    /// What this writer has shown and nobody keeps.
    shown: Vec<(u8, u64)>,
}

impl Sink<u64> for Lazy {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<u64>>> {
        if subtask.index == 0 {
            self.target.lock().unwrap().pending.clear();
        }
        let (sink, subtask) = (self.clone(), subtask.index as u8);
        Ok(Box::new(LazyWriter { sink, subtask, rows: Vec::new(), commits: 0, shown: Vec::new() }))
    }
}

impl SinkWriter<u64> for LazyWriter {
    fn write(&mut self, batch: &Batch<u64>) -> Result<()> {
        self.rows.extend(batch.iter());
        Ok(())
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        let rows = std::mem::take(&mut self.rows).into_iter().flat_map(u64::to_le_bytes);
        Ok(Staged::bytes([self.subtask].into_iter().chain(rows).collect()))
    }

    fn commit(&mut self, Epoch(epoch): Epoch, staged: &Staged) -> Result<Delivery> {
        let mut target = self.sink.target.lock().unwrap();
        if let Some((subtask, bytes)) = staged.as_bytes().split_first() {
            let (rows, _) = bytes.as_chunks::<8>();
            let rows = rows.iter().map(|row| u64::from_le_bytes(*row)).collect();
            target.pending.insert((*subtask, epoch), rows);
            self.shown.push((*subtask, epoch));
        }
        self.commits += 1;
        if !self.commits.is_multiple_of(self.sink.kept_every) {
            return Ok(Delivery::Pending);
        }
        for shown in self.shown.drain(..) {
            let rows = target.pending.remove(&shown).unwrap_or_default();
            target.kept.entry(shown).or_insert(rows);
        }
        Ok(Delivery::Final)
    }
}

#[test]
fn pending_output_is_shown_again_with_any_number_of_subtasks() {
    for seed in 0..400 {
        let sink = Lazy { kept_every: 2 + seed % 30, ..Lazy::default() };
        let flow = StreamBuilder::new("lazy");
        flow.source("numbers", Generator::new(300, |n| n).partitions(3))
            .rebalance()
            .map(|n| n)
            .sink("lazy", sink.clone());
        let mut config = EngineConfig::default().parallelism(3);
        config.batch.rows_max = 5;
        Simulation::new(seed).run_with_crashes(&flow.build().unwrap(), &config, 8).unwrap();
        let target = sink.target.lock().unwrap();
        let mut all = target.kept.clone();
        all.extend(target.pending.clone());
        let mut rows: Vec<u64> = all.into_values().flatten().collect();
        rows.sort_unstable();
        assert!(rows.iter().copied().eq(0..300), "seed {seed}: {} rows", rows.len());
    }
}
