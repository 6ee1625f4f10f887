//! `KafkaSource`: the partitions of a topic, read directly, with positions in our own epochs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use headwater::batch::{DecodeError, Record};
use headwater::source::{Boundedness, Source, SourceReader};
use headwater::time::Timestamp;
use headwater::{Error, Result};
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::{ANSWER, KafkaCluster, guard};
use super::message::KafkaMessage;
use super::reader::{Reader, Shared};
use crate::format::{PayloadDecoder, PayloadFormat};

type DecodeMessage<T> = dyn Fn(&KafkaMessage<'_>) -> Result<T, DecodeError> + Send + Sync;

/// How messages become records.
enum Format<T: Record> {
    /// From their values.
    Value(PayloadFormat<T>),
    /// By a closure.
    Message(Arc<DecodeMessage<T>>),
}

/// What a reader has of a format.
pub(super) enum Decoder<T: Record> {
    Value(Box<dyn PayloadDecoder<T>>),
    Message(Arc<DecodeMessage<T>>),
}

/// Where a partition is read from when no epoch says so.
#[derive(Clone, Debug)]
enum Start {
    Earliest,
    Latest,
    Time(Timestamp),
    Offsets(BTreeMap<i32, i64>),
}

/// Where a reader of a partition can continue.
#[derive(headwater::prelude::Record, Clone, Copy, Debug, PartialEq, Eq)]
pub struct KafkaPosition {
    /// Offset of the next message.
    pub offset: i64,
}

/// Reads a topic: one reader per partition, each with a watermark of its own, no consumer group. Positions are
/// kept with the epochs of the job, so that every message counts exactly once; a message that cannot be
/// understood is rejected with its partition and offset.
///
/// Only what is committed is read (`read_committed`). A partition is read no faster than the job takes its
/// records: the client keeps at most `queued.max.messages.kbytes` of each (8 MiB unless said).
/// Partitions that are added to the topic are read, too, from their first message on, wherever the job began in
/// the others; see [`discovery_interval`](Self::discovery_interval).
///
/// | what | |
/// |---|---|
/// | messages were deleted by the topic's retention before they were read | the job fails and says which |
/// | the topic was deleted and made again | the job fails: its positions mean nothing there |
/// | a broker is away | the source waits and says so in the log; nothing is lost |
///
/// ```no_run
/// use headwater::prelude::*;
/// use headwater_connectors::{Console, KafkaSource};
///
/// #[derive(Record, Clone, Debug)]
/// struct Order { customer: String, cents: u64, at: i64 }
///
/// let flow = StreamBuilder::new("orders");
/// flow.source("orders", KafkaSource::<Order>::json("127.0.0.1:9092", "orders"))
///     .event_time(|order| order.at, Watermarks::bounded(secs(5)))
///     .key_by_field(Order::CUSTOMER)
///     .window(Window::tumbling(secs(60)))
///     .aggregate(|a| a.sum(|order| order.cents))
///     .sink("totals", Console::table());
/// flow.build()?.run(EngineConfig::default())?;
/// # Ok::<(), headwater::Error>(())
/// ```
pub struct KafkaSource<T: Record> {
    cluster: KafkaCluster,
    topic: String,
    format: Format<T>,
    start: Start,
    until_end: bool,
    mirror: Option<String>,
    discovery_interval: Duration,
    /// The consumer of the run that is opening its partitions.
    shared: Mutex<Weak<Shared>>,
}

impl<T: Record> fmt::Debug for KafkaSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("cluster", &self.cluster)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl KafkaSource<String> {
    /// Each record is the text of a value.
    #[must_use]
    pub fn text(cluster: impl Into<KafkaCluster>, topic: impl Into<String>) -> Self {
        KafkaSource::new(cluster.into(), topic.into(), Format::Value(PayloadFormat::text()))
    }
}

impl KafkaSource<Vec<u8>> {
    /// Each record is the bytes of a value.
    #[must_use]
    pub fn bytes(cluster: impl Into<KafkaCluster>, topic: impl Into<String>) -> Self {
        KafkaSource::new(cluster.into(), topic.into(), Format::Value(PayloadFormat::bytes()))
    }
}

impl<T: Record> KafkaSource<T> {
    /// Each value is a JSON object, as a line of `JsonLines` is.
    #[must_use]
    pub fn json(cluster: impl Into<KafkaCluster>, topic: impl Into<String>) -> Self {
        KafkaSource::new(cluster.into(), topic.into(), Format::Value(PayloadFormat::json()))
    }

    /// Each value is a row of comma-separated cells, one for each field in the declared order.
    #[must_use]
    pub fn csv(cluster: impl Into<KafkaCluster>, topic: impl Into<String>) -> Self {
        KafkaSource::new(cluster.into(), topic.into(), Format::Value(PayloadFormat::csv()))
    }

    /// Each value is Avro: of a schema that is given, or behind the id of one in a registry, as Confluent's
    /// clients write it. Fields are found by their names, as [`AvroReader`](crate::format::AvroReader) says; a
    /// value whose schema does not suit the record type is rejected. While the registry is away, the source
    /// waits.
    ///
    /// ```no_run
    /// use headwater_connectors::format::AvroSchema;
    /// use headwater_connectors::{KafkaSource, SchemaRegistry};
    ///
    /// let registry = SchemaRegistry::at("http://127.0.0.1:8081");
    /// let prices = KafkaSource::<(String, f64)>::avro("127.0.0.1:9092", "prices", registry);
    /// // Without a registry: nothing but Avro in the values.
    /// let schema = AvroSchema::of::<(String, f64)>()?;
    /// let plain = KafkaSource::<(String, f64)>::avro("127.0.0.1:9092", "plain-prices", schema);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    #[cfg(feature = "avro")]
    #[must_use]
    pub fn avro(
        cluster: impl Into<KafkaCluster>,
        topic: impl Into<String>,
        schemas: impl Into<crate::format::AvroSchemas>,
    ) -> Self {
        KafkaSource::new(cluster.into(), topic.into(), Format::Value(PayloadFormat::avro(schemas.into())))
    }

    /// Each value is a message of Protocol Buffers: of a schema that is given, or behind the id of one in a
    /// registry, as Confluent's clients write it. Fields are found by their names, as
    /// [`ProtobufReader`](crate::format::ProtobufReader) says; a value whose schema does not suit the record
    /// type is rejected. While the registry is away, the source waits.
    ///
    /// ```no_run
    /// use headwater_connectors::KafkaSource;
    /// use headwater_connectors::format::ProtobufSchema;
    ///
    /// let text = "syntax = \"proto3\"; message Price { string _1 = 1; double _2 = 2; }";
    /// let schema = ProtobufSchema::parse(text, "Price")?;
    /// let prices = KafkaSource::<(String, f64)>::protobuf("127.0.0.1:9092", "prices", schema);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    #[cfg(feature = "protobuf")]
    #[must_use]
    pub fn protobuf(
        cluster: impl Into<KafkaCluster>,
        topic: impl Into<String>,
        schemas: impl Into<crate::format::ProtobufSchemas>,
    ) -> Self {
        KafkaSource::new(cluster.into(), topic.into(), Format::Value(PayloadFormat::protobuf(schemas.into())))
    }

    /// Each record is what `decode` makes of a message: its key, headers, timestamp, bytes of any format.
    ///
    /// ```
    /// use headwater::batch::DecodeError;
    /// use headwater_connectors::KafkaSource;
    ///
    /// let sizes = KafkaSource::with("127.0.0.1:9092", "pictures", |message| {
    ///     let value = message.value().ok_or_else(|| DecodeError::new("a tombstone".to_owned()))?;
    ///     Ok((message.timestamp().unwrap_or(0), value.len() as u64))
    /// });
    /// ```
    #[must_use]
    pub fn with(
        cluster: impl Into<KafkaCluster>,
        topic: impl Into<String>,
        decode: impl Fn(&KafkaMessage<'_>) -> Result<T, DecodeError> + Send + Sync + 'static,
    ) -> Self {
        KafkaSource::new(cluster.into(), topic.into(), Format::Message(Arc::new(decode)))
    }

    fn new(cluster: KafkaCluster, topic: String, format: Format<T>) -> Self {
        KafkaSource {
            cluster,
            topic,
            format,
            start: Start::Earliest,
            until_end: false,
            mirror: None,
            discovery_interval: Duration::from_secs(30),
            shared: Mutex::default(),
        }
    }

    /// Begins behind the newest message instead of at the oldest. As every beginning, it only counts for a job
    /// that has no epoch yet: after that its own positions do.
    #[must_use]
    pub fn from_latest(self) -> Self {
        KafkaSource { start: Start::Latest, ..self }
    }

    /// Begins with the first message whose timestamp is at least this, in milliseconds since 1970.
    #[must_use]
    pub fn from_time(self, time: Timestamp) -> Self {
        KafkaSource { start: Start::Time(time), ..self }
    }

    /// Begins at these offsets, `(partition, offset)`; partitions that are not named begin at their oldest
    /// message.
    #[must_use]
    pub fn from_offsets(self, offsets: impl IntoIterator<Item = (i32, i64)>) -> Self {
        KafkaSource { start: Start::Offsets(offsets.into_iter().collect()), ..self }
    }

    /// Ends at what is the end of each partition when the job starts, and counts as bounded. Without it the
    /// source goes on until it is stopped.
    #[must_use]
    pub fn until_end(self) -> Self {
        KafkaSource { until_end: true, ..self }
    }

    /// Tells a consumer group how far the job is, for tools that show the lag of groups. Nothing is ever read
    /// from it.
    #[must_use]
    pub fn mirror_group(self, group: impl Into<String>) -> Self {
        KafkaSource { mirror: Some(group.into()), ..self }
    }

    /// How often a running job looks for partitions that were added to the topic (30 s).
    #[must_use]
    pub fn discovery_interval(self, interval: Duration) -> Self {
        KafkaSource { discovery_interval: interval, ..self }
    }

    fn connect(&self) -> Result<Shared> {
        let mut own = vec![
            // Between two looks a partition whose queue was full is not asked for more.
            ("fetch.queue.backoff.ms", "20"),
            ("fetch.error.backoff.ms", "100"),
        ];
        own.extend(self.mirror.as_deref().map(|group| ("group.id", group)));
        let consumer = self.cluster.consumer(&self.topic, &own)?;
        Ok(Shared::new(self.cluster.clone(), self.topic.clone(), consumer, self.mirror.is_some()))
    }

    /// The consumer that the partitions of one run share. A partition that is being read already belongs to
    /// another run.
    fn shared(&self, partition: i32) -> Result<Arc<Shared>> {
        let mut known = guard(&self.shared);
        if let Some(shared) = known.upgrade().filter(|shared| !shared.is_reading(partition)) {
            return Ok(shared);
        }
        let shared = Arc::new(self.connect()?);
        *known = Arc::downgrade(&shared);
        Ok(shared)
    }

    /// Where a partition begins, which holds messages from `low` up to `high`.
    fn first(&self, start: &Start, shared: &Shared, partition: i32, (low, high): (i64, i64)) -> Result<i64> {
        Ok(match start {
            Start::Earliest => low,
            Start::Latest => high,
            Start::Offsets(offsets) => offsets.get(&partition).copied().unwrap_or(low),
            Start::Time(time) => {
                let mut asked = TopicPartitionList::new();
                let found = asked
                    .add_partition_offset(&self.topic, partition, Offset::Offset(*time))
                    .and_then(|()| shared.consumer.offsets_for_times(asked, ANSWER));
                let found = found.map_err(|error| {
                    shared.explain(&format!("`{}` cannot be searched by time", self.topic), &error)
                })?;
                let element = found.find_partition(&self.topic, partition);
                match element.map(|element| element.offset()) {
                    Some(Offset::Offset(offset)) if offset >= 0 => offset,
                    // No message is that young.
                    _ => high,
                }
            }
        })
    }
}

/// Where a reader of a partition is to begin.
enum Begin<'a> {
    At(KafkaPosition),
    As(&'a Start),
}

impl<T: Record> KafkaSource<T> {
    fn read(&self, name: &str, begin: Begin<'_>) -> Result<Box<dyn SourceReader<T, KafkaPosition>>> {
        let partition = name.rsplit_once('/').and_then(|(_, number)| number.parse::<i32>().ok());
        let partition =
            partition.ok_or_else(|| Error::failed(format!("`{name}` is no partition of Kafka")))?;
        let shared = self.shared(partition)?;
        let (low, high) = shared.range(partition)?;
        let next = match begin {
            Begin::At(position) => position.offset,
            Begin::As(start) => self.first(start, &shared, partition, (low, high))?,
        };
        check_range(name, next, low, high)?;
        let decoder = match &self.format {
            Format::Value(format) => Decoder::Value(format.decoder()?),
            Format::Message(decode) => Decoder::Message(Arc::clone(decode)),
        };
        let end = self.until_end.then_some(high);
        Ok(Box::new(Reader::open(shared, partition, next, end, decoder)?))
    }
}

impl<T: Record> Source for KafkaSource<T> {
    type Record = T;
    type Position = KafkaPosition;

    fn boundedness(&self) -> Boundedness {
        if self.until_end { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn discovery_interval(&self) -> Option<Duration> {
        (!self.until_end).then_some(self.discovery_interval)
    }

    fn partitions(&self) -> Result<Vec<String>> {
        let shared = self.connect()?;
        let partitions = self.cluster.partitions(&shared.consumer, &self.topic)?;
        Ok(partitions.iter().map(|partition| format!("{}/{partition}", self.topic)).collect())
    }

    fn open(
        &self,
        name: &str,
        position: Option<KafkaPosition>,
    ) -> Result<Box<dyn SourceReader<T, KafkaPosition>>> {
        self.read(name, position.map_or(Begin::As(&self.start), Begin::At))
    }

    fn open_added(&self, name: &str) -> Result<Box<dyn SourceReader<T, KafkaPosition>>> {
        self.read(name, Begin::As(&Start::Earliest))
    }
}

/// # Errors
/// The topic does not hold the next message of the job any more, or never did.
fn check_range(name: &str, next: i64, low: i64, high: i64) -> Result<()> {
    if next < low {
        return Err(Error::failed(format!(
            "`{name}`: the job has to go on with offset {next}, and the oldest message is {low}: {} messages were \
             deleted by the topic's retention before they were read. To go on without them, start with \
             --no-resume; to have them next time, raise retention.ms of the topic",
            low - next
        )));
    }
    if next > high {
        return Err(Error::failed(format!(
            "`{name}`: the job has to go on with offset {next}, and the topic ends at {high}: it was probably \
             deleted and made again. Start with --no-resume to read it from its beginning"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_other_topics_are_noticed() {
        assert!(check_range("t/0", 5, 5, 9).is_ok() && check_range("t/0", 9, 5, 9).is_ok());
        let said = check_range("t/0", 2, 5, 9).unwrap_err().to_string();
        assert!(said.contains("3 messages were deleted by the topic's retention"), "{said}");
        let said = check_range("t/0", 10, 0, 9).unwrap_err().to_string();
        assert!(said.contains("deleted and made again"), "{said}");
    }
}
