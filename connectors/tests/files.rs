//! File sources: which files, lines and positions, and what happens when a file is not as it should be.
#![allow(clippy::expect_used, reason = "a test fails where it stands")]

mod reading;

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use headwater::prelude::*;
use headwater::source::{Boundedness, Poll, Rejected, Source as _};
use headwater_connectors::file::FilePosition;
use headwater_connectors::{CsvFile, JsonLines, TextFile};
use proptest::prelude::*;
use reading::{Driver, file, read, read_by, read_from};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("written");
    encoder.finish().expect("written")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// Lines as the standard library sees them.
fn expected_lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn text() -> impl Strategy<Value = String> {
    // A carriage return counts as a part of the line end only in front of a line feed.
    proptest::collection::vec(("[a-z \"é😀]{0,30}", prop_oneof![Just("\n"), Just("\r\n")]), 0..20)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_line_comes_out_whatever_the_buffer_and_the_compression(
        text in text(),
        rest in "[a-z]{0,5}",
        buffer in prop_oneof![Just(1usize), 2..40usize, Just(1 << 16)],
        rows_max in 1..5usize,
    ) {
        let text = text + &rest;
        let expected = expected_lines(&text);
        let plain = file("a.txt", &text);
        let gzip = file("a.txt.gz", gzip(text.as_bytes()));
        let zstd = file("a.txt.zst", zstd(text.as_bytes()));
        for (_, path) in [&plain, &gzip, &zstd] {
            let source = TextFile::new(path).buffer_bytes(buffer);
            let whole = read_by(&source, rows_max);
            prop_assert_eq!(whole.error, None);
            prop_assert_eq!(&whole.rejected, &vec![]);
            prop_assert_eq!(&whole.records, &expected);
            let partition = path.to_str().expect("a name");
            for (count, _, position) in whole.positions {
                let rest = read_from(&source, partition, Some(position), 1024);
                prop_assert_eq!(rest.error, None);
                prop_assert_eq!(&rest.records[..], &expected[count..]);
            }
        }
    }

    #[test]
    fn bad_lines_are_rejected_with_their_places_and_the_others_come_out(
        lines in proptest::collection::vec((0..6u8, prop_oneof![Just("\n"), Just("\r\n")]), 0..30),
        buffer in prop_oneof![Just(1usize), 2..40usize, Just(1 << 16)],
        rows_max in 1..5usize,
    ) {
        let (mut text, mut records, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (kind, end)) in lines.iter().enumerate() {
            let offset = text.len() as u64;
            let good = format!("{{\"_1\":{index},\"_2\":\"é\"}}");
            let line: &[u8] = match kind {
                0 | 1 => {
                    records.push((index as u64, "é".to_owned()));
                    good.as_bytes()
                }
                2 => b"",
                3 => b"{\"_1\":1,\"_2\":\"\xc3\"}",
                4 => b"{\"_1\":1,\"_2\":2}",
                _ => b"{\"_1\":1,\"_2\":\"a line that is longer than all of the others are, by far\"}",
            };
            if *kind > 2 {
                let reason = match kind {
                    3 => "not UTF-8: the byte 0xc3",
                    4 => "field `_2`: expected a string",
                    _ => "the line has 72 bytes",
                };
                places.push((index as u64 + 1, offset, reason));
            }
            text.extend_from_slice(line);
            text.extend_from_slice(end.as_bytes());
        }
        let (_folder, path) = file("a.jsonl", &text);
        let source = JsonLines::<(u64, String)>::new(&path).buffer_bytes(buffer).line_bytes_max(60);
        let whole = read_by(&source, rows_max);
        prop_assert_eq!(&whole.records, &records);
        prop_assert_eq!(whole.rejected.len(), places.len());
        for (rejected, (line, offset, reason)) in whole.rejected.iter().zip(&places) {
            prop_assert_eq!((rejected.line, rejected.offset), (*line, *offset));
            prop_assert!(rejected.reason.starts_with(reason), "{}", rejected.reason);
            prop_assert_eq!(&rejected.origin, path.to_str().expect("a name"));
        }
        for (count, rejected_count, position) in whole.positions {
            let rest = read_from(&source, path.to_str().expect("a name"), Some(position), 1024);
            prop_assert_eq!(&rest.records[..], &records[count..]);
            prop_assert_eq!(&rest.rejected[..], &whole.rejected[rejected_count..]);
        }
    }
}

#[test]
fn empty_lines_are_records_of_text_only() {
    let (_folder, path) = file("a.txt", "\u{feff}a\n\n\r\nb");
    assert_eq!(read(&TextFile::new(&path)).records, ["a", "", "", "b"]);
    let (_folder, path) = file("a.jsonl", "\u{feff}\n1\n\r\n2\n");
    let reading = read(&JsonLines::<u64>::new(&path));
    assert_eq!((reading.records, reading.rejected), (vec![1, 2], vec![]));
}

