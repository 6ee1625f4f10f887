//! `ParquetSink`: rows as Parquet files in a folder.
//!
//! 1. `schema`: the columns of a record type
//! 2. `shred`: records taken apart into columns
//! 3. `writer`: one file, row group by row group
//! 4. `partition`: the folder of a row
//! 5. `place`: where files get their names
//! 6. `staged`: what an epoch keeps for them
//! 7. `output`: the two phases

mod output;
mod partition;
mod place;
mod schema;
mod shred;
mod staged;
mod writer;

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headwater::Result;
use headwater::batch::{Batch, Record};
use headwater::sink::{Cut, Delivery, OutputMode, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use headwater::time::Epoch;

use self::output::Output;
use self::partition::{Level, Routes};
use self::place::Place;
use self::schema::Shape;
pub(super) use self::writer::failed;

/// When a file is complete; that is so between two epochs only.
#[derive(Clone, Copy, Debug)]
struct Roll {
    rows_max: u64,
    bytes_max: u64,
    age_max_ms: u64,
    /// Rows that the log keeps; only tests say.
    kept_bytes_max: Option<u64>,
}

/// Writes rows to Parquet files in a folder, with a column for each field: one writer per subtask, and a new file
/// when the last one is large or old enough.
///
/// | field | column |
/// |---|---|
/// | `bool`, integers up to 64 bits, `f32`, `f64` | of that type, unsigned ones too |
/// | `u128`, `i128` | decimal of 38 digits; a larger number fails the run |
/// | `String` | string |
/// | `i64` named by [`timestamp`](Self::timestamp) | timestamp in milliseconds, UTC |
/// | `Option` | may be null |
/// | a record or tuple, `Vec` | a group, a list, to any depth |
///
/// Files are packed with zstd and named `part-SUBTASK-EPOCH.parquet`, after the epoch in which they began.
///
/// The sink is exactly-once: a file has its name when it is complete and durable, and never changes or vanishes
/// then; before it is hidden as `.NAME.part`. Files change between two epochs only. With a state directory, what
/// an epoch has committed is there after a crash: rows of an unfinished file come from the log, or from the file's
/// own row groups where they are too many for the log. The next run completes that file, and begins a new one.
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::ParquetSink;
///
/// #[derive(Record)]
/// struct Order { country: String, at: i64, cents: u64 }
///
/// let orders = ParquetSink::<Order>::new("out/orders")
///     .timestamp("at")
///     .partition_by(&["country"])
///     .partition_by_day("at")
///     .roll_bytes(256 << 20);
/// ```
pub struct ParquetSink<T> {
    folder: PathBuf,
    roll: Roll,
    levels: Vec<Level>,
    timestamps: Vec<String>,
    changes: bool,
    _record: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for ParquetSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetSink").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl<T> Clone for ParquetSink<T> {
    fn clone(&self) -> Self {
        ParquetSink {
            folder: self.folder.clone(),
            roll: self.roll,
            levels: self.levels.clone(),
            timestamps: self.timestamps.clone(),
            changes: self.changes,
            _record: PhantomData,
        }
    }
}

impl<T: Record> ParquetSink<T> {
    /// A sink that writes files into this folder, which is made when it is missing. With the feature
    /// `object-store` it may be a URL, `s3://BUCKET/PATH`, `gs://` or `az://`: files are in memory until they are
    /// complete, and then put there as a whole.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let roll =
            Roll { rows_max: u64::MAX, bytes_max: 128 << 20, age_max_ms: 60_000, kept_bytes_max: None };
        ParquetSink {
            folder: folder.into(),
            roll,
            levels: Vec::new(),
            timestamps: Vec::new(),
            changes: false,
            _record: PhantomData,
        }
    }

    /// Completes a file when it has this many bytes; 128 MiB unless said. It may become larger by what is not
    /// packed yet.
    #[must_use]
    pub fn roll_bytes(mut self, bytes: u64) -> Self {
        self.roll.bytes_max = bytes;
        self
    }

    /// Completes a file when it has this many rows; without it their number does not count.
    #[must_use]
    pub fn roll_rows(mut self, rows: u64) -> Self {
        self.roll.rows_max = rows;
        self
    }

    /// Completes a file when it is this old; a minute unless said, because small files make readers slow. Zero
    /// completes a file with every epoch that has rows, so that they are seen soonest.
    #[must_use]
    pub fn roll_after(mut self, age: Duration) -> Self {
        self.roll.age_max_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Writes the rows of each value of these fields to a folder of their own, `country=FR/city=Lyon`, as Hive
    /// does and most readers understand. What cannot stand in a name is written as `%2F`. The fields stay columns,
    /// so that each file says all by itself. An integer, a bool or a text may name a folder, and an `Option` of
    /// one; up to 128 files are open at once, so that fields should have few values at a time.
    #[must_use]
    pub fn partition_by(mut self, fields: &[&str]) -> Self {
        self.levels.extend(fields.iter().map(|field| Level::Field((*field).to_owned())));
        self
    }

    /// Writes the rows of each day to a folder of their own, `date=2026-11-22`: the day, in UTC, of an `i64` with
    /// milliseconds since 1970.
    #[must_use]
    pub fn partition_by_day(mut self, field: &str) -> Self {
        self.levels.push(Level::Day(field.to_owned()));
        self
    }

    /// Writes an `i64` field, milliseconds since 1970, as a timestamp in UTC, which other readers show as one.
    /// Fields of nested records are named with dots.
    #[must_use]
    pub fn timestamp(mut self, field: &str) -> Self {
        self.timestamps.push(field.to_owned());
        self
    }

    /// Takes the rows of a result that changes, too: one row per change. Without it such a topology is refused
    /// when it is built, because the files would look like a result and not be one.
    #[must_use]
    pub fn changes(mut self) -> Self {
        self.changes = true;
        self
    }

    /// Rows that the log keeps for open files, in bytes.
    #[doc(hidden)]
    #[must_use]
    pub fn kept_bytes_max(mut self, bytes: u64) -> Self {
        self.roll.kept_bytes_max = Some(bytes);
        self
    }
}

impl<T: Record> Sink<T> for ParquetSink<T> {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        self.changes || mode == OutputMode::Append
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let shape = Arc::new(Shape::of::<T>(&self.timestamps)?);
        let routes = Routes::of::<T>(&self.levels)?;
        let place = Place::open(&self.folder)?;
        Ok(Box::new(Writer { output: Output::new(place, shape, routes, self.roll, subtask) }))
    }
}

struct Writer<T: Record> {
    output: Output<T>,
}

impl<T: Record> SinkWriter<T> for Writer<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        self.output.write(batch)
    }

    fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        self.output.prepare(cut)
    }

    fn commit(&mut self, epoch: Epoch, staged: &Staged) -> Result<Delivery> {
        self.output.commit(epoch, staged)
    }

    fn recover(&mut self, epochs: Vec<(Epoch, Staged)>) -> Result<Delivery> {
        self.output.recover(&epochs)
    }
}
