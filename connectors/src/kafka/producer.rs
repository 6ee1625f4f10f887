//! `ProducerClient`: a producer of the client library that is waited for without spinning, and says why it failed.

use std::sync::Arc;
use std::time::Duration;

use headwater::Result;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};

use super::cluster::{KafkaCluster, Notes, Voice};
use super::staged::{NO_TIMESTAMP, Row};

/// Between two looks at what the client has sent. Asked to wait for so little, the client itself spins.
const LOOK: Duration = Duration::from_micros(500);

impl ProducerContext<NoCustomPartitioner> for Voice {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let said = format!(
                "a row of {} bytes was not taken by `{}`: {error}",
                message.payload_len(),
                message.topic()
            );
            self.notes.note_undelivered(said);
        }
    }
}

/// A producer that can say why it failed.
pub(super) struct ProducerClient {
    pub(super) producer: BaseProducer<Voice>,
    pub(super) notes: Arc<Notes>,
}

impl ProducerClient {
    pub(super) fn new(cluster: &KafkaCluster, own: &[(&str, &str)]) -> Result<Self> {
        let notes = Arc::new(Notes::default());
        let voice = Voice { notes: Arc::clone(&notes), topic: String::new() };
        let mut config = cluster.config(own)?;
        config
            // The same key goes to the same partition as with the clients of Java.
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "4096");
        let producer = config
            .create_with_context(voice)
            .map_err(|error| cluster.explain("a client cannot be made", &error, &notes))?;
        Ok(ProducerClient { producer, notes })
    }

    /// Hands a message to the client, which may have to send others first.
    pub(super) fn send(&self, topic: &str, row: Row<'_>, partition: Option<i32>) -> Result<(), KafkaError> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).payload(row.value);
        record.key = row.key;
        record.partition = partition;
        record.timestamp = (row.timestamp != NO_TIMESTAMP).then_some(row.timestamp);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    record = same;
                    self.serve();
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Waits until every message was taken or given up: the client itself sets the limit.
    pub(super) fn drain(&self) {
        // NOTE: `flush` of the client takes at least 100 ms.
        while self.producer.in_flight_count() > 0 {
            self.serve();
        }
    }

    fn serve(&self) {
        self.producer.poll(Duration::ZERO);
        std::thread::park_timeout(LOOK);
    }
}
