//! `Columns`: the values of some rows, column by column, in buffers that are used again.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::{ParquetError, Result};

use super::matching::Leaf;

/// The values of one column, with their levels.
pub(super) struct Column {
    pub(super) leaf: Leaf,
    pub(super) values: Values,
    pub(super) definitions: Vec<i16>,
    pub(super) repetitions: Vec<i16>,
    reader: ColumnReader,
}

pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// What is the same for each type of value.
macro_rules! each {
    ($column:expr, $reader:ident, $values:ident => $do:expr) => {
        match (&mut $column.reader, &mut $column.values) {
            (ColumnReader::BoolColumnReader($reader), Values::Bool($values)) => $do,
            (ColumnReader::Int32ColumnReader($reader), Values::Int32($values)) => $do,
            (ColumnReader::Int64ColumnReader($reader), Values::Int64($values)) => $do,
            (ColumnReader::Int96ColumnReader($reader), Values::Int96($values)) => $do,
            (ColumnReader::FloatColumnReader($reader), Values::Float($values)) => $do,
            (ColumnReader::DoubleColumnReader($reader), Values::Double($values)) => $do,
            (ColumnReader::ByteArrayColumnReader($reader), Values::Bytes($values)) => $do,
            (ColumnReader::FixedLenByteArrayColumnReader($reader), Values::Fixed($values)) => $do,
            _ => Err(ParquetError::General("the column has values of another type".to_owned())),
        }
    };
}

impl Column {
    pub(super) fn new(leaf: Leaf, reader: ColumnReader) -> Self {
        let values = match &reader {
            ColumnReader::BoolColumnReader(_) => Values::Bool(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        Column { leaf, values, definitions: Vec::new(), repetitions: Vec::new(), reader }
    }

    /// Reads the next rows in place of those that are there.
    ///
    /// # Errors
    /// The file is damaged, or has fewer rows.
    pub(super) fn fill(&mut self, rows: usize) -> Result<()> {
        self.definitions.clear();
        self.repetitions.clear();
        let (definitions, repetitions) = (&mut self.definitions, &mut self.repetitions);
        let read = each!(self, reader, values => {
            values.clear();
            records(reader, rows, definitions, repetitions, values)
        })?;
        self.whole(read, rows)
    }

    /// Passes over rows.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub(super) fn skip(&mut self, rows: usize) -> Result<()> {
        let skipped = each!(self, reader, _values => reader.skip_records(rows))?;
        self.whole(skipped, rows)
    }

    fn whole(&self, found: usize, rows: usize) -> Result<()> {
        if found == rows {
            return Ok(());
        }
        Err(ParquetError::General(format!(
            "column {} ends before its row group does: {found} rows in place of {rows}",
            self.leaf.column
        )))
    }

    /// Where the values of a row begin: in the levels, and in the values.
    pub(super) fn start_of(&self, row: usize) -> Cursor {
        if self.leaf.definition == 0 {
            return Cursor { level: row, value: row };
        }
        let level = if self.leaf.repetition == 0 {
            row
        } else {
            let starts = self.repetitions.iter().enumerate().filter(|(_, repetition)| **repetition == 0);
            starts.map(|(at, _)| at).nth(row).unwrap_or(self.repetitions.len())
        };
        let there = self.definitions.iter().take(level).filter(|level| **level == self.leaf.definition);
        Cursor { level, value: there.count() }
    }
}

fn records<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    definitions: &mut Vec<i16>,
    repetitions: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> Result<usize> {
    let (rows, _, _) = reader.read_records(rows, Some(definitions), Some(repetitions), values)?;
    Ok(rows)
}

/// A place in a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) level: usize,
    pub(super) value: usize,
}
