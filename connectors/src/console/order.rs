//! `Layout`: which cells of a row are shown, in which order rows stand, and whose window they are.

use std::cmp::Ordering;
use std::fmt::Write as _;

use headwater::{Error, Result};

use super::Console;

/// The columns that say which window a row belongs to.
const WINDOW_COLUMNS: [&str; 2] = ["window_start", "window_end"];

/// What a table shows of rows with certain columns.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) columns: Vec<String>,
    /// Columns to sort by, the first first; true for descending.
    order: Vec<(usize, bool)>,
    /// Where start and end of the window stand, when each window has its own table.
    window: Option<[usize; 2]>,
}

impl Layout {
    /// # Errors
    /// A column that the console was told about does not exist.
    pub(super) fn new(console: &Console, columns: Vec<String>) -> Result<Self> {
        let find = |name: &str| {
            columns.iter().position(|column| column == name).ok_or_else(|| {
                let known = columns.join("`, `");
                Error::Config(format!("the rows of this table have no column `{name}`; they have `{known}`"))
            })
        };
        let order = console.order.iter().map(|(name, descending)| Ok((find(name)?, *descending)));
        let order = order.collect::<Result<_>>()?;
        let window = match console.per_window {
            true => Some([find(WINDOW_COLUMNS[0])?, find(WINDOW_COLUMNS[1])?]),
            false => None,
        };
        Ok(Layout { columns, order, window })
    }

    pub(super) fn is_ordered(&self) -> bool {
        !self.order.is_empty()
    }

    /// True when rows are printed as they come.
    pub(super) fn is_plain(&self) -> bool {
        self.order.is_empty() && self.window.is_none()
    }

    pub(super) fn compare(&self, left: &[String], right: &[String]) -> Ordering {
        self.order.iter().fold(Ordering::Equal, |before, (column, descending)| {
            before.then_with(|| {
                let ordering = compare_cells(&left[*column], &right[*column]);
                if *descending { ordering.reverse() } else { ordering }
            })
        })
    }

    /// The table that a row belongs to: the bounds of its window, or always the same.
    pub(super) fn table_of(&self, cells: &[String]) -> (i64, i64) {
        let time = |column: usize| cells[column].parse().unwrap_or(i64::MIN);
        self.window.map_or((0, 0), |[start, end]| (time(start), time(end)))
    }

    /// The cells that are printed: those of the window stand above the table.
    pub(super) fn shown(&self, cells: &[String]) -> Vec<String> {
        let hidden = |column: &usize| self.window.is_some_and(|window| window.contains(column));
        (0..cells.len()).filter(|column| !hidden(column)).map(|column| cells[column].clone()).collect()
    }
}

/// Numbers in front of text: numbers by value, text by its characters.
fn compare_cells(left: &str, right: &str) -> Ordering {
    let key = |cell: &str| {
        let starts_as_number = cell.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit());
        starts_as_number.then(|| cell.parse::<f64>().ok()).flatten()
    };
    let by_value = match (key(left), key(right)) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        (left, right) => right.is_some().cmp(&left.is_some()),
    };
    by_value.then_with(|| left.cmp(right))
}

/// A window in words: `2026-03-01 12:04:00 to 12:05:00 UTC`; the second date only when it is another.
pub(super) fn period((start, end): (i64, i64)) -> String {
    let (first_date, first_time) = date_and_time(start);
    let (last_date, last_time) = date_and_time(end);
    let mut text = format!("{first_date} {first_time} to ");
    if first_date != last_date {
        // Writing to a string cannot fail.
        let _ = write!(text, "{last_date} ");
    }
    text + &last_time + " UTC"
}

fn date_and_time(time_ms: i64) -> (String, String) {
    const DAY_MS: i64 = 86_400_000;
    let (day, ms) = (time_ms.div_euclid(DAY_MS), time_ms.rem_euclid(DAY_MS));
    // Days are counted in eras of 400 years from 0000-03-01, so that a leap day is the last of its year.
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}-{month:02}-{day_of_month:02}");
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let fraction = if ms % 1000 == 0 { String::new() } else { format!(".{:03}", ms % 1000) };
    (date, format!("{hour:02}:{minute:02}:{second:02}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_compare_as_numbers_where_both_are() {
        assert_eq!(compare_cells("9", "10"), Ordering::Less);
        assert_eq!(compare_cells("-2.5", "-10"), Ordering::Greater);
        assert_eq!(compare_cells("10", "NULL"), Ordering::Less);
        assert_eq!(compare_cells("nan", "infinity"), Ordering::Greater, "words are no numbers");
        assert_eq!(compare_cells("18446744073709551615", "18446744073709551614"), Ordering::Greater);
    }

    #[test]
    fn windows_are_said_as_people_say_them() {
        let start = 1_772_366_640_000;
        assert_eq!(period((start, start + 60_000)), "2026-03-01 12:04:00 to 12:05:00 UTC");
        assert_eq!(period((-1_500, 0)), "1969-12-31 23:59:58.500 to 1970-01-01 00:00:00 UTC");
        assert_eq!(date_and_time(951_782_400_000).0, "2000-02-29");
        assert_eq!(date_and_time(4_107_542_400_000).0, "2100-03-01");
    }
}
