//! `ParquetSink` shows each row once and `ParquetFile` reads on from every position, as the kit sees it.

use std::fs::File;
use std::time::Duration;

use headwater::prelude::*;
use headwater::sink::{Cut, Delivery, Sink, Staged, Subtask};
use headwater::testing::{SinkCheck, SourceCheck, check_sink, check_source};
use headwater::time::Epoch;
use headwater_connectors::{ParquetFile, ParquetSink};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::{batches, seen, write};

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    number: u64,
    group: Option<String>,
    tags: Vec<u32>,
}

fn row(number: u64) -> Row {
    let group = (number % 3 > 0).then(|| format!("g/{}", number % 3));
    Row { number, group, tags: (0..number as u32 % 4).collect() }
}

/// The numbers in the files of a folder, read by the library's own rows.
fn numbers(folder: &std::path::Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    for path in seen(folder) {
        let reader = SerializedFileReader::new(File::open(&path).unwrap());
        let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let Some((_, Field::ULong(number))) = row.get_column_iter().next() else { panic!("{row:?}") };
            let group = self::row(*number).group.map_or("null".to_owned(), |group| format!("\"{group}\""));
            assert!(row.to_string().contains(&format!("group: {group}")), "{row}");
            numbers.push(*number);
        }
    }
    numbers
}

fn sink(has_folders: bool, make: impl Fn(ParquetSink<Row>) -> ParquetSink<Row>) {
    let folder = tempfile::tempdir().unwrap();
    let trials = std::env::var("HEADWATER_TRIALS").map_or(60, |trials| trials.parse().unwrap());
    let place = |trial: u64| folder.path().join(trial.to_string());
    let report = check_sink(
        |trial| Ok(make(ParquetSink::new(place(trial)))),
        |trial| {
            let mut numbers = numbers(&place(trial));
            // Rows of different folders have no order.
            if has_folders {
                numbers.sort_unstable();
            }
            Ok(numbers)
        },
        &SinkCheck::new(row).trials_max(trials),
    );
    let report = report.unwrap();
    assert!(report.trials >= 30, "{report:?}");
}

#[test]
fn files_that_stay_open_across_epochs_show_each_row_once() {
    sink(false, |sink| sink.roll_after(Duration::from_secs(3)));
    sink(false, |sink| sink);
}

#[test]
fn a_file_per_epoch_shows_each_row_once() {
    sink(false, |sink| sink.roll_after(Duration::ZERO));
}

#[test]
fn rows_that_are_too_many_for_the_log_are_shown_once() {
    sink(false, |sink| sink.kept_bytes_max(0));
    // Some epochs keep their rows, others bring them to the file.
    sink(false, |sink| sink.kept_bytes_max(150).roll_after(Duration::from_secs(4)));
    sink(false, |sink| sink.kept_bytes_max(500).roll_rows(9));
}

#[test]
fn folders_by_the_values_of_a_field_show_each_row_once() {
    sink(true, |sink| sink.partition_by(&["group"]).roll_after(Duration::from_secs(3)));
    sink(true, |sink| sink.partition_by(&["group"]).kept_bytes_max(300));
}

/// Writes rows without an end, three epochs of them; what each keeps, and how each was delivered.
fn unfinished(sink: &ParquetSink<Row>) -> Vec<(Epoch, Staged, Delivery)> {
    let mut writer = sink.open(Subtask { index: 0, count: 1 }).unwrap();
    let mut epoch = |number: u64| {
        let rows: Vec<Row> = (number * 10..number * 10 + 10).map(row).collect();
        batches(&rows, 4).iter().for_each(|batch| writer.write(batch).unwrap());
        let cut = Cut { epoch: Epoch(number), is_last: false, now_ms: number };
        let staged = writer.prepare(cut).unwrap();
        let delivery = writer.commit(cut.epoch, &staged).unwrap();
        (cut.epoch, staged, delivery)
    };
    (1..=3).map(&mut epoch).collect()
}

#[test]
fn a_recovery_that_was_delivered_may_come_again_with_the_last_epoch_alone() {
    for kept in [u64::MAX, 0, 600] {
        let folder = tempfile::tempdir().unwrap();
        let sink = ParquetSink::<Row>::new(folder.path()).kept_bytes_max(kept);
        let epochs = unfinished(&sink);
        assert!(numbers(folder.path()).is_empty());
        let recover = |epochs: &[(Epoch, Staged, Delivery)]| {
            let epochs = epochs.iter().map(|(epoch, staged, _)| (*epoch, staged.clone())).collect();
            let mut writer = sink.open(Subtask { index: 0, count: 1 }).unwrap();
            assert_eq!(writer.recover(epochs).unwrap(), Delivery::Final);
        };
        // The log gives what is not delivered, and always the last epoch.
        let first = epochs.iter().rposition(|(_, _, delivery)| *delivery == Delivery::Final);
        recover(&epochs[first.map_or(0, |first| (first + 1).min(2))..]);
        let files = seen(folder.path());
        assert_eq!(numbers(folder.path()), (10..40).collect::<Vec<_>>(), "{kept}");
        recover(&epochs[2..]);
        assert_eq!((numbers(folder.path()), seen(folder.path())), ((10..40).collect(), files), "{kept}");
    }
}

#[test]
fn the_log_keeps_rows_only_as_long_as_they_are_nowhere_else() {
    let delivered = |kept: u64, expected: Delivery| {
        let folder = tempfile::tempdir().unwrap();
        let epochs = unfinished(&ParquetSink::<Row>::new(folder.path()).kept_bytes_max(kept));
        assert!(epochs.iter().all(|(_, _, delivery)| *delivery == expected), "{kept}: {epochs:?}");
    };
    delivered(u64::MAX, Delivery::Pending);
    delivered(0, Delivery::Final);
}

#[test]
fn a_file_can_be_read_again_from_every_position() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (0..3_000).map(row).collect();
    // A row group for each epoch, so that positions are in several; those of 700 rows fill no buffer.
    write(&ParquetSink::new(folder.path()).kept_bytes_max(0), &rows, 700);
    assert_eq!(seen(folder.path()).len(), 1);
    let whole = || Ok(ParquetFile::<Row>::read(folder.path()));
    let check = SourceCheck::new().rows_per_poll(97).positions_max(40);
    let report = check_source(whole, &check).unwrap();
    assert_eq!((report.partitions, report.records, report.rejected), (1, 3_000, 0));
    // A number that does not fit is rejected; the rows around it are there.
    let narrow = || Ok(ParquetFile::<(u8,)>::read(folder.path()));
    assert!(check_source(narrow, &check).unwrap_err().to_string().contains("has no column `_1`"));
    let narrow = || Ok(ParquetFile::<Narrow>::read(folder.path()).splits(3));
    let report = check_source(narrow, &check).unwrap();
    assert_eq!((report.partitions, report.records, report.rejected), (3, 256, 3_000 - 256));
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Narrow {
    tags: Vec<u32>,
    number: u8,
    unknown: Option<f64>,
}
