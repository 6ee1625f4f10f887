//! `Reader`: one partition of the consumer that all partitions of a source share.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::source::{Poll, Rejected, SourceOutput, SourceReader};
use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::{ANSWER, ConsumerClient, KafkaCluster, Voice, guard};
use super::message::KafkaMessage;
use super::source::{Decoder, KafkaPosition};

/// Messages between two looks at what else the client has to say.
const MESSAGES_PER_LOOK: usize = 4096;

/// How long a partition may be without a leader when it is opened, in milliseconds.
const LEADERLESS_MS: u64 = 30_000;

/// The consumer of one run.
pub(super) struct Shared {
    cluster: KafkaCluster,
    topic: String,
    pub(super) consumer: ConsumerClient,
    /// Partitions with a reader.
    reading: Mutex<BTreeSet<i32>>,
    /// A group is told how far the job is.
    mirrors: bool,
}

impl Shared {
    pub(super) fn new(cluster: KafkaCluster, topic: String, consumer: ConsumerClient, mirrors: bool) -> Self {
        Shared { cluster, topic, consumer, reading: Mutex::default(), mirrors }
    }

    pub(super) fn is_reading(&self, partition: i32) -> bool {
        guard(&self.reading).contains(&partition)
    }

    pub(super) fn explain(&self, what: &str, error: &KafkaError) -> Error {
        self.cluster.explain(what, error, &self.consumer.notes)
    }

    /// Offsets of the oldest message of a partition, and behind the newest that is committed. A partition may have
    /// no leader for some seconds when its broker has come back: that is waited for.
    pub(super) fn range(&self, partition: i32) -> Result<(i64, i64)> {
        use RDKafkaErrorCode as Code;
        let passing = [Code::NotLeaderForPartition, Code::LeaderNotAvailable, Code::BrokerTransportFailure];
        let clock = SystemClock::default();
        loop {
            let error = match self.consumer.fetch_watermarks(&self.topic, partition, ANSWER) {
                Ok(range) => return Ok(range),
                Err(error) => error,
            };
            let code = error.rdkafka_error_code();
            // The client has not heard of a partition that was just added: asked about its topic, it hears.
            let is_added = || {
                let partitions = self.cluster.partitions(&self.consumer, &self.topic);
                partitions.is_ok_and(|partitions| partitions.contains(&partition))
            };
            let is_passing = code.is_some_and(|code| passing.contains(&code))
                || (code == Some(Code::UnknownPartition) && is_added());
            if !is_passing || clock.monotonic_ms() > LEADERLESS_MS {
                let what = format!("`{}/{partition}` cannot be read", self.topic);
                return Err(self.explain(&what, &error));
            }
            self.consumer.poll(Duration::from_millis(100));
        }
    }

    fn at(&self, partition: i32, offset: i64) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        Ok(list)
    }

    /// Lets the client call back, and notices what cannot get better.
    fn look(&self) -> Result<()> {
        while let Some(said) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = said {
                self.consider(&error)?;
            }
        }
        match self.consumer.client().fatal_error() {
            Some((code, reason)) => Err(self.explain(&reason, &KafkaError::Global(code))),
            None => Ok(()),
        }
    }

    /// # Errors
    /// It does not get better by waiting.
    fn consider(&self, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode as Code;
        let lasting = [
            Code::UnknownTopicOrPartition,
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::TopicAuthorizationFailed,
            Code::OffsetOutOfRange,
            Code::AutoOffsetReset,
            Code::BadCompression,
            Code::NotImplemented,
        ];
        match error.rdkafka_error_code() {
            Some(code) if lasting.contains(&code) => {
                Err(self.explain(&format!("`{}` cannot be read further", self.topic), error))
            }
            _ => {
                tracing::debug!(%error, "the client goes on by itself");
                Ok(())
            }
        }
    }
}

/// Reads one partition.
pub(super) struct Reader<T: Record> {
    shared: Arc<Shared>,
    queue: Option<PartitionQueue<Voice>>,
    /// For messages.
    name: String,
    partition: i32,
    /// Offset of the next message.
    next: i64,
    /// Where it ends.
    end: Option<i64>,
    decoder: Decoder<T>,
    arena: Bump,
    since_look: usize,
    /// The offset that a group was told last.
    mirrored: i64,
}

