//! `Routes`: the folder of a row, from the values of some of its fields.

use std::fmt::Write;

use headwater::batch::{Encoder, FieldType, Record, Schema, hash_bytes};
use headwater::{Error, Result};

/// What stands for a value that is missing, as in Hive.
const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

/// Longest value that is a name of a folder as it is; what is longer is cut, with its hash.
const VALUE_BYTES_MAX: usize = 160;

const DAY_MS: i64 = 86_400_000;

/// One level of folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// `country=FR`
    Field(String),
    /// `date=2026-11-22`, the day of a time in milliseconds.
    Day(String),
}

impl Level {
    fn field(&self) -> &str {
        match self {
            Level::Field(field) | Level::Day(field) => field,
        }
    }

    fn folder(&self) -> &str {
        match self {
            Level::Field(field) => field,
            Level::Day(_) => "date",
        }
    }
}

/// Where rows go below the folder of the sink.
#[derive(Debug)]
pub(super) struct Routes {
    levels: Vec<Level>,
    /// Which level each field of the record is, by number.
    wanted: Vec<Option<usize>>,
    /// The values of one row.
    values: Vec<String>,
    folder: String,
}

impl Routes {
    /// # Errors
    /// A level names no field, or one whose values are no names of folders.
    pub(super) fn of<T: Record>(levels: &[Level]) -> Result<Routes> {
        let schema = T::schema();
        let fields: &[(String, Schema)] = match &schema.field_type {
            FieldType::Record(fields) => fields,
            _ => &[],
        };
        let mut wanted = vec![None; fields.len()];
        for (at, level) in levels.iter().enumerate() {
            if levels[..at]
                .iter()
                .any(|other| other.folder() == level.folder() || other.field() == level.field())
            {
                let twice = level.field();
                return Err(Error::Config(format!(
                    "the field `{twice}` makes folders of a name that others make"
                )));
            }
            let Some(index) = fields.iter().position(|(name, _)| name == level.field()) else {
                let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Error::Config(format!(
                    "folders are to be made of `{}`, which is no field of the record; its fields are {}",
                    level.field(),
                    names.join(", ")
                )));
            };
            let mut field_type = &fields[index].1.field_type;
            while let FieldType::Option(inner) = field_type {
                field_type = &inner.field_type;
            }
            let fits = match level {
                Level::Day(_) => matches!(field_type, FieldType::I64),
                Level::Field(_) => !matches!(
                    field_type,
                    FieldType::F32 | FieldType::F64 | FieldType::List(_) | FieldType::Record(_)
                ),
            };
            if !fits {
                return Err(Error::Config(format!(
                    "folders cannot be made of `{}`, which is {}: take an integer, a bool or a text, and for days \
                     an i64 with milliseconds since 1970",
                    level.field(),
                    fields[index].1
                )));
            }
            wanted[index] = Some(at);
        }
        let values = vec![String::new(); levels.len()];
        Ok(Routes { levels: levels.to_vec(), wanted, values, folder: String::new() })
    }

    /// The folder of a row, with a slash between two levels; empty without levels.
    pub(super) fn folder<T: Record>(&mut self, view: T::View<'_>) -> &str {
        if self.levels.is_empty() {
            return "";
        }
        T::encode(view, &mut Picker { routes: self, depth: 0, field: 0 });
        self.folder.clear();
        for (level, value) in self.levels.iter().zip(&self.values) {
            if !self.folder.is_empty() {
                self.folder.push('/');
            }
            escape(level.folder(), &mut self.folder);
            self.folder.push('=');
            self.folder.push_str(value);
        }
        &self.folder
    }
}

/// Writes a text so that it is one name of a file system and of an object store, whatever it holds.
fn escape(text: &str, out: &mut String) {
    let start = out.len();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' => out.push(character),
            '\u{a0}'.. => out.push(character),
            other => {
                let mut bytes = [0; 4];
                for byte in other.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
    if out.len() - start > VALUE_BYTES_MAX {
        let mut end = start + VALUE_BYTES_MAX;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        let _ = write!(out, "~{:016x}", hash_bytes(text.as_bytes()));
    }
}

/// The day of a time, `YYYY-MM-DD`.
fn day(time_ms: i64, out: &mut String) {
    // Days since 0000-03-01 in eras of 400 years, so that a leap day is the last of its year.
    let days = time_ms.div_euclid(DAY_MS) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
}

/// Picks the values of some fields out of a row.
struct Picker<'r> {
    routes: &'r mut Routes,
    depth: usize,
    /// Fields so far.
    field: usize,
}

