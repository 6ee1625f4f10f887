//! The Python libraries as the oracle: payloads that they have written, and what they make of ours.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use headwater::prelude::*;
use headwater_connectors::format::{AvroSchema, ProtobufSchema};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::records::{All, any_all};
use crate::{avro, protobuf};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/formats");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The schema of a format, and the payloads that Python has written by it.
fn golden(format: &str) -> (String, Vec<Vec<u8>>) {
    let text = std::fs::read_to_string(Path::new(FOLDER).join("golden.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let payloads = all[format]["payloads"].as_array().unwrap();
    let payloads = payloads.iter().map(|payload| bytes(payload.as_str().unwrap())).collect();
    (all[format]["schema"].as_str().unwrap().to_owned(), payloads)
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Part {
    name: String,
    weight: Option<f64>,
}

fn part(name: &str, weight: Option<f64>) -> Part {
    Part { name: name.to_owned(), weight }
}

fn parts() -> Vec<Part> {
    (0..70).map(|number| part(&format!("part {number}"), None)).collect()
}

#[test]
fn avro_of_fastavro_is_read() {
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Order {
        id: i64,
        missing: Option<u64>,
        note: Option<String>,
        color: String,
        price: String,
        ratio: f64,
        at: i64,
        mac: Vec<u8>,
        part: Part,
        parts: Vec<Part>,
        counts: Vec<(String, i64)>,
        any: Option<u8>,
        raw: Vec<u8>,
    }
    let (schema, payloads) = golden("avro");
    let schema = AvroSchema::parse(&schema).unwrap();
    let first = Order {
        id: -5,
        missing: None,
        note: Some("caf\u{e9} \u{2713}".to_owned()),
        color: "BLUE".to_owned(),
        price: "-1234.56".to_owned(),
        ratio: 0.5,
        at: 1_700_000_000_123,
        mac: vec![0, 255, 1, 2, 3, 4],
        part: part("bolt", Some(2.25)),
        parts: parts(),
        counts: vec![("one".to_owned(), 1), ("minus".to_owned(), -(1 << 62))],
        any: Some(7),
        raw: (0..=255).collect(),
    };
    assert_eq!(avro::read::<Order>(&schema, &payloads[0]).unwrap(), first);
    let second = Order {
        id: i32::MAX.into(),
        note: None,
        color: "RED".to_owned(),
        price: "0.00".to_owned(),
        ratio: -1.25,
        at: -1,
        mac: vec![0; 6],
        part: part("", None),
        parts: vec![],
        counts: vec![],
        any: None,
        raw: vec![],
        ..first
    };
    assert_eq!(avro::read::<Order>(&schema, &payloads[1]).unwrap(), second);
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Time {
    seconds: i64,
    nanos: i32,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Message {
    missing: Option<u64>,
    note: String,
    id: i64,
    color: String,
    at: Option<Time>,
    ratio: f64,
    mac: u64,
    part: Part,
    parts: Vec<Part>,
    counts: Vec<(String, i64)>,
    number: Option<i64>,
    text: Option<String>,
    raw: Vec<u8>,
    packed: Vec<i64>,
    single: Vec<u32>,
    colors: Vec<i32>,
    flag: Option<bool>,
    words: Vec<String>,
}

#[test]
fn protobuf_of_google_is_read() {
    let (schema, payloads) = golden("protobuf");
    let schema = ProtobufSchema::parse(&schema, "shop.Order").unwrap();
    let empty = Message {
        missing: None,
        note: String::new(),
        id: 0,
        color: "RED".to_owned(),
        at: None,
        ratio: 0.0,
        mac: 0,
        part: part("", None),
        parts: vec![],
        counts: vec![],
        number: None,
        text: None,
        raw: vec![],
        packed: vec![],
        single: vec![],
        colors: vec![],
        flag: None,
        words: vec![],
    };
    let first = Message {
        missing: None,
        note: "caf\u{e9} \u{2713}".to_owned(),
        id: -5,
        color: "BLUE".to_owned(),
        at: Some(Time { seconds: 1_700_000_000, nanos: 123_000_000 }),
        ratio: 0.5,
        mac: u64::MAX,
        part: part("bolt", Some(0.0)),
        parts: parts(),
        counts: vec![("one".to_owned(), 1)],
        number: Some(0),
        text: None,
        raw: (0..=255).collect(),
        packed: vec![0, -1, i64::MAX, i64::MIN],
        single: vec![1, u32::MAX],
        colors: vec![1, 0, -7],
        flag: Some(false),
        words: vec![String::new(), "b".to_owned()],
    };
    assert_eq!(protobuf::read::<Message>(&schema, &payloads[0]).unwrap(), first);
    let second = Message { text: Some("either".to_owned()), ..empty.clone() };
    assert_eq!(protobuf::read::<Message>(&schema, &payloads[1]).unwrap(), second);
    assert_eq!(protobuf::read::<Message>(&schema, &payloads[2]).unwrap(), empty);
}

/// Python with both libraries, or `None` with a line that says how to have it.
fn python(test: &str) -> Option<Child> {
    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python");
    let program = std::env::var_os("HEADWATER_PYTHON").map_or_else(|| ours.join("bin/python"), PathBuf::from);
    let mut try_out = Command::new(&program);
    let tried = try_out.args(["-c", "import fastavro, grpc_tools"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        let line = format!(
            "skipped: {test} needs fastavro and grpcio-tools in {}: scripts/python; or HEADWATER_PYTHON\n",
            ours.display()
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    }
    let script = Path::new(FOLDER).join("formats.py");
    let child =
        Command::new(&program).arg(script).arg("again").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    Some(child.unwrap())
}

#[test]
fn python_reads_what_we_write_and_writes_the_same_again() {
    let Some(mut python) = python("python_reads_what_we_write_and_writes_the_same_again") else { return };
    let mut input = python.stdin.take().unwrap();
    let mut output = BufReader::new(python.stdout.take().unwrap());
    let mut again = |kind: &str, schema: String, bytes_of_ours: &[u8]| {
        let row = json!({"kind": kind, "schema": schema, "message": "All", "hex": hex(bytes_of_ours)});
        writeln!(input, "{row}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "Python does not read what we wrote as {kind}");
        bytes(line.trim())
    };
    let (avro_schema, proto) = (AvroSchema::of::<All>().unwrap(), ProtobufSchema::of::<All>().unwrap());
    let mut runner = TestRunner::deterministic();
    for _ in 0..300 {
        let all = any_all().new_tree(&mut runner).unwrap().current();
        let ours = avro::write(&avro_schema, &all).unwrap();
        assert_eq!(again("avro", avro_schema.to_string(), &ours), ours, "{all:?}");
        let ours = protobuf::write(&proto, &all).unwrap();
        let theirs = again("protobuf", proto.to_string(), &ours);
        assert_eq!(theirs, ours, "{all:?}");
        assert_eq!(protobuf::read::<All>(&proto, &theirs).unwrap(), all);
    }
    drop(input);
    assert!(python.wait().unwrap().success());
}
