//! `KafkaCluster`: where the brokers are, and what a client says to get in.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// How long a question to the cluster may take.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// How long a topic is looked up again when the connection is gone in the middle of it: one that broke, or a
/// broker that is just coming up, is no reason to give up.
const LOOKUP_MS: u64 = 3_000;

/// Time between two statistics, from which the lag is known.
const STATISTICS_MS: &str = "5000";

/// What a consumer begins with, and a job may change: it is told of an end soon, and the queue of a partition is
/// small.
const CONSUMER_DEFAULTS: &[(&str, &str)] =
    &[("fetch.wait.max.ms", "100"), ("queued.max.messages.kbytes", "8192"), ("group.id", "headwater")];

/// What a job may say to librdkafka. Everything else is decided by source and sink: a wrong value there would
/// lose or double records.
const ALLOWED: &[&str] = &[
    "broker.address.family",
    "client.id",
    "client.rack",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
];

/// Whether a property asks for what the client library has only with TLS.
fn is_about_security(name: &str, value: &str) -> bool {
    match name {
        "security.protocol" => !value.eq_ignore_ascii_case("plaintext"),
        _ => name.starts_with("ssl.") || name.starts_with("sasl."),
    }
}

/// The brokers of a Kafka cluster, and how to get in.
///
/// ```
/// use headwater_connectors::KafkaCluster;
///
/// let cluster = KafkaCluster::at("kafka-1:9092,kafka-2:9092").property("client.rack", "eu-west-1a");
/// let plain: KafkaCluster = "127.0.0.1:9092".into();
/// ```
///
/// With the feature `kafka-tls`, behind TLS and with a password that stands in no program:
///
/// ```no_run
/// # use headwater_connectors::KafkaCluster;
/// let cluster = KafkaCluster::at("kafka-1:9093")
///     .property("security.protocol", "sasl_ssl")
///     .property("ssl.ca.location", "/etc/kafka/ca.pem")
///     .property("sasl.mechanism", "SCRAM-SHA-256")
///     .property("sasl.username", "orders")
///     .property_from_file("sasl.password", "/run/secrets/kafka");
/// ```
#[derive(Clone, Default)]
pub struct KafkaCluster {
    brokers: String,
    properties: BTreeMap<String, String>,
    /// The first thing that was wrong; said when the job is built.
    wrong: Option<String>,
}

impl fmt::Debug for KafkaCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets, and nobody knows which.
        f.debug_struct("KafkaCluster")
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

impl<S: Into<String>> From<S> for KafkaCluster {
    fn from(brokers: S) -> Self {
        KafkaCluster::at(brokers)
    }
}

impl KafkaCluster {
    /// The cluster behind these brokers, `host:port` with commas between; some of them are enough.
    #[must_use]
    pub fn at(brokers: impl Into<String>) -> Self {
        KafkaCluster { brokers: brokers.into(), ..KafkaCluster::default() }
    }

    /// Sets a property of librdkafka about the connection or the size of its buffers. What decides about
    /// guarantees cannot be set: the job is refused with a sentence.
    #[must_use]
    pub fn property(mut self, name: &str, value: impl Into<String>) -> Self {
        if !ALLOWED.contains(&name) {
            self.refuse(format!(
                "the Kafka property `{name}` cannot be set here: source and sink choose what guarantees depend \
                 on; allowed are {}",
                ALLOWED.join(", ")
            ));
        }
        let value = value.into();
        if !cfg!(feature = "kafka-tls") && is_about_security(name, &value) {
            self.refuse(format!("the Kafka property `{name}` needs the feature `kafka-tls` of this crate"));
        }
        self.properties.insert(name.to_owned(), value);
        self
    }

    /// Sets a property from a variable of the environment: a secret that stands in no program.
    #[must_use]
    pub fn property_from_env(mut self, name: &str, variable: &str) -> Self {
        match std::env::var(variable) {
            Ok(value) => self.property(name, value),
            Err(_) => {
                self.refuse(format!("`{name}` is to come from ${variable}, which is not set"));
                self
            }
        }
    }

