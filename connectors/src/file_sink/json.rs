//! `JsonLinesSink`: a file with one JSON object per line.

use std::path::PathBuf;
use std::time::Duration;

use headwater::Result;
use headwater::batch::{Batch, Record};
use headwater::sink::{OutputMode, Sink, SinkParallelism, SinkWriter, Subtask};

use super::layout::{Layout, Place, Roll};
use super::output::two_phases;
use super::text::TextOutput;
use crate::format::encode_json_line;

/// Writes rows to a file, one JSON object per line; a name that ends in `.gz` compresses it.
///
/// Rows are kept with their epoch and written when it is committed, so the sink is exactly-once for readers
/// that ignore names in `.part`: `NAME.part` grows epoch by epoch and becomes `NAME` when it is complete,
/// which is when the input has ended; in a [folder](Self::folder) also when it is large or old enough. A
/// complete file is durable and never changes or vanishes. Directories are created. An older file with the
/// name is there until then, and is replaced. A run that does not reach its end leaves the `.part` file:
/// with a state directory the next run goes on with it, without one it begins anew.
///
/// ```
/// use headwater_connectors::JsonLinesSink;
///
/// let late = JsonLinesSink::new("out/late.jsonl");
/// ```
#[derive(Clone, Debug)]
pub struct JsonLinesSink {
    place: Place,
    changes: bool,
}

impl JsonLinesSink {
    /// A sink that writes to this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonLinesSink { place: Place::File(path.into()), changes: false }
    }

    /// A sink that writes files `part-SUBTASK-EPOCH.jsonl` into a folder: one writer per subtask, and a new
    /// file when the last one is large or old enough. With the feature `object-store` the folder may be a URL,
    /// `s3://BUCKET/PATH`, `gs://` or `az://`: then an object is put there as a whole when it is complete, with
    /// 64 MiB at the latest, which the log keeps until then.
    ///
    /// ```
    /// use headwater_connectors::JsonLinesSink;
    ///
    /// let minute = std::time::Duration::from_secs(60);
    /// let rows = JsonLinesSink::folder("out").roll_bytes(64 << 20).roll_after(minute);
    /// ```
    #[must_use]
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        JsonLinesSink { place: Place::Folder(path.into(), Roll::default()), ..JsonLinesSink::new("") }
    }

    /// Completes a file of a folder when it has this many bytes; 128 MiB unless said.
    #[must_use]
    pub fn roll_bytes(self, bytes: u64) -> Self {
        JsonLinesSink { place: self.place.rolling(|roll| roll.bytes_max = bytes), ..self }
    }

    /// Completes a file of a folder when it is this old; ten seconds unless said. Zero completes a file
    /// with every epoch that has rows, so that they are seen soonest.
    #[must_use]
    pub fn roll_after(self, age: Duration) -> Self {
        JsonLinesSink { place: self.place.rolling_after(age), ..self }
    }

    /// Takes the rows of a result that changes, too: one line per change, not one per row. Without it
    /// such a topology is refused when it is built, because the file would look like a result and not
    /// be one.
    #[must_use]
    pub fn changes(self) -> Self {
        JsonLinesSink { changes: true, ..self }
    }
}

impl<T: Record> Sink<T> for JsonLinesSink {
    fn parallelism(&self) -> SinkParallelism {
        self.place.parallelism()
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        self.changes || mode == OutputMode::Append
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let layout = Layout::new(&self.place, "jsonl", subtask)?;
        Ok(Box::new(Writer { output: TextOutput::new(layout, Vec::new())? }))
    }
}

struct Writer {
    output: TextOutput,
}

impl<T: Record> SinkWriter<T> for Writer {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        self.output.write(|text| batch.for_each(|_, view| encode_json_line::<T>(view, text)))
    }

    two_phases!(output);
}
