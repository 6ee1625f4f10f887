//! Tables with borders, laid out as Spark's console does: one per epoch that has rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter::repeat_n;

use headwater::Result;
use headwater::batch::{Batch, Record};
use headwater::sink::{Cut, Delivery, SinkWriter, Staged};
use headwater::time::Epoch;
use unicode_width::UnicodeWidthStr;

use super::Console;
use super::cells::{CellEncoder, truncate};
use super::order::{Layout, period};

/// Narrowest column, borders not counted.
const COLUMN_WIDTH_MIN: usize = 3;
/// Rows are sorted at the latest when there are so many, to forget those that will not be printed.
const SORT_ROWS_MIN: usize = 1024;
/// The lines around a heading.
const RULE: &str = "-------------------------------------------";

/// Holds the rows of an epoch that will be printed, and prints them when it is complete.
pub(super) struct TableWriter {
    console: Console,
    encoder: CellEncoder,
    layout: Layout,
    /// One table, or one for each window.
    tables: BTreeMap<(i64, i64), Table>,
    /// Tables printed so far.
    printed: u64,
}

/// Rows of one table of this epoch.
#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    /// Rows of this epoch, held or not.
    rows_seen: usize,
}

impl TableWriter {
    /// # Errors
    /// The console was told about a column that does not exist.
    pub(super) fn new(console: Console, columns: Vec<String>) -> Result<Self> {
        let layout = Layout::new(&console, columns)?;
        let encoder = CellEncoder::default();
        Ok(TableWriter { console, encoder, layout, tables: BTreeMap::new(), printed: 0 })
    }

    fn rows_max(&self) -> usize {
        self.console.rows.unwrap_or(usize::MAX)
    }

    /// Keeps a row if it may be printed.
    fn keep(&mut self, cells: Vec<String>) {
        let rows_max = self.rows_max();
        let table = self.tables.entry(self.layout.table_of(&cells)).or_default();
        table.rows_seen += 1;
        if self.layout.is_ordered() {
            table.rows.push(cells);
            if table.rows.len() >= rows_max.saturating_mul(2).max(SORT_ROWS_MIN) {
                table.sort(&self.layout, rows_max);
            }
        } else if table.rows.len() < rows_max {
            table.rows.push(cells);
        }
    }

    fn render(&mut self) -> String {
        let align = if self.console.truncate == 0 { Align::Left } else { Align::Right };
        let mut text = String::new();
        for (window, mut table) in std::mem::take(&mut self.tables) {
            table.sort(&self.layout, self.rows_max());
            let name = match self.console.per_window {
                true => period(window),
                false => self.printed.to_string(),
            };
            self.printed += 1;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{RULE}\n{}: {name}\n{RULE}", self.console.heading);
            let cells = |row: &Vec<String>| {
                let shown = self.layout.shown(row).into_iter();
                shown.map(|cell| truncate(cell, self.console.truncate)).collect()
            };
            let rows: Vec<Vec<String>> = table.rows.iter().map(cells).collect();
            render(&mut text, &self.layout.shown(&self.layout.columns), &rows, align);
            if table.rows_seen > rows.len() {
                let plural = if rows.len() == 1 { "" } else { "s" };
                let _ = writeln!(text, "only showing top {} row{plural}", rows.len());
            }
            text.push('\n');
        }
        text
    }
}

impl Table {
    fn sort(&mut self, layout: &Layout, rows_max: usize) {
        self.rows.sort_by(|left, right| layout.compare(left, right));
        self.rows.truncate(rows_max);
    }
}

impl<T: Record> SinkWriter<T> for TableWriter {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        // Without an order or windows, a full table needs no more than a count.
        let rows_max = if self.layout.is_plain() { self.rows_max() } else { usize::MAX };
        for view in batch.iter() {
            match self.tables.get_mut(&(0, 0)).filter(|table| table.rows.len() >= rows_max) {
                Some(table) => table.rows_seen += 1,
                None => {
                    let cells = self.encoder.row::<T>(view);
                    self.keep(cells);
                }
            }
        }
        Ok(())
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        Ok(Staged::bytes(self.render().into_bytes()))
    }

    fn commit(&mut self, _: Epoch, staged: &Staged) -> Result<Delivery> {
        self.console.terminal.show(staged)
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
