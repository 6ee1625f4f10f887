//! `CsvFile`: one record per row of CSV.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::error::Result;
use headwater::source::{Boundedness, Source, SourceReader};

use super::options::{Options, file_options};
use super::reader::{FilePosition, FileReader, TextFormat};
use crate::format::{CsvColumns, InputFormat, RecordEnd, decode_row, record_end};

/// Records from CSV files; empty lines are passed over.
///
/// With a header, which is expected unless [`header(false)`](Self::header) is said, columns are found by
/// name in any order and unknown ones are ignored. Without, they are the fields in declared order. Nested
/// records take a column for each of their fields, named `outer.inner`. An empty cell is a missing value
/// for an `Option`. A row that does not fit is rejected and counted, and reading goes on.
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::CsvFile;
///
/// #[derive(Record)]
/// struct Flower {
///     sepal_length: f64,
///     species: String,
/// }
///
/// let flowers = CsvFile::<Flower>::new("iris.csv").delimiter(b';');
/// ```
#[derive(Debug)]
pub struct CsvFile<T: Record> {
    options: Options,
    header: bool,
    delimiter: Option<u8>,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> Clone for CsvFile<T> {
    fn clone(&self) -> Self {
        CsvFile { options: self.options.clone(), _record: PhantomData, ..*self }
    }
}

impl<T: Record> CsvFile<T> {
    /// Reads a file, all files of a directory (hidden ones and `.part` files left out), or all that match
    /// a pattern such as `readings/*.csv`. Each file is a partition, and each has a header or none has.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CsvFile { options: Options::new(path.into()), header: true, delimiter: None, _record: PhantomData }
    }

    /// Whether the first row names the columns; true if not said.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// The byte between two cells; if not said a tab for `.tsv` files, else a comma.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = Some(delimiter);
        self
    }

    file_options!();

    fn delimiter_of(&self, path: &Path) -> u8 {
        self.delimiter.unwrap_or_else(|| match InputFormat::from_path(path) {
            Some(InputFormat::Csv { delimiter }) => delimiter,
            _ => b',',
        })
    }
}

impl<T: Record> Source for CsvFile<T> {
    type Record = T;
    type Position = FilePosition;

    fn boundedness(&self) -> Boundedness {
        self.options.boundedness()
    }

    fn partitions(&self) -> Result<Vec<String>> {
        let partitions = self.options.partitions()?;
        for partition in &partitions {
            CsvColumns::declared::<T>(self.delimiter_of(Path::new(partition)))?;
        }
        Ok(partitions)
    }

    fn open(
        &self,
        partition: &str,
        position: Option<FilePosition>,
    ) -> Result<Box<dyn SourceReader<T, FilePosition>>> {
        let columns = CsvColumns::declared::<T>(self.delimiter_of(Path::new(partition)))?;
        let rows = CsvRows { columns, header: self.header, header_wanted: self.header };
        Ok(Box::new(FileReader::<T, _>::open(partition, position, &self.options, rows)?))
    }
}

/// Every row is a record, but for the header.
#[derive(Debug)]
struct CsvRows {
    columns: CsvColumns,
    header: bool,
    header_wanted: bool,
}

impl<T: Record> TextFormat<T> for CsvRows {
    const BLANK_LINES: bool = false;

    #[inline]
    fn record_end(&self, bytes: &[u8], last: bool) -> Option<RecordEnd> {
        record_end(bytes, self.columns.delimiter(), last)
    }

    #[inline]
    fn decode<'a>(
        &mut self,
        text: &'a str,
        quoted: bool,
        arena: &'a Bump,
    ) -> Result<T::View<'a>, DecodeError> {
        decode_row::<T>(text, quoted, &mut self.columns, arena)
    }

    #[inline]
    fn wants_header(&self) -> bool {
        self.header_wanted
    }

    fn take_header(&mut self, text: &str) -> Result<()> {
        self.columns = CsvColumns::named::<T>(text, self.columns.delimiter())?;
        self.header_wanted = false;
        Ok(())
    }

    fn restart(&mut self) {
        self.header_wanted = self.header;
    }
}
