//! Parquet files, written and read: round trips, crashes, other programs' files, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers stand outside of test functions, and say what they skip"
)]
#![allow(clippy::manual_is_multiple_of, reason = "beside `n % 3` as a value, `n % 3 > 0` is easier to read")]

mod foreign;
mod kit;
mod refusals;
mod round_trip;

use std::fs;
use std::path::{Path, PathBuf};

use headwater::batch::{Batch, BatchBuilder, BatchLimits, Record};
use headwater::sink::{Cut, Sink, Subtask};
use headwater::source::{Poll, Rejected, Source, SourceOutput};
use headwater::time::Epoch;
use headwater_connectors::{ParquetFile, ParquetSink};

/// Rows in batches of so many.
fn batches<T: Record>(rows: &[T], size: usize) -> Vec<Batch<T>> {
    let mut builder = BatchBuilder::new(BatchLimits::default());
    let batch = |rows: &[T]| {
        rows.iter().for_each(|row| builder.push(row.view()).unwrap());
        builder.finish().unwrap()
    };
    rows.chunks(size).map(batch).collect()
}

/// Writes rows as a job without crashes does, so many in an epoch.
fn write<T: Record>(sink: &ParquetSink<T>, rows: &[T], epoch_rows: usize) {
    let mut writer = sink.open(Subtask { index: 0, count: 1 }).unwrap();
    let epochs: Vec<_> = rows.chunks(epoch_rows).collect();
    for (at, rows) in epochs.iter().enumerate() {
        batches(rows, 100).iter().for_each(|batch| writer.write(batch).unwrap());
        let epoch = Epoch(at as u64 + 1);
        let cut = Cut { epoch, is_last: at + 1 == epochs.len(), now_ms: epoch.0 * 1_000 };
        let staged = writer.prepare(cut).unwrap();
        writer.commit(epoch, &staged).unwrap();
    }
}

/// Reads all partitions to their ends.
fn read<T: Record>(source: &ParquetFile<T>) -> headwater::Result<(Vec<T>, Vec<Rejected>)> {
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    let mut records = BatchBuilder::<T>::new(BatchLimits::default());
    let mut rejected = BatchBuilder::<Rejected>::new(BatchLimits::default());
    let clock = headwater::testing::ManualClock::new();
    for partition in source.partitions()? {
        let mut reader = source.open(&partition, None)?;
        let mut poll = Poll::More;
        while poll != Poll::Finished {
            let mut watermark = None;
            let mut out = SourceOutput::new(&mut records, &mut rejected, &mut watermark, &clock);
            poll = reader.poll(&mut out)?;
            rows.extend(records.finish().iter().flat_map(Batch::iter).map(T::from_view));
            refused.extend(rejected.finish().iter().flat_map(Batch::iter).map(Rejected::from_view));
        }
    }
    Ok((rows, refused))
}

/// The files that a reader sees, sorted.
fn seen(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.file_name().unwrap().to_str().unwrap().starts_with('.') {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
