//! A sink with every mistake that one can make.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use headwater::batch::Batch;
use headwater::prelude::*;
use headwater::sink::{Cut, Delivery, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use headwater::testing::{SinkCheck, SinkReport, check_sink};
use headwater::time::Epoch;

use super::complains;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    ShowsWhatIsWritten,
    ShowsWhatIsPrepared,
    RepeatsACommit,
    RefusesToRepeatACommit,
    KeepsRowsInMemory,
    StagesRowsTwice,
    ReversesRows,
    ShowsWhenDropped,
    OneTokenForAllSubtasks,
    RefusesEmptyEpochs,
    RecoversNothing,
    RecoversOnlyTheLast,
    RecoversOnlyItsOwn,
    ClearsWhenOpened,
    ForgetsTheOldest,
}

/// A database: rows, and which epoch of which subtask was shown.
#[derive(Default)]
struct Table {
    rows: Vec<u64>,
    shown: Vec<(u32, u64)>,
}

type Shared = Arc<Mutex<Table>>;

struct Toy {
    mistake: Mistake,
    table: Shared,
}

struct ToyWriter {
    mistake: Mistake,
    table: Shared,
    subtask: u32,
    rows: Vec<u64>,
    /// Only of a writer with a mistake.
    kept: Vec<u64>,
}

impl Sink<u64> for Toy {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<u64>>> {
        if self.mistake == Mistake::ClearsWhenOpened {
            self.table.lock().unwrap().rows.clear();
        }
        let (table, subtask) = (Arc::clone(&self.table), subtask.index as u32);
        Ok(Box::new(ToyWriter { mistake: self.mistake, table, subtask, rows: Vec::new(), kept: Vec::new() }))
    }
}

impl SinkWriter<u64> for ToyWriter {
    fn write(&mut self, batch: &Batch<u64>) -> Result<()> {
        self.rows.extend(batch.iter());
        if self.mistake == Mistake::ShowsWhatIsWritten {
            self.table.lock().unwrap().rows.append(&mut self.rows);
        }
        Ok(())
    }

    fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        if self.rows.is_empty() && !cut.is_last && self.mistake == Mistake::RefusesEmptyEpochs {
            return Err(Error::failed("an epoch has rows"));
        }
        let mut rows = std::mem::take(&mut self.rows);
        match self.mistake {
            Mistake::ShowsWhatIsPrepared => self.table.lock().unwrap().rows.extend(&rows),
            Mistake::KeepsRowsInMemory => self.kept = std::mem::take(&mut rows),
            Mistake::StagesRowsTwice => self.rows = rows.clone(),
            Mistake::ReversesRows => rows.reverse(),
            _ => {}
        }
        let mut bytes = self.subtask.to_le_bytes().to_vec();
        rows.iter().for_each(|row| bytes.extend(row.to_le_bytes()));
        Ok(Staged::bytes(bytes))
    }

    fn commit(&mut self, Epoch(epoch): Epoch, staged: &Staged) -> Result<Delivery> {
        let Some((subtask, bytes)) = staged.as_bytes().split_first_chunk() else {
            return Ok(Delivery::Final);
        };
        let (chunks, _) = bytes.as_chunks::<8>();
        let mut rows: Vec<u64> = chunks.iter().map(|row| u64::from_le_bytes(*row)).collect();
        let subtask = u32::from_le_bytes(*subtask);
        let mut table = self.table.lock().unwrap();
        let token = (if self.mistake == Mistake::OneTokenForAllSubtasks { 0 } else { subtask }, epoch);
        if table.shown.contains(&token) {
            match self.mistake {
                Mistake::RepeatsACommit => {}
                Mistake::RefusesToRepeatACommit => return Err(Error::failed("the epoch is there")),
                _ => return Ok(Delivery::Final),
            }
        }
        match self.mistake {
            Mistake::ShowsWhatIsWritten | Mistake::ShowsWhatIsPrepared => {}
            Mistake::KeepsRowsInMemory => rows = std::mem::take(&mut self.kept),
            Mistake::ShowsWhenDropped => {
                self.kept.append(&mut rows);
                return Ok(Delivery::Final);
            }
            Mistake::ForgetsTheOldest if table.rows.len() > 10 => drop(table.rows.remove(0)),
            _ => {}
        }
        table.shown.push(token);
        table.rows.append(&mut rows);
        Ok(Delivery::Final)
    }

    fn recover(&mut self, mut epochs: Vec<(Epoch, Staged)>) -> Result<Delivery> {
        match self.mistake {
            Mistake::RecoversNothing => epochs.clear(),
            Mistake::RecoversOnlyTheLast => drop(epochs.drain(..epochs.len() - 1)),
            Mistake::RecoversOnlyItsOwn => {
                epochs.retain(|(_, staged)| staged.as_bytes().first() == Some(&(self.subtask as u8)));
            }
            _ => {}
        }
        epochs.iter().try_fold(Delivery::Final, |_, (epoch, staged)| self.commit(*epoch, staged))
    }
}

impl Drop for ToyWriter {
    fn drop(&mut self) {
        if self.mistake == Mistake::ShowsWhenDropped {
            self.table.lock().unwrap().rows.append(&mut self.kept);
        }
    }
}

fn check(mistake: Mistake) -> Result<SinkReport> {
    let tables = Mutex::new(BTreeMap::<u64, Shared>::new());
    let table = |trial| Arc::clone(tables.lock().unwrap().entry(trial).or_default());
    check_sink(
        |trial| Ok(Toy { mistake, table: table(trial) }),
        |trial| Ok(table(trial).lock().unwrap().rows.clone()),
        &SinkCheck::new(|n| n),
    )
}

#[test]
fn a_sink_without_a_mistake_passes() {
    let report = check(Mistake::None).unwrap();
    assert!(report.trials > 200 && report.calls > 20_000, "{report:?}");
}

#[test]
fn every_mistake_of_a_sink_is_found_and_named() {
    let early = "rows must not be seen before their epoch is committed";
    let twice = "is seen twice";
    let missing = "must be enough to show the rows after a crash";
    for (mistake, words) in [
        (Mistake::ShowsWhatIsWritten, &[early, "behind `write(0, rows [0, 1])`"][..]),
        (Mistake::ShowsWhatIsPrepared, &[early, "behind `prepare(0, epoch 1)`"]),
        (Mistake::RepeatsACommit, &[twice, "change nothing where rows are shown already"]),
        (Mistake::RefusesToRepeatACommit, &["`recover` shows what was committed", "the epoch is there"]),
        (Mistake::KeepsRowsInMemory, &[missing, "epoch"]),
        (Mistake::StagesRowsTwice, &[twice, "no epoch has rows of another"]),
        (Mistake::ReversesRows, &["in the order in which they were written", "comes behind row"]),
        (Mistake::ShowsWhenDropped, &["rows"]),
        (Mistake::OneTokenForAllSubtasks, &[missing]),
        (Mistake::RefusesEmptyEpochs, &["also one without rows", "an epoch has rows"]),
        (Mistake::RecoversNothing, &[missing, "recover(0"]),
        (Mistake::RecoversOnlyTheLast, &[missing]),
        (Mistake::RecoversOnlyItsOwn, &[missing]),
        (Mistake::ClearsWhenOpened, &["never taken back", "was seen, and is gone", "behind `open(0 of"]),
        (Mistake::ForgetsTheOldest, &["never taken back", "behind `commit("]),
    ] {
        complains(&format!("{mistake:?}"), check(mistake), words);
    }
}
