//! `Roster`: the partitions of a source that may get more of them while it is read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::error::guard;

/// The partitions of all instances of a source, in the order in which they became known.
#[derive(Debug)]
pub(crate) struct Roster {
    /// How many there were when the run began.
    pub(crate) at_start: usize,
    count: AtomicUsize,
    names: Mutex<Vec<String>>,
}

impl Roster {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Roster { at_start: names.len(), count: AtomicUsize::new(names.len()), names: Mutex::new(names) }
    }

    /// Adds what is not known yet of these; how many that are.
    pub(crate) fn add(&self, found: Vec<String>) -> usize {
        let mut names = guard(&self.names);
        let before = names.len();
        for name in found {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        self.count.store(names.len(), SeqCst);
        names.len() - before
    }

    /// Those behind the first so many; costs one look as long as there is none.
    pub(crate) fn added(&self, known: usize) -> Option<Vec<String>> {
        (self.count.load(SeqCst) > known).then(|| guard(&self.names)[known..].to_vec())
    }
}
