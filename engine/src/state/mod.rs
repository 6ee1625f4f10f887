//! Keyed state: hot in hash tables, the rest in an ordered store on disk.
//!
//! 1. `keyed`: [`KeyedState`], what an operator works with
//! 2. `layout`: the bytes of a state key
//! 3. `envelope`: the bytes of a state value, checked before they are believed, or migrated
//! 4. `changes`: [`Changes`], what one write puts and deletes
//! 5. `memory`: [`MemoryBackend`], an ordered map
//! 6. `rocks`: `RocksStore`, one RocksDB per job (feature `rocksdb`)
//! 7. `directory`: what can be wrong with its directory, and the marker that says so
//! 8. `store`: [`StateStore`], all tables of a job as of one committed epoch
//! 9. `budget`: [`MemoryBudget`], one limit for the whole engine
//! 10. `codec`, `overlay`: tables without their types, for those who only look

mod budget;
mod changes;
mod codec;
mod directory;
mod envelope;
mod filter;
mod keyed;
mod layout;
mod memory;
mod overlay;
#[cfg(feature = "rocksdb")]
mod rocks;
mod store;

use std::fmt;

pub use self::budget::{MemoryBudget, Reservation};
use self::changes::encode_put;
pub use self::changes::{Change, Changes, read_changes};
pub(crate) use self::codec::StateCodec;
pub(crate) use self::directory::{damage_marker, mark_damaged};
pub use self::envelope::Envelope;
pub(crate) use self::envelope::Migrations;
pub use self::keyed::{Drain, KeyedState, Scan};
pub(crate) use self::keyed::{Follower, mean_heap_bytes};
pub(crate) use self::layout::namespace_of;
pub use self::layout::{state_key, state_prefix};
pub use self::memory::MemoryBackend;
pub(crate) use self::overlay::Overlay;
#[cfg(feature = "rocksdb")]
pub use self::rocks::{RocksBackend, RocksStore};
pub use self::store::{MemoryStore, StateStore, TableChanges};
use crate::error::Result;

/// What a look-up does with the position and the value of a key that exists.
pub type VisitValue<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<()>;

/// What a scan does with the key and the value of a row.
pub type VisitRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Ordered bytes in one named table; every stateful operator has its own.
///
/// Each call is for a whole batch. None is made per record: that would cost more than everything else
/// the engine does with the record.
pub trait StateBackend: Send + fmt::Debug {
    /// Name of the table: the operator it belongs to.
    fn table(&self) -> &str;

    /// Looks up `keys`, which must ascend, and calls `visit` with the position and the value of each
    /// that exists.
    ///
    /// # Errors
    /// The store cannot be read, or `visit` failed.
    fn get_many(&mut self, keys: &[&[u8]], visit: VisitValue<'_>) -> Result<()>;

    /// Applies all changes in order, or none.
    ///
    /// # Errors
    /// The store cannot be written.
    fn write(&mut self, changes: &Changes) -> Result<()>;

    /// Calls `visit` with up to `rows_max` rows whose keys start with `prefix` and come behind `after`,
    /// ascending, and returns how many there were: fewer than `rows_max` means the end.
    ///
    /// # Errors
    /// The store cannot be read, or `visit` failed.
    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
        visit: VisitRow<'_>,
    ) -> Result<usize>;
}
