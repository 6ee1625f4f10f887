//! Files that sinks write: complete under their name, or not there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use std::fs;
use std::io::Read as _;
use std::path::Path;

use headwater::batch::{Batch, BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::sink::{Cut, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use headwater::testing::commit_epoch;
use headwater::time::Epoch;
use headwater_connectors::{CsvSink, JsonLinesSink};

#[derive(Record, Clone)]
struct Reading {
    sensor: String,
    value: f64,
    note: Option<String>,
}

fn readings() -> Batch<Reading> {
    let reading = |sensor: &str, value, note: Option<&str>| Reading {
        sensor: sensor.to_owned(),
        value,
        note: note.map(str::to_owned),
    };
    let mut builder = BatchBuilder::new(BatchLimits::default());
    builder.push(reading("hall", 21.5, None).view()).unwrap();
    builder.push(reading("roof", -3.0, Some("a;b, \"c\"")).view()).unwrap();
    builder.finish().unwrap()
}

fn open(sink: &impl Sink<Reading>) -> Result<Box<dyn SinkWriter<Reading>>> {
    sink.open(Subtask { index: 0, count: 1 })
}

fn write_all(sink: &impl Sink<Reading>) {
    let mut writer = open(sink).unwrap();
    writer.write(&readings()).unwrap();
    commit_epoch(&mut *writer, 1, false).unwrap();
    commit_epoch(&mut *writer, 99, true).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const CSV: &str = "sensor,value,note\nhall,21.5,\nroof,-3.0,\"a;b, \"\"c\"\"\"\n";
const JSON: &str = "{\"sensor\":\"hall\",\"value\":21.5,\"note\":null}\n\
                    {\"sensor\":\"roof\",\"value\":-3.0,\"note\":\"a;b, \\\"c\\\"\"}\n";

#[test]
fn a_file_has_its_name_only_when_it_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/out.jsonl");
    let mut writer = open(&JsonLinesSink::new(&path)).unwrap();
    writer.write(&readings()).unwrap();
    commit_epoch(&mut *writer, 1, false).unwrap();
    assert_eq!(names(path.parent().unwrap()), ["out.jsonl.part"]);
    commit_epoch(&mut *writer, 99, true).unwrap();
    assert_eq!(names(path.parent().unwrap()), ["out.jsonl"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), JSON);
    commit_epoch(&mut *writer, 99, true).unwrap();
    assert!(writer.write(&readings()).is_err(), "a complete file does not grow");
    assert_eq!(fs::read_to_string(&path).unwrap(), JSON);
}

#[test]
fn csv_begins_with_the_names_of_the_columns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.csv");
    write_all(&CsvSink::new(&path));
    assert_eq!(fs::read_to_string(&path).unwrap(), CSV);
    write_all(&CsvSink::new(&path).header(false).delimiter(b';'));
    assert_eq!(fs::read_to_string(&path).unwrap(), "hall;21.5;\nroof;-3.0;\"a;b, \"\"c\"\"\"\n");
}

#[test]
fn an_unfinished_run_leaves_its_part_and_the_older_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.csv");
    fs::write(&path, "older").unwrap();
    let mut writer = open(&CsvSink::new(&path)).unwrap();
    writer.write(&readings()).unwrap();
    drop(writer);
    assert_eq!(names(directory.path()), ["out.csv", "out.csv.part"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "older");
    assert_eq!(fs::read_to_string(directory.path().join("out.csv.part")).unwrap(), CSV);
    write_all(&CsvSink::new(&path));
    assert_eq!(names(directory.path()), ["out.csv"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), CSV, "the earlier part was cut off");
}

#[test]
fn an_input_without_rows_gives_a_file_without_rows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.csv");
    commit_epoch(&mut *open(&CsvSink::new(&path)).unwrap(), 1, true).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "sensor,value,note\n");
}

#[test]
fn a_job_that_is_done_leaves_its_file_alone_however_often_it_is_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.csv");
    let mut staged = Staged::nothing();
    for run in 1..=4 {
        let mut writer = open(&CsvSink::new(&path)).unwrap();
        if run == 1 {
            writer.write(&readings()).unwrap();
        } else {
            writer.recover(vec![(Epoch(run - 1), staged.clone())]).unwrap();
        }
        staged = writer.prepare(Cut { epoch: Epoch(run), is_last: true, now_ms: 0 }).unwrap();
        writer.commit(Epoch(run), &staged).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), CSV, "run {run}");
        assert_eq!(names(directory.path()), ["rows.csv"]);
    }
}

#[test]
fn a_name_that_ends_in_gz_is_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl.gz");
    write_all(&JsonLinesSink::new(&path));
    assert_eq!(names(directory.path()), ["out.jsonl.gz"]);
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, JSON);
}

#[test]
fn rows_that_change_are_taken_only_when_asked_for() {
    let modes = |sink: &dyn Sink<Reading>| {
        [OutputMode::Append, OutputMode::Update, OutputMode::Complete].map(|mode| sink.accepts(mode))
    };
    assert_eq!(modes(&CsvSink::new("x")), [true, false, false]);
    assert_eq!(modes(&CsvSink::new("x").changes()), [true; 3]);
    assert_eq!(modes(&JsonLinesSink::new("x")), [true, false, false]);
    assert_eq!(modes(&JsonLinesSink::new("x").changes()), [true; 3]);
    assert_eq!(Sink::<Reading>::parallelism(&CsvSink::new("x")), SinkParallelism::One);
}

#[test]
fn errors_name_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let is_directory = open(&CsvSink::new(directory.path())).err().unwrap().to_string();
    assert!(is_directory.contains(&directory.path().display().to_string()), "{is_directory}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let below_a_file = open(&JsonLinesSink::new(file.join("out.jsonl"))).err().unwrap().to_string();
    assert!(below_a_file.contains(&file.display().to_string()), "{below_a_file}");
    let quote = open(&CsvSink::new(directory.path().join("x")).delimiter(b'"')).err().unwrap();
    assert!(quote.to_string().contains("cannot stand between"), "{quote}");
}
