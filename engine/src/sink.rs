//! Where records go: `Sink` describes, `SinkWriter` writes the share of one subtask.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{Batch, Record};
use crate::error::Result;
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

/// Writes the share of one subtask of a [`Sink`].
pub trait SinkWriter<T: Record>: Send {
    /// Takes the rows of one batch.
    ///
    /// # Errors
    /// The target cannot be written.
    fn write(&mut self, batch: &Batch<T>) -> Result<()>;

    /// Everything written so far belongs to `epoch` or earlier, and that epoch is complete.
    ///
    /// # Errors
    /// The target cannot be written.
    fn commit(&mut self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }

    /// The input has ended: publish what is still held back under its final name.
    ///
    /// # Errors
    /// The target cannot be written.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Takes a progress line away, lets something be printed, and puts the line back.
type Curtain = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// The progress line that this process shows on its terminal, if any.
static PROGRESS: Mutex<Option<Curtain>> = Mutex::new(None);

/// Announces a progress line on the terminal, or that it is gone.
#[cfg(feature = "cli")]
pub(crate) fn shows_progress(curtain: Option<Curtain>) {
    *PROGRESS.lock().unwrap_or_else(PoisonError::into_inner) = curtain;
}

/// Lets a sink print on standard output although the command line may be showing a progress line on the
/// same terminal: `print` runs while that line is away.
///
/// ```
/// let printed = headwater::sink::with_clear_terminal(|| "a row".len());
/// assert_eq!(printed, 5);
/// ```
pub fn with_clear_terminal<R>(print: impl FnOnce() -> R) -> R {
    let curtain = PROGRESS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(curtain) = curtain else { return print() };
    let (mut print, mut printed) = (Some(print), None);
    curtain(&mut || printed = print.take().map(|print| print()));
    match (printed, print) {
        (Some(printed), _) => printed,
        (None, Some(print)) => print(),
        (None, None) => unreachable!("the closure was taken, so it was called"),
    }
}
