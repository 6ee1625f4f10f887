//! A cluster that wants TLS and a password.

use headwater::prelude::*;
use headwater::source::Source;
use headwater_connectors::{Collect, KafkaCluster, KafkaSink, KafkaSource, MemorySource};

use crate::broker::{broker, topic};

/// The port that wants both, and what opens it.
fn secure(password: &str) -> KafkaCluster {
    let from_env = |variable: &str| std::env::var(variable).unwrap();
    KafkaCluster::at(from_env("KAFKA_TLS_BROKERS"))
        .property("security.protocol", "sasl_ssl")
        .property("ssl.ca.location", from_env("KAFKA_CA"))
        .property("sasl.mechanism", "SCRAM-SHA-256")
        .property_from_env("sasl.username", "KAFKA_USER")
        .property("sasl.password", password)
}

#[test]
fn rows_go_through_tls_with_a_password() {
    let Some(broker) = broker("rows_go_through_tls_with_a_password") else { return };
    let topic = topic(&broker, "secure", 2);
    let cluster = secure(&std::env::var("KAFKA_PASSWORD").unwrap());
    let flow = StreamBuilder::new("write");
    let sink = KafkaSink::<u64>::json(cluster.clone(), &topic).exactly_once(&topic);
    flow.source("numbers", MemorySource::new(vec![(0..100).collect()])).sink("topic", sink);
    flow.build().unwrap().run(EngineConfig::default()).unwrap();
    let (flow, rows) = (StreamBuilder::new("read"), Collect::new());
    flow.source("topic", KafkaSource::<u64>::json(cluster, &topic).until_end()).sink("rows", rows.clone());
    flow.build().unwrap().run(EngineConfig::default()).unwrap();
    let mut rows: Vec<u64> = rows.take();
    rows.sort_unstable();
    assert_eq!(rows, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_wrong_password_and_a_wrong_authority_are_said_and_no_secret_is() {
    let Some(broker) = broker("a_wrong_password_and_a_wrong_authority_are_said_and_no_secret_is") else {
        return;
    };
    let topic = topic(&broker, "closed", 1);
    let refused = |cluster: KafkaCluster| {
        KafkaSource::text(cluster.property("socket.timeout.ms", "10000"), &topic)
            .partitions()
            .unwrap_err()
            .to_string()
    };
    let said = refused(secure("not-the-password"));
    assert!(said.contains("authentication") && !said.contains("not-the-password"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("ca.pem");
    std::fs::write(&nobody, "").unwrap();
    let said = refused(secure("x").property("ssl.ca.location", nobody.to_str().unwrap()));
    assert!(said.contains("ssl.ca.location") || said.contains("certificate"), "{said}");
}
