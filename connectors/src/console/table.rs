//! Tables with borders, laid out as Spark's console does: one per epoch that has rows.

use std::fmt::Write as _;
use std::iter::repeat_n;

use headwater::Result;
use headwater::batch::{Batch, Record};
use headwater::sink::SinkWriter;
use headwater::time::Epoch;
use unicode_width::UnicodeWidthStr;

use super::Console;
use super::cells::{CellEncoder, truncate};

/// Narrowest column, borders not counted.
const COLUMN_WIDTH_MIN: usize = 3;
/// The lines around a heading.
const RULE: &str = "-------------------------------------------";

/// Holds the first rows of an epoch and prints them when it is complete.
pub(super) struct TableWriter {
    console: Console,
    encoder: CellEncoder,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Rows of this epoch, held or not.
    rows_seen: usize,
    /// Tables printed so far.
    tables: u64,
}

impl TableWriter {
    pub(super) fn new(console: Console) -> Self {
        TableWriter {
            console,
            encoder: CellEncoder::default(),
            columns: Vec::new(),
            rows: Vec::new(),
            rows_seen: 0,
            tables: 0,
        }
    }

    fn print(&mut self) -> Result<()> {
        if self.rows_seen == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let rows_seen = std::mem::take(&mut self.rows_seen);
        let align = if self.console.truncate == 0 { Align::Left } else { Align::Right };
        let mut text = format!("{RULE}\n{}: {}\n{RULE}\n", self.console.heading, self.tables);
        render(&mut text, &self.columns, &rows, align);
        if rows_seen > rows.len() {
            let plural = if rows.len() == 1 { "" } else { "s" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "only showing top {} row{plural}", rows.len());
        }
        text.push('\n');
        self.tables += 1;
        self.console.terminal.print(text.as_bytes())
    }
}

impl<T: Record> SinkWriter<T> for TableWriter {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        if self.columns.is_empty() {
            self.columns = T::schema().columns();
        }
        let room = self.console.rows.unwrap_or(usize::MAX).saturating_sub(self.rows.len());
        for view in batch.iter().take(room) {
            let cells = self.encoder.row::<T>(view).into_iter();
            self.rows.push(cells.map(|cell| truncate(cell, self.console.truncate)).collect());
        }
        self.rows_seen += batch.len();
        Ok(())
    }

    fn commit(&mut self, _: Epoch) -> Result<()> {
        self.print()
    }

    fn finish(&mut self) -> Result<()> {
        self.print()
    }
}

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

fn render(out: &mut String, columns: &[String], rows: &[Vec<String>], align: Align) {
    let widths = widths(columns, rows);
    border(out, &widths);
    line(out, &widths, columns, align);
    border(out, &widths);
    for row in rows {
        line(out, &widths, row, align);
    }
    border(out, &widths);
}

fn widths(columns: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|name| name.width().max(COLUMN_WIDTH_MIN)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    widths
}

fn border(out: &mut String, widths: &[usize]) {
    for width in widths {
        out.push('+');
        out.extend(repeat_n('-', *width));
    }
    out.push_str("+\n");
}

fn line(out: &mut String, widths: &[usize], cells: &[String], align: Align) {
    for (width, cell) in widths.iter().zip(cells) {
        let padding = repeat_n(' ', width.saturating_sub(cell.width()));
        out.push('|');
        match align {
            Align::Right => {
                out.extend(padding);
                out.push_str(cell);
            }
            Align::Left => {
                out.push_str(cell);
                out.extend(padding);
            }
        }
    }
    out.push_str("|\n");
}