#[test]
fn an_empty_file_has_no_records() {
    for content in ["", "\u{feff}"] {
        let (_folder, path) = file("a", content);
        let reading = read(&TextFile::new(&path));
        assert_eq!((reading.records, reading.error), (vec![], None));
        let reading = read(&CsvFile::<u64>::new(&path));
        assert_eq!((reading.records, reading.error), (vec![], None));
    }
}

#[test]
fn a_huge_line_is_one_rejected_record_and_is_not_kept() {
    let mut text = b"first\n".to_vec();
    text.resize(text.len() + (40 << 20), b'x');
    text.extend_from_slice(b"\nlast\n");
    for (name, content) in [("a.txt", text.clone()), ("a.txt.gz", gzip(&text))] {
        let (_folder, path) = file(name, content);
        let reading = read(&TextFile::new(&path));
        assert_eq!(reading.records, ["first", "last"]);
        let [rejected] = &reading.rejected[..] else { panic!("{} rejected", reading.rejected.len()) };
        assert_eq!((rejected.line, rejected.offset), (2, 6));
        assert_eq!(rejected.reason, "the line has 41943040 bytes, more than the 16777216 allowed");
        assert_eq!(rejected.payload.len(), Rejected::PAYLOAD_BYTES_MAX);
    }
}

#[test]
fn json_that_is_not_lines_is_explained() {
    let (_folder, path) = file("a.json", "[{\"a\":1}]\n{\n\"a\":1}\n");
    let reading = read(&JsonLines::<(u64, u64)>::new(&path));
    let reasons: Vec<_> = reading.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    assert!(reasons[0].ends_with("the file must hold one object per line, not one list"), "{reasons:?}");
    assert!(reasons[1].ends_with("each record must be on one line"), "{reasons:?}");
}

#[test]
fn paths_are_files_directories_or_patterns() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["b.txt", "a.txt", "c.csv", ".hidden", "d.part"] {
        fs::write(folder.path().join(name), name).expect("written");
    }
    fs::create_dir(folder.path().join("inner")).expect("made");
    let names = |source: TextFile| -> Vec<String> {
        let partitions = source.partitions().expect("files");
        partitions.iter().map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    };
    let at = |name: &str| folder.path().join(name);
    assert_eq!(names(TextFile::new(folder.path())), ["a.txt", "b.txt", "c.csv"]);
    assert_eq!(names(TextFile::new(at("*.txt"))), ["a.txt", "b.txt"]);
    assert_eq!(names(TextFile::new(at("c.csv")).paths([at("*")])), ["c.csv", "a.txt", "b.txt"]);
    let error = |path: &str| TextFile::new(at(path)).partitions().expect_err("no file").to_string();
    assert!(error("inner").contains("has no file to read"));
    assert!(error("*.json").starts_with("no file matches"));
    assert!(error("none.txt").contains("none.txt"));
}

#[test]
fn compressed_files_may_be_concatenated_and_need_no_extension() {
    let many = [gzip(b"a\nb"), gzip(b"c\n"), gzip(b"d")].concat();
    let (_folder, path) = file("a", many);
    assert_eq!(read(&TextFile::new(&path)).records, ["a", "bc", "d"]);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let many = [zstd(b"a\nb"), skippable, zstd(b"c\n"), zstd(b"d")].concat();
    let (_folder, path) = file("a", many);
    assert_eq!(read(&TextFile::new(&path)).records, ["a", "bc", "d"]);
}

#[test]
fn damaged_compressed_files_give_what_comes_before_and_a_clear_error() {
    let text: String = (0..200_000u64).map(|line| format!("line {}\n", line * line % 999_983)).collect();
    let expected = expected_lines(&text);
    for (name, whole) in [("a.gz", gzip(text.as_bytes())), ("a.zst", zstd(text.as_bytes()))] {
        let cut = whole[..whole.len() / 2].to_vec();
        let mut damaged = whole.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 0xff;
        for (content, least) in [(cut, 1), (damaged, 1)] {
            let (_folder, path) = file(name, content);
            let reading = read(&TextFile::new(&path));
            let error = reading.error.expect("an error");
            assert!(error.contains(path.to_str().expect("a name")), "{error}");
            assert!(error.contains("damaged or cut off behind byte"), "{error}");
            assert!(reading.records.len() > least, "{name}: {} records", reading.records.len());
            assert_eq!(reading.records[..], expected[..reading.records.len()]);
        }
    }
    for name in ["a.gz", "a.zst"] {
        for content in ["", "plain text\n"] {
            let (_folder, path) = file(name, content);
            let error = read(&TextFile::new(&path)).error.expect("an error");
            assert!(error.contains("but does not hold such data"), "{error}");
        }
    }
}

