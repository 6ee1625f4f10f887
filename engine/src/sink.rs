//! Where records go: `Sink` describes, `SinkWriter` writes the share of one subtask.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::batch::{Batch, Record};
use crate::error::{Result, guard};
use crate::time::Epoch;

/// Which rows of a changing result are sent on, and when. As in Spark Structured Streaming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutputMode {
    /// Each row once, when it cannot change any more: a window when it closes, a rolling aggregate at
    /// the end of a bounded input.
    #[default]
    Append,
    /// At every epoch the rows that changed since the last.
    Update,
    /// At every epoch the whole result.
    Complete,
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputMode::Append => "append",
            OutputMode::Update => "update",
            OutputMode::Complete => "complete",
        })
    }
}

/// Which of the parallel instances of a stage something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subtask {
    /// From 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

/// How many writers a sink wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkParallelism {
    /// One for the whole topology: one file, one terminal.
    #[default]
    One,
    /// One per subtask of the stage in front of it.
    PerSubtask,
}

/// A place that records go to: the description; it is opened anew for every run.
pub trait Sink<T: Record>: Send + Sync + 'static {
    /// How many writers it wants.
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::One
    }

    /// Whether it can take the rows of a result that changes; checked in `build()`.
    fn accepts(&self, _mode: OutputMode) -> bool {
        true
    }

    /// Opens the writer of one subtask.
    ///
    /// # Errors
    /// The target cannot be written.
    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>>;
}

/// Where the rows of one epoch end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The epoch that ends here.
    pub epoch: Epoch,
    /// The input has ended: no row follows.
    pub is_last: bool,
    /// Milliseconds of the run's monotonic clock, for what goes by age.
    pub now_ms: u64,
}

/// What a sink needs to make the rows of one epoch visible, in bytes of its own choice. It is committed
/// with the epoch: after a crash it is there again. A clone shares the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged(Arc<Vec<u8>>);

impl Staged {
    /// Nothing is to be done for this epoch.
    #[must_use]
    pub fn nothing() -> Self {
        Staged::default()
    }

    /// Bytes: the rows themselves, or where they have been put.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Staged(Arc::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes to be used again, unless a clone has them, too.
    ///
    /// # Errors
    /// What it was, because a clone has the bytes.
    ///
    /// ```
    /// use headwater::sink::Staged;
    ///
    /// let staged = Staged::bytes(vec![1, 2, 3]);
    /// let clone = staged.clone();
    /// assert!(staged.into_bytes().is_err());
    /// assert_eq!(clone.into_bytes(), Ok(vec![1, 2, 3]));
    /// ```
    pub fn into_bytes(self) -> Result<Vec<u8>, Self> {
        Arc::try_unwrap(self.0).map_err(Staged)
    }

    /// The bytes, shared.
    pub(crate) fn share(&self) -> Arc<Vec<u8>> {
        Arc::clone(&self.0)
    }

    /// True when nothing is to be done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }
}

/// How far the output of an epoch is on its way when [`SinkWriter::commit`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It survives whatever happens; the staged output may be forgotten.
    Final,
    /// After a crash it must be committed again, from the staged output that the log keeps until then.
    Pending,
}

/// Writes the share of one subtask of a [`Sink`], in two phases.
///
/// The legal order of calls: `recover? (write* prepare)*`, and `commit` for each epoch that was prepared,
/// in order, once the epoch is durable for the whole topology: between two other calls, later.
///
/// Exactly-once needs two things: what `prepare` returns, with what it has synced elsewhere, is enough to
/// make the rows visible after a crash; and `commit` may be called again for the same epoch, also by
/// another process, and changes nothing then.
pub trait SinkWriter<T: Record>: Send {
    /// Takes the rows of one batch. They must not be seen before their epoch is committed; a sink that
    /// shows them at once is at-least-once.
    ///
    /// # Errors
    /// The target cannot be written.
    fn write(&mut self, batch: &Batch<T>) -> Result<()>;

    /// Ends the epoch: gives what is needed to show the rows written since the last call.
    ///
    /// # Errors
    /// The target cannot be written.
    fn prepare(&mut self, _cut: Cut) -> Result<Staged> {
        Ok(Staged::nothing())
    }

    /// Shows the rows of an epoch, which is durable; does nothing when they are shown already.
    ///
    /// # Errors
    /// The target cannot be written, or somebody else wrote there.
    fn commit(&mut self, _epoch: Epoch, _staged: &Staged) -> Result<Delivery> {
        Ok(Delivery::Final)
    }

    /// The run goes on behind the last of these epochs: shows what an earlier run had committed and may
    /// not have shown. Called once, before anything is written, with every epoch whose delivery was not
    /// final, ascending, and always with the last, which may be final.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    fn recover(&mut self, epochs: Vec<(Epoch, Staged)>) -> Result<Delivery> {
        epochs.iter().try_fold(Delivery::Final, |_, (epoch, staged)| self.commit(*epoch, staged))
    }
}

/// Takes a progress line away, lets something be printed, and puts the line back.
type Curtain = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// The progress line that this process shows on its terminal, if any.
static PROGRESS: Mutex<Option<Curtain>> = Mutex::new(None);

/// Announces a progress line on the terminal, or that it is gone.
#[cfg(feature = "cli")]
pub(crate) fn shows_progress(curtain: Option<Curtain>) {
    *guard(&PROGRESS) = curtain;
}

/// Lets a sink print on standard output although the command line may be showing a progress line on the
/// same terminal: `print` runs while that line is away.
///
/// ```
/// let printed = headwater::sink::with_clear_terminal(|| "a row".len());
/// assert_eq!(printed, 5);
/// ```
pub fn with_clear_terminal<R>(print: impl FnOnce() -> R) -> R {
    let curtain = guard(&PROGRESS).clone();
    let Some(curtain) = curtain else { return print() };
    let (mut print, mut printed) = (Some(print), None);
    curtain(&mut || printed = print.take().map(|print| print()));
    match (printed, print) {
        (Some(printed), _) => printed,
        (None, Some(print)) => print(),
        (None, None) => unreachable!("the closure was taken, so it was called"),
    }
}
