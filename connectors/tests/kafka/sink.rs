//! What a `KafkaSink` leaves in its topic, whatever happens to its process.

use headwater::batch::{BatchBuilder, BatchLimits, Record};
use headwater::prelude::*;
use headwater::sink::{Cut, Sink, SinkWriter, Staged, Subtask};
use headwater::testing::{SinkCheck, check_sink};
use headwater::time::Epoch;
use headwater_connectors::{KafkaSink, MemorySource};
use rdkafka::message::Message;

use crate::broker::{broker, produce, read_all, text, topic};

fn row(number: u64) -> (u64, String) {
    (number, format!("row {number}"))
}

fn numbers(broker: &str, topic: &str) -> Vec<u64> {
    let messages = read_all(broker, topic);
    messages.iter().map(|message| text(message).split(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn rows_come_exactly_once_with_a_crash_behind_every_call() {
    let Some(broker) = broker("rows_come_exactly_once_with_a_crash_behind_every_call") else { return };
    let name = topic(&broker, "once", 1);
    let topics = std::cell::RefCell::new(std::collections::HashMap::new());
    let target = |trial: u64| {
        let mut topics = topics.borrow_mut();
        topics.entry(trial).or_insert_with(|| topic(&broker, "once", 1)).clone()
    };
    let sink = |trial: u64| {
        let target = target(trial);
        Ok(KafkaSink::csv(broker.as_str(), &target)
            .exactly_once(&target)
            .token_topic(format!("{name}-tokens")))
    };
    let check = SinkCheck::new(row).rows(9).trials_max(40);
    let report = check_sink(sink, |trial| Ok(numbers(&broker, &target(trial))), &check).unwrap();
    assert!(report.trials > 20, "{report:?}");
}

fn write<T: Record + Clone>(writer: &mut dyn SinkWriter<T>, rows: &[T]) {
    let mut builder = BatchBuilder::new(BatchLimits::default());
    rows.iter().for_each(|row| builder.push(row.view()).unwrap());
    writer.write(&builder.finish().unwrap()).unwrap();
}

fn prepare<T: Record>(writer: &mut dyn SinkWriter<T>, epoch: u64) -> Staged {
    writer.prepare(Cut { epoch: Epoch(epoch), is_last: false, now_ms: 0 }).unwrap()
}

const ONLY: Subtask = Subtask { index: 0, count: 1 };

#[test]
fn a_process_that_was_stopped_and_goes_on_doubles_nothing() {
    let Some(broker) = broker("a_process_that_was_stopped_and_goes_on_doubles_nothing") else { return };
    let topic = topic(&broker, "zombie", 1);
    let sink = KafkaSink::csv(broker.as_str(), &topic).exactly_once(&topic);
    let mut old = sink.open(ONLY).unwrap();
    write(&mut *old, &[row(1), row(2)]);
    let first = prepare(&mut *old, 1);
    old.commit(Epoch(1), &first).unwrap();
    write(&mut *old, &[row(3)]);
    let second = prepare(&mut *old, 2);
    // It is stopped here; another process takes its place, and what it had made durable.
    let mut new = sink.open(ONLY).unwrap();
    new.recover(vec![(Epoch(1), first.clone()), (Epoch(2), second.clone())]).unwrap();
    assert_eq!(numbers(&broker, &topic), [1, 2, 3]);
    write(&mut *new, &[row(4)]);
    let third = prepare(&mut *new, 3);
    new.commit(Epoch(3), &third).unwrap();
    // The old one goes on with what it was about to do, then the new one.
    old.commit(Epoch(2), &second).unwrap();
    assert_eq!(numbers(&broker, &topic), [1, 2, 3, 4]);
    write(&mut *new, &[row(5)]);
    let fourth = prepare(&mut *new, 4);
    new.commit(Epoch(4), &fourth).unwrap();
    assert_eq!(numbers(&broker, &topic), [1, 2, 3, 4, 5]);
}

#[test]
fn a_job_that_begins_anew_writes_all_its_rows() {
    let Some(broker) = broker("a_job_that_begins_anew_writes_all_its_rows") else { return };
    let topic = topic(&broker, "anew", 1);
    let sink = KafkaSink::csv(broker.as_str(), &topic).exactly_once(&topic);
    for round in 0..3 {
        let mut writer = sink.open(ONLY).unwrap();
        for epoch in 1..3 {
            write(&mut *writer, &[row(epoch)]);
            let staged = prepare(&mut *writer, epoch);
            writer.commit(Epoch(epoch), &staged).unwrap();
        }
        assert_eq!(numbers(&broker, &topic).len(), (round + 1) * 2);
    }
}

#[test]
fn two_jobs_with_one_id_are_told() {
    let Some(broker) = broker("two_jobs_with_one_id_are_told") else { return };
    let topic = topic(&broker, "twice", 1);
    let sink = KafkaSink::csv(broker.as_str(), &topic).exactly_once(&topic);
    let mut writers = [sink.open(ONLY).unwrap(), sink.open(ONLY).unwrap()];
    for writer in &mut writers {
        write(&mut **writer, &[row(1)]);
        let staged = prepare(&mut **writer, 1);
        writer.commit(Epoch(1), &staged).unwrap();
    }
    write(&mut *writers[0], &[row(2)]);
    let staged = prepare(&mut *writers[0], 2);
    let said = writers[0].commit(Epoch(2), &staged).unwrap_err().to_string();
    assert!(
        said.contains("does another job write with exactly_once") && said.contains("id of its own"),
        "{said}"
    );
}

#[test]
fn keys_timestamps_and_text_arrive_as_they_are() {
    let Some(broker) = broker("keys_timestamps_and_text_arrive_as_they_are") else { return };
    let rows: Vec<_> = (0..40_u64).map(|n| (n, format!("\u{e4}\"{n}\n"))).collect();
    for exactly_once in [false, true] {
        let topic = topic(&broker, "fields", 3);
        let mut sink = KafkaSink::<(u64, String)>::json(broker.as_str(), &topic)
            .key(|row, key| key.extend_from_slice((row.0 % 5).to_string().as_bytes()))
            .timestamp(|row| row.0 as i64 + 1_700_000_000_000);
        if exactly_once {
            sink = sink.exactly_once(&topic);
        }
        let flow = StreamBuilder::new("fields");
        flow.source("rows", MemorySource::new(vec![rows.clone()])).sink("topic", sink);
        flow.build().unwrap().run(EngineConfig::default()).unwrap();
        let messages = read_all(&broker, &topic);
        let mut partitions = std::collections::HashMap::new();
        let mut seen = Vec::new();
        for message in &messages {
            let value: serde_json::Value = serde_json::from_str(text(message)).unwrap();
            let number = value["_1"].as_u64().unwrap();
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            assert_eq!(key, (number % 5).to_string());
            assert_eq!(message.timestamp().to_millis(), Some(number as i64 + 1_700_000_000_000));
            assert_eq!(*partitions.entry(key).or_insert(message.partition()), message.partition());
            seen.push((number, value["_2"].as_str().unwrap().to_owned()));
        }
        seen.sort();
        assert_eq!(seen, rows, "exactly once: {exactly_once}");
    }
}

#[test]
fn a_row_that_the_broker_does_not_take_is_named() {
    let Some(broker) = broker("a_row_that_the_broker_does_not_take_is_named") else { return };
    let topic = topic(&broker, "large", 1);
    let sink = KafkaSink::csv(broker.as_str(), &topic).exactly_once(&topic);
    let mut writer = sink.open(ONLY).unwrap();
    write(&mut *writer, &[(1, "x".repeat(2_000_000))]);
    let staged = prepare(&mut *writer, 1);
    let said = writer.commit(Epoch(1), &staged).unwrap_err().to_string();
    assert!(said.contains(&broker) && said.contains("too large"), "{said}");
    produce(&broker, &topic, 0, &[(None, b"7,x")]);
    assert_eq!(numbers(&broker, &topic), [7], "nothing of that epoch is seen");
}

#[test]
fn a_topic_that_is_missing_is_named_or_made() {
    let Some(broker) = broker("a_topic_that_is_missing_is_named_or_made") else { return };
    let name = topic(&broker, "made", 1) + "-too";
    let sink = || KafkaSink::<(u64, String)>::csv(broker.as_str(), &name);
    let said = sink().open(ONLY).map(drop).unwrap_err().to_string();
    assert!(said.contains(&format!("has no topic `{name}`")), "{said}");
    let mut writer = sink().create_topic(2).open(ONLY).unwrap();
    write(&mut *writer, &[row(1)]);
    prepare(&mut *writer, 1);
    assert_eq!(numbers(&broker, &name), [1], "at least once is seen at once");
}
