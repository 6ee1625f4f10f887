//! `MemorySource` and `Collect`: rows from a vector, and rows into one; for tests and small jobs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater::Result;
use headwater::batch::{Batch, BatchBuilder, BatchLimits, Record};
use headwater::sink::{Cut, Delivery, Sink, SinkWriter, Staged, Subtask};
use headwater::source::{Poll, Source, SourceOutput, SourceReader};
use headwater::time::Epoch;

use crate::generator::{partition_index, partition_names};

/// Gives the records of vectors, one vector per partition.
///
/// ```
/// use headwater_connectors::MemorySource;
///
/// let words = MemorySource::new(vec![vec!["to".to_owned(), "be".to_owned()], vec!["or".to_owned()]]);
/// let numbers = MemorySource::from(vec![1_u64, 2, 3]);
/// ```
pub struct MemorySource<T> {
    partitions: Vec<Arc<[T]>>,
}

impl<T: Record> MemorySource<T> {
    /// A source with these partitions.
    #[must_use]
    pub fn new(partitions: Vec<Vec<T>>) -> Self {
        MemorySource { partitions: partitions.into_iter().map(Arc::from).collect() }
    }
}

impl<T: Record> From<Vec<T>> for MemorySource<T> {
    /// A source with one partition.
    fn from(records: Vec<T>) -> Self {
        MemorySource::new(vec![records])
    }
}

impl<T> Clone for MemorySource<T> {
    fn clone(&self) -> Self {
        MemorySource { partitions: self.partitions.clone() }
    }
}

impl<T> fmt::Debug for MemorySource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: Vec<usize> = self.partitions.iter().map(|records| records.len()).collect();
        f.debug_struct("MemorySource").field("records", &records).finish()
    }
}

impl<T: Record> Source for MemorySource<T> {
    type Record = T;
    /// How many records of the partition have been given.
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(partition_names(self.partitions.len() as u64))
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<T, u64>>> {
        let index = partition_index(partition, self.partitions.len() as u64)?;
        let records = self.partitions.get(index as usize).cloned().unwrap_or_default();
        let next = position.unwrap_or(0).min(records.len() as u64) as usize;
        Ok(Box::new(Reader { records, next }))
    }
}

struct Reader<T> {
    records: Arc<[T]>,
    next: usize,
}

impl<T: Record> SourceReader<T, u64> for Reader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        while let Some(record) = self.records.get(self.next) {
            if out.is_full() {
                return Ok(Poll::More);
            }
            out.push(record.view())?;
            self.next += 1;
        }
        Ok(Poll::Finished)
    }

    fn position(&self) -> u64 {
        self.next as u64
    }
}

/// Collects rows for the program that embeds the topology; clones share the rows.
///
/// Rows appear when their epoch is complete, so rows of a failed run's last epoch are not seen twice.
/// Memory grows with the rows: take them out now and then, or use it for results that are small.
///
/// ```
/// use headwater_connectors::Collect;
///
/// let counts = Collect::<(String, u64)>::new();
/// // stream.sink("counts", counts.clone()); run it; then:
/// assert!(counts.take().is_empty());
/// ```
pub struct Collect<T>(Arc<Mutex<Vec<T>>>);

impl<T: Record> Collect<T> {
    /// A sink that has collected nothing.
    #[must_use]
    pub fn new() -> Self {
        Collect(Arc::default())
    }
}

impl<T> Collect<T> {
    /// The rows so far, which stay; no row is added while the guard is held.
    pub fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the rows out.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.lock())
    }
}

impl<T: Record> Default for Collect<T> {
    fn default() -> Self {
        Collect::new()
    }
}

impl<T> Clone for Collect<T> {
    fn clone(&self) -> Self {
        Collect(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Collect<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collect({} rows)", self.lock().len())
    }
}

impl<T: Record> Sink<T> for Collect<T> {
    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let limits = BatchLimits { rows_max: usize::MAX, bytes_max: usize::MAX };
        Ok(Box::new(Writer { held: BatchBuilder::new(limits), rows: self.clone() }))
    }
}

struct Writer<T: Record> {
    held: BatchBuilder<T>,
    rows: Collect<T>,
}

impl<T: Record> SinkWriter<T> for Writer<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        Ok(batch.iter().try_for_each(|view| self.held.push(view))?)
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        Ok(self.held.finish().map_or(Staged::nothing(), |batch| Staged::bytes(batch.bytes().to_vec())))
    }

    fn commit(&mut self, _: Epoch, staged: &Staged) -> Result<Delivery> {
        if !staged.is_nothing() {
            let batch = Batch::<T>::from_bytes(staged.as_bytes())?;
            self.rows.lock().extend(batch.iter().map(T::from_view));
        }
        Ok(Delivery::Final)
    }
}