impl Picker<'_> {
    fn value(&mut self, write: impl FnOnce(&Level, &mut String)) {
        if self.depth != 1 || self.field == 0 {
            return;
        }
        let Some(Some(level)) = self.routes.wanted.get(self.field - 1) else { return };
        let value = &mut self.routes.values[*level];
        value.clear();
        write(&self.routes.levels[*level], value);
    }

    fn shown(&mut self, shown: impl std::fmt::Display) {
        self.value(|_, value| {
            let _ = write!(value, "{shown}");
        });
    }
}

impl Encoder for Picker<'_> {
    fn null(&mut self, _: usize) {
        self.shown(MISSING);
    }

    fn bool(&mut self, value: bool) {
        self.shown(value);
    }

    fn u64(&mut self, value: u64) {
        self.shown(value);
    }

    fn i64(&mut self, number: i64) {
        self.value(|level, value| match level {
            Level::Day(_) => day(number, value),
            Level::Field(_) => {
                let _ = write!(value, "{number}");
            }
        });
    }

    fn u128(&mut self, value: u128) {
        self.shown(value);
    }

    fn i128(&mut self, value: i128) {
        self.shown(value);
    }

    fn f64(&mut self, _: f64) {}

    fn f32(&mut self, _: f32) {}

    fn str(&mut self, text: &str) {
        self.value(|_, value| escape(text, value));
    }

    fn begin_record(&mut self) {
        self.depth += 1;
    }

    fn field(&mut self, _: &'static str) {
        self.field += usize::from(self.depth == 1);
    }

    fn end_record(&mut self) {
        self.depth -= 1;
    }

    fn begin_list(&mut self) {
        self.depth += 1;
    }

    fn item(&mut self) {}

    fn end_list(&mut self) {
        self.depth -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (String, i64, Option<u8>, (String, u8));

    #[test]
    fn a_row_goes_to_the_folder_of_its_values_and_nowhere_else() {
        let levels = [Level::Field("_1".into()), Level::Day("_2".into()), Level::Field("_3".into())];
        let mut routes = Routes::of::<Row>(&levels).unwrap();
        let mut folder = |country: &str, at, number| {
            let row: Row = (country.into(), at, number, ("never".into(), 9));
            routes.folder::<Row>(row.view()).to_owned()
        };
        assert_eq!(folder("FR", 1_763_769_600_000, Some(7)), "_1=FR/date=2025-11-22/_3=7");
        assert_eq!(folder("", -1, None), "_1=/date=1969-12-31/_3=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(folder("é b", 0, None).split('/').next(), Some("_1=é%20b"));
        for escape in ["../../etc", "/etc", "a\\b", "a\0b", "..", ".", "a=b", "\u{85}"] {
            let folder = folder(escape, 0, None);
            assert_eq!(folder.split('/').count(), 3, "{folder}");
            assert!(folder.starts_with("_1=") && !folder.contains(['\\', '\0', '\u{85}']), "{folder}");
        }
        let (long, longer) = ("ä".repeat(500), "ä".repeat(501));
        assert!(folder(&long, 0, None).split('/').all(|name| name.len() < 255));
        assert_ne!(folder(&long, 0, None), folder(&longer, 0, None));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let of = |ms| {
            let mut text = String::new();
            day(ms, &mut text);
            text
        };
        assert_eq!(of(951_782_400_000), "2000-02-29");
        assert_eq!(of(951_868_800_000), "2000-03-01");
        assert_eq!(of(4_107_542_400_000 - 1), "2100-02-28");
        assert_eq!(of(-62_135_596_800_000), "0001-01-01");
    }

    #[test]
    fn fields_that_are_no_names_are_refused() {
        let refused = |level| Routes::of::<(f64, i64, Vec<u8>)>(&[level]).unwrap_err().to_string();
        assert!(refused(Level::Field("_1".into())).contains("cannot be made of `_1`, which is f64"));
        assert!(refused(Level::Field("_3".into())).contains("list<u8>"));
        assert!(refused(Level::Day("x".into())).contains("its fields are _1, _2, _3"));
    }
}
