//! `ParquetFile`: records from Parquet files.
//!
//! 1. `input`: which files, and the bytes of one
//! 2. `matching`: the columns of a file that make a record
//! 3. `columns`: the values of some rows, column by column
//! 4. `assemble`: records put together from them

mod assemble;
mod columns;
mod input;
mod matching;

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use bumpalo::Bump;
use headwater::batch::Record;
use headwater::error::{Error, Result};
use headwater::source::{Poll, Rejected, Source, SourceOutput, SourceReader};

use parquet::errors::ParquetError;

use self::assemble::{Assembler, Progress};
use self::columns::{Column, Cursor};
use self::input::{Input, files, guarded};
use self::matching::Plan;

/// Rows that are read from each column at once; a batch has as many.
const ROWS: usize = 1024;

/// Records from Parquet files.
///
/// Columns are found by the names of the fields, groups and lists as nested records and `Vec`; only columns that
/// the record has are read from the disk. A field whose column is missing is an error unless it is an `Option`,
/// and so is a column of another type, when the file is opened. An integer goes into any integer that it fits, a
/// timestamp into an `i64` as milliseconds since 1970, rounded down, whatever its unit and zone. A record without
/// fields, such as a `String`, is read from the column `value`.
///
/// A row that does not fit the record is rejected with its file and number, from 1: a null in a field that is no
/// `Option`, a number that is too large, a text that is not UTF-8. Reading goes on behind it.
///
/// Each file is a partition, so that its rows come in order. Pages may be packed with zstd, Snappy, LZ4 or gzip. A
/// file must not change while its position is kept: one that has another length is an error.
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::ParquetFile;
///
/// #[derive(Record)]
/// struct Bid {
///     auction: u64,
///     price: Option<u64>,
/// }
///
/// let bids = ParquetFile::<Bid>::read("bids/*.parquet");
/// ```
pub struct ParquetFile<T> {
    paths: Vec<PathBuf>,
    splits: usize,
    _record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for ParquetFile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile").field("paths", &self.paths).field("splits", &self.splits).finish()
    }
}

impl<T> Clone for ParquetFile<T> {
    fn clone(&self) -> Self {
        ParquetFile { paths: self.paths.clone(), splits: self.splits, _record: PhantomData }
    }
}

impl<T: Record> ParquetFile<T> {
    /// Reads a file, all Parquet files of a folder and the folders below it (hidden ones left out, and those whose
    /// names begin with an underscore), or all that match a pattern such as `bids/*.parquet`.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        ParquetFile { paths: vec![path.into()], splits: 1, _record: PhantomData }
    }

    /// Reads these paths too; each is a file, a folder or a pattern as in `read`.
    #[must_use]
    pub fn paths<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.paths.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Cuts the row groups of each file into so many partitions at most, which are read at once; 1 unless said.
    ///
    /// Each partition has its own watermark: where rows are in order of event time, windows stay open until the
    /// slowest partition has passed them. The number must not change while the position of a job is kept: what was
    /// read as one partition would be read again as others.
    #[must_use]
    pub fn splits(mut self, partitions: usize) -> Self {
        self.splits = partitions.max(1);
        self
    }
}

/// Where a reader stands in a file, between two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, headwater::prelude::Record)]
pub struct ParquetPosition {
    /// The row group, from 0.
    pub group: u64,
    /// The next row in it, from 0.
    pub row: u64,
    /// Length of the file, by which another one of its name is noticed.
    pub file_bytes: u64,
}

/// Which part of a file a partition is.
struct Split {
    path: PathBuf,
    index: usize,
    count: usize,
}

impl Split {
    fn name(path: &str, index: usize, count: usize) -> String {
        if count == 1 { path.to_owned() } else { format!("{path}#{index}/{count}") }
    }

    fn parse(name: &str) -> Split {
        let part = name.rsplit_once('#').and_then(|(path, part)| {
            let (index, count) = part.split_once('/')?;
            Some(Split { path: PathBuf::from(path), index: index.parse().ok()?, count: count.parse().ok()? })
        });
        let whole = || Split { path: PathBuf::from(name), index: 0, count: 1 };
        part.filter(|split| split.index < split.count).unwrap_or_else(whole)
    }
}

impl<T: Record> Source for ParquetFile<T> {
    type Record = T;
    type Position = ParquetPosition;

    fn partitions(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for path in files(&self.paths)? {
            let name = path.to_str().ok_or_else(|| {
                Error::failed(format!("the file name {} is not UTF-8; rename the file", path.display()))
            })?;
            let count = if self.splits == 1 {
                1
            } else {
                Input::open(&path)?.metadata().num_row_groups().clamp(1, self.splits)
            };
            names.extend((0..count).map(|index| Split::name(name, index, count)));
        }
        Ok(names)
    }

    fn open(
        &self,
        partition: &str,
        position: Option<ParquetPosition>,
    ) -> Result<Box<dyn SourceReader<T, ParquetPosition>>> {
        Ok(Box::new(Reader::<T>::open(Split::parse(partition), position)?))
    }
}

