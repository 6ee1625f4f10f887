//! `Plain`: rows go to their topic as they come, and an epoch ends when all have arrived: at least once.

use std::time::Duration;

use headwater::batch::{Batch, Record};
use headwater::sink::{Cut, SinkWriter, Staged};
use headwater::{Error, Result};

use super::cluster::KafkaCluster;
use super::producer::ProducerClient;
use super::sink::Encoding;
use super::staged::Row;

/// Writes rows that are seen at once.
pub(super) struct Plain<T: Record> {
    client: ProducerClient,
    cluster: KafkaCluster,
    topic: String,
    encoding: Encoding<T>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<T: Record> Plain<T> {
    /// # Errors
    /// The client cannot be made.
    pub(super) fn new(
        cluster: KafkaCluster,
        topic: String,
        encoding: Encoding<T>,
        patience: Duration,
    ) -> Result<Self> {
        let patience_ms = patience.as_millis().to_string();
        let client =
            ProducerClient::new(&cluster, &[("linger.ms", "5"), ("message.timeout.ms", &patience_ms)])?;
        Ok(Plain { client, cluster, topic, encoding, key: Vec::new(), value: Vec::new() })
    }

    fn check(&self) -> Result<()> {
        match self.client.notes.take_undelivered() {
            Some(said) => Err(Error::failed(format!("Kafka at {}: {said}", self.cluster.brokers()))),
            None => Ok(()),
        }
    }
}

impl<T: Record> SinkWriter<T> for Plain<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        let Plain { client, cluster, topic, encoding, key, value } = self;
        let mut outcome = Ok(());
        batch.for_each(|_, view| {
            if outcome.is_ok() {
                key.clear();
                value.clear();
                let has_key = encoding.key(view, key);
                outcome = encoding.value(view, value).and_then(|()| {
                    let timestamp = encoding.timestamp(view);
                    let row = Row { key: has_key.then_some(key), value, timestamp };
                    let sent = client.send(topic, row, None);
                    sent.map_err(|error| cluster.explain("a row cannot be sent", &error, &client.notes))
                });
            }
        });
        client.producer.poll(Duration::ZERO);
        outcome?;
        self.check()
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        self.client.drain();
        self.check()?;
        Ok(Staged::nothing())
    }
}
