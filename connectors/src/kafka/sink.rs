//! `KafkaSink`: rows as messages of a topic, at least once or exactly once.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use headwater::batch::{Batch, Record};
use headwater::sink::{Cut, Delivery, OutputMode, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use headwater::time::{Epoch, Timestamp};
use headwater::{Error, Result};

use super::cluster::KafkaCluster;
use super::plain::Plain;
use super::staged::{self, Author, NO_TIMESTAMP, Staging};
use super::token::{TOKEN_TOPIC, Tokens};
use super::topic::ensure_topic;
use super::transactions::Transactions;
use crate::format::{PayloadEncoder, PayloadEncoding, encode_csv_row, encode_json_line};

type Write<T> = dyn for<'a> Fn(<T as Record>::View<'a>, &mut Vec<u8>) + Send + Sync;
type Time<T> = dyn for<'a> Fn(<T as Record>::View<'a>) -> Timestamp + Send + Sync;

/// How a row becomes a message.
pub(super) struct Encoding<T: Record> {
    value: Box<dyn PayloadEncoder<T>>,
    key: Option<Arc<Write<T>>>,
    timestamp: Option<Arc<Time<T>>>,
}

impl<T: Record> Encoding<T> {
    /// # Errors
    /// The row has no such form.
    pub(super) fn value(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.value.encode(view, out)
    }

    /// False when messages have no key.
    pub(super) fn key(&self, view: T::View<'_>, out: &mut Vec<u8>) -> bool {
        self.key.as_ref().map(|key| key(view, out)).is_some()
    }

    pub(super) fn timestamp(&self, view: T::View<'_>) -> Timestamp {
        self.timestamp.as_ref().map_or(NO_TIMESTAMP, |timestamp| timestamp(view))
    }
}

/// Writes rows as messages of a topic, one producer per subtask.
///
/// | | guarantee |
/// |---|---|
/// | [`exactly_once`](Self::exactly_once) | readers of `read_committed` see every row once, an epoch at a time |
/// | otherwise | every row at least once: those behind the last epoch come again after a crash |
///
/// With exactly once an epoch's rows are in the epoch log before their transaction begins, which is therefore as
/// short as sending them: readers wait no longer than an epoch, and no time-out of a transaction can lose rows. In
/// the transaction is a token, which says after a crash whether they are in the topic. If the cluster is away, the
/// sink waits (see [`patience`](Self::patience)).
///
/// Rows of the same key go to the same partition as with Kafka's own clients.
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::{KafkaSink, KafkaSource};
///
/// let flow = StreamBuilder::new("words");
/// let totals = KafkaSink::<WindowResult<String, u64>>::json("127.0.0.1:9092", "totals")
///     .key(|row, key| key.extend_from_slice(row.key.as_bytes()))
///     .exactly_once("word-totals");
/// flow.source("lines", KafkaSource::text("127.0.0.1:9092", "lines"))
///     .flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
///     .event_time(|_| 0, Watermarks::bounded(secs(0)))
///     .key_by_value()
///     .window(Window::tumbling(secs(60)))
///     .aggregate(|a| a.count())
///     .sink("totals", totals);
/// flow.build()?.run(EngineConfig::default().state_dir("state"))?;
/// # Ok::<(), headwater::Error>(())
/// ```
pub struct KafkaSink<T: Record> {
    cluster: KafkaCluster,
    topic: String,
    value: PayloadEncoding<T>,
    key: Option<Arc<Write<T>>>,
    timestamp: Option<Arc<Time<T>>>,
    subject: Option<String>,
    exactly_once: Option<String>,
    token_topic: String,
    create: Option<i32>,
    changes: bool,
    timeout: Duration,
    patience: Duration,
}

impl<T: Record> fmt::Debug for KafkaSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink")
            .field("cluster", &self.cluster)
            .field("topic", &self.topic)
            .field("exactly_once", &self.exactly_once)
            .finish_non_exhaustive()
    }
}

impl KafkaSink<Vec<u8>> {
    /// Each value is the bytes of a row.
    #[must_use]
    pub fn bytes(cluster: impl Into<KafkaCluster>, topic: impl Into<String>) -> Self {
        KafkaSink::<Vec<u8>>::with(cluster, topic, |view, out| out.extend(view.iter()))
    }
}

impl<T: Record> KafkaSink<T> {
    /// Each value is a JSON object, as `JsonLinesSink` writes it.
    #[must_use]
    pub fn json(cluster: impl Into<KafkaCluster>, topic: impl Into<String>) -> Self {
        KafkaSink::with(cluster, topic, |view, out| {
            encode_json_line::<T>(view, out);
            out.pop();
        })
    }

