//! What a `KafkaSource` gives, from where, and what it says when it cannot.

use std::time::Duration;

use headwater::batch::DecodeError;
use headwater::prelude::*;
use headwater::runtime::Summary;
use headwater::source::Source;
use headwater::testing::{SourceCheck, check_source};
use headwater_connectors::{Collect, KafkaCluster, KafkaPosition, KafkaSource};

use crate::broker::{add_partitions, broker, delete, delete_before, make, produce, topic};

#[derive(Record, Clone, Debug, PartialEq)]
struct Order {
    customer: String,
    cents: u64,
}

fn orders(count: u64) -> Vec<(Option<&'static str>, Vec<u8>)> {
    let value = |n: u64| match n % 7 {
        6 => b"{\"customer\": 3}".to_vec(),
        _ => format!("{{\"customer\": \"c{n}\", \"cents\": {n}}}").into_bytes(),
    };
    (0..count).map(|n| (None, value(n))).collect()
}

fn fill(broker: &str, topic: &str, partition: i32, rows: &[(Option<&'static str>, Vec<u8>)]) {
    let rows: Vec<_> = rows.iter().map(|(key, value)| (*key, value.as_slice())).collect();
    produce(broker, topic, partition, &rows);
}

fn wait_a_little() {
    std::thread::park_timeout(Duration::from_millis(1));
}

#[test]
fn a_topic_can_be_read_again_from_every_position() {
    let Some(broker) = broker("a_topic_can_be_read_again_from_every_position") else { return };
    let topic = topic(&broker, "again", 2);
    fill(&broker, &topic, 0, &orders(70));
    fill(&broker, &topic, 1, &orders(35));
    let check = SourceCheck::new().positions_max(5).idle_polls_max(20_000, wait_a_little);
    let source = || Ok(KafkaSource::<Order>::json(broker.as_str(), &topic).until_end());
    let report = check_source(source, &check).unwrap();
    assert_eq!((report.partitions, report.records, report.rejected), (2, 90, 15));
}

fn run<T: Record + Clone>(source: KafkaSource<T>) -> Result<(Vec<T>, Summary)> {
    let (flow, rows) = (StreamBuilder::new("kafka"), Collect::new());
    flow.source("topic", source).sink("rows", rows.clone());
    let report = flow.build()?.run(EngineConfig::default())?;
    Ok((rows.take(), report))
}

#[test]
fn what_cannot_be_understood_is_rejected_with_its_place() {
    let Some(broker) = broker("what_cannot_be_understood_is_rejected_with_its_place") else { return };
    let topic = topic(&broker, "rejected", 1);
    let rows: [(Option<&str>, &[u8]); 4] =
        [(None, b"a,1"), (None, b"a,minus"), (None, b"\xff,1"), (Some("k"), b"b,2")];
    produce(&broker, &topic, 0, &rows);
    let source = KafkaSource::<Order>::csv(broker.as_str(), &topic).until_end();
    let (rows, report) = run(source).unwrap();
    let order = |customer: &str, cents| Order { customer: customer.to_owned(), cents };
    assert_eq!(rows, [order("a", 1), order("b", 2)]);
    assert_eq!((report.records_read(), report.rejected()), (4, 2));
    let said = report.nodes[0].rejection.as_ref().unwrap();
    assert!(said.contains(&format!("{topic}/0")) && said.contains('1'), "{said}");
}

#[test]
fn it_begins_where_it_is_told_to() {
    let Some(broker) = broker("it_begins_where_it_is_told_to") else { return };
    let topic = topic(&broker, "begins", 1);
    produce(&broker, &topic, 0, &[(None, b"zero"), (None, b"one"), (None, b"two")]);
    let source = || KafkaSource::text(broker.as_str(), &topic).until_end();
    assert_eq!(run(source()).unwrap().0, ["zero", "one", "two"]);
    assert_eq!(run(source().from_offsets([(0, 2)])).unwrap().0, ["two"]);
    assert_eq!(run(source().from_time(0)).unwrap().0.len(), 3);
    assert!(run(source().from_time(i64::from(u32::MAX) * 1_000)).unwrap().0.is_empty());
    assert!(run(source().from_latest()).unwrap().0.is_empty());
    let keys = KafkaSource::with(broker.as_str(), &topic, |message| {
        let value = message.value().ok_or_else(|| DecodeError::new("no value".to_owned()))?;
        Ok((message.offset() as u64, message.key().is_some(), value.len() as u64))
    });
    assert_eq!(run(keys.until_end()).unwrap().0, [(0, false, 4), (1, false, 3), (2, false, 3)]);
}

fn refused<S: Source>(source: &S, position: Option<S::Position>) -> String {
    let opened = source.partitions().and_then(|names| source.open(&names[0], position).map(drop));
    opened.unwrap_err().to_string()
}

#[test]
fn what_is_gone_is_said_and_not_passed_over() {
    let Some(broker) = broker("what_is_gone_is_said_and_not_passed_over") else { return };
    let topic = topic(&broker, "gone", 1);
    produce(&broker, &topic, 0, &[(None, b"0"), (None, b"1"), (None, b"2"), (None, b"3")]);
    delete_before(&broker, &topic, 0, 3);
    let source = KafkaSource::text(broker.as_str(), &topic).until_end();
    let said = refused(&source, Some(KafkaPosition { offset: 1 }));
    assert!(said.contains("2 messages were deleted by the topic's retention"), "{said}");
    assert_eq!(run(source).unwrap().0, ["3"], "without a position it begins with what there is");
    delete(&broker, &topic);
    make(&broker, &topic, 1);
    let source = KafkaSource::text(broker.as_str(), &topic);
    let said = refused(&source, Some(KafkaPosition { offset: 4 }));
    assert!(said.contains("deleted and made again"), "{said}");
}

#[test]
fn a_wrong_address_and_a_wrong_topic_are_named() {
    let Some(broker) = broker("a_wrong_address_and_a_wrong_topic_are_named") else { return };
    let said = refused(&KafkaSource::text(broker.as_str(), "no-such-topic"), None);
    assert!(said.contains("has no topic `no-such-topic`") && said.contains("--create"), "{said}");
    let cluster = KafkaCluster::at("127.0.0.1:1");
    let said = refused(&KafkaSource::text(cluster, "t"), None);
    assert!(said.contains("127.0.0.1:1") && said.contains("refused"), "{said}");
}

#[test]
fn many_partitions_share_one_client_and_each_record_comes_once() {
    let Some(broker) = broker("many_partitions_share_one_client_and_each_record_comes_once") else { return };
    let topic = topic(&broker, "many", 24);
    for partition in 0..24 {
        let values: Vec<_> = (0..50).map(|n| format!("{partition}-{n}").into_bytes()).collect();
        let rows: Vec<_> = values.iter().map(|value| (None, value.as_slice())).collect();
        produce(&broker, &topic, partition, &rows);
    }
    let (flow, rows) = (StreamBuilder::new("many"), Collect::new());
    flow.source("topic", KafkaSource::text(broker.as_str(), &topic).until_end()).sink("rows", rows.clone());
    flow.build().unwrap().run(EngineConfig::default().parallelism(3)).unwrap();
    let mut rows = rows.take();
    rows.sort();
    let mut expected: Vec<_> =
        (0..24).flat_map(|partition| (0..50).map(move |n| format!("{partition}-{n}"))).collect();
    expected.sort();
    assert_eq!(rows, expected);
}

#[test]
fn partitions_that_are_added_to_a_topic_are_read_from_their_first_message() {
    let Some(broker) = broker("partitions_that_are_added_to_a_topic_are_read_from_their_first_message")
    else {
        return;
    };
    let topic = topic(&broker, "added", 1);
    fill(&broker, &topic, 0, &orders(5));
    let (flow, rows) = (StreamBuilder::new("kafka"), Collect::new());
    let source = KafkaSource::<Order>::json(broker.as_str(), &topic);
    flow.source("topic", source.discovery_interval(ms(50))).sink("rows", rows.clone());
    let running = flow.build().unwrap().start(EngineConfig::default().parallelism(2)).unwrap();
    let wait_for = |records| {
        // What ended it is said below.
        while running.report().records_read() < records && !running.is_finished() {
            wait_a_little();
        }
    };
    wait_for(5);
    add_partitions(&broker, &topic, 3);
    fill(&broker, &topic, 2, &orders(6));
    wait_for(11);
    fill(&broker, &topic, 1, &orders(4));
    wait_for(15);
    running.stop();
    running.wait().unwrap();
    assert_eq!(rows.take().len(), 15);
}
