//! `JsonLines`: one record per line of JSON.

use std::marker::PhantomData;
use std::path::PathBuf;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::error::Result;
use headwater::source::{Boundedness, Source, SourceReader};

use super::options::{Options, file_options};
use super::reader::{FilePosition, FileReader, TextFormat};
use super::text::line_end;
use crate::format::{JsonKeys, RecordEnd, decode_json_ahead, decode_json_line};

/// Records from files with one JSON object per line; empty lines are passed over.
///
/// Fields are found by name in any order; unknown ones are passed over, a missing one is an error unless it
/// is an `Option`. A line that is not such an object is rejected and counted, and reading goes on.
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::JsonLines;
///
/// #[derive(Record)]
/// struct Bid {
///     auction: u64,
///     price: u64,
/// }
///
/// let bids = JsonLines::<Bid>::new("bids/*.jsonl.gz");
/// ```
#[derive(Debug)]
pub struct JsonLines<T: Record> {
    options: Options,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> Clone for JsonLines<T> {
    fn clone(&self) -> Self {
        JsonLines { options: self.options.clone(), _record: PhantomData }
    }
}

impl<T: Record> JsonLines<T> {
    /// Reads a file, all files of a directory (hidden ones and `.part` files left out), or all that match
    /// a pattern such as `bids/*.jsonl`. Each file is a partition.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonLines { options: Options::new(path.into()), _record: PhantomData }
    }

    file_options!();
}

impl<T: Record> Source for JsonLines<T> {
    type Record = T;
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
    ) -> Result<Box<dyn SourceReader<T, FilePosition>>> {
        let objects = JsonObjects { keys: JsonKeys::default() };
        Ok(Box::new(FileReader::<T, _>::open(partition, position, &self.options, objects)?))
    }
}

/// Every line is a JSON value.
#[derive(Debug)]
struct JsonObjects {
    keys: JsonKeys,
}

impl<T: Record> TextFormat<T> for JsonObjects {
    const BLANK_LINES: bool = false;

    #[inline]
    fn record_end(&self, bytes: &[u8], last: bool) -> Option<RecordEnd> {
        line_end(bytes, last)
    }

    #[inline]
    fn decode_ahead<'a>(&mut self, lines: &'a str, arena: &'a Bump) -> Option<(T::View<'a>, usize)> {
        decode_json_ahead::<T>(lines, arena, &mut self.keys)
    }

    #[inline]
    fn decode<'a>(&mut self, text: &'a str, _: bool, arena: &'a Bump) -> Result<T::View<'a>, DecodeError> {
        decode_json_line::<T>(text, arena, &mut self.keys).map_err(|error| explained(text, error))
    }
}

/// Says what is probably meant when a file holds JSON, but not a line for each record.
#[cold]
fn explained(text: &str, error: DecodeError) -> DecodeError {
    match text.trim() {
        "{" => DecodeError::new(format!("{error}; each record must be on one line")),
        text if text.starts_with('[') => {
            DecodeError::new(format!("{error}; the file must hold one object per line, not one list"))
        }
        _ => error,
    }
}