    /// Sets a property from a file, without the line feed at its end.
    #[must_use]
    pub fn property_from_file(mut self, name: &str, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(value) => self.property(name, value.trim_end_matches(['\r', '\n'])),
            Err(error) => {
                self.refuse(format!("`{name}` is to come from {}: {error}", path.display()));
                self
            }
        }
    }

    fn refuse(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }

    /// The brokers, for messages.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// # Errors
    /// A property was refused.
    pub(super) fn config(&self, own: &[(&str, &str)]) -> Result<ClientConfig> {
        if let Some(wrong) = &self.wrong {
            return Err(Error::Config(wrong.clone()));
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "headwater");
        self.properties.iter().for_each(|(name, value)| {
            config.set(name, value);
        });
        own.iter().for_each(|(name, value)| {
            config.set(*name, *value);
        });
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }

    /// A consumer that is told where to read.
    pub(super) fn consumer(&self, topic: &str, own: &[(&str, &str)]) -> Result<ConsumerClient> {
        let mut config = self.config(own)?;
        // NOTE: it is no member of a group, but librdkafka wants the name of one.
        for (name, value) in CONSUMER_DEFAULTS {
            if config.get(name).is_none() {
                config.set(*name, *value);
            }
        }
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", STATISTICS_MS);
        let notes = Arc::new(Notes::default());
        let voice = Voice { notes: Arc::clone(&notes), topic: topic.to_owned() };
        let consumer = config
            .create_with_context(voice)
            .map_err(|error| self.explain("a client cannot be made", &error, &notes))?;
        Ok(ConsumerClient { consumer: Arc::new(consumer), notes })
    }

    /// The partitions of a topic, ascending.
    ///
    /// # Errors
    /// The cluster cannot be reached, or has no such topic.
    pub(super) fn partitions(&self, consumer: &ConsumerClient, topic: &str) -> Result<Vec<i32>> {
        let partitions = self.find_partitions(consumer, topic)?;
        partitions.ok_or_else(|| {
            Error::failed(format!(
                "Kafka at {} has no topic `{topic}`: check the name, or make it: kafka-topics.sh --create --topic \
                 {topic} --partitions N --bootstrap-server {}",
                self.brokers, self.brokers
            ))
        })
    }

    /// As [`partitions`](Self::partitions); `None` when there is no such topic.
    pub(super) fn find_partitions(&self, consumer: &ConsumerClient, topic: &str) -> Result<Option<Vec<i32>>> {
        let failed = |error: KafkaError| {
            // What the client has to say about it comes with the next call.
            consumer.poll(Duration::from_millis(1));
            self.explain(&format!("its topic `{topic}` cannot be looked up"), &error, &consumer.notes)
        };
        let clock = SystemClock::default();
        let metadata = loop {
            match consumer.fetch_metadata(Some(topic), ANSWER) {
                Ok(metadata) => break metadata,
                Err(KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure))
                    if clock.monotonic_ms() < LOOKUP_MS =>
                {
                    consumer.poll(Duration::from_millis(100));
                }
                Err(error) => return Err(failed(error)),
            }
        };
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(code) => return Err(failed(KafkaError::MetadataFetch(code))),
        }
        let mut partitions: Vec<_> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        Ok((!partitions.is_empty()).then_some(partitions))
    }

    /// Says what is wrong with what, and what the client had to say last: a time-out alone explains nothing.
    pub(super) fn explain(&self, what: &str, error: &KafkaError, notes: &Notes) -> Error {
        let reason = match notes.last() {
            Some(last) => format!("{error}; the client says: {last}"),
            None => error.to_string(),
        };
        Error::failed(format!("Kafka at {}: {what}: {reason}", self.brokers))
    }
}

/// A consumer that can say why it failed, and is gone at once when it is not needed any more.
pub(super) struct ConsumerClient {
    consumer: Arc<BaseConsumer<Voice>>,
    pub(super) notes: Arc<Notes>,
}