    /// Each value is a row of comma-separated cells, as `CsvSink` writes it.
    #[must_use]
    pub fn csv(cluster: impl Into<KafkaCluster>, topic: impl Into<String>) -> Self {
        KafkaSink::with(cluster, topic, |view, out| {
            encode_csv_row::<T>(view, b',', out);
            out.pop();
        })
    }

    /// Each value is Avro. With a registry, the schema of the rows is registered when the sink opens, and its id
    /// stands in front of each value, as Confluent's clients write it: under the topic's name and `-value`, unless
    /// [`subject`](Self::subject) says otherwise. A row that does not fit its schema fails the job.
    ///
    /// ```no_run
    /// use headwater_connectors::{KafkaSink, SchemaRegistry};
    ///
    /// let registry = SchemaRegistry::at("http://127.0.0.1:8081");
    /// let totals = KafkaSink::<(String, u64)>::avro("127.0.0.1:9092", "totals", registry);
    /// ```
    #[cfg(feature = "avro")]
    #[must_use]
    pub fn avro(
        cluster: impl Into<KafkaCluster>,
        topic: impl Into<String>,
        schemas: impl Into<crate::format::AvroSchemas>,
    ) -> Self {
        KafkaSink::new(cluster.into(), topic.into(), PayloadEncoding::avro(schemas.into()))
    }

    /// Each value is a message of Protocol Buffers. With a registry, the schema of the rows is registered when
    /// the sink opens, as for `avro`. A row that does not fit its schema fails the job.
    #[cfg(feature = "protobuf")]
    #[must_use]
    pub fn protobuf(
        cluster: impl Into<KafkaCluster>,
        topic: impl Into<String>,
        schemas: impl Into<crate::format::ProtobufSchemas>,
    ) -> Self {
        KafkaSink::new(cluster.into(), topic.into(), PayloadEncoding::protobuf(schemas.into()))
    }

    /// Each value is what `encode` appends for a row.
    #[must_use]
    pub fn with(
        cluster: impl Into<KafkaCluster>,
        topic: impl Into<String>,
        encode: impl for<'a> Fn(T::View<'a>, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        KafkaSink::new(cluster.into(), topic.into(), PayloadEncoding::with(encode))
    }

    fn new(cluster: KafkaCluster, topic: String, value: PayloadEncoding<T>) -> Self {
        KafkaSink {
            cluster,
            topic,
            value,
            key: None,
            timestamp: None,
            subject: None,
            exactly_once: None,
            token_topic: TOKEN_TOPIC.to_owned(),
            create: None,
            changes: false,
            timeout: Duration::from_secs(15),
            patience: Duration::from_secs(120),
        }
    }

    /// The key of a message, as the bytes that `key` appends; without it, messages are spread over the partitions.
    #[must_use]
    pub fn key(mut self, key: impl for<'a> Fn(T::View<'a>, &mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.key = Some(Arc::new(key));
        self
    }

