//! What the same state costs in a plain RocksDB: one `get` per record, and one write of what it changes.

use std::path::Path;

use benches::meter::{process_cpu_ns, resident_bytes, resident_peak_bytes};
use headwater::batch::{Key, Record, group_of};
use headwater::prelude::*;
use headwater::state::{Envelope, state_key};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompactionStyle, DBCompressionType, Options,
    WriteBatch, WriteBufferManager, WriteOptions,
};

use super::data::{Accumulator, Data, customer};
use super::{Part, say};

/// Key groups of a job, unless it is told otherwise.
const GROUPS: u16 = 128;

/// Bytes of one write, as where keyed state spills.
const WRITE_BYTES: usize = 64 << 10;

/// Part of a budget that the store has, as a divisor.
const STORE_PART: usize = 4;

/// What `engine/src/state/rocks.rs` says, with everything in one column family.
fn options(memory_bytes: usize) -> Options {
    let cache = Cache::new_lru_cache(memory_bytes);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    table.set_block_size(4 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size((memory_bytes / 8).clamp(1 << 20, 64 << 20));
    options.set_max_write_buffer_number(3);
    options.set_arena_block_size(64 << 10);
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_target_file_size_base((memory_bytes as u64 / 2).clamp(4 << 20, 64 << 20));
    options.create_if_missing(true);
    let manager = WriteBufferManager::new_write_buffer_manager_with_cache(memory_bytes / 4, true, cache);
    options.set_write_buffer_manager(&manager);
    options.set_max_open_files(256);
    options.set_max_background_jobs(2);
    options.set_max_subcompactions(1);
    options.set_compaction_readahead_size(128 << 10);
    options.set_writable_file_max_buffer_size(128 << 10);
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options
}

/// A database and the write that is being filled.
struct Bare {
    database: DB,
    envelope: Envelope<(String, Accumulator)>,
    /// Keys and values on their way, sorted before they are written, as spills are.
    pending: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    write: WriteOptions,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

impl Bare {
    fn open(directory: &Path, memory_bytes: usize) -> Result<Self> {
        let database = DB::open(&options(memory_bytes), directory).map_err(failed)?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        write.set_memtable_insert_hint_per_batch(true);
        Ok(Bare { database, envelope: Envelope::new("bare", 1), pending: Vec::new(), bytes: 0, write })
    }

    fn key(name: &str) -> Vec<u8> {
        let mut key = Vec::new();
        state_key::<String>(group_of(String::hash(name), GROUPS), 0, name, &mut key);
        key
    }

    fn put(&mut self, name: String, value: Accumulator) -> Result<()> {
        let mut bytes = Vec::new();
        let key = Self::key(&name);
        self.envelope.encode((name.as_str(), value.view()), &mut bytes)?;
        self.bytes += key.len() + bytes.len();
        self.pending.push((key, bytes));
        if self.bytes >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        self.pending.sort();
        let mut batch = WriteBatch::with_capacity_bytes(self.bytes);
        self.pending.drain(..).for_each(|(key, value)| batch.put(key, value));
        self.bytes = 0;
        self.database.write_opt(batch, &self.write).map_err(failed)
    }
}

/// Loads all keys; then reads the key of each record and writes it again, one more counted.
pub(crate) fn run(part: &Part, directory: &Path) -> Result<()> {
    let data = Data::draw(part.keys, part.records, part.zipf);
    let (base, before) = (resident_bytes(), process_cpu_ns());
    let mut bare =
        Bare::open(directory, (part.budget_mib << 20) / if part.is_whole { 1 } else { STORE_PART })?;
    for index in 0..data.keys {
        bare.put(customer(data.key(index)), (1, u128::from(index), index))?;
    }
    bare.write()?;
    super::job::wait_for_quiet(std::thread::sleep);
    let loaded = process_cpu_ns();
    let (mut found, mut read_only, mut warmed) = (0, loaded, loaded);
    // The first tenth is only read, to tell the two apart.
    for at in 0..part.records {
        let name = customer(data.key(data.keys + at));
        let value = bare.database.get_pinned(Bare::key(&name)).map_err(failed)?;
        found += u64::from(value.is_some());
        drop(value);
        if at < part.records / 10 {
            read_only = process_cpu_ns();
        } else {
            bare.put(name, (2, u128::from(at), at))?;
        }
        if at + 1 == part.records / 2 {
            super::job::wait_for_quiet(std::thread::sleep);
            warmed = process_cpu_ns();
        }
    }
    let (done, measured) = (process_cpu_ns(), part.records - part.records / 2);
    say("load_us", (loaded - before) as f64 / 1e3 / part.keys as f64);
    say("read_us", (read_only - loaded) as f64 / 1e3 / (part.records / 10) as f64);
    say("use_us", (done - warmed) as f64 / 1e3 / measured as f64);
    say("peak_bytes", resident_peak_bytes().saturating_sub(base) as f64);
    say("right", f64::from(found == part.records));
    Ok(())
}
