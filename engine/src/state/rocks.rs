//! `RocksStore`: one RocksDB per job, with a column family per operator and one limit for its memory.
//!
//! Its write-ahead log is off: the epoch log decides what is durable. Flushes are atomic across column
//! families, so that what a crash leaves is the state of one moment.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor,
    DBCompactionStyle, DBCompressionType, DBWithThreadMode, FlushOptions, LogLevel, MultiThreaded, Options,
    ReadOptions, WriteBatch, WriteBufferManager, WriteOptions, checkpoint::Checkpoint,
};

use super::{
    Change, Changes, StateBackend, StateStore, TableChanges, VisitRow, VisitValue, directory, read_changes,
};
use crate::error::{Error, Result, guard};
use crate::time::Epoch;

type Database = DBWithThreadMode<MultiThreaded>;

/// Least memory that RocksDB works with.
const MEMORY_BYTES_MIN: usize = 8 << 20;

/// Part of the memory, as a divisor, that holds writes until they are flushed.
const WRITE_SHARE: usize = 4;

/// Most open table files; each costs memory and a file descriptor.
const OPEN_FILES_MAX: i32 = 256;

/// How often a store that another process writes is looked at again before it counts as damaged.
const TRIES_MAX: usize = 5;

/// Threads that flush and compact.
const BACKGROUND_JOBS: i32 = 2;

/// Memtables grow by this much: small enough to fit where other memory was freed.
const ARENA_BLOCK_BYTES: usize = 64 << 10;

/// Read ahead per file of a scan.
const SCAN_READAHEAD_BYTES: usize = 32 << 10;

/// Keys of one look-up: each may hold a block of the cache until the look-up is done.
const LOOKUP_KEYS: usize = 32;

/// Bytes of one write of an epoch's changes: they are in memory a second time until it is done.
const APPLY_BYTES: usize = 256 << 10;

const BLOCK_BYTES: usize = 4 << 10;
const FILTER_BITS_PER_KEY: f64 = 10.0;

/// Buffers of files being written, and read ahead per file of a compaction: memory outside the limit.
const FILE_BUFFER_BYTES: usize = 128 << 10;

/// In front of an operator's name in the name of its column family, because `default` is taken.
const FAMILY_PREFIX: &str = "state/";

/// The RocksDB of one job; clones share it.
#[derive(Clone)]
pub struct RocksStore {
    shared: Arc<Shared>,
}

/// What a store outlives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Every run of its job.
    Job,
    /// One run.
    Run,
    /// Nothing.
    Process,
}

struct Shared {
    /// `None` only while it is closed on drop.
    database: Option<Database>,
    directory: PathBuf,
    /// Delete the directory when done.
    temporary: bool,
    /// Damage that is found is told the next run.
    says_damage: bool,
    cache: Cache,
    family_options: Options,
    /// Names of all column families; held while one is created.
    families: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}

impl RocksStore {
    /// Opens the store in `directory`, or makes one. Block cache and memtables together keep to
    /// `memory_bytes` (at least 8 MiB).
    ///
    /// # Errors
    /// The directory is in use, damaged, full or not accessible.
    pub fn open(directory: impl AsRef<Path>, memory_bytes: usize) -> Result<Self> {
        Self::open_directory(directory.as_ref(), memory_bytes, Life::Job)
    }

    /// An empty store in `directory`; a store that was there is deleted.
    ///
    /// # Errors
    /// The directory is in use, full or not accessible.
    pub fn create(directory: impl AsRef<Path>, memory_bytes: usize) -> Result<Self> {
        let directory = directory.as_ref();
        Self::delete(directory)?;
        Self::open_directory(directory, memory_bytes, Life::Run)
    }

    /// An empty store in the system's temporary directory, deleted when the last user is gone.
    ///
    /// # Errors
    /// The temporary directory is full or not accessible.
    pub fn temporary(memory_bytes: usize) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("headwater-state-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        // NOTE: a process that had the same id may have left one behind.
        Self::delete(&directory)?;
        Self::open_directory(&directory, memory_bytes, Life::Process)
    }

