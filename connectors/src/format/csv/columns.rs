//! `CsvColumns`: which cell of a row belongs to which field of a record.

use bumpalo::Bump;
use headwater::batch::{FieldType, Record, Schema};
use headwater::error::{Error, Result};

use super::split::split_cells;
use crate::format::json::JsonKeys;

/// The columns of a CSV file as a record type sees them.
#[derive(Debug)]
pub struct CsvColumns {
    pub(super) delimiter: u8,
    /// Number of cells of the record type.
    pub(super) width: usize,
    /// Number of cells of a row.
    pub(super) cells: usize,
    /// For each cell of a row the number of the record's cell; empty when they are the same.
    pub(super) slots: Vec<Option<usize>>,
    /// True when the type has lists, which are JSON in one cell.
    pub(super) lists: bool,
    pub(super) keys: JsonKeys,
}

/// A column that a record type wants.
struct Wanted {
    name: String,
    required: bool,
}

impl CsvColumns {
    /// The columns of rows without a header: the fields in declared order.
    ///
    /// # Errors
    /// The delimiter cannot be told from the text.
    pub fn declared<T: Record>(delimiter: u8) -> Result<Self> {
        if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\n' | b'\r') {
            return Err(Error::Config(format!(
                "{:?} cannot separate cells; choose an ASCII character other than a quote or a line end",
                char::from(delimiter)
            )));
        }
        Ok(CsvColumns {
            delimiter,
            width: T::WIDTH,
            cells: T::WIDTH,
            slots: Vec::new(),
            lists: has_list(&T::schema()),
            keys: JsonKeys::default(),
        })
    }

    /// The columns that a header names, in any order; those that the record type does not know are ignored.
    ///
    /// # Errors
    /// A column that is not optional is missing, or there twice.
    pub fn named<T: Record>(header: &str, delimiter: u8) -> Result<Self> {
        let mut columns = CsvColumns::declared::<T>(delimiter)?;
        let arena = Bump::new();
        let mut found = Vec::new();
        split_cells(header, delimiter, &arena, |_, cell| found.push(cell.text.trim()))
            .map_err(|error| Error::failed(format!("the header cannot be read: {error}")))?;
        let wanted = wanted_columns(&T::schema());
        let missing: Vec<_> = wanted
            .iter()
            .filter(|column| column.required && !found.contains(&column.name.as_str()))
            .collect();
        if !missing.is_empty() {
            return Err(Error::failed(missing_message(&missing, &wanted, &found, delimiter)));
        }
        if let Some(twice) =
            wanted.iter().find(|column| found.iter().filter(|name| **name == column.name).count() > 1)
        {
            return Err(Error::failed(format!("the header has the column `{}` twice", twice.name)));
        }
        let slots: Vec<_> =
            found.iter().map(|name| wanted.iter().position(|column| column.name == *name)).collect();
        columns.cells = found.len();
        let same =
            slots.len() == columns.width && slots.iter().enumerate().all(|(at, slot)| *slot == Some(at));
        columns.slots = if same { Vec::new() } else { slots };
        Ok(columns)
    }

    /// The byte between two cells.
    #[must_use]
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// True when a row without quotes can be read from left to right.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.slots.is_empty() && !self.lists
    }
}

fn has_list(schema: &Schema) -> bool {
    match &schema.field_type {
        FieldType::List(_) => true,
        FieldType::Option(inner) => has_list(inner),
        FieldType::Record(fields) => fields.iter().any(|(_, field)| has_list(field)),
        _ => false,
    }
}

/// The columns in the order of [`Schema::columns`], and whether a row can do without them.
fn wanted_columns(schema: &Schema) -> Vec<Wanted> {
    fn collect(schema: &Schema, required: bool, out: &mut Vec<bool>) {
        match &schema.field_type {
            FieldType::Record(fields) => {
                for (_, field) in fields {
                    collect(field, required, out);
                }
            }
            FieldType::Option(inner) => collect(inner, false, out),
            _ => out.push(required),
        }
    }
    let mut required = Vec::new();
    collect(schema, true, &mut required);
    let columns = schema.columns().into_iter().zip(required);
    columns.map(|(name, required)| Wanted { name, required }).collect()
}

fn listed<'s>(names: impl Iterator<Item = &'s str>) -> String {
    const NAMES_MAX: usize = 30;
    let names: Vec<_> = names.collect();
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Says what the header lacks, what it has, and what is probably meant.
fn missing_message(missing: &[&Wanted], wanted: &[Wanted], found: &[&str], delimiter: u8) -> String {
    let plural = if missing.len() == 1 { "" } else { "s" };
    let lacking = listed(missing.iter().map(|column| column.name.as_str()));
    let mut message =
        format!("the header lacks the column{plural} {lacking}; it has {}", listed(found.iter().copied()));
    let other = [b',', b';', b'\t', b'|']
        .into_iter()
        .filter(|other| *other != delimiter)
        .map(|other| (found.first().map_or(0, |name| name.matches(char::from(other)).count()), other))
        .max_by_key(|(count, _)| *count)
        .filter(|(count, _)| found.len() == 1 && *count > 0);
    let renamed = missing.iter().find_map(|column| {
        found.iter().find(|name| name.eq_ignore_ascii_case(&column.name)).map(|name| (name, &column.name))
    });
    if let Some((_, other)) = other {
        let other = char::from(other);
        message += &format!("; if its cells are separated by {other:?}, say `.delimiter(b{other:?})`");
    } else if let Some((name, field)) = renamed {
        message += &format!("; to read `{name}` into `{field}`, put `#[record(rename = \"{name}\")]` on it");
    } else if !wanted.iter().any(|column| found.contains(&column.name.as_str())) {
        message += "; if the file has no header, say `.header(false)`";
    }
    message
}