impl<T: Record> Reader<T> {
    /// # Errors
    /// The client refuses the partition.
    pub(super) fn open(
        shared: Arc<Shared>,
        partition: i32,
        next: i64,
        end: Option<i64>,
        decoder: Decoder<T>,
    ) -> Result<Self> {
        let name = format!("{}/{partition}", shared.topic);
        let failed = |error: KafkaError| shared.explain(&format!("`{name}` cannot be read"), &error);
        let place = shared.at(partition, next).map_err(failed)?;
        // Its queue first, or its first messages would go to the queue of all.
        let queue = shared.consumer.split_partition_queue(&shared.topic, partition);
        let queue = queue.ok_or_else(|| Error::failed(format!("`{name}` has no queue")))?;
        shared.consumer.incremental_assign(&place).map_err(failed)?;
        guard(&shared.reading).insert(partition);
        Ok(Reader {
            shared,
            queue: Some(queue),
            name,
            partition,
            next,
            end,
            decoder,
            arena: Bump::new(),
            since_look: 0,
            mirrored: -1,
        })
    }

    fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    fn look(&mut self) -> Result<()> {
        self.since_look = 0;
        self.shared.look().map_err(|error| error.at(&self.name))
    }
}

impl<T: Record> Drop for Reader<T> {
    fn drop(&mut self) {
        self.queue = None;
        if let Ok(place) = self.shared.at(self.partition, self.next) {
            // A client that cannot be told is about to go.
            let _ = self.shared.consumer.incremental_unassign(&place);
        }
        guard(&self.shared.reading).remove(&self.partition);
    }
}

impl<T: Record> SourceReader<T, KafkaPosition> for Reader<T> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        self.arena.reset();
        if self.since_look >= MESSAGES_PER_LOOK {
            self.look()?;
        }
        while !out.is_full() {
            if self.is_at_end() {
                return Ok(Poll::Finished);
            }
            let Some(queue) = &self.queue else { return Ok(Poll::Finished) };
            match queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let message = KafkaMessage::new(&message);
                    self.next = message.offset() + 1;
                    self.since_look += 1;
                    let pushed = push(&mut self.decoder, &message, &self.arena, out)?;
                    if let Err(error) = pushed {
                        out.reject(&rejected(&self.name, &message, &error))?;
                    }
                }
                // The end, as far as there are messages: what is behind them are marks of transactions.
                Some(Err(KafkaError::PartitionEOF(_))) if self.end.is_some() => return Ok(Poll::Finished),
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => self.shared.consider(&error).map_err(|error| error.at(&self.name))?,
                None => {
                    self.look()?;
                    return Ok(Poll::Idle);
                }
            }
        }
        Ok(Poll::More)
    }

    fn position(&self) -> KafkaPosition {
        KafkaPosition { offset: self.next }
    }

    fn committed(&mut self, position: &KafkaPosition) -> Result<()> {
        if self.shared.mirrors && position.offset > self.mirrored {
            self.mirrored = position.offset;
            let told = self
                .shared
                .at(self.partition, position.offset)
                .and_then(|place| self.shared.consumer.commit(&place, CommitMode::Async));
            if let Err(error) = told {
                tracing::debug!(%error, "the group is told next time");
            }
        }
        Ok(())
    }
}

/// Writes a message as a record; the inner error is one of its value.
fn push<T: Record>(
    decoder: &mut Decoder<T>,
    message: &KafkaMessage<'_>,
    arena: &Bump,
    out: &mut SourceOutput<'_, T>,
) -> Result<Result<(), DecodeError>> {
    match decoder {
        Decoder::Value(decoder) => match message.value() {
            Some(value) => match decoder.decode(value, arena)? {
                Ok(view) => out.push(view).map(Ok),
                Err(error) => Ok(Err(error)),
            },
            None => Ok(Err(DecodeError::new("it has no value: a tombstone".to_owned()))),
        },
        Decoder::Message(decode) => match decode(message) {
            Ok(record) => out.push(record.view()).map(Ok),
            Err(error) => Ok(Err(error)),
        },
    }
}

#[cold]
fn rejected(name: &str, message: &KafkaMessage<'_>, error: &DecodeError) -> Rejected {
    Rejected {
        origin: name.to_owned(),
        line: 0,
        offset: u64::try_from(message.offset()).unwrap_or(0),
        reason: error.to_string(),
        payload: Rejected::text(message.value().unwrap_or_default()),
    }
}