    /// True when there is a store in `directory`.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        has_store(directory)
    }

    /// Deletes the store in `directory`, if there is one.
    ///
    /// # Errors
    /// It is in use, or the directory is not accessible.
    pub fn delete(directory: &Path) -> Result<()> {
        if !has_store(directory) {
            return Ok(());
        }
        Database::destroy(&Options::default(), directory)
            .map_err(|error| explain(directory, "cleared", &error))
    }

    fn open_directory(directory: &Path, memory_bytes: usize, life: Life) -> Result<Self> {
        let memory_bytes = memory_bytes.max(MEMORY_BYTES_MIN);
        let cache = Cache::new_lru_cache(memory_bytes);
        let family_options = family_options(memory_bytes, &cache);
        let options = database_options(memory_bytes, &cache);
        let failed = |error| explain(directory, "opened", &error);
        let mut families = BTreeSet::from(["default".to_owned()]);
        if has_store(directory) {
            families.extend(Database::list_cf(&options, directory).map_err(failed)?);
        }
        let descriptors =
            families.iter().map(|name| ColumnFamilyDescriptor::new(name, family_options.clone()));
        let database = Database::open_cf_descriptors(&options, directory, descriptors).map_err(failed)?;
        let shared = Shared {
            database: Some(database),
            directory: directory.to_owned(),
            temporary: life == Life::Process,
            says_damage: life == Life::Job,
            cache,
            family_options,
            families: Mutex::new(families),
        };
        Ok(RocksStore { shared: Arc::new(shared) })
    }

    /// Opens the store in `directory` as it is on the disk now, only to read: it takes no lock and changes
    /// nothing, also while another process writes. `None` when there is none.
    ///
    /// # Errors
    /// The directory is damaged or not accessible.
    pub fn open_to_read(directory: impl AsRef<Path>) -> Result<Option<Self>> {
        let directory = directory.as_ref();
        if !has_store(directory) {
            return Ok(None);
        }
        let cache = Cache::new_lru_cache(MEMORY_BYTES_MIN);
        let family_options = family_options(MEMORY_BYTES_MIN, &cache);
        let mut options = family_options.clone();
        // All files are opened at once: those that the writer deletes meanwhile stay readable.
        options.set_max_open_files(-1);
        let mut tries = 0;
        loop {
            match Self::open_image(directory, &options) {
                Ok((database, families)) => {
                    let families = Mutex::new(families);
                    let (database, directory) = (Some(database), directory.to_owned());
                    let shared = Shared {
                        database,
                        directory,
                        temporary: false,
                        says_damage: false,
                        cache,
                        family_options,
                        families,
                    };
                    return Ok(Some(RocksStore { shared: Arc::new(shared) }));
                }
                // The writer may have replaced a file between two looks.
                Err(_) if tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(explain(directory, "opened", &error)),
            }
        }
    }

    fn open_image(
        directory: &Path,
        options: &Options,
    ) -> Result<(Database, BTreeSet<String>), rocksdb::Error> {
        let families: BTreeSet<String> = Database::list_cf(options, directory)?.into_iter().collect();
        let descriptors = families.iter().map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let database = Database::open_cf_descriptors_read_only(options, directory, descriptors, false)?;
        Ok((database, families))
    }

    /// The table of an operator; its instances share it, each with its own key groups.
    ///
    /// # Errors
    /// The column family cannot be made.
    pub fn backend(&self, operator: &str) -> Result<RocksBackend> {
        let family = format!("{FAMILY_PREFIX}{operator}");
        let database = self.shared.database()?;
        let mut families = self.shared.families();
        if !families.contains(&family) {
            database
                .create_cf(&family, &self.shared.family_options)
                .map_err(|error| self.shared.explain("written", &error))?;
            families.insert(family.clone());
        }
        drop(families);
        Ok(RocksBackend { shared: Arc::clone(&self.shared), table: operator.to_owned(), family })
    }

    /// Names of the operators that have a table, in the order of their names.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        let families = self.shared.families();
        families.iter().filter_map(|name| name.strip_prefix(FAMILY_PREFIX).map(str::to_owned)).collect()
    }

    /// Brings all writes to the disk, as the state of one moment.
    ///
    /// # Errors
    /// The disk is full or failing.
    pub fn flush(&self) -> Result<()> {
        let database = self.shared.database()?;
        let handles: Vec<_> =
            self.shared.families().iter().filter_map(|name| database.cf_handle(name)).collect();
        let handles: Vec<&Arc<BoundColumnFamily<'_>>> = handles.iter().collect();
        database
            .flush_cfs_opt(&handles, &FlushOptions::default())
            .map_err(|error| self.shared.explain("written", &error))
    }

    fn epoch(&self, key: &[u8]) -> Result<Epoch> {
        let value = self.shared.database()?.get(key);
        let value = value.map_err(|error| self.shared.explain("read", &error))?;
        let epoch = value.as_deref().and_then(<[u8]>::first_chunk);
        Ok(Epoch(epoch.map_or(0, |bytes| u64::from_le_bytes(*bytes))))
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        let written = self.shared.database()?.write_opt(batch, &unlogged());
        written.map_err(|error| self.shared.explain("written", &error))
    }

    /// The store's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Memory of block cache and memtables.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.cache.get_usage()
    }
}