    /// The timestamp of a message, in milliseconds since 1970; without it, when it is sent.
    ///
    /// A broker deletes messages by this time: rows of event times older than the `retention.ms` of their topic (a
    /// week, unless it says otherwise) are gone soon after they were written. Give such a topic `retention.ms=-1`.
    #[must_use]
    pub fn timestamp(
        mut self,
        timestamp: impl for<'a> Fn(T::View<'a>) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.timestamp = Some(Arc::new(timestamp));
        self
    }

    /// The subject of the schema registry under which the schema of the values is registered (`TOPIC-value`).
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> Self {
        KafkaSink { subject: Some(subject.into()), ..self }
    }

    /// Every row once for readers of `read_committed`. `id` names this sink of this job in the cluster, for ever:
    /// no other may have it. It is the beginning of the transactional ids.
    #[must_use]
    pub fn exactly_once(self, id: impl Into<String>) -> Self {
        KafkaSink { exactly_once: Some(id.into()), ..self }
    }

    /// The compacted topic that says which epochs are written (`headwater-tokens`). It is made if it is missing.
    #[must_use]
    pub fn token_topic(self, topic: impl Into<String>) -> Self {
        KafkaSink { token_topic: topic.into(), ..self }
    }

    /// Makes the topic with so many partitions, if it is missing.
    #[must_use]
    pub fn create_topic(self, partitions: u16) -> Self {
        KafkaSink { create: Some(i32::from(partitions)), ..self }
    }

    /// After how long the brokers end a transaction of a process that is gone (15 s): as long may readers of
    /// `read_committed` wait after a crash, unless the job is started again before.
    #[must_use]
    pub fn transaction_timeout(self, timeout: Duration) -> Self {
        KafkaSink { timeout, ..self }
    }

    /// How long the sink waits for a cluster that is away (2 min) before the run fails. Meanwhile sources wait,
    /// and memory does not grow.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        KafkaSink { patience, ..self }
    }

    /// Takes the rows of a result that changes, too: one message per change. With a key and a compacted topic the
    /// newest row of each key stays.
    #[must_use]
    pub fn changes(self) -> Self {
        KafkaSink { changes: true, ..self }
    }

    /// # Errors
    /// The rows have no such form, or their schema cannot be registered.
    fn encoding(&self) -> Result<Encoding<T>> {
        let subject = match &self.subject {
            Some(_) if !self.value.has_subject => {
                return Err(Error::Config(format!(
                    "the sink of topic `{}` has a subject, but no schema registry: give one to \
                     KafkaSink::avro or protobuf, or \
                     leave the subject out",
                    self.topic
                )));
            }
            Some(subject) => subject.clone(),
            None => format!("{}-value", self.topic),
        };
        let value = self.value.encoder(&subject)?;
        Ok(Encoding { value, key: self.key.clone(), timestamp: self.timestamp.clone() })
    }

    /// # Errors
    /// The cluster cannot be reached, or has no such topic.
    fn check_topic(&self) -> Result<()> {
        if let Some(partitions) = self.create {
            return ensure_topic(&self.cluster, &self.topic, partitions, &[]).map(drop);
        }
        let client = self.cluster.consumer(&self.topic, &[])?;
        self.cluster.partitions(&client, &self.topic).map(drop)
    }
}

impl<T: Record> Sink<T> for KafkaSink<T> {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        self.changes || mode == OutputMode::Append
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        self.check_topic()?;
        let encoding = self.encoding()?;
        let (cluster, topic) = (self.cluster.clone(), self.topic.clone());
        let Some(id) = &self.exactly_once else {
            return Ok(Box::new(Plain::new(cluster, topic, encoding, self.patience)?));
        };
        if id.is_empty() {
            return Err(Error::Config("exactly_once needs an id that is not empty".to_owned()));
        }
        let tokens = Tokens::open(cluster.clone(), self.token_topic.clone())?;
        let transactions = Transactions {
            cluster,
            topic,
            id: id.clone(),
            tokens,
            timeout: self.timeout,
            patience: self.patience,
            clients: HashMap::new(),
        };
        Ok(Box::new(Writer {
            transactions,
            encoding,
            staging: Staging::default(),
            author: Author {
                subtask: subtask.index as u32,
                // Any number that no other run has.
                lineage: RandomState::new().hash_one(subtask.index),
                is_first: true,
            },
        }))
    }
}

/// Keeps the rows of an epoch until it is durable.
struct Writer<T: Record> {
    transactions: Transactions,
    encoding: Encoding<T>,
    staging: Staging,
    author: Author,
}

impl<T: Record> SinkWriter<T> for Writer<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        let Writer { encoding, staging, .. } = self;
        let mut outcome = Ok(());
        batch.for_each(|_, view| {
            if outcome.is_ok() {
                let timestamp = encoding.timestamp(view);
                let Encoding { value, key, .. } = &mut *encoding;
                let write_key = |out: &mut _| key.as_ref().map(|key| key(view, out)).is_some();
                let mut encoded = Ok(());
                let staged = staging.push(write_key, |out| encoded = value.encode(view, out), timestamp);
                // What is staged goes with this writer.
                outcome = encoded.and(staged);
            }
        });
        outcome
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        let has_rows = self.staging.rows > 0;
        let staged = self.staging.take(self.author);
        self.author.is_first &= !has_rows;
        Ok(staged)
    }

    fn commit(&mut self, epoch: Epoch, staged: &Staged) -> Result<Delivery> {
        if !staged.is_nothing() {
            let (author, rows) = staged::read(staged)?;
            self.transactions.deliver(epoch, author, rows)?;
            self.staging.delivered(staged);
        }
        Ok(Delivery::Final)
    }

    fn recover(&mut self, epochs: Vec<(Epoch, Staged)>) -> Result<Delivery> {
        for (epoch, staged) in &epochs {
            if staged.is_nothing() {
                continue;
            }
            let (author, rows) = staged::read(staged)?;
            self.transactions.deliver(*epoch, author, rows)?;
            if author.subtask == self.author.subtask {
                let is_first = author.is_first && rows.is_empty();
                self.author = Author { is_first, ..author };
            }
        }
        Ok(Delivery::Final)
    }
}
