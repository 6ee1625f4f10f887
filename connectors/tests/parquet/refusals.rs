//! What is refused, and in which words.

use std::fs;

use headwater::prelude::*;
use headwater::sink::{OutputMode, Sink, SinkParallelism, Subtask};
use headwater::source::Source;
use headwater_connectors::{ParquetFile, ParquetPosition, ParquetSink};

use super::{read, seen, write};

type Row = (u64, Option<u8>, String, Option<Vec<Option<u8>>>);

fn row(n: u64) -> Row {
    let list = (n % 4 > 0).then(|| vec![Some(1), (n % 3 > 0).then_some(2)]);
    (n, (n % 2 > 0).then_some(n as u8), format!("text {n}"), list)
}

fn file(folder: &std::path::Path) -> std::path::PathBuf {
    write(&ParquetSink::new(folder), &(0..100).map(row).collect::<Vec<_>>(), 1_000);
    seen(folder).remove(0)
}

#[test]
fn a_missing_or_other_column_is_named_with_both_types() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path());
    let missing = read(&ParquetFile::<(u64, u8, String, Option<Vec<u8>>, f64)>::read(&file));
    let missing = missing.unwrap_err().to_string();
    for part in [file.to_str().unwrap(), "no column `_5`", "as f64", "there are _1, _2, _3, _4"] {
        assert!(missing.contains(part), "{missing}");
    }
    let other = read(&ParquetFile::<(String,)>::read(&file)).unwrap_err().to_string();
    for part in [file.to_str().unwrap(), "`_1` is required int64 (integer)", "as string"] {
        assert!(other.contains(part), "{other}");
    }
    let other = read(&ParquetFile::<(u64, u8, Vec<u8>)>::read(&file)).unwrap_err().to_string();
    assert!(
        other.contains("`_3` is required byte_array (string), and the record has it as list<u8>"),
        "{other}"
    );
}

#[test]
fn a_null_where_none_may_be_rejects_the_row_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path());
    let (rows, rejected) = read(&ParquetFile::<(u64, u8, String)>::read(&file)).unwrap();
    assert_eq!((rows.len(), rejected.len()), (50, 50));
    assert_eq!(rows[3], (7, 7, "text 7".to_owned()));
    assert_eq!((rejected[1].line, rejected[1].origin.as_str()), (3, file.to_str().unwrap()));
    assert_eq!(rejected[1].reason, "field `_2`: is null, and the field is no `Option`");
    // In the middle of a list the rest of the row is passed over.
    type Strict = (u64, Option<u8>, String, Vec<u8>);
    let (rows, rejected) = read(&ParquetFile::<Strict>::read(&file)).unwrap();
    let expected = (0..100)
        .map(row)
        .filter_map(|(n, a, b, list)| Some((n, a, b, list?.into_iter().collect::<Option<Vec<_>>>()?)));
    let expected: Vec<Strict> = expected.collect();
    assert_eq!(rows, expected);
    assert_eq!(rejected.len(), 100 - expected.len());
}

#[test]
fn a_file_that_changed_is_not_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path());
    let source = ParquetFile::<(u64,)>::read(&file);
    let name = source.partitions().unwrap().remove(0);
    let file_bytes = fs::metadata(&file).unwrap().len();
    assert!(source.open(&name, Some(ParquetPosition { group: 0, row: 100, file_bytes })).is_ok());
    for position in [
        ParquetPosition { group: 0, row: 3, file_bytes: file_bytes + 1 },
        ParquetPosition { group: 0, row: 101, file_bytes },
        ParquetPosition { group: 9, row: 0, file_bytes },
    ] {
        let error = source.open(&name, Some(position)).err().unwrap().to_string();
        assert!(error.contains("has changed since it was read"), "{error}");
    }
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(file(&folder.path().join("good"))).unwrap();
    let bad = folder.path().join("bad.parquet");
    let source = ParquetFile::<Row>::read(&bad);
    for length in (0..bytes.len()).step_by(7) {
        fs::write(&bad, &bytes[..length]).unwrap();
        let error = read(&source).unwrap_err().to_string();
        assert!(error.contains("bad.parquet"), "{error}");
    }
    let mut errors = 0;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            fs::write(&bad, &bytes).unwrap();
            errors += usize::from(read(&source).is_err());
        }
    }
    assert!(errors > bytes.len() / 4, "{errors}");
}

#[test]
fn paths_that_stand_for_no_file_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let empty = ParquetFile::<u64>::read(folder.path()).partitions().unwrap_err().to_string();
    assert!(empty.contains("has no Parquet file"), "{empty}");
    let none = ParquetFile::<u64>::read(folder.path().join("*.parquet")).partitions().unwrap_err();
    assert!(none.to_string().contains("no file matches"), "{none}");
    fs::write(folder.path().join("a.parquet"), "no parquet").unwrap();
    let other = read(&ParquetFile::<u64>::read(folder.path())).unwrap_err().to_string();
    assert!(other.contains("a.parquet"), "{other}");
}

#[test]
fn a_sink_says_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    let open = |sink: ParquetSink<Row>| match sink.open(Subtask { index: 0, count: 1 }) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let sink = || ParquetSink::<Row>::new(folder.path());
    assert_eq!(open(sink()), "");
    assert!(open(sink().partition_by(&["_9"])).contains("its fields are _1, _2, _3, _4"));
    assert!(open(sink().partition_by(&["_4"])).contains("folders cannot be made of `_4`"));
    assert!(open(sink().partition_by_day("_1")).contains("milliseconds since 1970"));
    assert!(open(sink().timestamp("_1")).contains("no i64"));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(open(ParquetSink::new(file.join("below"))).contains("file"));
    let modes = [OutputMode::Append, OutputMode::Update, OutputMode::Complete];
    assert_eq!(modes.map(|mode| sink().accepts(mode)), [true, false, false]);
    assert_eq!(modes.map(|mode| sink().changes().accepts(mode)), [true; 3]);
    assert_eq!(Sink::<Row>::parallelism(&sink()), SinkParallelism::PerSubtask);
}

#[test]
fn a_number_that_has_no_place_fails_the_run_and_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let flow = StreamBuilder::new("wide");
    let rows = headwater_connectors::MemorySource::new(vec![vec![u128::MAX]]);
    flow.source("rows", rows).sink("out", ParquetSink::new(folder.path()));
    let error = flow.build().unwrap().run(EngineConfig::default()).unwrap_err().to_string();
    assert!(error.contains("part-0-00000001.parquet") && error.contains("38 digits"), "{error}");
}

#[test]
fn a_folder_of_another_run_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    write(&ParquetSink::new(folder.path()), &[1_u64], 1);
    let mut writer = ParquetSink::new(folder.path()).open(Subtask { index: 0, count: 1 }).unwrap();
    writer.write(&super::batches(&[2_u64], 1)[0]).unwrap();
    let cut = headwater::sink::Cut { epoch: headwater::time::Epoch(1), is_last: true, now_ms: 0 };
    let staged = writer.prepare(cut).unwrap();
    let error = writer.commit(cut.epoch, &staged).unwrap_err().to_string();
    assert!(error.contains("another run wrote to this folder"), "{error}");
    let part = folder.path().join(".part-0-00000001.parquet.part");
    fs::write(&part, "cut").unwrap();
    let error = writer.commit(cut.epoch, &staged).unwrap_err().to_string();
    assert!(error.contains("has 3 bytes where"), "{error}");
    assert_eq!(read(&ParquetFile::<u64>::read(folder.path())).unwrap().0, [1]);
}
