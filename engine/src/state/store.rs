//! `StateStore`: all tables of a job as of one committed epoch.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{Changes, MemoryBackend, StateBackend, VisitRow, VisitValue};
use crate::error::{Error, Result, guard};
use crate::time::Epoch;

/// The changes of some tables: name of the table and the bytes of [`Changes::to_bytes`].
pub type TableChanges = (String, Vec<u8>);

/// The tables of a job. It only ever receives committed epochs, and knows the last one.
pub trait StateStore: Send + Sync + fmt::Debug {
    /// The table of an operator.
    ///
    /// # Errors
    /// The store cannot be written.
    fn table(&self, operator: &str) -> Result<Box<dyn StateBackend>>;

    /// The epoch that the tables are at; `Epoch(0)` when they are empty.
    ///
    /// # Errors
    /// The store cannot be read.
    fn applied(&self) -> Result<Epoch>;

    /// The newest epoch of which the store may hold some changes.
    ///
    /// # Errors
    /// The store cannot be read.
    fn touched(&self) -> Result<Epoch> {
        self.applied()
    }

    /// Says before the changes of an epoch are applied in several calls that some of them may be there.
    ///
    /// # Errors
    /// The store cannot be written.
    fn touch(&self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }

    /// Applies all changes in order, and behind them the epoch that they lead to, if they lead to one. Cut short,
    /// it leaves some of them and the epoch of before: the log has them all, and they may be applied again.
    ///
    /// # Errors
    /// The store cannot be written, or the changes are damaged.
    fn apply(&self, changes: &[TableChanges], epoch: Option<Epoch>) -> Result<()>;

    /// Brings what was applied to the disk.
    ///
    /// # Errors
    /// The disk is full or failing.
    fn flush(&self) -> Result<()>;

    /// Makes a copy of what is on the disk, in a directory that does not exist yet; its files may be links.
    ///
    /// # Errors
    /// The store is in memory only, or the disk is full or failing.
    fn copy_to(&self, directory: &Path) -> Result<()> {
        Err(Error::failed(format!("a store in memory cannot be copied to `{}`", directory.display())))
    }
}

/// Tables in memory; clones share them. What a crash would leave is what the last flush saw.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    now: Arc<Mutex<Image>>,
    flushed: Arc<Mutex<Image>>,
}

#[derive(Clone, Debug, Default)]
struct Image {
    applied: Epoch,
    tables: BTreeMap<String, MemoryBackend>,
}

impl Image {
    fn table(&mut self, operator: &str) -> &mut MemoryBackend {
        self.tables.entry(operator.to_owned()).or_insert_with(|| MemoryBackend::new(operator))
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        MemoryStore::default()
    }

    /// The store as a crash would leave it.
    #[must_use]
    pub fn crash(&self) -> Self {
        let image = guard(&self.flushed).clone();
        MemoryStore { now: Arc::new(Mutex::new(image.clone())), flushed: Arc::new(Mutex::new(image)) }
    }
}

impl StateStore for MemoryStore {
    fn table(&self, operator: &str) -> Result<Box<dyn StateBackend>> {
        Ok(Box::new(MemoryTable { store: self.clone(), operator: operator.to_owned() }))
    }

    fn applied(&self) -> Result<Epoch> {
        Ok(guard(&self.now).applied)
    }

    fn apply(&self, changes: &[TableChanges], epoch: Option<Epoch>) -> Result<()> {
        let mut image = guard(&self.now);
        for (operator, bytes) in changes {
            image.table(operator).apply(bytes)?;
        }
        image.applied = epoch.unwrap_or(image.applied);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        *guard(&self.flushed) = guard(&self.now).clone();
        Ok(())
    }
}

/// One table of a [`MemoryStore`].
#[derive(Debug)]
struct MemoryTable {
    store: MemoryStore,
    operator: String,
}

impl StateBackend for MemoryTable {
    fn table(&self) -> &str {
        &self.operator
    }

    fn get_many(&mut self, keys: &[&[u8]], visit: VisitValue<'_>) -> Result<()> {
        guard(&self.store.now).table(&self.operator).get_many(keys, visit)
    }

    fn write(&mut self, changes: &Changes) -> Result<()> {
        guard(&self.store.now).table(&self.operator).write(changes)
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
        visit: VisitRow<'_>,
    ) -> Result<usize> {
        guard(&self.store.now).table(&self.operator).scan(prefix, after, rows_max, visit)
    }
}