impl Shared {
    fn database(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(|| Error::failed("the state store is closed"))
    }

    fn families(&self) -> MutexGuard<'_, BTreeSet<String>> {
        guard(&self.families)
    }

    fn explain(&self, action: &str, error: &rocksdb::Error) -> Error {
        if self.says_damage && directory::is_damage(error.as_ref()) {
            self.mark(error.as_ref());
        }
        explain(&self.directory, action, error)
    }

    /// Tells the next run, whatever becomes of the error.
    fn mark(&self, said: &str) {
        if let Err(error) = directory::mark_damaged(&self.directory, said) {
            let store = self.directory.display();
            tracing::warn!(%store, %error, "the next run is not told that state is damaged");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(database) = self.database.take() else { return };
        if self.temporary {
            // What nobody will read need not be flushed or compacted first.
            database.cancel_all_background_work(true);
        }
        drop(database);
        if self.temporary && Database::destroy(&Options::default(), &self.directory).is_err() {
            tracing::warn!(directory = %self.directory.display(), "a temporary state directory is left");
        }
    }
}

/// Under which key of the default column family the applied epoch stands.
const APPLIED_KEY: &[u8] = b"applied_epoch";

/// The newest epoch of which there may be some changes.
const TOUCHED_KEY: &[u8] = b"touched_epoch";

impl StateStore for RocksStore {
    fn table(&self, operator: &str) -> Result<Box<dyn StateBackend>> {
        Ok(Box::new(self.backend(operator)?))
    }

    fn applied(&self) -> Result<Epoch> {
        self.epoch(APPLIED_KEY)
    }

    fn touched(&self) -> Result<Epoch> {
        Ok(self.epoch(TOUCHED_KEY)?.max(self.applied()?))
    }

    fn touch(&self, Epoch(epoch): Epoch) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put(TOUCHED_KEY, epoch.to_le_bytes());
        self.write(batch)
    }

    fn apply(&self, changes: &[TableChanges], epoch: Option<Epoch>) -> Result<()> {
        // Column families first: making one is no part of a write batch.
        let tables: Vec<_> =
            changes.iter().map(|(operator, _)| self.backend(operator)).collect::<Result<_>>()?;
        let (mut batch, mut in_parts) = (WriteBatch::default(), false);
        for (table, (_, bytes)) in tables.iter().zip(changes) {
            let (_, family) = table.open()?;
            read_changes(bytes, &mut |change| {
                put_change(&mut batch, &family, change);
                // NOTE: cut short, this leaves changes of an epoch that the store does not claim; the log
                // has them all, and what is applied twice is as if applied once.
                if batch.size_in_bytes() >= APPLY_BYTES {
                    if let Some(epoch) = epoch.filter(|_| !std::mem::replace(&mut in_parts, true)) {
                        self.touch(epoch)?;
                    }
                    self.write(std::mem::take(&mut batch))?;
                }
                Ok(())
            })?;
        }
        if let Some(Epoch(epoch)) = epoch {
            batch.put(APPLIED_KEY, epoch.to_le_bytes());
        }
        self.write(batch)
    }

    fn flush(&self) -> Result<()> {
        RocksStore::flush(self)
    }

    fn copy_to(&self, directory: &Path) -> Result<()> {
        let failed = |error| self.shared.explain("copied", &error);
        let checkpoint = Checkpoint::new(self.shared.database()?).map_err(failed)?;
        checkpoint.create_checkpoint(directory).map_err(failed)
    }
}

fn put_change(batch: &mut WriteBatch, family: &Arc<BoundColumnFamily<'_>>, change: Change<'_>) {
    match change {
        Change::Put { key, value } => batch.put_cf(family, key, value),
        Change::Delete { key } => batch.delete_cf(family, key),
        Change::DeletePrefix { prefix } => {
            batch.delete_range_cf(family, prefix, &prefix_end(prefix));
        }
    }
}

/// Writes go without a log of RocksDB's own: the epoch log decides what is durable.
fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    // Spills are sorted: each insert starts where the one before ended.
    options.set_memtable_insert_hint_per_batch(true);
    options
}