#[test]
fn a_position_behind_the_end_is_an_error() {
    let position = Some(FilePosition { offset: 100, line: 3, file: 0 });
    for (name, content) in [("a.txt", b"a\nb\n".to_vec()), ("a.gz", gzip(b"a\nb\n"))] {
        let (_folder, path) = file(name, content);
        let reading = read_from(&TextFile::new(&path), path.to_str().expect("a name"), position, 10);
        let error = reading.error.expect("an error");
        assert!(error.contains("has become shorter: 100 bytes of it were read"), "{error}");
    }
}

fn append(path: &std::path::Path, text: &str) {
    fs::OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("written");
}

#[test]
fn a_followed_file_gives_lines_as_they_become_complete() {
    let (_folder, path) = file("a.log", "a\nb");
    let source = TextFile::new(&path).follow();
    assert_eq!(source.boundedness(), Boundedness::Unbounded);
    let mut driver = Driver::new(source.open(path.to_str().expect("a name"), None).expect("open"), 10);
    assert_eq!(driver.run(), Some(Poll::Idle));
    assert_eq!(driver.reading.records, ["a"]);
    assert_eq!(driver.position().offset, 2);
    append(&path, "c\nd\ne");
    assert_eq!(driver.run(), Some(Poll::Idle));
    assert_eq!(driver.reading.records, ["a", "bc", "d"]);
    let position = driver.position();
    append(&path, "f\n");
    let mut again =
        Driver::new(source.open(path.to_str().expect("a name"), Some(position)).expect("open"), 10);
    assert_eq!(again.run(), Some(Poll::Idle));
    assert_eq!(again.reading.records, ["ef"]);
}

#[test]
fn a_followed_file_may_be_rotated_by_renaming() {
    let (folder, path) = file("a.log", "a\n");
    let source = TextFile::new(&path).follow();
    let name = path.to_str().expect("a name");
    let mut driver = Driver::new(source.open(name, None).expect("open"), 10);
    assert_eq!(driver.run(), Some(Poll::Idle));
    let before = driver.position();
    append(&path, "b\nrest");
    fs::rename(&path, folder.path().join("a.log.1")).expect("renamed");
    assert_eq!(driver.run(), Some(Poll::Idle));
    fs::write(&path, "c\n").expect("written");
    assert_eq!(driver.run(), Some(Poll::Idle));
    assert_eq!(driver.reading.records, ["a", "b", "rest", "c"]);
    let after = driver.position();
    assert_eq!((after.offset, after.line), (2, 1));
    assert!(source.open(name, Some(after)).is_ok());
    let error = source.open(name, Some(before)).err().expect("the old file is gone").to_string();
    assert!(error.contains("another file has taken the name since the last run"), "{error}");
}

#[test]
fn a_followed_file_that_is_cut_is_an_error() {
    let (_folder, path) = file("a.log", "a\nb\n");
    let source = TextFile::new(&path).follow();
    let mut driver = Driver::new(source.open(path.to_str().expect("a name"), None).expect("open"), 10);
    assert_eq!(driver.run(), Some(Poll::Idle));
    fs::write(&path, "c\n").expect("written");
    assert_eq!(driver.run(), None);
    let error = driver.reading.error.expect("an error");
    assert!(error.contains("has become shorter: 4 bytes of it were read, but it has only 2"), "{error}");
}

#[test]
fn a_followed_csv_file_may_begin_empty() {
    let (_folder, path) = file("a.csv", "");
    let source = CsvFile::<(u64, u64)>::new(&path).follow();
    let mut driver = Driver::new(source.open(path.to_str().expect("a name"), None).expect("open"), 10);
    assert_eq!(driver.run(), Some(Poll::Idle));
    append(&path, "_2,_1\n1,");
    assert_eq!(driver.run(), Some(Poll::Idle));
    append(&path, "2\n");
    assert_eq!(driver.run(), Some(Poll::Idle));
    assert_eq!(driver.reading.records, [(2, 1)]);
}

#[test]
fn compressed_files_cannot_be_followed() {
    let (_folder, path) = file("a.gz", gzip(b"a\n"));
    let error = TextFile::new(&path).follow().open(path.to_str().expect("a name"), None).err();
    assert!(error.expect("refused").to_string().contains("only plain files can be followed"));
}

#[test]
fn a_record_type_is_read_the_same_from_csv_and_json() {
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Reading {
        sensor: String,
        #[record(rename = "temp")]
        temperature: f64,
    }
    let (_csv, csv) = file("a.csv", "temp,sensor\n20.5,\"a \"\"b\"\"\"\n");
    let (_json, json) = file("a.jsonl", "{\"sensor\":\"a \\\"b\\\"\",\"temp\":20.5}\n");
    let expected = [Reading { sensor: "a \"b\"".into(), temperature: 20.5 }];
    assert_eq!(read(&CsvFile::<Reading>::new(&csv)).records, expected);
    assert_eq!(read(&JsonLines::<Reading>::new(&json)).records, expected);
}
