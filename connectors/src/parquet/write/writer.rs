//! `ParquetWriter`: rows into the bytes of one file, row group by row group.
//!
//! All columns of a row group are encoded at once, each into pages of its own that stay in memory, compressed,
//! until the row group ends. What comes out depends on the rows alone, not on how they were cut into batches.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use headwater::batch::Record;
use headwater::{Error, Result};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::page::{CompressedPage, PageWriteSpec, PageWriter};
use parquet::column::writer::{ColumnWriter, get_column_writer};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataWriter};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite};

use super::schema::Shape;
use super::shred::{Column, Shredder, Values};

/// Rows are encoded when there are so many, or so many bytes of them.
const ENCODED_ROWS: usize = 4096;
const ENCODED_BYTES: usize = 1 << 20;

/// A row group ends with so many rows or bytes of values, as they are in memory.
const GROUP_ROWS_MAX: usize = 1 << 20;
const GROUP_BYTES_MAX: usize = 128 << 20;

/// The key under which a file says which epoch is its last.
const EPOCH_KEY: &str = "headwater.epoch";

/// Where the bytes of a file go; the file can be asked for what is there so far.
pub(super) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    shape: Arc<Shape>,
    shredder: Shredder,
    /// The columns of the row group; none until it has rows.
    columns: Vec<OpenColumn>,
    group_rows: usize,
    group_bytes: usize,
    rows: u64,
    /// How errors name the file.
    name: PathBuf,
}

struct OpenColumn {
    writer: ColumnWriter<'static>,
    pages: Pages,
}

/// The pages of a column, in memory.
#[derive(Clone)]
struct Pages(Arc<Mutex<TrackedWrite<Vec<u8>>>>);

impl PageWriter for Pages {
    fn write_page(&mut self, page: CompressedPage) -> parquet::errors::Result<PageWriteSpec> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        SerializedPageWriter::new(&mut pages).write_page(page)
    }

    fn close(&mut self) -> parquet::errors::Result<()> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()?)
    }
}

/// How the columns are packed: zstd at its fastest level, which costs little more than none.
pub(super) fn properties() -> WriterPropertiesPtr {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    Arc::new(WriterProperties::builder().set_compression(zstd).build())
}

