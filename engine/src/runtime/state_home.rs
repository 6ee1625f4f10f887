//! How the memory of a run is divided, and where its keyed state lives: one store for all operators, opened
//! by the first that spills.

use std::sync::{Arc, Mutex};

use super::guard;
use crate::channel::ChannelLimits;
use crate::config::EngineConfig;
use crate::error::Result;
use crate::state::{Changes, StateBackend};

/// The store of a run and each instance's share of the memory for state.
pub(crate) struct StateHome {
    share_bytes: usize,
    combine_bytes: usize,
    store: Arc<Mutex<Store>>,
}

/// Parts of the memory, as divisors. The hot tables have what is left.
///
/// For the store's block cache and memtables.
pub(super) const STORE_PART: usize = 4;

/// For partial results in front of exchanges: half for the tables, half for their rows when they are sent.
const COMBINE_PART: usize = 16;

/// For what is in channels.
const CHANNEL_PART: usize = 16;

/// For what nothing accounts for: memory that was freed and not given back. Measured: some of it grows with
/// the budget, most with the threads, because each allocates from memory of its own, and a block that the
/// store caches leaves a hole where another thread evicts it. It has at most 7/16 of all.
const UNSEEN_PART: usize = 16;
const UNSEEN_PARTS_MAX: usize = 7;
const UNSEEN_THREAD_BYTES: usize = 10 << 20;

/// Least that a channel holds: smaller batches cost more than the rows in them.
const CHANNEL_BYTES_MIN: usize = 64 << 10;

/// What one of `count` channels may hold.
pub(crate) fn channel_limits(config: &EngineConfig, count: usize) -> ChannelLimits {
    let share = config.state_bytes_max / CHANNEL_PART / count.max(1);
    ChannelLimits { bytes_max: config.channel.bytes_max.min(share.max(CHANNEL_BYTES_MIN)), ..config.channel }
}

/// Memory of all hot tables.
fn hot_bytes(all: usize, threads: usize) -> usize {
    let unseen = all / UNSEEN_PART + UNSEEN_THREAD_BYTES.saturating_mul(threads);
    let unseen = unseen.min(all / UNSEEN_PART * UNSEEN_PARTS_MAX);
    all - all / STORE_PART - all / COMBINE_PART - all / CHANNEL_PART - unseen
}

impl StateHome {
    /// A home for `instances` stateful instances.
    pub(crate) fn new(config: &EngineConfig, instances: usize) -> Self {
        let (all, instances) = (config.state_bytes_max, instances.max(1));
        StateHome {
            share_bytes: hot_bytes(all, config.parallelism) / instances,
            combine_bytes: all / COMBINE_PART / 2 / instances,
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
            memory_bytes: config.state_bytes_max / STORE_PART,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_its_share_and_room_for_a_batch() {
        let bytes = |state_bytes_max, count| {
            channel_limits(&EngineConfig { state_bytes_max, ..EngineConfig::default() }, count).bytes_max
        };
        let most = ChannelLimits::default().bytes_max;
        assert_eq!(bytes(512 << 20, 8), most);
        assert_eq!(bytes(64 << 20, 16), 256 << 10);
        assert_eq!(bytes(1 << 20, 16), CHANNEL_BYTES_MIN);
        assert_eq!(bytes(512 << 20, 0), most);
    }

    #[test]
    fn the_hot_tables_have_the_rest() {
        for all in [1 << 20, 64 << 20, 1 << 30] {
            for threads in [1, 4, 1000] {
                let hot = hot_bytes(all, threads);
                assert!(hot >= all / 16 * 3 && hot < all * 5 / 8, "{hot} of {all}");
            }
        }
    }
}