struct Reader<T> {
    path: PathBuf,
    input: Input,
    plan: Plan,
    columns: Vec<Column>,
    progress: Progress,
    arena: Bump,
    /// The row group that is being read, and that at which the partition ends.
    group: usize,
    group_end: usize,
    group_rows: usize,
    /// Rows of the file in front of the row group.
    rows_before: u64,
    /// The first row in the buffers, how many they have, and how many of them are given.
    first: usize,
    filled: usize,
    given: usize,
    /// What stopped the reading, to be said once the rows before it are on their way.
    failure: Option<Error>,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> Reader<T> {
    fn open(split: Split, position: Option<ParquetPosition>) -> Result<Self> {
        let path = split.path;
        let input = Input::open(&path)?;
        let root = input.metadata().file_metadata().schema();
        let plan = Plan::of(&T::schema(), root)
            .map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
        let groups = input.metadata().num_row_groups();
        let cut = |index: usize| groups * index / split.count;
        let mut reader = Reader {
            path,
            plan,
            columns: Vec::new(),
            progress: Progress::default(),
            arena: Bump::new(),
            group: cut(split.index),
            group_end: cut(split.index + 1),
            group_rows: 0,
            rows_before: 0,
            first: 0,
            filled: 0,
            given: 0,
            failure: None,
            input,
            _record: PhantomData,
        };
        let mut row = 0;
        if let Some(position) = position {
            (reader.group, row) = reader.place_of(position)?;
        }
        let groups = reader.input.metadata().row_groups();
        let before = groups.iter().take(reader.group).map(|group| group.num_rows().max(0) as u64);
        reader.rows_before = before.sum();
        reader.enter(row)?;
        Ok(reader)
    }

    /// # Errors
    /// The file is not the one that was read.
    fn place_of(&self, position: ParquetPosition) -> Result<(usize, usize)> {
        let group = usize::try_from(position.group).unwrap_or(usize::MAX);
        let row = usize::try_from(position.row).unwrap_or(usize::MAX);
        let rows = self.input.metadata().row_groups().get(group).map_or(0, |group| group.num_rows());
        let is_inside = (self.group..=self.group_end).contains(&group) && row as u64 <= rows.max(0) as u64;
        if position.file_bytes == self.input.bytes && is_inside {
            return Ok((group, row));
        }
        Err(Error::failed(format!(
            "{}: has changed since it was read up to row {row} of row group {group}, when it had {} bytes: it has \
             {} now, and what follows in it cannot be known; put the file back, or start without the saved state",
            self.path.display(),
            position.file_bytes,
            self.input.bytes
        )))
    }

    /// Begins the row group at a row, or does nothing at the end.
    fn enter(&mut self, row: usize) -> Result<()> {
        (self.first, self.filled, self.given, self.group_rows) = (row, 0, 0, 0);
        self.columns.clear();
        if self.group >= self.group_end {
            return Ok(());
        }
        self.input.look_ahead(&self.path, self.group, &self.plan.leaves)?;
        let entered = guarded(|| {
            let group = self.input.reader().get_row_group(self.group)?;
            self.group_rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            for leaf in &self.plan.leaves {
                let mut column = Column::new(*leaf, group.get_column_reader(leaf.column)?);
                if row > 0 {
                    column.skip(row)?;
                }
                self.columns.push(column);
            }
            Ok(())
        });
        entered.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ParquetError) -> Error {
        Error::failed(format!("{}: row group {}: {error}", self.path.display(), self.group))
    }

    /// Reads more rows; false at the end of the partition.
    fn fill(&mut self) -> Result<bool> {
        self.first += self.filled;
        (self.filled, self.given) = (0, 0);
        while self.first >= self.group_rows {
            if self.group >= self.group_end {
                return Ok(false);
            }
            self.rows_before += self.group_rows as u64;
            self.group += 1;
            self.enter(0)?;
        }
        let rows = ROWS.min(self.group_rows - self.first);
        let columns = &mut self.columns;
        guarded(|| columns.iter_mut().try_for_each(|column| column.fill(rows)))
            .map_err(|error| self.failed(error))?;
        self.filled = rows;
        self.progress.cursors.clear();
        self.progress.cursors.resize(self.columns.len(), Cursor::default());
        Ok(true)
    }

    /// Puts together as many of the rows in the buffers as there is room for.
    fn give(&mut self, out: &mut SourceOutput<'_, T>) -> Result<()> {
        while self.given < self.filled && !out.is_full() {
            let mut assembler =
                Assembler::new(&self.plan.nodes, &self.columns, &self.arena, &mut self.progress);
            match T::decode(&mut assembler) {
                Ok(view) => out.push(view)?,
                Err(error) => {
                    for (column, cursor) in self.columns.iter().zip(&mut self.progress.cursors) {
                        *cursor = column.start_of(self.given + 1);
                    }
                    out.reject(&Rejected {
                        origin: self.path.display().to_string(),
                        line: self.rows_before + (self.first + self.given) as u64 + 1,
                        offset: 0,
                        reason: error.to_string(),
                        payload: String::new(),
                    })?;
                }
            }
            self.given += 1;
        }
        Ok(())
    }
}

impl<T: Record> SourceReader<T, ParquetPosition> for Reader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.arena.reset();
        let mut has_given = false;
        while !out.is_full() {
            if self.given == self.filled {
                match self.fill() {
                    Ok(true) => {}
                    Ok(false) => return Ok(Poll::Finished),
                    Err(error) if has_given => {
                        self.failure = Some(error);
                        return Ok(Poll::More);
                    }
                    Err(error) => return Err(error),
                }
            }
            has_given = true;
            self.give(out)?;
        }
        Ok(Poll::More)
    }

    fn position(&self) -> ParquetPosition {
        let (group, row) = (self.group as u64, (self.first + self.given) as u64);
        ParquetPosition { group, row, file_bytes: self.input.bytes }
    }
}