/// What went wrong in the library, or in the file below it.
pub(in crate::parquet) fn failed(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => Error::io(path, *error),
            Err(error) => Error::failed(format!("{}: {error}", path.display())),
        },
        other => Error::failed(format!("{}: {other}", path.display())),
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    /// # Errors
    /// The file cannot be written.
    pub(super) fn new(out: W, shape: &Arc<Shape>, name: PathBuf) -> Result<Self> {
        let file = SerializedFileWriter::new(out, Arc::clone(&shape.file), properties());
        let file = file.map_err(|error| failed(&name, error))?;
        let shredder = Shredder::new(shape);
        Ok(ParquetWriter {
            file,
            shape: Arc::clone(shape),
            shredder,
            columns: Vec::new(),
            group_rows: 0,
            group_bytes: 0,
            rows: 0,
            name,
        })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// A value has no place in Parquet, or the file cannot be written.
    #[inline]
    pub(super) fn push<T: Record>(&mut self, view: T::View<'_>) -> Result<()> {
        if let Err(reason) = self.shredder.push::<T>(view, &self.shape.nodes) {
            return Err(Error::failed(format!("{}: {reason}", self.name.display())));
        }
        self.rows += 1;
        if self.shredder.rows() >= ENCODED_ROWS || self.shredder.bytes() >= ENCODED_BYTES {
            self.encode()?;
            if self.group_rows >= GROUP_ROWS_MAX || self.group_bytes >= GROUP_BYTES_MAX {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the file so far, with what pages of the row group already have.
    pub(super) fn bytes(&self) -> u64 {
        let pages = self.columns.iter().map(|column| {
            column.pages.0.lock().unwrap_or_else(PoisonError::into_inner).bytes_written() as u64
        });
        self.file.bytes_written() as u64 + pages.sum::<u64>()
    }

    /// Brings collected rows to the columns of the row group.
    fn encode(&mut self) -> Result<()> {
        if self.shredder.rows() == 0 {
            return Ok(());
        }
        if self.columns.is_empty() {
            let schema = self.file.schema_descr();
            for at in 0..schema.num_columns() {
                let pages = Pages(Arc::new(Mutex::new(TrackedWrite::new(Vec::new()))));
                let (column, properties) = (schema.column(at), Arc::clone(self.file.properties()));
                let writer = get_column_writer(column, properties, Box::new(pages.clone()));
                self.columns.push(OpenColumn { writer, pages });
            }
        }
        for (open, column) in self.columns.iter_mut().zip(&mut self.shredder.columns) {
            put(&mut open.writer, column).map_err(|error| failed(&self.name, error))?;
        }
        self.group_rows += self.shredder.rows();
        self.group_bytes += self.shredder.bytes();
        self.shredder.clear();
        Ok(())
    }

    /// Ends the row group, if it has rows: its bytes are in the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn end_group(&mut self) -> Result<()> {
        self.encode()?;
        if self.columns.is_empty() {
            return Ok(());
        }
        let failed = |error| failed(&self.name, error);
        let mut group = self.file.next_row_group().map_err(failed)?;
        for column in self.columns.drain(..) {
            let closed = column.writer.close().map_err(failed)?;
            let pages = Arc::try_unwrap(column.pages.0)
                .map_err(|_| Error::failed("a column of Parquet is still being written"))?
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            let pages = Bytes::from(pages.into_inner().map_err(failed)?);
            group.append_column(&pages, closed).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.file.flush().map_err(|error| Error::io(&self.name, error))?;
        (self.group_rows, self.group_bytes) = (0, 0);
        Ok(())
    }

    /// The file, to sync it.
    pub(super) fn inner(&self) -> &W {
        self.file.inner()
    }

    /// Bytes in the file, and the footer that would complete it here; the row group has ended.
    ///
    /// # Errors
    /// The footer cannot be encoded.
    pub(super) fn footer(&self, epoch: u64) -> Result<(u64, Vec<u8>)> {
        let properties = self.file.properties();
        let groups = self.file.flushed_row_groups().to_vec();
        let rows = groups.iter().map(|group| group.num_rows()).sum();
        let about = FileMetaData::new(
            properties.writer_version().as_num(),
            rows,
            Some(properties.created_by().to_owned()),
            Some(vec![epoch_entry(epoch)]),
            Arc::new(self.file.schema_descr().clone()),
            None,
        );
        let metadata = ParquetMetaDataBuilder::new(about).set_row_groups(groups).build();
        let mut footer = Vec::new();
        let written = ParquetMetaDataWriter::new(&mut footer, &metadata).finish();
        written.map_err(|error| failed(&self.name, error))?;
        Ok((self.file.bytes_written() as u64, footer))
    }

    /// Completes the file behind an epoch.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn finish(mut self, epoch: u64) -> Result<W> {
        self.end_group()?;
        self.file.append_key_value_metadata(epoch_entry(epoch));
        self.file.into_inner().map_err(|error| failed(&self.name, error))
    }
}

fn epoch_entry(epoch: u64) -> KeyValue {
    KeyValue::new(EPOCH_KEY.to_owned(), epoch.to_string())
}

/// The epoch that a complete file ends with; `None` when it was not written by this sink.
pub(super) fn epoch_of(file: &FileMetaData) -> Option<u64> {
    let entry = file.key_value_metadata()?.iter().find(|entry| entry.key == EPOCH_KEY)?;
    entry.value.as_ref()?.parse().ok()
}

/// Writes the values of a column, with their levels.
fn put(writer: &mut ColumnWriter<'static>, column: &mut Column) -> parquet::errors::Result<()> {
    let definitions = (!column.definitions.is_empty()).then_some(column.definitions.as_slice());
    let repetitions = (!column.repetitions.is_empty()).then_some(column.repetitions.as_slice());
    match (writer, &mut column.values) {
        (ColumnWriter::BoolColumnWriter(writer), Values::Bool(values)) => {
            writer.write_batch(values, definitions, repetitions)
        }
        (ColumnWriter::Int32ColumnWriter(writer), Values::Int32(values)) => {
            writer.write_batch(values, definitions, repetitions)
        }
        (ColumnWriter::Int64ColumnWriter(writer), Values::Int64(values)) => {
            writer.write_batch(values, definitions, repetitions)
        }
        (ColumnWriter::FloatColumnWriter(writer), Values::Float(values)) => {
            writer.write_batch(values, definitions, repetitions)
        }
        (ColumnWriter::DoubleColumnWriter(writer), Values::Double(values)) => {
            writer.write_batch(values, definitions, repetitions)
        }
        (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(text, ends)) => {
            let mut texts: Vec<ByteArray> = Vec::with_capacity(ends.len());
            Column::texts(text, ends, &mut texts);
            writer.write_batch(&texts, definitions, repetitions)
        }
        (ColumnWriter::FixedLenByteArrayColumnWriter(writer), Values::Wide(bytes)) => {
            writer.write_batch(&Column::wide(bytes), definitions, repetitions)
        }
        _ => Err(ParquetError::General("a column has values of another type".to_owned())),
    }
    .map(drop)
}
