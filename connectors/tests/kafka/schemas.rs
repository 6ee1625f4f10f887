//! Avro and Protobuf through a real topic, with their schemas in a real registry.

use headwater::prelude::*;
use headwater::runtime::Summary;
use headwater::sink::{Sink, Subtask};
use headwater_connectors::format::{AvroSchema, AvroWriter, ProtobufSchema};
use headwater_connectors::{Collect, KafkaSink, KafkaSource, MemorySource, SchemaRegistry};
use rdkafka::message::Message;

use crate::broker::{broker, produce, read_all, topic};

#[derive(Record, Clone, Debug, PartialEq)]
struct Order {
    id: u64,
    customer: String,
    note: Option<String>,
    parts: Vec<(String, u32)>,
}

/// The same order after some time: a field is gone, one is new, one is wider.
#[derive(Record, Clone, Debug, PartialEq)]
struct LaterOrder {
    customer: String,
    id: i128,
    cents: Option<f64>,
}

fn orders(count: u64) -> Vec<Order> {
    let order = |id: u64| Order {
        id,
        customer: format!("customer {id}"),
        note: id.is_multiple_of(3).then(|| "\u{e4} note".to_owned()),
        parts: (0..id % 4).map(|part| (format!("part {part}"), part as u32)).collect(),
    };
    (0..count).map(order).collect()
}

