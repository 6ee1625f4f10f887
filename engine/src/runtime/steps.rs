//! `Steps`: instances that one thread steps, one after the other, until nothing moves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Wake, Waker};

use super::assembly::Slot;
use crate::error::{Error, Result};
use crate::stage::{Progress, StageInstance};

/// One step; a panic in user code becomes an error that names the instance.
pub(super) fn step(instance: &mut dyn StageInstance, label: &str) -> Result<Progress> {
    match catch_unwind(AssertUnwindSafe(|| instance.step())) {
        Ok(progress) => progress.map_err(|error| error.at(label)),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "a panic without a message".to_owned());
            Err(Error::Panicked { place: label.to_owned(), message })
        }
    }
}

/// Remembers that a channel has woken an instance.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// All instances of a topology on one thread.
pub(crate) struct Steps {
    slots: Vec<Slot>,
    finished: Vec<bool>,
    woken: Arc<Woken>,
}

impl Steps {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Steps { finished: vec![false; slots.len()], slots, woken: Arc::default() }
    }

    /// Steps each instance as long as it has something to do; false when nothing moved and nothing will.
    ///
    /// # Errors
    /// A source, operator or sink failed.
    pub(crate) fn round(&mut self) -> Result<bool> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut moved = false;
        for (slot, finished) in self.slots.iter_mut().zip(&mut self.finished) {
            slot.instance.waker().register(&waker);
            while !*finished {
                match step(&mut *slot.instance, &slot.label)? {
                    Progress::Ran => moved = true,
                    Progress::Done => {
                        *finished = true;
                        moved = true;
                    }
                    Progress::Idle { .. } | Progress::Blocked => break,
                }
            }
        }
        // A message that an instance absorbed is no progress of its own, but makes room behind it.
        Ok(self.woken.0.swap(false, SeqCst) || moved)
    }

    /// Ends all inputs where they stand.
    pub(crate) fn stop(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.instance.stop());
    }

    /// True when all instances have ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.iter().all(|finished| *finished)
    }
}
