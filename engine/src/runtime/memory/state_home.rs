//! Where the keyed state of a run lives: one store for all operators, opened by the first that spills.

use std::sync::{Arc, Mutex};

use super::{combine_bytes, held_bytes, hot_bytes};
use crate::config::EngineConfig;
use crate::error::Result;
use crate::error::guard;
use crate::state::{Changes, StateBackend};

/// The store of a run and each instance's share of the memory for state.
pub(crate) struct StateHome {
    share_bytes: usize,
    combine_bytes: usize,
    held_bytes: usize,
    store: Arc<Mutex<Store>>,
}

impl StateHome {
    /// A home for `instances` stateful instances.
    pub(crate) fn new(config: &EngineConfig, instances: usize) -> Self {
        let instances = instances.max(1);
        StateHome {
            share_bytes: hot_bytes(config) / instances,
            combine_bytes: combine_bytes(config) / instances,
            held_bytes: held_bytes(config) / instances,
            store: Arc::new(Mutex::new(Store::new(config))),
        }
    }

    /// Memory that one instance may use for partial results.
    pub(crate) fn combine_bytes(&self) -> usize {
        self.combine_bytes
    }

    /// Memory that one instance may use for its hot table.
    pub(crate) fn share_bytes(&self) -> usize {
        self.share_bytes
    }

    /// Memory that one instance of a durable job may hold for the store.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The table of one operator; `None` where there is no store to spill to.
    pub(crate) fn backend(&self, operator: &str) -> Option<Box<dyn StateBackend>> {
        Store::EXISTS.then(|| {
            let store = Arc::clone(&self.store);
            Box::new(Unopened { operator: operator.to_owned(), store, opened: None }) as Box<dyn StateBackend>
        })
    }
}

/// A table that is opened by the first write: most jobs never spill and need no store.
#[derive(Debug)]
struct Unopened {
    operator: String,
    store: Arc<Mutex<Store>>,
    opened: Option<Box<dyn StateBackend>>,
}

impl StateBackend for Unopened {
    fn table(&self) -> &str {
        &self.operator
    }

    fn get_many(&mut self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        match &mut self.opened {
            Some(table) => table.get_many(keys, found),
            None => Ok(()),
        }
    }

    fn write(&mut self, changes: &Changes) -> Result<()> {
        if let Some(table) = &mut self.opened {
            return table.write(changes);
        }
        let mut store = guard(&self.store);
        let table = self.opened.insert(store.table(&self.operator)?);
        table.write(changes)
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<usize> {
        match &mut self.opened {
            Some(table) => table.scan(prefix, after, rows_max, visit),
            None => Ok(0),
        }
    }
}

#[cfg(feature = "rocksdb")]
#[derive(Debug)]
struct Store {
    directory: Option<std::path::PathBuf>,
    memory_bytes: usize,
    opened: Option<crate::state::RocksStore>,
}

#[cfg(feature = "rocksdb")]
impl Store {
    const EXISTS: bool = true;

    fn new(config: &EngineConfig) -> Self {
        Store {
            directory: config.spill_dir.clone(),
            memory_bytes: config.state_bytes_max / super::STORE_PART,
            opened: None,
        }
    }

    fn table(&mut self, operator: &str) -> Result<Box<dyn StateBackend>> {
        use crate::state::RocksStore;
        let store = match &mut self.opened {
            Some(store) => store,
            closed => closed.insert(match &self.directory {
                Some(directory) => RocksStore::create(directory, self.memory_bytes)?,
                None => RocksStore::temporary(self.memory_bytes)?,
            }),
        };
        Ok(Box::new(store.backend(operator)?))
    }
}

#[cfg(not(feature = "rocksdb"))]
#[derive(Debug)]
struct Store;

#[cfg(not(feature = "rocksdb"))]
impl Store {
    const EXISTS: bool = false;

    fn new(_: &EngineConfig) -> Self {
        Store
    }

    fn table(&mut self, operator: &str) -> Result<Box<dyn StateBackend>> {
        Ok(Box::new(crate::state::MemoryBackend::new(operator)))
    }
}
