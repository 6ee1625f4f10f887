//! Topics that are made when they are missing.

use std::sync::Arc;
use std::time::Duration;

use futures_executor::block_on;
use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::cluster::{ANSWER, KafkaCluster, Notes, Voice};

/// The partitions of a topic, which is made if it is missing; one that is there is left as it is.
///
/// # Errors
/// The cluster cannot be reached, or does not let us.
pub(super) fn ensure_topic(
    cluster: &KafkaCluster,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<Vec<i32>> {
    let client = cluster.consumer(name, &[])?;
    if let Some(found) = cluster.find_partitions(&client, name)? {
        return Ok(found);
    }
    make(cluster, name, partitions, settings)?;
    // The brokers need some time to tell each other.
    let clock = SystemClock::default();
    loop {
        if let Some(found) = cluster.find_partitions(&client, name)? {
            return Ok(found);
        }
        if clock.monotonic_ms() > ANSWER.as_millis() as u64 {
            return Err(Error::failed(format!(
                "Kafka at {} made `{name}` and does not know it",
                cluster.brokers()
            )));
        }
        client.poll(Duration::from_millis(20));
    }
}

fn make(cluster: &KafkaCluster, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
    let notes = Arc::new(Notes::default());
    let voice = Voice { notes: Arc::clone(&notes), topic: name.to_owned() };
    let failed =
        |error: KafkaError| cluster.explain(&format!("its topic `{name}` cannot be made"), &error, &notes);
    let admin = AdminClient::from_config_and_context(&cluster.config(&[])?, voice).map_err(failed)?;
    // As many replicas as the cluster gives a topic by itself.
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    let made = block_on(admin.create_topics([&topic], &options)).map_err(failed)?;
    match made.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(failed(KafkaError::AdminOp(code)))
        }
        _ => Ok(()),
    }
}
