//! Cells as the server takes them, and which columns can hold them.

use headwater::batch::FieldType;
use headwater::{Error, Result};
use mysql::Value;

use super::super::calendar::Moment;
use super::super::cells::{Cell, Cells};

/// What a column makes of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The value.
    Plain,
    /// Milliseconds since 1970 as a date.
    Date,
    /// Milliseconds since 1970 as a date and a time with so many of their digits.
    Time { digits: u32 },
}

/// How many bits the integers of a field have, if it has integers.
fn integer_bits(field: &FieldType) -> Option<u32> {
    Some(match field {
        FieldType::U8 | FieldType::I8 => 8,
        FieldType::U16 | FieldType::I16 => 16,
        FieldType::U32 | FieldType::I32 => 32,
        FieldType::U64 | FieldType::I64 => 64,
        FieldType::U128 | FieldType::I128 => 128,
        _ => return None,
    })
}

impl Reading {
    /// Of a column of this type, for a field that is no option.
    ///
    /// # Errors
    /// The server would change values to make them fit, and not say so.
    pub(super) fn of(field: &FieldType, column_type: &str) -> Result<Self, &'static str> {
        let name_end = column_type.find(|letter: char| !letter.is_ascii_alphabetic());
        let name = &column_type[..name_end.unwrap_or(column_type.len())];
        let is_integer = matches!(name, "tinyint" | "smallint" | "mediumint" | "int" | "bigint");
        let holds_integers = is_integer || matches!(name, "bit" | "year");
        let is_time = matches!(name, "date" | "datetime" | "timestamp" | "time");
        if let Some(bits) = integer_bits(field) {
            return match name {
                "date" if bits == 64 => Ok(Reading::Date),
                "datetime" | "timestamp" if bits == 64 => {
                    let digits = column_type[name.len()..].trim_start_matches('(');
                    let end = digits.find(')').unwrap_or(0);
                    Ok(Reading::Time { digits: digits[..end].parse().unwrap_or(0) })
                }
                _ if is_time => {
                    Err("milliseconds since 1970, of 64 bits, go into datetime, timestamp and date")
                }
                "float" if bits > 16 => Err("a float has fewer digits than the integers"),
                "double" if bits > 32 => Err("a double has fewer digits than the integers"),
                _ => Ok(Reading::Plain),
            };
        }
        match field {
            FieldType::F32 | FieldType::F64 if holds_integers || is_time => {
                Err("it would cut the fractions of the numbers")
            }
            FieldType::F64 if name == "float" => Err("a float has fewer digits than the numbers"),
            FieldType::String if holds_integers => Err("it would cut the fractions of numbers in the text"),
            _ => Ok(Reading::Plain),
        }
    }
}

/// Appends the values of the next row, and gives about how many bytes they have.
///
/// # Errors
/// The cells are damaged, or a time is none.
pub(super) fn read_row(cells: &mut Cells<'_>, columns: &[Reading], values: &mut Vec<Value>) -> Result<usize> {
    let before = cells.0.len();
    for reading in columns {
        let cell = cells.next()?;
        let value = match (cell, reading) {
            (Cell::I64(ms), Reading::Date | Reading::Time { .. }) => time(ms, *reading)?,
            (Cell::U64(ms), Reading::Date | Reading::Time { .. }) => {
                time(i64::try_from(ms).map_err(|_| no_time(ms))?, *reading)?
            }
            (cell, _) => value(cell),
        };
        values.push(value);
    }
    Ok(before - cells.0.len())
}

fn value(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::NULL,
        Cell::Bool(value) => Value::Int(value.into()),
        Cell::U64(value) => Value::UInt(value),
        Cell::I64(value) => Value::Int(value),
        Cell::U128(value) => Value::Bytes(value.to_string().into_bytes()),
        Cell::I128(value) => Value::Bytes(value.to_string().into_bytes()),
        Cell::F32(value) => Value::Float(value),
        Cell::F64(value) => Value::Double(value),
        Cell::Text(value) | Cell::Json(value) => Value::Bytes(value.as_bytes().to_vec()),
    }
}

fn no_time(ms: impl std::fmt::Display) -> Error {
    Error::failed(format!(
        "{ms} milliseconds since 1970 are no time of the years 1 to 9999, which is what MariaDB can hold: change or \
         filter such rows in front of the sink, or give the column a type of integers, and run the job again"
    ))
}

/// As a time of UTC, to the precision of the column.
fn time(ms: i64, reading: Reading) -> Result<Value> {
    let Moment { year, month, day, hour, minute, second, millis } = Moment::new(ms);
    if !(1..=9_999).contains(&year) {
        return Err(no_time(ms));
    }
    let (year, month, day) = (year as u16, month as u8, day as u8);
    let Reading::Time { digits } = reading else { return Ok(Value::Date(year, month, day, 0, 0, 0, 0)) };
    let unit = 10_u32.pow(6_u32.saturating_sub(digits));
    let micros = millis as u32 * 1_000 / unit * unit;
    Ok(Value::Date(year, month, day, hour as u8, minute as u8, second as u8, micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_cannot_hold_the_values_are_refused() {
        for (field, column, expected) in [
            (FieldType::U64, "bigint(20) unsigned", Ok(Reading::Plain)),
            (FieldType::I64, "datetime(3)", Ok(Reading::Time { digits: 3 })),
            (FieldType::I64, "timestamp", Ok(Reading::Time { digits: 0 })),
            (FieldType::U64, "date", Ok(Reading::Date)),
            (FieldType::U32, "datetime", Err("64 bits")),
            (FieldType::I64, "time", Err("64 bits")),
            (FieldType::I64, "double", Err("fewer digits")),
            (FieldType::I32, "double", Ok(Reading::Plain)),
            (FieldType::I32, "float", Err("fewer digits")),
            (FieldType::F64, "float", Err("fewer digits")),
            (FieldType::F64, "int(11)", Err("cut the fractions")),
            (FieldType::F32, "decimal(10,2)", Ok(Reading::Plain)),
            (FieldType::F64, "point", Ok(Reading::Plain)),
            (FieldType::String, "bigint(20)", Err("cut the fractions")),
            (FieldType::String, "date", Ok(Reading::Plain)),
        ] {
            match (Reading::of(&field, column), expected) {
                (Ok(reading), Ok(expected)) => assert_eq!(reading, expected, "{column}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{column}: {error}"),
                (found, expected) => panic!("{column}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn times_have_the_precision_of_the_column() {
        let of = |digits| time(1_700_000_000_123, Reading::Time { digits }).unwrap();
        assert_eq!(of(3), Value::Date(2023, 11, 14, 22, 13, 20, 123_000));
        assert_eq!(of(6), of(3));
        assert_eq!(of(1), Value::Date(2023, 11, 14, 22, 13, 20, 100_000));
        assert_eq!(of(0), Value::Date(2023, 11, 14, 22, 13, 20, 0));
        assert_eq!(time(-1, Reading::Date).unwrap(), Value::Date(1969, 12, 31, 0, 0, 0, 0));
        for ms in [i64::MIN, i64::MAX, -62_135_596_800_001, 253_402_300_800_000] {
            assert!(time(ms, Reading::Date).unwrap_err().to_string().contains("years 1 to 9999"));
        }
    }
}
