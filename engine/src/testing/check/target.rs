//! What a reader of a sink's target may see, and when.

use std::collections::{BTreeMap, BTreeSet};

/// The rows that were committed, and those that were seen.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// Epoch of each committed row, and who wrote it: the life and the subtask.
    committed: BTreeMap<u64, (u64, (usize, usize))>,
    seen: BTreeSet<u64>,
}

impl Target {
    pub(super) fn commit(&mut self, row: u64, epoch: u64, writer: (usize, usize)) {
        self.committed.insert(row, (epoch, writer));
    }

    /// Judges what is seen now; the promise that is broken, in words.
    pub(super) fn look(&mut self, rows: &[u64]) -> Result<(), String> {
        let mut now = BTreeSet::new();
        let mut last = BTreeMap::<(usize, usize), u64>::new();
        for row in rows {
            let Some((_, writer)) = self.committed.get(row) else {
                return Err(format!(
                    "rows must not be seen before their epoch is committed, and row {row} is seen"
                ));
            };
            if !now.insert(*row) {
                return Err(format!(
                    "`commit` and `recover` change nothing where rows are shown already, and no epoch has rows of \
                     another: row {row} is seen twice"
                ));
            }
            if let Some(before) = last.insert(*writer, *row).filter(|before| before > row) {
                return Err(format!(
                    "rows of a subtask are seen in the order in which they were written: row {row} comes behind \
                     row {before}"
                ));
            }
        }
        if let Some(gone) = self.seen.iter().find(|row| !now.contains(row)) {
            return Err(format!("what was seen is never taken back: row {gone} was seen, and is gone"));
        }
        self.seen = now;
        Ok(())
    }

    /// The input has ended, and all is committed.
    pub(super) fn end(&self) -> Result<(), String> {
        let missing: Vec<_> = self.committed.iter().filter(|(row, _)| !self.seen.contains(row)).collect();
        let Some((row, (epoch, _))) = missing.first() else { return Ok(()) };
        Err(format!(
            "what `prepare` returned, with what it had synced elsewhere, must be enough to show the rows after a \
             crash, and each commit shows the rows of its own epoch: {} rows are missing at the end, the first is \
             row {row} of epoch {epoch}",
            missing.len()
        ))
    }
}
