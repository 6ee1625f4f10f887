//! `TextFile`: one record per line of text.

use std::path::PathBuf;

use bumpalo::Bump;
use headwater::batch::DecodeError;
use headwater::error::Result;
use headwater::source::{Boundedness, Source, SourceReader};

use super::options::{Options, file_options};
use super::reader::{FilePosition, FileReader, TextFormat};
use crate::format::RecordEnd;

/// The lines of text files, without their line ends; empty lines are records too.
///
/// ```
/// use headwater::source::Source;
/// use headwater_connectors::TextFile;
///
/// let error = TextFile::new("no/such/*.txt").partitions().unwrap_err();
/// assert!(error.to_string().starts_with("no file matches `no/such/*.txt`"));
/// ```
#[derive(Clone, Debug)]
pub struct TextFile {
    options: Options,
}

impl TextFile {
    /// Reads a file, all files of a directory (hidden ones and `.part` files left out), or all that match
    /// a pattern such as `logs/*.txt.gz`. Each file is a partition.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        TextFile { options: Options::new(path.into()) }
    }

    file_options!();
}

impl Source for TextFile {
    type Record = String;
    type Position = FilePosition;

    fn boundedness(&self) -> Boundedness {
        self.options.boundedness()
    }

    fn partitions(&self) -> Result<Vec<String>> {
        self.options.partitions()
    }

    fn open(
        &self,
        partition: &str,
        position: Option<FilePosition>,
    ) -> Result<Box<dyn SourceReader<String, FilePosition>>> {
        Ok(Box::new(FileReader::open(partition, position, &self.options, TextLines)?))
    }
}

/// Every line is a record as it stands.
#[derive(Debug)]
struct TextLines;

impl TextFormat<String> for TextLines {
    const BLANK_LINES: bool = true;

    #[inline]
    fn record_end(&self, bytes: &[u8], last: bool) -> Option<RecordEnd> {
        line_end(bytes, last)
    }

    #[inline]
    fn decode<'a>(&mut self, text: &'a str, _: bool, _: &'a Bump) -> Result<&'a str, DecodeError> {
        Ok(text)
    }
}

/// The end of the first line.
#[inline]
pub(super) fn line_end(bytes: &[u8], last: bool) -> Option<RecordEnd> {
    let length = match memchr::memchr(b'\n', bytes) {
        Some(at) => at + 1,
        None if last && !bytes.is_empty() => bytes.len(),
        None => return None,
    };
    Some(RecordEnd { length, quoted: false })
}
