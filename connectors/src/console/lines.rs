//! Rows as JSON or CSV, one line each, printed when their epoch is complete.

use headwater::Result;
use headwater::batch::{Batch, Record};
use headwater::sink::{Cut, Delivery, SinkWriter, Staged};
use headwater::time::Epoch;

use super::{Console, Format};
use crate::format::{encode_csv_header, encode_csv_row, encode_json_line};

/// Text that is held at most; what goes beyond is printed before its epoch is complete.
const HELD_BYTES_MAX: usize = 4 << 20;

/// Holds the lines of an epoch and prints them when it is complete.
pub(super) struct LineWriter {
    console: Console,
    text: Vec<u8>,
    /// Rows of this epoch in the text or printed.
    rows: usize,
    header_due: bool,
}

impl LineWriter {
    pub(super) fn new(console: Console) -> Self {
        let header_due = console.format == Format::Csv && console.header;
        LineWriter { console, text: Vec::new(), rows: 0, header_due }
    }

    fn print(&mut self) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let printed = self.console.terminal.print(&self.text);
        self.text.clear();
        printed
    }
}

impl<T: Record> SinkWriter<T> for LineWriter {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        if std::mem::take(&mut self.header_due) {
            encode_csv_header::<T>(b',', &mut self.text);
        }
        let room = self.console.rows.unwrap_or(usize::MAX).saturating_sub(self.rows);
        for view in batch.iter().take(room) {
            match self.console.format {
                Format::Csv => encode_csv_row::<T>(view, b',', &mut self.text),
                Format::Json | Format::Table => encode_json_line::<T>(view, &mut self.text),
            }
            self.rows += 1;
            if self.text.len() >= HELD_BYTES_MAX {
                self.print()?;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        self.rows = 0;
        Ok(Staged::bytes(std::mem::take(&mut self.text)))
    }

    fn commit(&mut self, _: Epoch, staged: &Staged) -> Result<Delivery> {
        self.console.terminal.show(staged)
    }
}
