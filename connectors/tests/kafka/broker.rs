//! A real Kafka: topics of our own, a producer and a reader that know nothing of the sources and sinks.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The broker, or `None` with a line that says how to have one.
pub(crate) fn broker(test: &str) -> Option<String> {
    let broker = std::env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty());
    if broker.is_none() {
        // Past the harness, which keeps what a test that passes prints.
        let line = format!(
            "skipped: {test} needs Kafka: scripts/services up kafka; eval \"$(scripts/services env)\"; cargo test \
             --release --workspace --features kafka --test kafka\n"
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    broker
}

pub(crate) fn config(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("group.id", "tests").set("fetch.wait.max.ms", "10");
    config
}

/// A topic that no other test has.
pub(crate) fn topic(broker: &str, name: &str, partitions: i32) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{name}-{}-{count}", std::process::id());
    make(broker, &name, partitions);
    name
}

fn admin(broker: &str) -> AdminClient<DefaultClientContext> {
    config(broker).create().unwrap()
}

pub(crate) fn make(broker: &str, name: &str, partitions: i32) {
    // Kept for ever: retention goes by the timestamps of the messages, and some tests give old ones.
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    block_on(admin(broker).create_topics([&topic], &options)).unwrap().remove(0).unwrap();
    let client: BaseConsumer = config(broker).create().unwrap();
    let knows = || {
        let metadata = client.fetch_metadata(Some(name), PATIENCE).unwrap();
        metadata.topics()[0].partitions().len() == partitions as usize
    };
    while !knows() {
        client.poll(Duration::from_millis(10));
    }
}

pub(crate) fn add_partitions(broker: &str, name: &str, partitions: usize) {
    let more = NewPartitions::new(name, partitions);
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    block_on(admin(broker).create_partitions([&more], &options)).unwrap().remove(0).unwrap();
}

pub(crate) fn delete(broker: &str, name: &str) {
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    block_on(admin(broker).delete_topics(&[name], &options)).unwrap().remove(0).unwrap();
}

/// Deletes what stands in front of an offset, as retention does.
pub(crate) fn delete_before(broker: &str, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    block_on(admin(broker).delete_records(&list, &AdminOptions::new())).unwrap();
}

/// Writes to one partition: value, and key if it has one.
pub(crate) fn produce(broker: &str, topic: &str, partition: i32, rows: &[(Option<&str>, &[u8])]) {
    let producer: BaseProducer = config(broker).create().unwrap();
    for (key, value) in rows {
        let mut record = BaseRecord::<str, [u8]>::to(topic).partition(partition).payload(*value);
        record.key = *key;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// All that a reader of `read_committed` sees, partition by partition.
pub(crate) fn read_all(broker: &str, topic: &str) -> Vec<OwnedMessage> {
    // The same clients for all: closing one takes 100 ms.
    static READERS: OnceLock<Mutex<[BaseConsumer; 2]>> = OnceLock::new();
    let readers = READERS.get_or_init(|| {
        let reader = |isolation| {
            let mut config = config(broker);
            config.set("isolation.level", isolation).set("enable.partition.eof", "true");
            config.set("auto.offset.reset", "error");
            config.create().unwrap()
        };
        Mutex::new(["read_committed", "read_uncommitted"].map(reader))
    });
    let [consumer, all] = &*readers.lock().unwrap_or_else(PoisonError::into_inner);
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|found| found.id()).collect();
    assert!(!partitions.is_empty(), "`{topic}`: {:?}", metadata.topics()[0].error());
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        // A broker says that a transaction is committed before it marks its end in each partition.
        let end = |reader: &BaseConsumer| reader.fetch_watermarks(topic, *partition, PATIENCE).unwrap().1;
        let marked = (0..10_000).any(|_| end(consumer) == end(all));
        assert!(marked, "`{topic}/{partition}` has an open transaction");
        list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut messages, mut ends) = (Vec::new(), std::collections::BTreeSet::new());
    let mut nothing = 0;
    while ends.len() < partitions.len() {
        assert!(nothing < 100, "`{topic}` does not end");
        match consumer.poll(PATIENCE) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.insert(partition)),
            Some(Err(error)) => panic!("{error}"),
            // An event of another kind.
            None => nothing += 1,
        }
    }
    consumer.unassign().unwrap();
    messages.sort_by_key(|message| (message.partition(), message.offset()));
    messages
}

pub(crate) fn text(message: &OwnedMessage) -> &str {
    std::str::from_utf8(message.payload().unwrap()).unwrap()
}
