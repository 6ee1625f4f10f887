//! `ForEach`: rows to a closure of your own, or to a [`RowWriter`], when their epoch is durable.

use std::fmt;
use std::sync::Arc;

use headwater::Result;
use headwater::batch::{Batch, BatchBuilder, BatchLimits, Record};
use headwater::sink::{Cut, Delivery, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use headwater::time::Epoch;

use crate::share::{Author, EpochShare};

/// Writes rows to some target of your own, share by share: a session, a file handle, a client with a buffer.
///
/// For each share that has rows: `open`, `process` for each row, `close`. A share whose rows were all there when
/// the process ended may come again, with the same key and the same rows; see [`EpochShare`].
///
/// An error ends the run, and so does a panic: the writer is dropped without `close`, and the next run makes a new
/// one, which gets the share again.
pub trait RowWriter<T: Record>: Send {
    /// A share begins. With `false` its rows are passed over, because the target has them: a target that remembers
    /// the keys of its shares shows each row once.
    ///
    /// # Errors
    /// The target cannot be written.
    fn open(&mut self, _share: &EpochShare) -> Result<bool> {
        Ok(true)
    }

    /// Takes a row of the share.
    ///
    /// # Errors
    /// The target cannot be written.
    fn process(&mut self, row: T::View<'_>) -> Result<()>;

    /// The share ends. When this returns, its rows will not come again: whatever was buffered must be safe.
    ///
    /// # Errors
    /// The target cannot be written.
    fn close(&mut self, _share: &EpochShare) -> Result<()> {
        Ok(())
    }
}

/// Gives rows to code of your own: a closure for each row, a closure for the rows of an epoch, or a [`RowWriter`].
///
/// Rows are kept with their epoch, and your code is called when it is durable: it sees no row that a crash takes
/// back. **At least once:** when the process ends while your code is running, or just behind it, the next run
/// calls it again. **Exactly once** if the target can remember the [`key`](EpochShare::key) of a share together
/// with its rows, or replaces what has the same key: the share is the same then, to the row. Without a state
/// directory nothing is called again, and what was not shown when the process ended is lost with the job.
///
/// Your code may take its time: the job waits for it. What it returns as an error ends the run, with its text.
///
/// A row to a closure, which is all that many jobs need:
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::{ForEach, MemorySource};
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
///
/// let sum = Arc::new(AtomicU64::new(0));
/// let total = Arc::clone(&sum);
/// let flow = StreamBuilder::new("sum");
/// flow.source("numbers", MemorySource::from(vec![1_u64, 2, 3])).sink("sum", ForEach::<u64>::rows(move |n| {
///     total.fetch_add(n, Ordering::Relaxed);
///     Ok(())
/// }));
/// flow.build()?.run(EngineConfig::default())?;
/// assert_eq!(sum.load(Ordering::Relaxed), 6);
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// All rows of a share at once, to a target that is idempotent because a file of the same name is replaced:
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::{ForEach, MemorySource};
///
/// let folder = tempfile::tempdir()?;
/// let files = folder.path().to_owned();
/// let flow = StreamBuilder::new("to-files");
/// flow.source("words", MemorySource::from(vec!["to".to_owned(), "be".to_owned()])).sink("files",
///     ForEach::<String>::shares(move |share, rows| {
///         let text: Vec<&str> = rows.iter().collect();
///         Ok(std::fs::write(files.join(&share.key), text.join("\n"))?)
///     }));
/// flow.build()?.run(EngineConfig::default())?;
///
/// let file = std::fs::read_dir(folder.path())?.next().expect("one share")?;
/// assert_eq!(std::fs::read_to_string(file.path())?, "to\nbe");
/// # Ok::<(), headwater::Error>(())
/// ```
pub struct ForEach<T: Record> {
    target: Target<T>,
    parallelism: SinkParallelism,
}

type OfRow<T> = dyn for<'a> Fn(<T as Record>::View<'a>) -> Result<()> + Send + Sync;
type OfShare<T> = dyn Fn(&EpochShare, &Batch<T>) -> Result<()> + Send + Sync;
type Make<T> = dyn Fn(Subtask) -> Result<Box<dyn RowWriter<T>>> + Send + Sync;

enum Target<T: Record> {
    Rows(Arc<OfRow<T>>),
    Shares(Arc<OfShare<T>>),
    Writers(Arc<Make<T>>),
}

impl<T: Record> ForEach<T> {
    /// Calls the closure for each row, in the order of its subtask.
    #[must_use]
    pub fn rows(row: impl for<'a> Fn(T::View<'a>) -> Result<()> + Send + Sync + 'static) -> Self {
        ForEach::new(Target::Rows(Arc::new(row)))
    }

    /// Calls the closure once for each epoch and subtask that has rows, with all of them.
    #[must_use]
    pub fn shares(share: impl Fn(&EpochShare, &Batch<T>) -> Result<()> + Send + Sync + 'static) -> Self {
        ForEach::new(Target::Shares(Arc::new(share)))
    }

    /// Makes a [`RowWriter`] for each subtask, each time the job starts.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_connectors::{EpochShare, ForEach, RowWriter};
    /// use std::collections::BTreeMap;
    ///
    /// /// Keeps the rows of each share under its key.
    /// #[derive(Default)]
    /// struct Shelf { shares: BTreeMap<String, Vec<u64>>, rows: Vec<u64> }
    ///
    /// impl RowWriter<u64> for Shelf {
    ///     fn open(&mut self, share: &EpochShare) -> Result<bool> {
    ///         Ok(!self.shares.contains_key(&share.key))
    ///     }
    ///     fn process(&mut self, row: u64) -> Result<()> {
    ///         self.rows.push(row);
    ///         Ok(())
    ///     }
    ///     fn close(&mut self, share: &EpochShare) -> Result<()> {
    ///         self.shares.insert(share.key.clone(), std::mem::take(&mut self.rows));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let sink = ForEach::<u64>::writers(|_subtask| Ok(Box::new(Shelf::default())));
    /// ```
    #[must_use]
    pub fn writers(make: impl Fn(Subtask) -> Result<Box<dyn RowWriter<T>>> + Send + Sync + 'static) -> Self {
        ForEach::new(Target::Writers(Arc::new(make)))
    }

    fn new(target: Target<T>) -> Self {
        ForEach { target, parallelism: SinkParallelism::One }
    }

    /// Calls from every subtask at the same time, each with its own rows; without it one subtask has all rows.
    #[must_use]
    pub fn per_subtask(self) -> Self {
        ForEach { parallelism: SinkParallelism::PerSubtask, ..self }
    }
}

