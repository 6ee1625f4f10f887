//! `MemoryBudget`: one limit for everything the engine keeps in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit in bytes from which the parts of a run reserve; clones share it.
///
/// ```
/// use headwater::state::MemoryBudget;
///
/// let budget = MemoryBudget::new(1000);
/// let cache = budget.reserve(600).expect("600 of 1000 bytes");
/// assert!(budget.reserve(500).is_none());
/// assert_eq!(budget.share(4), 250);
/// drop(cache);
/// assert_eq!(budget.bytes_used(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    bytes_used: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        MemoryBudget { shared: Arc::new(Shared { bytes_max, bytes_used: AtomicUsize::new(0) }) }
    }

    /// The limit.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.shared.bytes_max
    }

    /// What is reserved.
    #[must_use]
    pub fn bytes_used(&self) -> usize {
        self.shared.bytes_used.load(Ordering::Relaxed)
    }

    /// What can still be reserved.
    #[must_use]
    pub fn bytes_free(&self) -> usize {
        self.bytes_max().saturating_sub(self.bytes_used())
    }

    /// The part of one of `count` equal users.
    #[must_use]
    pub fn share(&self, count: usize) -> usize {
        self.bytes_max() / count.max(1)
    }

    /// Takes `bytes` until the reservation is dropped; `None` when they are not free.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation { budget: self.clone(), bytes: 0 };
        reservation.resize(bytes).then_some(reservation)
    }

    fn take(&self, bytes: usize) -> bool {
        let free = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.shared.bytes_max);
        self.shared.bytes_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.shared.bytes_used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes taken from a [`MemoryBudget`]; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    /// Size of the reservation.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows or shrinks the reservation; `false`, and no change, when the budget has too little.
    pub fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes && !self.budget.take(bytes - self.bytes) {
            return false;
        }
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
