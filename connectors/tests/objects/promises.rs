//! The promises of sinks and sources, over a store in memory or over S3.

use std::ops::Range;
use std::time::Duration;

use headwater::batch::{BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::sink::{Cut, Sink, Subtask};
use headwater::source::Source;
use headwater::testing::{SinkCheck, SourceCheck, check_sink, check_source};
use headwater::time::Epoch;
use headwater_connectors::{CsvFile, CsvSink, JsonLines, JsonLinesSink, ParquetFile, ParquetSink, TextFile};

use super::{Row, numbers, row};

fn sink<K: Sink<Row>, S: Source<Record = Row>>(
    place: &str,
    trials: usize,
    make: impl Fn(String) -> K,
    read: impl Fn(String) -> S,
) {
    let place = |trial: u64| format!("{place}/{trial}");
    let report = check_sink(
        |trial| Ok(make(place(trial))),
        |trial| {
            let mut numbers = numbers(&read(place(trial)))?;
            // Rows of different folders have no order.
            if place(trial).contains("folders") {
                numbers.sort_unstable();
            }
            Ok(numbers)
        },
        &SinkCheck::new(row).rows(10).trials_max(trials),
    );
    assert!(report.unwrap().trials >= 7);
}

/// Every sink, with crashes.
pub(super) fn each_row_is_shown_once(top: &str, trials: usize) {
    let seconds = Duration::from_secs;
    let csv = |path| CsvSink::folder(path).roll_after(seconds(3));
    sink(&format!("{top}/csv"), trials, csv, CsvFile::<Row>::new);
    let json = |path| JsonLinesSink::folder(path).roll_after(Duration::ZERO);
    sink(&format!("{top}/json"), trials, json, JsonLines::<Row>::new);
    let parquet = |path| ParquetSink::<Row>::new(path).roll_after(seconds(3));
    sink(&format!("{top}/parquet"), trials, parquet, ParquetFile::<Row>::read);
    let parquet = |path| ParquetSink::<Row>::new(path).partition_by(&["group"]).kept_bytes_max(400);
    sink(&format!("{top}/folders"), trials, parquet, ParquetFile::<Row>::read);
}

/// Writes epochs of rows as a job without crashes does.
fn write(sink: &dyn Sink<Row>, epochs: &[Range<u64>], ends: bool) -> headwater::Result<()> {
    let mut writer = sink.open(Subtask { index: 0, count: 1 })?;
    for (at, numbers) in epochs.iter().enumerate() {
        let mut builder = BatchBuilder::new(BatchLimits::default());
        numbers.clone().for_each(|number| builder.push(row(number).view()).unwrap());
        writer.write(&builder.finish().unwrap())?;
        let epoch = Epoch(at as u64 + 1);
        let is_last = ends && at + 1 == epochs.len();
        let staged = writer.prepare(Cut { epoch, is_last, now_ms: epoch.0 })?;
        writer.commit(epoch, &staged)?;
    }
    Ok(())
}

/// Every source, from every position.
pub(super) fn sources_read_on_from_every_position(top: &str) {
    let place = |name: &str| format!("{top}/{name}");
    write(&CsvSink::folder(place("csv")), &[0..100, 100..200, 200..300], true).unwrap();
    write(&JsonLinesSink::folder(place("json")), &[0..100, 100..300], true).unwrap();
    let parquet = ParquetSink::<Row>::new(place("parquet")).roll_rows(400);
    write(&parquet, &[0..400, 400..800, 800..1_200, 1_200..1_600, 1_600..2_000], true).unwrap();
    let check = SourceCheck::new().rows_per_poll(31).positions_max(6);
    let report = check_source(|| Ok(CsvFile::<Row>::new(place("csv"))), &check).unwrap();
    assert_eq!((report.partitions, report.records), (1, 300));
    let report = check_source(|| Ok(JsonLines::<Row>::new(place("json/part-*.jsonl"))), &check).unwrap();
    assert_eq!((report.partitions, report.records), (1, 300));
    let check = check.rows_per_poll(170);
    let report = check_source(|| Ok(ParquetFile::<Row>::read(place("parquet"))), &check).unwrap();
    assert_eq!((report.partitions, report.records), (5, 2_000));
    let one = place("parquet/part-0-00000002.parquet");
    assert_eq!(numbers(&ParquetFile::<Row>::read(one)).unwrap(), (400..800).collect::<Vec<_>>());
}

/// A job that is run to its end.
pub(super) fn a_job_writes_and_another_reads(top: &str) {
    let flow = StreamBuilder::new("write");
    let rows = headwater_connectors::Generator::new(5_000, row).partitions(2);
    flow.source("rows", rows).sink("parquet", ParquetSink::new(format!("{top}/job")).roll_rows(1_000));
    let state = tempfile::tempdir().unwrap();
    flow.build().unwrap().run(EngineConfig::default().state_dir(state.path()).parallelism(2)).unwrap();
    let mut found = numbers(&ParquetFile::<Row>::read(format!("{top}/job"))).unwrap();
    found.sort_unstable();
    assert_eq!(found, (0..5_000).collect::<Vec<_>>());
}

/// An object of another job is left as it is.
pub(super) fn an_object_of_another_job_is_not_written_over(top: &str) {
    let place = format!("{top}/taken");
    write(&JsonLinesSink::folder(&place), &[1..2, 2..3], true).unwrap();
    let error = write(&JsonLinesSink::folder(&place), &[2..3, 3..4], true).unwrap_err().to_string();
    assert!(error.contains("another run wrote to this"), "{error}");
    assert_eq!(numbers(&JsonLines::<Row>::new(place)).unwrap(), [1, 2]);
}

#[test]
fn a_store_in_memory_shows_each_row_once() {
    each_row_is_shown_once("memory://sinks", 80);
}

#[test]
fn a_store_in_memory_is_read_on_from_every_position() {
    sources_read_on_from_every_position("memory://sources");
}

#[test]
fn a_store_in_memory_takes_a_job() {
    a_job_writes_and_another_reads("memory://jobs");
    an_object_of_another_job_is_not_written_over("memory://jobs");
}

#[test]
fn what_is_no_place_in_a_store_is_said() {
    let said = |path: &str| TextFile::new(path).partitions().unwrap_err().to_string();
    assert!(said("hdfs://host/x").contains("is no URL of an object store"), "{}", said("hdfs://host/x"));
    assert!(said("memory://empty/x").contains("there is no object at"), "{}", said("memory://empty/x"));
    let one = Sink::<Row>::open(&CsvSink::new("memory://empty/one.csv"), Subtask { index: 0, count: 1 });
    assert!(one.err().unwrap().to_string().contains("use `folder`"));
}

#[test]
fn an_object_cannot_be_followed() {
    write(&JsonLinesSink::folder("memory://followed/a"), &[0..2, 2..3], true).unwrap();
    let source = JsonLines::<Row>::new("memory://followed/a").follow();
    let partition = source.partitions().unwrap().remove(0);
    let error = source.open(&partition, None).err().unwrap().to_string();
    assert!(error.contains("cannot be followed"), "{error}");
}

#[test]
fn a_url_of_this_machine_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    a_job_writes_and_another_reads(&url);
    an_object_of_another_job_is_not_written_over(&url);
    assert!(folder.path().join("job").is_dir() && folder.path().join("taken").is_dir());
}
