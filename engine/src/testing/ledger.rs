//! `Ledger`: a sink that stands outside of the run and remembers, by epoch, what it was shown.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use super::parts::guard;
use crate::batch::{Batch, BatchBuilder, BatchLimits, Record};
use crate::error::{Error, Result};
use crate::sink::{Cut, Delivery, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use crate::time::Epoch;

/// Bytes of a batch by epoch and by the subtask that prepared them.
type Pages = BTreeMap<(u64, u32), Vec<u8>>;

/// Collects rows as a database with epoch tokens would: what was shown stays, whatever happens to the run;
/// an epoch that is committed again must be what it was, and one that comes too late is refused.
pub struct Ledger<T> {
    pages: Arc<Mutex<Pages>>,
    _record: PhantomData<fn() -> T>,
}

impl<T> Clone for Ledger<T> {
    fn clone(&self) -> Self {
        Ledger { pages: Arc::clone(&self.pages), _record: PhantomData }
    }
}

impl<T> fmt::Debug for Ledger<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl<T: Record> Default for Ledger<T> {
    fn default() -> Self {
        Ledger::new()
    }
}

impl<T: Record> Ledger<T> {
    /// A ledger without rows.
    #[must_use]
    pub fn new() -> Self {
        Ledger { pages: Arc::default(), _record: PhantomData }
    }

    /// Takes the rows, epoch by epoch.
    ///
    /// # Errors
    /// What was shown are no rows of this type.
    pub fn take(&self) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        for bytes in std::mem::take(&mut *guard(&self.pages)).into_values() {
            rows.extend(Batch::<T>::from_bytes(&bytes)?.iter().map(T::from_view));
        }
        Ok(rows)
    }
}

impl<T: Record> Sink<T> for Ledger<T> {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let limits = BatchLimits { rows_max: usize::MAX, bytes_max: usize::MAX };
        let (pages, rows) = (Arc::clone(&self.pages), BatchBuilder::new(limits));
        Ok(Box::new(Writer { pages, rows, subtask: subtask.index as u32 }))
    }
}

struct Writer<T: Record> {
    pages: Arc<Mutex<Pages>>,
    rows: BatchBuilder<T>,
    subtask: u32,
}

impl<T: Record> SinkWriter<T> for Writer<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        Ok(batch.iter().try_for_each(|view| self.rows.push(view))?)
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        let Some(rows) = self.rows.finish() else { return Ok(Staged::nothing()) };
        // Whoever commits this after a crash may be another subtask.
        Ok(Staged::bytes([&self.subtask.to_le_bytes(), rows.bytes()].concat()))
    }

    fn commit(&mut self, Epoch(epoch): Epoch, staged: &Staged) -> Result<Delivery> {
        let Some((subtask, bytes)) = staged.as_bytes().split_first_chunk() else {
            return Ok(Delivery::Final);
        };
        let subtask = u32::from_le_bytes(*subtask);
        let mut pages = guard(&self.pages);
        match pages.get(&(epoch, subtask)) {
            Some(before) if before == bytes => Ok(Delivery::Final),
            Some(_) => Err(Error::failed(format!("epoch {epoch} was shown with other rows"))),
            None if pages.keys().any(|(shown, of)| *of == subtask && *shown > epoch) => {
                Err(Error::failed(format!("epoch {epoch} is shown after a later one")))
            }
            None => {
                pages.insert((epoch, subtask), bytes.to_vec());
                Ok(Delivery::Final)
            }
        }
    }
}
