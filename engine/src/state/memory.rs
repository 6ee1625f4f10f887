//! `MemoryBackend`: a table in an ordered map, for tests and for builds without RocksDB.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Change, Changes, StateBackend, VisitRow, VisitValue, read_changes};
use crate::error::Result;

/// A table that lives and dies with the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend {
    table: String,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryBackend {
    /// An empty table.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        MemoryBackend { table: table.into(), rows: BTreeMap::new() }
    }

    /// Applies the bytes of [`Changes::to_bytes`].
    pub(super) fn apply(&mut self, bytes: &[u8]) -> Result<()> {
        read_changes(bytes, &mut |change| {
            self.change(change);
            Ok(())
        })
    }

    fn change(&mut self, change: Change<'_>) {
        match change {
            Change::Put { key, value } => drop(self.rows.insert(key.to_vec(), value.to_vec())),
            Change::Delete { key } => drop(self.rows.remove(key)),
            Change::DeletePrefix { prefix } => self.delete_prefix(prefix),
        }
    }

    fn delete_prefix(&mut self, prefix: &[u8]) {
        let mut rest = self.rows.split_off(prefix);
        // `rest` starts with the prefix; what follows it comes back.
        if let Some(behind) = rest.keys().find(|key| !key.starts_with(prefix)).cloned() {
            self.rows.append(&mut rest.split_off(&behind));
        }
    }
}

impl StateBackend for MemoryBackend {
    fn table(&self) -> &str {
        &self.table
    }

    fn get_many(&mut self, keys: &[&[u8]], visit: VisitValue<'_>) -> Result<()> {
        for (at, key) in keys.iter().enumerate() {
            if let Some(value) = self.rows.get(*key) {
                visit(at, value)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, changes: &Changes) -> Result<()> {
        changes.iter().for_each(|change| self.change(change));
        Ok(())
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
        visit: VisitRow<'_>,
    ) -> Result<usize> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let rows = self.rows.range::<[u8], _>((start, Bound::Unbounded));
        let mut count = 0;
        for (key, value) in rows.take_while(|(key, _)| key.starts_with(prefix)).take(rows_max) {
            visit(key, value)?;
            count += 1;
        }
        Ok(count)
    }
}
