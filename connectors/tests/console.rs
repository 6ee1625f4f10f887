//! What the console prints, letter by letter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};

use headwater::batch::{Batch, BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::sink::{Sink, SinkWriter, Subtask};
use headwater::testing::commit_epoch;
use headwater_connectors::Console;

/// A writer that the test can read.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Record, Clone)]
struct Count {
    word: String,
    count: u64,
    share: Option<f64>,
}

fn count(word: &str, count: u64, share: Option<f64>) -> Count {
    Count { word: word.to_owned(), count, share }
}

fn batch<T: Record>(rows: &[T]) -> Batch<T> {
    let mut builder = BatchBuilder::new(BatchLimits { rows_max: rows.len().max(1), bytes_max: 1 << 20 });
    for row in rows {
        builder.push(row.view()).unwrap();
    }
    builder.finish().unwrap()
}

fn open<T: Record>(console: &Console) -> Box<dyn SinkWriter<T>> {
    Sink::<T>::open(console, Subtask { index: 0, count: 1 }).unwrap()
}

/// What one epoch with these rows prints.
fn printed<T: Record>(console: Console, rows: &[T]) -> String {
    let screen = Screen::default();
    let mut writer = open(&console.to(screen.clone()));
    writer.write(&batch(rows)).unwrap();
    commit_epoch(&mut *writer, 1, false).unwrap();
    screen.take()
}

#[test]
fn a_table_is_printed_as_spark_prints_it() {
    let rows = [count("the", 27, Some(0.5)), count("whale", 3, None)];
    let expected = "\
-------------------------------------------
Batch: 0
-------------------------------------------
+-----+-----+-----+
| word|count|share|
+-----+-----+-----+
|  the|   27|  0.5|
|whale|    3| NULL|
+-----+-----+-----+

";
    assert_eq!(printed(Console::table(), &rows), expected);
}

#[test]
fn wide_characters_keep_the_columns_straight() {
    let rows = [("café".to_owned(), 1_u8), ("日本".to_owned(), 2), ("e\u{301}".to_owned(), 3)];
    let expected = "\
-------------------------------------------
Words: 0
-------------------------------------------
+----+---+
|  _1| _2|
+----+---+
|café|  1|
|日本|  2|
|   e\u{301}|  3|
+----+---+

";
    assert_eq!(printed(Console::table().heading("Words"), &rows), expected);
}

#[test]
fn long_cells_are_cut_and_whole_cells_stand_left() {
    let rows = ["a line that is longer than twenty columns".to_owned(), "short".to_owned()];
    let cut = "\
+--------------------+
|               value|
+--------------------+
|a line that is lo...|
|               short|
+--------------------+
";
    assert!(printed(Console::table(), &rows).contains(cut));
    let whole = "\
+-----------------------------------------+
|value                                    |
+-----------------------------------------+
|a line that is longer than twenty columns|
|short                                    |
+-----------------------------------------+
";
    assert!(printed(Console::table().truncate(0), &rows).contains(whole));
}

#[test]
fn only_the_first_rows_of_an_epoch_are_printed() {
    let rows: Vec<u64> = (0..25).collect();
    let text = printed(Console::table(), &rows);
    assert!(text.contains("|   19|\n+-----+\nonly showing top 20 rows\n\n"), "{text}");
    let text = printed(Console::table().rows(1), &rows);
    assert!(text.contains("|    0|\n+-----+\nonly showing top 1 row\n\n"), "{text}");
    let text = printed(Console::json().rows(2), &rows);
    assert_eq!(text, "0\n1\n");
}

#[test]
fn rows_are_held_until_their_epoch_is_complete_and_empty_epochs_are_not_printed() {
    let screen = Screen::default();
    let mut writer = open(&Console::table().to(screen.clone()));
    writer.write(&batch(&[1_u64])).unwrap();
    writer.write(&batch(&[2_u64])).unwrap();
    assert_eq!(screen.take(), "");
    commit_epoch(&mut *writer, 7, false).unwrap();
    let text = screen.take();
    assert!(text.contains("Batch: 0\n") && text.contains("|    1|\n|    2|\n"), "{text}");
    commit_epoch(&mut *writer, 8, false).unwrap();
    assert_eq!(screen.take(), "");
    writer.write(&batch(&[3_u64])).unwrap();
    commit_epoch(&mut *writer, 99, true).unwrap();
    let text = screen.take();
    assert!(text.contains("Batch: 1\n") && !text.contains("|    2|"), "{text}");
}

#[test]
fn lines_can_be_read_by_programs() {
    let rows = [count("the", 27, Some(0.5)), count("a,b", 3, None)];
    assert_eq!(printed(Console::csv(), &rows), "word,count,share\nthe,27,0.5\n\"a,b\",3,\n");
    assert_eq!(printed(Console::csv().header(false), &rows[..1]), "the,27,0.5\n");
    let json = "{\"word\":\"the\",\"count\":27,\"share\":0.5}\n";
    assert_eq!(printed(Console::json(), &rows[..1]), json);
}

#[test]
fn the_names_of_csv_columns_are_printed_once() {
    let screen = Screen::default();
    let mut writer = open(&Console::csv().to(screen.clone()));
    for row in 0..2_u64 {
        writer.write(&batch(&[row])).unwrap();
        commit_epoch(&mut *writer, row, false).unwrap();
    }
    assert_eq!(screen.take(), "value\n0\n1\n");
}

#[test]
fn lines_of_a_huge_epoch_are_not_all_held() {
    let screen = Screen::default();
    let mut writer = open(&Console::json().to(screen.clone()));
    let rows = vec!["x".repeat(1000); 1000];
    for _ in 0..5 {
        writer.write(&batch(&rows)).unwrap();
    }
    assert!(screen.take().len() >= 4 << 20);
}

#[test]
fn a_closed_pipe_is_an_error_and_not_a_panic() {
    for console in [Console::table(), Console::json(), Console::csv()] {
        let mut writer = open(&console.to(Closed));
        writer.write(&batch(&[1_u64])).unwrap();
        let error = commit_epoch(&mut *writer, 0, false).unwrap_err().to_string();
        assert!(error.contains("standard output was closed"), "{error}");
    }
}

#[test]
fn a_sorted_table_shows_the_first_rows_in_its_order() {
    let mut rows: Vec<Count> = (0..5_000).map(|n| count(&format!("w{n}"), n % 7, None)).collect();
    rows.push(count("most", 10, None));
    let console = Console::table().rows(2).descending("count").ascending("word");
    let table = [
        "-------------------------------------------",
        "Batch: 0",
        "-------------------------------------------",
        "+-----+-----+-----+",
        "| word|count|share|",
        "+-----+-----+-----+",
        "| most|   10| NULL|",
        "|w1000|    6| NULL|",
        "+-----+-----+-----+",
        "only showing top 2 rows",
        "\n",
    ];
    assert_eq!(printed(console, &rows), table.join("\n"));
}

#[test]
fn every_window_has_its_own_table() {
    let window = |start: i64, key: &str, value: u64| WindowResult {
        window_start: start,
        window_end: start + 60_000,
        key: key.to_owned(),
        value,
    };
    let rows = [window(60_000, "a", 1), window(0, "b", 2), window(60_000, "c", 3), window(0, "a", 4)];
    let tables = [
        "-------------------------------------------",
        "Window: 1970-01-01 00:00:00 to 00:01:00 UTC",
        "-------------------------------------------",
        "+---+-----+",
        "|key|value|",
        "+---+-----+",
        "|  a|    4|",
        "+---+-----+",
        "only showing top 1 row",
        "",
        "-------------------------------------------",
        "Window: 1970-01-01 00:01:00 to 00:02:00 UTC",
        "-------------------------------------------",
        "+---+-----+",
        "|key|value|",
        "+---+-----+",
        "|  a|    1|",
        "+---+-----+",
        "only showing top 1 row",
        "\n",
    ];
    assert_eq!(printed(Console::table().per_window().ascending("key").rows(1), &rows), tables.join("\n"));
}

#[test]
fn a_column_that_is_not_there_is_an_error_at_the_start() {
    let error = |console: Console| {
        let opened = Sink::<Count>::open(&console, Subtask { index: 0, count: 1 });
        opened.map(drop).unwrap_err().to_string()
    };
    assert_eq!(
        error(Console::table().descending("cuont")),
        "configuration: the rows of this table have no column `cuont`; they have `word`, `count`, `share`"
    );
    assert!(error(Console::table().per_window()).contains("no column `window_start`"));
}
