//! `CsvSink`: a file with one line of comma-separated cells per row.

use std::path::PathBuf;
use std::time::Duration;

use headwater::batch::{Batch, Record};
use headwater::sink::{OutputMode, Sink, SinkParallelism, SinkWriter, Subtask};
use headwater::{Error, Result};

use super::layout::{Layout, Place, Roll};
use super::output::two_phases;
use super::text::TextOutput;
use crate::format::{encode_csv_header, encode_csv_row};

/// Writes rows to a file, one line of comma-separated cells per row; a name that ends in `.gz`
/// compresses it.
///
/// The first line holds the names of the columns; nested fields have dotted names.
///
/// Rows are kept with their epoch and written when it is committed, so the sink is exactly-once for readers
/// that ignore names in `.part`: `NAME.part` grows epoch by epoch and becomes `NAME` when it is complete,
/// which is when the input has ended; in a [folder](Self::folder) also when it is large or old enough. A
/// complete file is durable and never changes or vanishes. Directories are created. An older file with the
/// name is there until then, and is replaced. A run that does not reach its end leaves the `.part` file:
/// with a state directory the next run goes on with it, without one it begins anew.
///
/// ```
/// use headwater_connectors::CsvSink;
///
/// let counts = CsvSink::new("out/counts.csv").delimiter(b';');
/// ```
#[derive(Clone, Debug)]
pub struct CsvSink {
    place: Place,
    header: bool,
    delimiter: u8,
    changes: bool,
}

impl CsvSink {
    /// A sink that writes to this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CsvSink { place: Place::File(path.into()), header: true, delimiter: b',', changes: false }
    }

    /// A sink that writes files `part-SUBTASK-EPOCH.csv` into a folder: one writer per subtask, and a new
    /// file when the last one is large or old enough. With the feature `object-store` the folder may be a URL,
    /// `s3://BUCKET/PATH`, `gs://` or `az://`: then an object is put there as a whole when it is complete, with
    /// 64 MiB at the latest, which the log keeps until then.
    ///
    /// ```
    /// use headwater_connectors::CsvSink;
    ///
    /// let minute = std::time::Duration::from_secs(60);
    /// let rows = CsvSink::folder("out").roll_bytes(64 << 20).roll_after(minute);
    /// ```
    #[must_use]
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        CsvSink { place: Place::Folder(path.into(), Roll::default()), ..CsvSink::new("") }
    }

    /// Completes a file of a folder when it has this many bytes; 128 MiB unless said.
    #[must_use]
    pub fn roll_bytes(self, bytes: u64) -> Self {
        CsvSink { place: self.place.rolling(|roll| roll.bytes_max = bytes), ..self }
    }

    /// Completes a file of a folder when it is this old; ten seconds unless said. Zero completes a file
    /// with every epoch that has rows, so that they are seen soonest.
    #[must_use]
    pub fn roll_after(self, age: Duration) -> Self {
        CsvSink { place: self.place.rolling_after(age), ..self }
    }

    /// Whether the first line holds the names of the columns (yes).
    #[must_use]
    pub fn header(self, header: bool) -> Self {
        CsvSink { header, ..self }
    }

    /// What stands between two cells (a comma): any ASCII character but quotes and line ends.
    #[must_use]
    pub fn delimiter(self, delimiter: u8) -> Self {
        CsvSink { delimiter, ..self }
    }

    /// Takes the rows of a result that changes, too: one line per change, not one per row. Without it
    /// such a topology is refused when it is built, because the file would look like a result and not
    /// be one.
    #[must_use]
    pub fn changes(self) -> Self {
        CsvSink { changes: true, ..self }
    }
}

impl<T: Record> Sink<T> for CsvSink {
    fn parallelism(&self) -> SinkParallelism {
        self.place.parallelism()
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        self.changes || mode == OutputMode::Append
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        if !self.delimiter.is_ascii() || matches!(self.delimiter, b'"' | b'\n' | b'\r') {
            return Err(Error::Config(format!(
                "{:?} cannot stand between the cells of a CSV file; use a comma, semicolon or tab",
                char::from(self.delimiter)
            )));
        }
        let mut header = Vec::new();
        if self.header {
            encode_csv_header::<T>(self.delimiter, &mut header);
        }
        let output = TextOutput::new(Layout::new(&self.place, "csv", subtask)?, header)?;
        Ok(Box::new(Writer { output, delimiter: self.delimiter }))
    }
}

struct Writer {
    output: TextOutput,
    delimiter: u8,
}

impl<T: Record> SinkWriter<T> for Writer {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        let delimiter = self.delimiter;
        self.output.write(|text| batch.for_each(|_, view| encode_csv_row::<T>(view, delimiter, text)))
    }

    two_phases!(output);
}
