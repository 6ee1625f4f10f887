//! The connectors of this package keep their promises, as the kit for connectors sees it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use headwater::prelude::*;
use headwater::sink::Sink;
use headwater::testing::{SinkCheck, SourceCheck, check_sink, check_source};
use headwater_connectors::{
    CsvFile, CsvSink, FramedClient, FramedSocket, Generator, JsonLines, JsonLinesSink, MemorySource, TextFile,
};

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    number: u64,
    text: String,
}

fn row(number: u64) -> Row {
    Row { number, text: format!("row \"{number}\", {}", "x".repeat(number as usize % 50)) }
}

/// Lines of which every seventh is no record.
fn lines(format: impl Fn(u64) -> String) -> String {
    (0..300).map(|n| if n % 7 == 6 { "\"neither\n".to_owned() } else { format(n) + "\n" }).collect()
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    if name.ends_with(".gz") {
        let mut file = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::default());
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
    } else {
        fs::write(&path, text).unwrap();
    }
    path
}

#[test]
fn sources_over_files_can_be_read_again_from_every_position() {
    let directory = tempfile::tempdir().unwrap();
    let json = lines(|n| format!("{{\"number\": {n}, \"text\": \"text {n}\"}}"));
    // A quote that is not closed would swallow the rest of a CSV file.
    let csv =
        "number,text\n".to_owned() + &lines(|n| format!("{n},\"a, {n}\"")).replace("\"neither", "neither");
    for end in ["", ".gz"] {
        let path = write(directory.path(), &format!("rows.jsonl{end}"), &json);
        let check = SourceCheck::new();
        let report = check_source(|| Ok(JsonLines::<Row>::new(&path)), &check).unwrap();
        assert_eq!((report.records, report.rejected), (258, 42));
        let report = check_source(|| Ok(TextFile::new(&path)), &check).unwrap();
        assert_eq!((report.records, report.rejected), (300, 0));
        let path = write(directory.path(), &format!("rows.csv{end}"), &csv);
        let report = check_source(|| Ok(CsvFile::<Row>::new(&path)), &check).unwrap();
        assert_eq!((report.records, report.rejected), (258, 42));
    }
    let all = directory.path().join("*.jsonl*");
    let report = check_source(|| Ok(TextFile::new(&all)), &SourceCheck::new().positions_max(7)).unwrap();
    assert_eq!((report.partitions, report.records), (2, 600));
    let path = directory.path().join("rows.jsonl");
    let followed = || Ok(TextFile::new(&path).follow());
    assert_eq!(check_source(followed, &SourceCheck::new()).unwrap().records, 300);
}

#[test]
fn sources_without_a_world_outside_can_be_read_again_from_every_position() {
    let check = SourceCheck::new();
    let generator = || Ok(Generator::new(200, row).partitions(3));
    assert_eq!(check_source(generator, &check).unwrap().records, 200);
    let memory = || Ok(MemorySource::new(vec![(0..90).map(row).collect(), Vec::new()]));
    assert_eq!(check_source(memory, &check).unwrap().records, 90);
    let throttled = || Ok(Generator::new(100, row).rate(50.0));
    assert_eq!(check_source(throttled, &check).unwrap().records, 100);
}

#[test]
fn a_framed_socket_and_its_clients_can_be_read_again_from_every_position() {
    let count = 60;
    let make = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        std::thread::spawn(move || -> Result<u64> {
            let mut client = FramedClient::connect(address, "the only one")?.patience(Duration::from_secs(1));
            for n in client.acknowledged()..count {
                let row = if n % 7 == 6 {
                    "no JSON".to_owned()
                } else {
                    format!("{{\"number\":{n},\"text\":\"\"}}")
                };
                client.send(row)?;
            }
            client.end()
        });
        Ok(FramedSocket::<Row>::json("").on(listener).until_ended(1))
    };
    let check = SourceCheck::new().positions_max(6).records_max(count as usize);
    let check = check.idle_polls_max(1_000_000, std::thread::yield_now);
    let report = check_source(make, &check).unwrap();
    assert_eq!((report.records, report.rejected), (52, 8));
}

/// Checks a sink whose target of each trial is below a folder; `read` gives the texts that a reader sees.
fn sink<K: Sink<Row>>(
    make: impl Fn(PathBuf) -> K,
    read: impl Fn(PathBuf) -> Vec<String>,
    number: impl Fn(&str) -> u64,
) {
    let folder = tempfile::tempdir().unwrap();
    let trials = std::env::var("HEADWATER_TRIALS").map_or(60, |trials| trials.parse().unwrap());
    let place = |trial: u64| folder.path().join(trial.to_string());
    let report = check_sink(
        |trial| Ok(make(place(trial))),
        |trial| Ok(read(place(trial)).iter().flat_map(|text| text.lines()).map(&number).collect()),
        &SinkCheck::new(row).rows(10).trials_max(trials),
    );
    let report = report.unwrap();
    assert!(report.trials >= 30, "{report:?}");
}

/// The complete files of a folder, oldest first.
fn files(folder: PathBuf) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "part"));
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn one(path: PathBuf) -> Vec<String> {
    fs::read_to_string(path).into_iter().collect()
}

/// The number of a row, all of which must be there.
fn csv(line: &str) -> u64 {
    let (number, text) = line.split_once(',').unwrap();
    let number = number.parse().unwrap();
    assert_eq!(text, format!("\"{}\"", row(number).text.replace('"', "\"\"")));
    number
}

fn json(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    let number = value["number"].as_u64().unwrap();
    assert_eq!(value["text"].as_str().unwrap(), row(number).text);
    number
}

#[test]
fn a_csv_file_shows_each_row_once() {
    sink(|path| CsvSink::new(path).header(false), one, csv);
}

#[test]
fn a_file_of_json_lines_shows_each_row_once() {
    sink(JsonLinesSink::new, one, json);
}

#[test]
fn a_folder_of_csv_shows_each_row_once() {
    sink(|path| CsvSink::folder(path).header(false).roll_after(Duration::from_secs(2)), files, csv);
}

#[test]
fn a_folder_of_json_lines_shows_each_row_once() {
    sink(|path| JsonLinesSink::folder(path).roll_after(Duration::ZERO), files, json);
}