/// One operator's table in a [`RocksStore`].
pub struct RocksBackend {
    shared: Arc<Shared>,
    table: String,
    family: String,
}

impl fmt::Debug for RocksBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksBackend")
            .field("directory", &self.shared.directory)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl RocksBackend {
    fn open(&self) -> Result<(&Database, Arc<BoundColumnFamily<'_>>)> {
        let database = self.shared.database()?;
        let family = database
            .cf_handle(&self.family)
            .ok_or_else(|| Error::failed(format!("the table of `{}` is gone", self.table)))?;
        Ok((database, family))
    }

    fn failed(&self, action: &str) -> impl Fn(rocksdb::Error) -> Error {
        move |error| self.shared.explain(action, &error).at(&self.table)
    }
}

impl StateBackend for RocksBackend {
    fn table(&self) -> &str {
        &self.table
    }

    fn get_many(&mut self, keys: &[&[u8]], visit: VisitValue<'_>) -> Result<()> {
        let (database, family) = self.open()?;
        for (chunk, keys) in keys.chunks(LOOKUP_KEYS).enumerate() {
            let values = database.batched_multi_get_cf(&family, keys.iter().copied(), true);
            for (at, value) in values.into_iter().enumerate() {
                if let Some(value) = value.map_err(self.failed("read"))? {
                    visit(chunk * LOOKUP_KEYS + at, &value)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, changes: &Changes) -> Result<()> {
        let (database, family) = self.open()?;
        let mut batch = WriteBatch::with_capacity_bytes(changes.bytes());
        changes.iter().for_each(|change| put_change(&mut batch, &family, change));
        database.write_opt(batch, &unlogged()).map_err(self.failed("written"))
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
        visit: VisitRow<'_>,
    ) -> Result<usize> {
        let (database, family) = self.open()?;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(prefix_end(prefix));
        // What is scanned is about to be deleted or was never hot.
        options.fill_cache(false);
        // One buffer per file: left to itself, each grows to eight times that.
        options.set_readahead_size(SCAN_READAHEAD_BYTES);
        let mut rows = database.raw_iterator_cf_opt(&family, options);
        rows.seek(after.unwrap_or(prefix));
        if after.is_some() && rows.key() == after {
            rows.next();
        }
        let mut count = 0;
        while let (true, Some((key, value))) = (count < rows_max, rows.item()) {
            visit(key, value)?;
            count += 1;
            rows.next();
        }
        rows.status().map_err(self.failed("read"))?;
        Ok(count)
    }
}

/// The smallest key behind all keys that start with `prefix`.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // No key group is 0xffff, so that no state key comes behind this.
    vec![u8::MAX; 2]
}

fn has_store(directory: &Path) -> bool {
    directory.join("CURRENT").exists()
}

fn database_options(memory_bytes: usize, cache: &Cache) -> Options {
    let mut options = family_options(memory_bytes, cache);
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    // Memtables are charged to the block cache, so that one limit holds for both; a writer waits for
    // the flush rather than exceed it.
    let (bytes, cache) = (memory_bytes / WRITE_SHARE, cache.clone());
    let manager = WriteBufferManager::new_write_buffer_manager_with_cache(bytes, true, cache);
    options.set_write_buffer_manager(&manager);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_max_subcompactions(1);
    options.set_compaction_readahead_size(FILE_BUFFER_BYTES);
    options.set_writable_file_max_buffer_size(FILE_BUFFER_BYTES as u64);
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options
}

fn family_options(memory_bytes: usize, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
    // Indexes and filters live in the cache, in pieces: their size is bounded by it however many keys
    // there are.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size((memory_bytes / WRITE_SHARE / 2).clamp(1 << 20, 64 << 20));
    options.set_max_write_buffer_number(3);
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    // Spills come in no order, so that every level would be rewritten again and again: merging runs of
    // like size takes a quarter less CPU per record (and up to twice the disk).
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_target_file_size_base((memory_bytes as u64 / 2).clamp(4 << 20, 64 << 20));
    options
}

#[cold]
fn explain(directory: &Path, action: &str, error: &rocksdb::Error) -> Error {
    directory::explain(directory, action, error.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_its_keys() {
        assert_eq!(prefix_end(&[1, 2]), [1, 3]);
        assert_eq!(prefix_end(&[1, 0xff]), [2]);
        assert_eq!(prefix_end(&[0, 0xff, 0xff]), [1]);
        assert_eq!(prefix_end(&[0xff]), [0xff, 0xff]);
    }
}
