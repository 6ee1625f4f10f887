//! What travels in a channel, in order: rows, event time, epochs and the end.

use crate::batch::{Batch, Record};
use crate::time::{Epoch, Watermark};

/// One item of a channel. Legal order: `(Batch | Watermark | Barrier)* EndOfStream`.
///
/// A channel that disconnects before `EndOfStream` has lost its sender; that is a failure, never the end.
#[derive(Debug)]
pub enum Message<T: Record> {
    /// Rows.
    Batch(Batch<T>),
    /// How far event time has come.
    Watermark(Watermark),
    /// Everything before belongs to this epoch or an earlier one.
    Barrier(Epoch),
    /// Nothing follows.
    EndOfStream,
}

impl<T: Record> Message<T> {
    /// Rows that it carries.
    #[must_use]
    pub fn rows(&self) -> usize {
        if let Message::Batch(batch) = self { batch.len() } else { 0 }
    }

    /// Bytes of memory that it answers for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        if let Message::Batch(batch) = self { batch.bytes_share() } else { 0 }
    }
}
