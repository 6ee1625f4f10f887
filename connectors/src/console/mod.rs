//! `Console`: a sink that prints what a topology gives, as tables or as lines.
//!
//! 1. `cells`: a record as one string per column
//! 2. `table`: rows as a table with borders, one table per epoch
//! 3. `order`: how the rows of a table are sorted and grouped
//! 4. `lines`: rows as JSON or CSV, one line each

mod cells;
mod lines;
mod order;
mod table;

use std::fmt;
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use headwater::batch::Record;
use headwater::sink::{Delivery, Sink, SinkWriter, Staged, Subtask, with_clear_terminal};
use headwater::{Error, Result};

use self::lines::LineWriter;
use self::table::TableWriter;

/// Most rows of a table that are printed per epoch, unless said otherwise.
const TABLE_ROWS_MAX: usize = 20;
/// Widest cell of a table, unless said otherwise.
const CELL_WIDTH_MAX: usize = 20;

/// Prints rows to standard output, for eyes and for pipes.
///
/// Rows are held until their epoch is committed, so that what a failed run had not finished is not
/// seen. A terminal cannot take anything back, though: a run that fails between printing an epoch and
/// recording that it is complete prints that epoch again.
///
/// Three forms: [`Console::table`] for reading, [`Console::json`] and [`Console::csv`] for other
/// programs. Numbers and text of a table stand right, as in Spark.
///
/// ```
/// use headwater_connectors::Console;
///
/// let sink = Console::table().rows(10).truncate(40).heading("Counts");
/// ```
#[derive(Clone)]
pub struct Console {
    format: Format,
    rows: Option<usize>,
    truncate: usize,
    heading: String,
    header: bool,
    /// Columns that tables are sorted by; true for descending.
    order: Vec<(String, bool)>,
    per_window: bool,
    terminal: Terminal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Table,
    Json,
    Csv,
}

impl Console {
    /// A table with borders for each epoch that has rows.
    #[must_use]
    pub fn table() -> Self {
        Console { rows: Some(TABLE_ROWS_MAX), ..Console::new(Format::Table) }
    }

    /// One JSON object per line.
    #[must_use]
    pub fn json() -> Self {
        Console::new(Format::Json)
    }

    /// One line of comma-separated cells per row, after one line with the names of the columns.
    #[must_use]
    pub fn csv() -> Self {
        Console::new(Format::Csv)
    }

    fn new(format: Format) -> Self {
        Console {
            format,
            rows: None,
            truncate: CELL_WIDTH_MAX,
            heading: "Batch".to_owned(),
            header: true,
            order: Vec::new(),
            per_window: false,
            terminal: Terminal(Arc::new(Mutex::new(std::io::stdout()))),
        }
    }

    /// Prints at most this many rows per epoch: 20 for tables, all of them otherwise. No more are kept
    /// in memory.
    #[must_use]
    pub fn rows(self, rows: usize) -> Self {
        Console { rows: Some(rows), ..self }
    }

    /// Cuts the cells of a table to this width (20); 0 leaves them whole and stands them left.
    #[must_use]
    pub fn truncate(self, width: usize) -> Self {
        Console { truncate: width, ..self }
    }

    /// What is said above each table in front of its number, instead of `Batch`.
    #[must_use]
    pub fn heading(self, heading: impl Into<String>) -> Self {
        Console { heading: heading.into(), ..self }
    }

    /// Sorts each table by this column, smallest first; said again, by another one where this one is
    /// equal. With [`Self::rows`] it is the first rows in this order that are shown.
    #[must_use]
    pub fn ascending(self, column: impl Into<String>) -> Self {
        self.ordered(column.into(), false)
    }

    /// Sorts each table by this column, largest first; see [`Self::ascending`].
    ///
    /// ```
    /// use headwater_connectors::Console;
    ///
    /// let most_frequent = Console::table().descending("count").ascending("word").rows(10);
    /// ```
    #[must_use]
    pub fn descending(self, column: impl Into<String>) -> Self {
        self.ordered(column.into(), true)
    }

    fn ordered(mut self, column: String, descending: bool) -> Self {
        self.order.push((column, descending));
        self
    }

    /// Prints a table for each window instead of one for each epoch, with the time of the window above it.
    /// The rows must have the columns `window_start` and `window_end`, which are then not printed.
    ///
    /// In append mode all rows of a window are in one table, however parallel the topology is: a window
    /// closes everywhere in the same epoch.
    #[must_use]
    pub fn per_window(self) -> Self {
        Console { per_window: true, heading: "Window".to_owned(), ..self }
    }

    /// Whether CSV begins with the names of the columns (yes).
    #[must_use]
    pub fn header(self, header: bool) -> Self {
        Console { header, ..self }
    }

    /// Prints to `writer` instead of standard output; every run continues with the same writer.
    #[must_use]
    pub fn to(self, writer: impl Write + Send + 'static) -> Self {
        Console { terminal: Terminal(Arc::new(Mutex::new(writer))), ..self }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("format", &self.format)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl<T: Record> Sink<T> for Console {
    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        let console = self.clone();
        Ok(match self.format {
            Format::Table => Box::new(TableWriter::new(console, T::schema().columns())?),
            Format::Json | Format::Csv => Box::new(LineWriter::new(console)),
        })
    }
}

/// What is printed to; shared by all writers of one sink.
#[derive(Clone)]
struct Terminal(Arc<Mutex<dyn Write + Send>>);

impl Terminal {
    /// Prints what an epoch has kept. A terminal cannot tell what it has shown: it is at-least-once.
    fn show(&self, staged: &Staged) -> Result<Delivery> {
        if !staged.is_nothing() {
            self.print(staged.as_bytes())?;
        }
        Ok(Delivery::Final)
    }

    /// Prints in one piece, so that two consoles do not mix their lines.
    fn print(&self, text: &[u8]) -> Result<()> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let printed = with_clear_terminal(|| writer.write_all(text).and_then(|()| writer.flush()));
        printed.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Error::failed(
                "standard output was closed by the program that read it (as `| head` does); \
                 nothing more can be printed",
            ),
            _ => Error::failed(format!("cannot print to standard output: {error}")),
        })
    }
}
