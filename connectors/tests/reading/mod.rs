//! Drives a file source by hand, as the engine would, and collects what comes out.
#![allow(dead_code, reason = "each test binary uses its part")]

use headwater::batch::{BatchBuilder, BatchLimits, Record};
use headwater::source::{Poll, Rejected, Source, SourceOutput, SourceReader};
use headwater::time::SystemClock;
use headwater_connectors::file::FilePosition;

/// What a reader gave: records, what it rejected, and how it ended.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    pub(crate) records: Vec<T>,
    pub(crate) rejected: Vec<Rejected>,
    /// Position after each record or rejected record, with the number of records before it.
    pub(crate) positions: Vec<(usize, usize, FilePosition)>,
    pub(crate) error: Option<String>,
}

/// A reader with the batches it writes to.
pub(crate) struct Driver<T: Record> {
    reader: Box<dyn SourceReader<T, FilePosition>>,
    records: BatchBuilder<T>,
    rejected: BatchBuilder<Rejected>,
    pub(crate) reading: Reading<T>,
}

impl<T: Record> Driver<T> {
    pub(crate) fn new(reader: Box<dyn SourceReader<T, FilePosition>>, rows_max: usize) -> Self {
        let limits = BatchLimits { rows_max, bytes_max: 1 << 20 };
        Driver {
            reader,
            records: BatchBuilder::new(limits),
            rejected: BatchBuilder::new(limits),
            reading: Reading { records: vec![], rejected: vec![], positions: vec![], error: None },
        }
    }

    pub(crate) fn position(&self) -> FilePosition {
        self.reader.position()
    }

    /// Polls once; `None` after an error.
    pub(crate) fn poll(&mut self) -> Option<Poll> {
        let (clock, mut watermark) = (SystemClock::default(), None);
        let mut output = SourceOutput::new(&mut self.records, &mut self.rejected, &mut watermark, &clock);
        let poll = self.reader.poll(&mut output);
        if let Some(batch) = self.records.finish() {
            self.reading.records.extend(batch.iter().map(T::from_view));
        }
        if let Some(batch) = self.rejected.finish() {
            self.reading.rejected.extend(batch.iter().map(Rejected::from_view));
        }
        let counts = (self.reading.records.len(), self.reading.rejected.len());
        self.reading.positions.push((counts.0, counts.1, self.reader.position()));
        match poll {
            Ok(poll) => Some(poll),
            Err(error) => {
                self.reading.error = Some(error.to_string());
                None
            }
        }
    }

    /// Polls until there is nothing more for now.
    pub(crate) fn run(&mut self) -> Option<Poll> {
        loop {
            match self.poll() {
                Some(Poll::More) => {}
                other => return other,
            }
        }
    }
}

/// Reads all partitions of a source to their ends.
pub(crate) fn read<S: Source<Position = FilePosition>>(source: &S) -> Reading<S::Record> {
    read_by(source, 1024)
}

/// Reads all partitions of a source to their ends, with so many rows in a poll.
pub(crate) fn read_by<S: Source<Position = FilePosition>>(source: &S, rows_max: usize) -> Reading<S::Record> {
    let mut whole = Reading { records: vec![], rejected: vec![], positions: vec![], error: None };
    for partition in source.partitions().expect("partitions") {
        let reading = read_from(source, &partition, None, rows_max);
        whole.records.extend(reading.records);
        whole.rejected.extend(reading.rejected);
        whole.positions.extend(reading.positions);
        whole.error = whole.error.or(reading.error);
    }
    whole
}

/// Reads one partition from a position to its end.
pub(crate) fn read_from<S: Source<Position = FilePosition>>(
    source: &S,
    partition: &str,
    position: Option<FilePosition>,
    rows_max: usize,
) -> Reading<S::Record> {
    match source.open(partition, position) {
        Ok(reader) => {
            let mut driver = Driver::new(reader, rows_max);
            driver.run();
            driver.reading
        }
        Err(error) => {
            Reading { records: vec![], rejected: vec![], positions: vec![], error: Some(error.to_string()) }
        }
    }
}

/// A file with this content in a folder of its own.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("written");
    (folder, path)
}
