//! A source whose polls give a few records each, and not what there is room for: barriers come between them.

use std::sync::Arc;

use headwater::prelude::*;
use headwater::source::{Poll, Source, SourceOutput, SourceReader};

/// Most records of one poll.
const RECORDS_PER_POLL: usize = 3;

/// Gives the records of vectors, one vector per partition.
pub(crate) struct Hesitant<T>(Vec<Arc<[T]>>);

impl<T: Record> Hesitant<T> {
    pub(crate) fn new(partitions: Vec<Vec<T>>) -> Self {
        Hesitant(partitions.into_iter().map(Arc::from).collect())
    }
}

impl<T: Record> Source for Hesitant<T> {
    type Record = T;
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        Ok((0..self.0.len()).map(|partition| partition.to_string()).collect())
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<T, u64>>> {
        let index: usize = partition.parse().map_err(Error::failed)?;
        Ok(Box::new(Reader { records: Arc::clone(&self.0[index]), next: position.unwrap_or(0) as usize }))
    }
}

struct Reader<T> {
    records: Arc<[T]>,
    next: usize,
}

impl<T: Record> SourceReader<T, u64> for Reader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        let end = self.records.len().min(self.next + 1 + self.next % RECORDS_PER_POLL);
        while self.next < end && !out.is_full() {
            out.push(self.records[self.next].view())?;
            self.next += 1;
        }
        Ok(if self.next < self.records.len() { Poll::More } else { Poll::Finished })
    }

    fn position(&self) -> u64 {
        self.next as u64
    }
}
