//! Which call fails, and how; and how many have.

use std::fmt;
use std::io;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The disk fails: an input/output error.
    Broken,
    /// The disk is full.
    Full,
    /// The next sync of a file fails and what it should have written is dropped, though it can still be read:
    /// a later sync succeeds without writing it.
    SyncLost,
}

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The call, counted from the creation of the storage: the first is 0.
    pub call: u64,
    /// Fail every call from there on, not only this one.
    pub forever: bool,
    /// How.
    pub kind: FaultKind,
}

/// Calls that have failed because a test asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Input/output errors.
    pub broken: u64,
    /// Writes that found no space.
    pub full: u64,
    /// Syncs that dropped what they should have written.
    pub syncs_lost: u64,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: u64,
    faults: Vec<Fault>,
    failures: Failures,
    pub(super) space_bytes: Option<u64>,
}

impl Faults {
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn failures(&self) -> Failures {
        self.failures
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
        self.space_bytes = None;
    }

    /// Counts a call and lets it fail if that is its fate.
    pub(super) fn call(&mut self, is_sync: bool) -> io::Result<()> {
        let call = self.calls;
        self.calls += 1;
        let fails = |fault: &Fault| match fault.kind {
            FaultKind::SyncLost => is_sync && fault.call <= call,
            _ => fault.call == call || fault.forever && fault.call < call,
        };
        let Some(at) = self.faults.iter().position(fails) else { return Ok(()) };
        let Fault { forever, kind, .. } = self.faults[at];
        if !forever {
            self.faults.swap_remove(at);
        }
        Err(match kind {
            FaultKind::Full => self.full(),
            FaultKind::Broken => {
                self.failures.broken += 1;
                io::Error::other("input/output error")
            }
            FaultKind::SyncLost => {
                self.failures.syncs_lost += 1;
                io::Error::other(PagesLost)
            }
        })
    }

    /// There is no space for a write.
    pub(super) fn full(&mut self) -> io::Error {
        self.failures.full += 1;
        io::Error::new(io::ErrorKind::StorageFull, "no space left on device")
    }
}

pub(super) fn loses_pages(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<PagesLost>())
}

#[derive(Debug)]
struct PagesLost;

impl fmt::Display for PagesLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("input/output error")
    }
}

impl std::error::Error for PagesLost {}
