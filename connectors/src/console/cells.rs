//! `CellEncoder`: one row of a table as text, one string per column.

use headwater::batch::{Encoder, Record};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a missing value looks like.
const NULL: &str = "NULL";

/// Splits a record into the cells of a table; a list is one cell, `[1, 2]`.
#[derive(Debug, Default)]
pub(super) struct CellEncoder {
    cells: Vec<String>,
    /// Open lists, and open records inside lists; each says whether it has an item.
    open: Vec<bool>,
}

impl CellEncoder {
    /// The cells of one record.
    pub(super) fn row<T: Record>(&mut self, view: T::View<'_>) -> Vec<String> {
        self.open.clear();
        T::encode(view, self);
        std::mem::take(&mut self.cells)
    }

    /// Writes a value: to a new cell, or to the list that is open.
    fn write(&mut self, text: impl std::fmt::Display) {
        use std::fmt::Write as _;
        match self.cells.last_mut() {
            // Writing to a string cannot fail.
            Some(cell) if !self.open.is_empty() => drop(write!(cell, "{text}")),
            _ => self.cells.push(text.to_string()),
        }
    }

    /// Separates an item from the one before it.
    fn separate(&mut self) {
        if let (Some(has_item), Some(cell)) = (self.open.last_mut(), self.cells.last_mut()) {
            if *has_item {
                cell.push_str(", ");
            }
            *has_item = true;
        }
    }
}

impl Encoder for CellEncoder {
    fn null(&mut self, width: usize) {
        if self.open.is_empty() {
            self.cells.extend((0..width).map(|_| NULL.to_owned()));
        } else {
            self.write(NULL);
        }
    }

    fn bool(&mut self, value: bool) {
        self.write(value);
    }

    fn u64(&mut self, value: u64) {
        self.write(value);
    }

    fn i64(&mut self, value: i64) {
        self.write(value);
    }

    fn u128(&mut self, value: u128) {
        self.write(value);
    }

    fn i128(&mut self, value: i128) {
        self.write(value);
    }

    fn f64(&mut self, value: f64) {
        self.write(format_args!("{value:?}"));
    }

    fn f32(&mut self, value: f32) {
        self.write(format_args!("{value:?}"));
    }

    fn str(&mut self, value: &str) {
        self.write(Printable(value));
    }

    fn begin_record(&mut self) {
        if !self.open.is_empty() {
            self.write('{');
            self.open.push(false);
        }
    }

    fn field(&mut self, _: &'static str) {
        self.separate();
    }

    fn end_record(&mut self) {
        if !self.open.is_empty() {
            self.open.pop();
            self.write('}');
        }
    }

    fn begin_list(&mut self) {
        self.write('[');
        self.open.push(false);
    }

    fn item(&mut self) {
        self.separate();
    }

    fn end_list(&mut self) {
        // The list must count as open while its bracket is written.
        self.write(']');
        self.open.pop();
    }
}

/// Text whose control characters are written as escapes: data must not move the cursor of a terminal.
struct Printable<'a>(&'a str);

impl std::fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;
        self.0.chars().try_for_each(|character| {
            if character.is_control() {
                write!(f, "{}", character.escape_default())
            } else {
                f.write_char(character)
            }
        })
    }
}

/// Cuts a cell to `width` columns of the terminal, the last three dots; 0 leaves it whole.
pub(super) fn truncate(cell: String, width: usize) -> String {
    if width == 0 || cell.width() <= width {
        return cell;
    }
    let (room, dots) = if width < 4 { (width, "") } else { (width - 3, "...") };
    let mut used = 0;
    let kept = cell.chars().take_while(|character| {
        used += character.width().unwrap_or(0);
        used <= room
    });
    let mut cut: String = kept.collect();
    cut.push_str(dots);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<T: Record>(record: &T) -> Vec<String> {
        CellEncoder::default().row::<T>(record.view())
    }

    #[test]
    fn a_record_has_as_many_cells_as_columns() {
        let row = (1_u64, ("two".to_owned(), 3.0_f64), None::<(i8, bool)>);
        assert_eq!(cells(&row), ["1", "two", "3.0", "NULL", "NULL"]);
        assert_eq!(cells(&row).len(), <(u64, (String, f64), Option<(i8, bool)>)>::WIDTH);
    }

    #[test]
    fn a_list_is_one_cell() {
        let row = (vec![vec![1_u8, 2], vec![]], vec![(7_i32, Some("x".to_owned())), (8, None)], -1_i64);
        assert_eq!(cells(&row), ["[[1, 2], []]", "[{7, x}, {8, NULL}]", "-1"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(cells(&"a\tb\n\u{1b}[2J".to_owned()), ["a\\tb\\n\\u{1b}[2J"]);
    }

    #[test]
    fn truncation_counts_terminal_columns() {
        assert_eq!(truncate("abcdefgh".into(), 8), "abcdefgh");
        assert_eq!(truncate("abcdefghi".into(), 8), "abcde...");
        assert_eq!(truncate("abcdefghi".into(), 3), "abc");
        assert_eq!(truncate("日本語日本語".into(), 8), "日本...");
        assert_eq!(truncate("abcdefghi".into(), 0), "abcdefghi");
    }
}
