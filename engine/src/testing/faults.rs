//! What goes wrong in one life of a simulated machine: drawn from the seed before the life begins.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::parts::guard;
use super::simulation::draw;
use crate::error::{Error, Result};
use crate::state::{Changes, MemoryStore, StateBackend, StateStore, TableChanges, VisitRow, VisitValue};
use crate::storage::{Fault, FaultKind, MemoryStorage};
use crate::time::Epoch;

/// What the disk of a life does from some moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing.
    None,
    /// Every call fails.
    Gone,
    /// One call fails.
    OneError,
    /// One sync fails, and what it should have written is dropped.
    SyncLost,
    /// The log finds no space.
    Full,
    /// One call finds no space, be it a sync, as where space is given out late.
    FullOnce,
    /// One call of the state store fails.
    StoreError,
    /// The state store finds no space.
    StoreFull,
}

/// The fate of one life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// It ends behind so many steps.
    pub(super) steps_max: u64,
    pub(super) trouble: Trouble,
    /// The log answers up to so many steps late.
    pub(super) stall_steps_max: u64,
    /// The store does its work at one of so many steps.
    pub(super) store_one_in: u64,
}

impl Life {
    /// A life that ends early, or the last one.
    pub(super) fn draw(state: &mut u64, is_last: bool) -> Self {
        let trouble = match draw(state, 11) {
            _ if is_last => Trouble::None,
            0..2 => Trouble::None,
            2..4 => Trouble::Gone,
            4 => Trouble::OneError,
            5..7 => Trouble::SyncLost,
            7 => Trouble::Full,
            8 => Trouble::FullOnce,
            9 => Trouble::StoreError,
            _ => Trouble::StoreFull,
        };
        // Time for the trouble to come.
        let steps_min = if trouble == Trouble::None { 0 } else { 1 << 9 };
        Life {
            steps_max: if is_last { u64::MAX } else { steps_min + draw_span(state, 14) },
            trouble,
            stall_steps_max: if draw(state, 2) == 0 { draw_span(state, 9) } else { 0 },
            store_one_in: 1 + draw_span(state, 8),
        }
    }

    /// Lets the log's disk do what it is to do.
    pub(super) fn arm(&self, storage: &MemoryStorage, state: &mut u64) {
        let call = storage.calls() + draw_span(state, 10);
        let fail = |forever, kind| storage.fail(Fault { call, forever, kind });
        match self.trouble {
            Trouble::Gone => fail(true, FaultKind::Broken),
            Trouble::OneError => fail(false, FaultKind::Broken),
            Trouble::SyncLost => fail(false, FaultKind::SyncLost),
            Trouble::FullOnce => fail(false, FaultKind::Full),
            Trouble::Full => storage.limit_space(storage.used_bytes() + draw_span(state, 15)),
            Trouble::None | Trouble::StoreError | Trouble::StoreFull => {}
        }
    }

    /// The store, which does what it is to do.
    pub(super) fn store(&self, store: MemoryStore, state: &mut u64) -> FaultyStore {
        let left = draw_span(state, 6);
        let fate = Fate { left, trouble: self.trouble, failures: 0 };
        FaultyStore { store, fate: Arc::new(Mutex::new(fate)) }
    }
}

/// True when an error says what the simulated disks say.
pub(super) fn names_its_cause(error: &Error) -> bool {
    let text = error.to_string();
    let causes = ["input/output error", "no space left on device", " is full: free some space"];
    causes.iter().any(|cause| text.contains(cause))
}

#[derive(Debug)]
struct Fate {
    /// Calls before it comes.
    left: u64,
    trouble: Trouble,
    failures: u64,
}

/// A store in memory that may fail or find no space.
#[derive(Clone, Debug)]
pub(super) struct FaultyStore {
    store: MemoryStore,
    fate: Arc<Mutex<Fate>>,
}

impl FaultyStore {
    /// Calls that have failed.
    pub(super) fn failures(&self) -> u64 {
        guard(&self.fate).failures
    }

    fn call(&self, writes: bool) -> Result<()> {
        let mut fate = guard(&self.fate);
        if fate.left > 0 {
            fate.left -= 1;
            return Ok(());
        }
        let place = Path::new("/memory/state");
        let error = match fate.trouble {
            // Once.
            Trouble::StoreError if fate.failures == 0 => Error::failed(format!(
                "the state directory `{}` cannot be used (input/output error): check the disk",
                place.display()
            )),
            Trouble::StoreFull if writes => Error::DiskFull { path: place.to_owned() },
            _ => return Ok(()),
        };
        fate.failures += 1;
        Err(error)
    }
}

impl StateStore for FaultyStore {
    fn table(&self, operator: &str) -> Result<Box<dyn StateBackend>> {
        Ok(Box::new(FaultyTable { table: self.store.table(operator)?, store: self.clone() }))
    }

    fn applied(&self) -> Result<Epoch> {
        self.call(false)?;
        self.store.applied()
    }

    fn apply(&self, changes: &[TableChanges], epoch: Option<Epoch>) -> Result<()> {
        self.call(true)?;
        self.store.apply(changes, epoch)
    }

    fn flush(&self) -> Result<()> {
        self.call(true)?;
        self.store.flush()
    }
}

#[derive(Debug)]
struct FaultyTable {
    table: Box<dyn StateBackend>,
    store: FaultyStore,
}

impl StateBackend for FaultyTable {
    fn table(&self) -> &str {
        self.table.table()
    }

    fn get_many(&mut self, keys: &[&[u8]], visit: VisitValue<'_>) -> Result<()> {
        self.store.call(false)?;
        self.table.get_many(keys, visit)
    }

    fn write(&mut self, changes: &Changes) -> Result<()> {
        self.store.call(true)?;
        self.table.write(changes)
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
        visit: VisitRow<'_>,
    ) -> Result<usize> {
        self.store.call(false)?;
        self.table.scan(prefix, after, rows_max, visit)
    }
}

/// A number below a power of two that is drawn first, up to 2^`bits`: small ones are as likely as large ones.
pub(super) fn draw_span(state: &mut u64, bits: u64) -> u64 {
    let span = 1 << draw(state, bits + 1);
    draw(state, span)
}
