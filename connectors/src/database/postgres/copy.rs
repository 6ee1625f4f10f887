//! Cells in the text format of `COPY`: a line per row, tabs between columns.

use headwater::Result;

use super::super::cells::{Cell, Cells};

/// What a column makes of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The value.
    Plain,
    /// Milliseconds since 1970.
    Time,
}

impl Reading {
    /// Of a column of this type.
    pub(super) fn of(column_type: &str) -> Self {
        let is_time = column_type.starts_with("timestamp") || column_type == "date";
        if is_time { Reading::Time } else { Reading::Plain }
    }
}

/// Appends the next row as a line.
///
/// # Errors
/// The cells are damaged.
pub(super) fn copy_row(cells: &mut Cells<'_>, columns: &[Reading], out: &mut Vec<u8>) -> Result<()> {
    for (at, reading) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b'\t');
        }
        let cell = cells.next()?;
        match cell {
            Cell::Null => out.extend_from_slice(b"\\N"),
            Cell::Bool(value) => out.push(if value { b't' } else { b'f' }),
            Cell::I64(value) if *reading == Reading::Time => time(value, out),
            Cell::U64(value) if *reading == Reading::Time => match i64::try_from(value) {
                Ok(value) => time(value, out),
                // No time: the server says so.
                Err(_) => integer(value, out),
            },
            Cell::U64(value) => integer(value, out),
            Cell::I64(value) => integer(value, out),
            Cell::U128(value) => integer(value, out),
            Cell::I128(value) => integer(value, out),
            Cell::F32(value) => out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
            Cell::F64(value) => out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
            Cell::Text(value) | Cell::Json(value) => text(value.as_bytes(), out),
        }
    }
    out.push(b'\n');
    Ok(())
}

fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A backslash stands in front of itself, of line ends and tabs.
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        let escaped = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
}

/// Milliseconds since 1970 as a date and time of UTC; years before the first are counted as the server does.
fn time(ms: i64, out: &mut Vec<u8>) {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    let (shown_year, end) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let shown =
        format!("{shown_year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}+00{end}");
    out.extend_from_slice(shown.as_bytes());
}

/// Year, month and day of a number of days since 1970. Years are counted from March on, so that the day that some
/// of them have is their last.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let since_march_0 = days + 719_468;
    let (era, day) =
        (since_march_0.div_euclid(DAYS_OF_400_YEARS), since_march_0.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month_since_march = (5 * day + 2) / 153;
    let day = day - (153 * month_since_march + 2) / 5 + 1;
    let month = if month_since_march < 10 { month_since_march + 3 } else { month_since_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut out = Vec::new();
        text("a\\b\tc\nd\re ü \\N".as_bytes(), &mut out);
        assert_eq!(out, "a\\\\b\\tc\\nd\\re ü \\\\N".as_bytes());
    }

    #[test]
    fn milliseconds_are_dates() {
        for (ms, expected) in [
            (0, "1970-01-01 00:00:00.000+00"),
            (-1, "1969-12-31 23:59:59.999+00"),
            (951_782_400_000, "2000-02-29 00:00:00.000+00"),
            (1_700_000_000_123, "2023-11-14 22:13:20.123+00"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000+00"),
            (-62_135_596_800_000, "0001-01-01 00:00:00.000+00"),
            (-62_135_596_800_001, "0001-12-31 23:59:59.999+00 BC"),
        ] {
            let mut out = Vec::new();
            time(ms, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        for ms in [i64::MIN, i64::MAX] {
            time(ms, &mut Vec::new());
        }
        // Every day of eight centuries follows the one before.
        let mut before = date(-200_001);
        for days in -200_000..100_000 {
            let (year, month, day) = date(days);
            let follows = (year, month, day) == (before.0, before.1, before.2 + 1)
                || (day == 1 && (year, month) == (before.0, before.1 + 1))
                || (day, month) == (1, 1) && year == before.0 + 1 && before.1 == 12;
            assert!(follows, "{before:?} {:?}", (year, month, day));
            before = (year, month, day);
        }
    }
}