impl Deref for ConsumerClient {
    type Target = Arc<BaseConsumer<Voice>>;

    fn deref(&self) -> &Self::Target {
        &self.consumer
    }
}

impl Drop for ConsumerClient {
    fn drop(&mut self) {
        // NOTE: left to itself it closes in steps of 100 ms.
        if Arc::strong_count(&self.consumer) == 1 && self.consumer.close_queue().is_ok() {
            while !self.consumer.closed() {
                self.consumer.poll(Duration::from_millis(1));
            }
        }
    }
}

/// What a client says behind our back.
#[derive(Debug, Default)]
pub(super) struct Notes {
    last: Mutex<Option<String>>,
    undelivered: Mutex<Option<String>>,
}

impl Notes {
    fn last(&self) -> Option<String> {
        guard(&self.last).clone()
    }

    fn note(&self, said: String) {
        *guard(&self.last) = Some(said);
    }

    /// Notes a message that was not taken, the first until it is asked for.
    pub(super) fn note_undelivered(&self, said: String) {
        guard(&self.undelivered).get_or_insert(said);
    }

    /// The first message that was not taken since the last call.
    pub(super) fn take_undelivered(&self) -> Option<String> {
        guard(&self.undelivered).take()
    }
}

/// What a mutex guards. A panic elsewhere leaves nothing half done here.
pub(super) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The side of a client that is called back.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) notes: Arc<Notes>,
    /// The topic whose lag is measured.
    pub(super) topic: String,
}

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if level as i32 <= RDKafkaLogLevel::Warning as i32 {
            tracing::warn!(facility, message, "librdkafka");
        } else {
            tracing::debug!(facility, message, "librdkafka");
        }
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        for (partition, found) in &topic.partitions {
            // Of a partition that is not read, or not yet, nothing is known.
            if *partition >= 0 && found.app_offset >= 0 && found.ls_offset >= 0 {
                let lag = found.ls_offset.saturating_sub(found.app_offset).max(0);
                metrics::gauge!(
                    "headwater_kafka_lag_records",
                    "topic" => self.topic.clone(),
                    "partition" => partition.to_string()
                )
                .set(lag as f64);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "librdkafka");
        self.notes.note(reason.to_owned());
    }
}

impl ConsumerContext for Voice {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guarantees_depend_on_cannot_be_set() {
        let said = KafkaCluster::at("h:1").property("enable.auto.commit", "true").config(&[]);
        let said = said.unwrap_err().to_string();
        assert!(said.contains("`enable.auto.commit` cannot be set here"), "{said}");
        assert!(KafkaCluster::at("h:1").property("client.rack", "a").config(&[]).is_ok());
    }

    #[test]
    fn what_needs_tls_is_told_apart() {
        assert!(
            !is_about_security("security.protocol", "PLAINTEXT") && !is_about_security("client.id", "ssl")
        );
        assert!(is_about_security("security.protocol", "ssl") && is_about_security("sasl.password", "x"));
        let cluster = KafkaCluster::at("h:1").property("security.protocol", "ssl");
        assert_eq!(cluster.config(&[]).is_ok(), cfg!(feature = "kafka-tls"));
    }

    #[test]
    fn secrets_are_not_shown_and_a_missing_one_is_named() {
        let cluster = KafkaCluster::at("h:1").property("sasl.password", "s3cret");
        assert!(!format!("{cluster:?}").contains("s3cret"));
        let said = KafkaCluster::at("h:1").property_from_env("sasl.password", "HEADWATER_NO_SUCH_VARIABLE");
        assert!(said.config(&[]).unwrap_err().to_string().contains("$HEADWATER_NO_SUCH_VARIABLE"));
        let said = KafkaCluster::at("h:1").property_from_file("sasl.password", "/no/such/file");
        assert!(said.config(&[]).unwrap_err().to_string().contains("/no/such/file"));
    }
}
