//! Which call fails, and how.

use std::fmt;
use std::io;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The disk fails: an input/output error.
    Broken,
    /// The disk is full.
    Full,
    /// A sync fails and what it should have written is dropped, though it can still be read: a later sync
    /// succeeds without writing it.
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

#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: u64,
    faults: Vec<Fault>,
    pub(super) space_bytes: Option<u64>,
}

impl Faults {
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
        self.space_bytes = None;
    }

    pub(super) fn call(&mut self) -> io::Result<()> {
        let call = self.calls;
        self.calls += 1;
        let fails = |fault: &&Fault| fault.call == call || fault.forever && fault.call < call;
        match self.faults.iter().find(fails).map(|fault| fault.kind) {
            None => Ok(()),
            Some(FaultKind::Broken) => Err(io::Error::other("input/output error")),
            Some(FaultKind::Full) => Err(full()),
            Some(FaultKind::SyncLost) => Err(io::Error::other(PagesLost)),
        }
    }
}

pub(super) fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on device")
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
