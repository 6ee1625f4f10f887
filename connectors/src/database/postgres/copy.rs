//! Cells in the text format of `COPY`: a line per row, tabs between columns.

use headwater::Result;

use super::super::calendar::Moment;
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
    let Moment { year, month, day, hour, minute, second, millis } = Moment::new(ms);
    let (shown_year, end) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let shown =
        format!("{shown_year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}+00{end}");
    out.extend_from_slice(shown.as_bytes());
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
    }
}