/// The broker and the registry, or `None` with a line that says how to have them.
fn servers(test: &str) -> Option<(String, String)> {
    let broker = broker(test)?;
    let registry = std::env::var("SCHEMA_REGISTRY_URL").ok().filter(|url| !url.is_empty());
    if registry.is_none() {
        use std::io::Write;
        let line = format!(
            "skipped: {test} needs a schema registry: scripts/services up kafka registry; eval \
             \"$(scripts/services \
             env)\"; cargo test --release --workspace --features full --test kafka\n"
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    Some((broker, registry?))
}

fn write<T: Record + Clone>(sink: KafkaSink<T>, rows: Vec<T>) -> Result<()> {
    let flow = StreamBuilder::new("write");
    flow.source("rows", MemorySource::new(vec![rows])).sink("topic", sink);
    flow.build()?.run(EngineConfig::default()).map(drop)
}

fn read<T: Record + Clone>(source: KafkaSource<T>) -> Result<(Vec<T>, Summary)> {
    let (flow, rows) = (StreamBuilder::new("read"), Collect::new());
    flow.source("topic", source.until_end()).sink("rows", rows.clone());
    let report = flow.build()?.run(EngineConfig::default())?;
    Ok((rows.take(), report))
}

#[test]
fn avro_goes_through_a_topic_with_its_schema_in_the_registry() {
    let Some((broker, url)) = servers("avro_goes_through_a_topic_with_its_schema_in_the_registry") else {
        return;
    };
    for exactly_once in [false, true] {
        let topic = topic(&broker, "avro", 1);
        let mut sink = KafkaSink::avro(broker.as_str(), &topic, SchemaRegistry::at(&url));
        if exactly_once {
            sink = sink.exactly_once(&topic);
        }
        write(sink, orders(100)).unwrap();
        let first = read_all(&broker, &topic).remove(0);
        assert_eq!(first.payload().unwrap()[0], 0, "the byte that registries' clients begin with");
        let registry = SchemaRegistry::at(&url);
        let source = KafkaSource::<Order>::avro(broker.as_str(), &topic, registry.clone());
        assert_eq!(read(source).unwrap().0, orders(100));
        let later = KafkaSource::<LaterOrder>::avro(broker.as_str(), &topic, registry);
        let expected =
            |order: Order| LaterOrder { customer: order.customer, id: order.id.into(), cents: None };
        assert_eq!(read(later).unwrap().0, orders(100).into_iter().map(expected).collect::<Vec<_>>());
    }
}

#[test]
fn avro_goes_through_a_topic_without_a_registry() {
    let Some(broker) = broker("avro_goes_through_a_topic_without_a_registry") else { return };
    let topic = topic(&broker, "plain-avro", 1);
    let schema = AvroSchema::of::<Order>().unwrap();
    write(KafkaSink::avro(broker.as_str(), &topic, schema.clone()), orders(20)).unwrap();
    let source = KafkaSource::<Order>::avro(broker.as_str(), &topic, schema.clone());
    assert_eq!(read(source).unwrap().0, orders(20));
    let unlike = KafkaSource::<(u64,)>::avro(broker.as_str(), &topic, schema);
    let said = read(unlike).map(drop).unwrap_err().to_string();
    assert!(said.contains("field `_1`: is not in the schema it was written with"), "{said}");
}

#[test]
fn what_the_registry_does_not_know_is_rejected_with_its_place() {
    let Some((broker, url)) = servers("what_the_registry_does_not_know_is_rejected_with_its_place") else {
        return;
    };
    let topic = topic(&broker, "rejected-avro", 1);
    let registry = || SchemaRegistry::at(&url);
    write(KafkaSink::avro(broker.as_str(), &topic, registry()), orders(2)).unwrap();
    // Another schema under the same topic, which cannot become an order.
    let other =
        KafkaSink::<(u64,)>::avro(broker.as_str(), &topic, registry()).subject(format!("{topic}-other"));
    write(other, vec![(7,)]).unwrap();
    let rows: [(Option<&str>, &[u8]); 4] =
        [(None, b"{\"id\":1}"), (None, b"\x00\x7f\xff\xff\xf0\x02"), (None, b"\x00\x7f"), (None, b"")];
    produce(&broker, &topic, 0, &rows);
    let source = || KafkaSource::<Order>::avro(broker.as_str(), &topic, registry());
    let (read_orders, report) = read(source()).unwrap();
    assert_eq!(read_orders, orders(2));
    assert_eq!((report.records_read(), report.rejected()), (7, 5));
    let said = report.nodes[0].rejection.as_ref().unwrap();
    assert!(said.contains(&format!("{topic}/0")), "{said}");
    let (flow, rejected) = (StreamBuilder::new("rejected"), Collect::new());
    let (orders, bad) = flow.source_or_rejected("topic", source().until_end());
    orders.sink("orders", Collect::<Order>::new());
    bad.map(|row| (row.offset, row.reason.to_owned())).sink("bad", rejected.clone());
    flow.build().unwrap().run(EngineConfig::default()).unwrap();
    let rejected: Vec<(u64, String)> = rejected.take();
    let expected = [
        (2, "field `id`: is not in the schema"),
        (3, "written without a registry"),
        (4, "the registry has no schema 2147483632"),
        (5, "ends inside the id"),
        (6, "written without a registry"),
    ];
    assert_eq!(rejected.len(), expected.len(), "{rejected:?}");
    for ((offset, reason), (expected_offset, expected)) in rejected.iter().zip(expected) {
        assert!(*offset == expected_offset && reason.contains(expected), "{offset}: {reason}");
    }
}

#[test]
fn a_schema_that_is_not_compatible_is_refused_before_a_row_is_written() {
    let test = "a_schema_that_is_not_compatible_is_refused_before_a_row_is_written";
    let Some((broker, url)) = servers(test) else { return };
    let topic = topic(&broker, "incompatible", 1);
    let subject = format!("{topic}-value");
    let sink = || KafkaSink::<Order>::avro(broker.as_str(), &topic, SchemaRegistry::at(&url));
    sink().open(Subtask { index: 0, count: 1 }).unwrap();
    let body = r#"{"compatibility": "BACKWARD"}"#;
    ureq::put(format!("{url}/config/{subject}")).content_type("application/json").send(body).unwrap();
    sink().open(Subtask { index: 0, count: 1 }).unwrap();
    // The same name, and a field that nobody has written yet.
    let other =
        AvroSchema::parse(r#"{"type":"record","name":"Order","fields":[{"name":"_1","type":"string"}]}"#);
    let incompatible =
        KafkaSink::<(String,)>::avro(broker.as_str(), &topic, (SchemaRegistry::at(&url), other.unwrap()));
    let said = incompatible.open(Subtask { index: 0, count: 1 }).map(drop).unwrap_err().to_string();
    assert!(said.contains(&subject) && said.contains("not compatible"), "{said}");
    assert!(read_all(&broker, &topic).is_empty());
    let said = KafkaSink::<Order>::json(broker.as_str(), &topic).subject("s");
    let said = said.open(Subtask { index: 0, count: 1 }).map(drop).unwrap_err().to_string();
    assert!(said.contains("has a subject, but no schema registry"), "{said}");
}

#[test]
fn while_the_registry_is_away_no_payload_is_rejected() {
    let Some(broker) = broker("while_the_registry_is_away_no_payload_is_rejected") else { return };
    let topic = topic(&broker, "away", 1);
    let mut payload = vec![0, 0, 0, 0, 1];
    let schema = AvroSchema::of::<(u64,)>().unwrap();
    AvroWriter::<(u64,)>::new(&schema).unwrap().write((7,), &mut payload).unwrap();
    produce(&broker, &topic, 0, &[(None, &payload)]);
    let away = SchemaRegistry::at("http://127.0.0.1:9").patience(std::time::Duration::ZERO);
    let said =
        read(KafkaSource::<(u64,)>::avro(broker.as_str(), &topic, away)).map(drop).unwrap_err().to_string();
    assert!(said.contains("the schema registry at http://127.0.0.1:9 cannot be asked"), "{said}");
    let sink = KafkaSink::<(u64,)>::avro(broker.as_str(), &topic, SchemaRegistry::at("https://127.0.0.1:9"));
    let said = sink.open(Subtask { index: 0, count: 1 }).map(drop).unwrap_err().to_string();
    assert!(said.contains("TLS to the schema registry is not built in"), "{said}");
}

#[test]
fn bytes_arrive_as_they_are() {
    let Some(broker) = broker("bytes_arrive_as_they_are") else { return };
    let topic = topic(&broker, "bytes", 1);
    let rows: Vec<Vec<u8>> = vec![vec![0, 1, 255], vec![], (0..=255).collect()];
    write(KafkaSink::bytes(broker.as_str(), &topic), rows.clone()).unwrap();
    assert_eq!(read(KafkaSource::bytes(broker.as_str(), &topic)).unwrap().0, rows);
}

#[test]
fn protobuf_goes_through_a_topic_with_its_schema_in_the_registry() {
    let Some((broker, url)) = servers("protobuf_goes_through_a_topic_with_its_schema_in_the_registry") else {
        return;
    };
    let registry = SchemaRegistry::at(&url);
    for exactly_once in [false, true] {
        let topic = topic(&broker, "protobuf", 1);
        let mut sink = KafkaSink::protobuf(broker.as_str(), &topic, registry.clone());
        if exactly_once {
            sink = sink.exactly_once(&topic);
        }
        write(sink, orders(100)).unwrap();
        let first = read_all(&broker, &topic).remove(0);
        assert_eq!(first.payload().unwrap()[5], 0, "the first message of its schema");
        let source = KafkaSource::<Order>::protobuf(broker.as_str(), &topic, registry.clone());
        assert_eq!(read(source).unwrap().0, orders(100));
        let as_avro = KafkaSource::<Order>::avro(broker.as_str(), &topic, registry.clone());
        let (_, report) = read(as_avro).unwrap();
        assert_eq!(report.rejected(), 100, "they are of another kind");
        assert!(report.nodes[0].rejection.as_ref().unwrap().contains("of the kind PROTOBUF, not AVRO"));
    }
}

#[test]
fn a_message_inside_of_others_is_found_by_its_place() {
    let Some((broker, url)) = servers("a_message_inside_of_others_is_found_by_its_place") else { return };
    let topic = topic(&broker, "nested", 1);
    let text = "syntax = \"proto3\"; package shop; message A { message X {} message Y { int64 _1 = 3; } }";
    let schema = ProtobufSchema::parse(text, "shop.A.Y").unwrap();
    write(KafkaSink::protobuf(broker.as_str(), &topic, (SchemaRegistry::at(&url), schema)), vec![(7_i64,)])
        .unwrap();
    let payload = read_all(&broker, &topic).remove(0);
    assert_eq!(payload.payload().unwrap()[5..], [4, 0, 2, 0x18, 7], "two steps: the first, in it the second");
    let source = KafkaSource::<(i64,)>::protobuf(broker.as_str(), &topic, SchemaRegistry::at(&url));
    assert_eq!(read(source).unwrap().0, [(7,)]);
}
