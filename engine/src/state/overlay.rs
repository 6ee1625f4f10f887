//! `Overlay`: changes that a table has not taken yet, laid over it for those who only look.

use std::collections::{BTreeMap, HashSet};

use super::layout::PREFIX_BYTES;
use super::{Change, StateBackend, VisitRow, read_changes};
use crate::error::Result;

/// Rows that are read from the table at once.
const CHUNK_ROWS: usize = 4096;

/// The rows that changes leave, and what they delete of the table below.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// `None`: the key is deleted.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Prefixes whose rows in the table below are gone.
    gone: HashSet<Vec<u8>>,
}

impl Overlay {
    /// Adds the bytes of `Changes::to_bytes`.
    ///
    /// # Errors
    /// They are damaged.
    pub(crate) fn push(&mut self, changes: &[u8]) -> Result<()> {
        read_changes(changes, &mut |change| {
            match change {
                Change::Put { key, value } => drop(self.rows.insert(key.to_vec(), Some(value.to_vec()))),
                Change::Delete { key } => drop(self.rows.insert(key.to_vec(), None)),
                Change::DeletePrefix { prefix } => {
                    let from = self.rows.range(prefix.to_vec()..);
                    let within: Vec<_> =
                        from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).cloned().collect();
                    within.iter().for_each(|key| drop(self.rows.remove(key)));
                    self.gone.insert(prefix.to_vec());
                }
            }
            Ok(())
        })
    }

    fn hides(&self, key: &[u8]) -> bool {
        self.rows.contains_key(key)
            || key.get(..PREFIX_BYTES).is_some_and(|prefix| self.gone.contains(prefix))
    }

    /// Visits the rows whose keys start with `prefix`, ascending.
    ///
    /// # Errors
    /// The table cannot be read, or `visit` failed.
    pub(crate) fn scan(
        &self,
        table: Option<&mut dyn StateBackend>,
        prefix: &[u8],
        visit: VisitRow<'_>,
    ) -> Result<()> {
        let above = self.rows.range(prefix.to_vec()..);
        let mut above = above.take_while(|(key, _)| key.starts_with(prefix)).peekable();
        if let Some(table) = table {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let mut last = Vec::new();
                let count = table.scan(prefix, after.as_deref(), CHUNK_ROWS, &mut |key, value| {
                    while let Some((own, row)) = above.next_if(|(own, _)| own.as_slice() < key) {
                        row.as_ref().map_or(Ok(()), |value| visit(own, value))?;
                    }
                    last.clear();
                    last.extend_from_slice(key);
                    if self.hides(key) { Ok(()) } else { visit(key, value) }
                })?;
                if count < CHUNK_ROWS {
                    break;
                }
                after = Some(last);
            }
        }
        above.try_for_each(|(key, row)| row.as_ref().map_or(Ok(()), |value| visit(key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Changes, MemoryBackend, state_prefix};
    use super::*;

    fn key(group: u16, name: &[u8]) -> Vec<u8> {
        [&state_prefix(group, 0)[..], name].concat()
    }

    #[test]
    fn changes_hide_what_they_replace_and_delete() {
        let mut table = MemoryBackend::new("t");
        let mut below = Changes::new();
        for name in [&b"a"[..], b"b", b"c"] {
            below.put(&key(1, name), b"old");
            below.put(&key(2, name), b"old");
        }
        table.write(&below).unwrap();
        let mut changes = Changes::new();
        changes.put(&key(2, b"b"), b"lost");
        changes.delete_prefix(&state_prefix(2, 0));
        changes.put(&key(2, b"bb"), b"new");
        changes.delete(&key(1, b"c"));
        changes.put(&key(1, b"b"), b"new");
        let mut overlay = Overlay::default();
        overlay.push(&changes.to_bytes()).unwrap();
        let mut rows = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        overlay.scan(Some(&mut table), &[], visit).unwrap();
        let all = [(key(1, b"a"), "old"), (key(1, b"b"), "new"), (key(2, b"bb"), "new")];
        assert!(rows.iter().eq(&all.map(|(key, value)| (key, value.as_bytes().to_vec()))));
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], _: &[u8]| {
            found.push(key.to_vec());
            Ok(())
        };
        overlay.scan(Some(&mut table), &key(1, b"b"), visit).unwrap();
        assert_eq!(found, [key(1, b"b")]);
    }
}