impl<T: Record> fmt::Debug for ForEach<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEach").field("parallelism", &self.parallelism).finish_non_exhaustive()
    }
}

impl<T: Record> Sink<T> for ForEach<T> {
    fn parallelism(&self) -> SinkParallelism {
        self.parallelism
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let target = match &self.target {
            Target::Rows(row) => Open::Rows(Arc::clone(row)),
            Target::Shares(share) => Open::Shares(Arc::clone(share)),
            Target::Writers(make) => Open::Writer(make(subtask)?),
        };
        let limits = BatchLimits { rows_max: usize::MAX, bytes_max: usize::MAX };
        Ok(Box::new(Writer { author: Author::new(subtask), held: BatchBuilder::new(limits), target }))
    }
}

enum Open<T: Record> {
    Rows(Arc<OfRow<T>>),
    Shares(Arc<OfShare<T>>),
    Writer(Box<dyn RowWriter<T>>),
}

struct Writer<T: Record> {
    author: Author,
    held: BatchBuilder<T>,
    target: Open<T>,
}

impl<T: Record> Writer<T> {
    fn show(&mut self, share: &EpochShare, rows: &Batch<T>) -> Result<()> {
        match &mut self.target {
            Open::Rows(row) => rows.iter().try_for_each(|view| row(view)),
            Open::Shares(call) => call(share, rows),
            Open::Writer(writer) => {
                if writer.open(share)? {
                    rows.iter().try_for_each(|view| writer.process(view))?;
                    writer.close(share)?;
                }
                Ok(())
            }
        }
    }
}

impl<T: Record> SinkWriter<T> for Writer<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        Ok(batch.iter().try_for_each(|view| self.held.push(view))?)
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        Ok(self.held.finish().map_or(Staged::nothing(), |rows| self.author.stage(rows.bytes())))
    }

    fn commit(&mut self, epoch: Epoch, staged: &Staged) -> Result<Delivery> {
        if !staged.is_nothing() {
            let (share, rows) = EpochShare::read(epoch, staged)?;
            let rows = Batch::<T>::from_bytes(rows)?;
            self.show(&share, &rows).map_err(|error| error.at(format!("epoch {epoch}")))?;
        }
        Ok(Delivery::Final)
    }
}
