//! `CsvSink`: a file with one line of comma-separated cells per row.

use std::path::PathBuf;

use headwater::batch::{Batch, Record};
use headwater::sink::{OutputMode, Sink, SinkWriter, Subtask};
use headwater::{Error, Result};

use crate::format::{encode_csv_header, encode_csv_row};
use crate::json_file::part::PartFile;

/// Writes rows to a file, one line of comma-separated cells per row; a name that ends in `.gz`
/// compresses it.
///
/// The first line holds the names of the columns; nested fields have dotted names.
///
/// Rows go to `NAME.part`, which becomes `NAME` when the input has ended, so a file with the final
/// name is complete and durable. Directories are created. An older file of that name is there until
/// then, and is replaced. A run that does not reach its end leaves the `.part` file for inspection; the
/// next run begins it anew, also when it resumes from a checkpoint, so let a run whose result is a file
/// begin at the beginning.
///
/// ```
/// use headwater_connectors::CsvSink;
///
/// let counts = CsvSink::new("out/counts.csv").delimiter(b';');
/// ```
#[derive(Clone, Debug)]
pub struct CsvSink {
    path: PathBuf,
    header: bool,
    delimiter: u8,
    changes: bool,
}

impl CsvSink {
    /// A sink that writes to this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CsvSink { path: path.into(), header: true, delimiter: b',', changes: false }
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
    fn accepts(&self, mode: OutputMode) -> bool {
        self.changes || mode == OutputMode::Append
    }

    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        if !self.delimiter.is_ascii() || matches!(self.delimiter, b'"' | b'\n' | b'\r') {
            return Err(Error::Config(format!(
                "{:?} cannot stand between the cells of a CSV file; use a comma, semicolon or tab",
                char::from(self.delimiter)
            )));
        }
        let mut file = PartFile::create(&self.path)?;
        let mut text = Vec::new();
        if self.header {
            encode_csv_header::<T>(self.delimiter, &mut text);
            file.write(&text)?;
        }
        Ok(Box::new(Writer { file, text, delimiter: self.delimiter }))
    }
}

struct Writer {
    file: PartFile,
    text: Vec<u8>,
    delimiter: u8,
}

impl<T: Record> SinkWriter<T> for Writer {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        self.text.clear();
        batch.for_each(|_, view| encode_csv_row::<T>(view, self.delimiter, &mut self.text));
        self.file.write(&self.text)
    }

    fn finish(&mut self) -> Result<()> {
        self.file.publish()
    }
}
