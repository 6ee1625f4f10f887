//! `KafkaMessage`: what a topic holds, as it lies in the client's buffer.

use rdkafka::message::{BorrowedMessage, Headers, Message};

/// A message of a topic; it borrows the client's buffer.
#[derive(Clone, Copy, Debug)]
pub struct KafkaMessage<'a> {
    message: &'a BorrowedMessage<'a>,
}

impl<'a> KafkaMessage<'a> {
    pub(super) fn new(message: &'a BorrowedMessage<'a>) -> Self {
        KafkaMessage { message }
    }

    /// The key, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.message.key()
    }

    /// The value; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.message.payload()
    }

    /// When it was made or taken by the broker, in milliseconds since 1970, if the topic says so.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.message.timestamp().to_millis()
    }

    /// Where it stands.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// Where it stands in its partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let headers = self.message.headers()?;
        (0..headers.count()).map(|at| headers.get(at)).find(|header| header.key == name)?.value
    }
}
