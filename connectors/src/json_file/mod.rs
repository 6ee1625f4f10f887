//! `JsonLinesSink`: a file with one JSON object per line.
//!
//! 1. `part`: a file that has its name only when it is complete; shared with the CSV sink

pub(crate) mod part;

use std::path::PathBuf;

use headwater::Result;
use headwater::batch::{Batch, Record};
use headwater::sink::{OutputMode, Sink, SinkWriter, Subtask};

use self::part::PartFile;
use crate::format::encode_json_line;

/// Writes rows to a file, one JSON object per line; a name that ends in `.gz` compresses it.
///
/// Rows go to `NAME.part`, which becomes `NAME` when the input has ended, so a file with the final
/// name is complete and durable. Directories are created. An older file of that name is there until
/// then, and is replaced. A run that does not reach its end leaves the `.part` file for inspection; the
/// next run begins it anew, also when it resumes from a checkpoint, so let a run whose result is a file
/// begin at the beginning.
///
/// ```
/// use headwater_connectors::JsonLinesSink;
///
/// let late = JsonLinesSink::new("out/late.jsonl");
/// ```
#[derive(Clone, Debug)]
pub struct JsonLinesSink {
    path: PathBuf,
    changes: bool,
}

impl JsonLinesSink {
    /// A sink that writes to this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonLinesSink { path: path.into(), changes: false }
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
    fn accepts(&self, mode: OutputMode) -> bool {
        self.changes || mode == OutputMode::Append
    }

    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        Ok(Box::new(Writer { file: PartFile::create(&self.path)?, text: Vec::new() }))
    }
}

struct Writer {
    file: PartFile,
    text: Vec<u8>,
}

impl<T: Record> SinkWriter<T> for Writer {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        self.text.clear();
        batch.for_each(|_, view| encode_json_line::<T>(view, &mut self.text));
        self.file.write(&self.text)
    }

    fn finish(&mut self) -> Result<()> {
        self.file.publish()
    }
}
