//! `check_state_schema`: a file in the repository of a topology that notices when its state changes.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::runtime::{StateSchema, schemas_of, unreadable};
use crate::topology::Topology;

/// The variable that lets [`check_state_schema`] write its file.
const ACCEPT: &str = "HEADWATER_ACCEPT_SCHEMA";

/// Compares the state that a topology keeps with a file under version control, so that a change of it is seen
/// in a test and not by a job that refuses to start.
///
/// The file names, per operator, the fields of key and value, and those of earlier versions whose state may
/// still be somewhere. It is written when the test runs with `HEADWATER_ACCEPT_SCHEMA=1`; a change that
/// would make state unreadable is refused even then. When no state of a version is left, delete its line.
///
/// ```
/// use headwater::prelude::*;
/// use headwater::testing::check_state_schema;
/// use headwater_connectors::{Collect, Generator};
///
/// fn topology() -> Result<headwater::topology::Topology> {
///     let flow = StreamBuilder::new("parity");
///     let counts = flow.source("numbers", Generator::new(9, |n| n)).key_by(|n| n % 2).count();
///     counts.output_mode(OutputMode::Update).sink("out", Collect::new());
///     flow.build()
/// }
///
/// # let folder = std::env::temp_dir().join(format!("headwater-schema-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("parity.schema");
/// # std::fs::write(&path, "count: (u64, u64)\n")?;
/// check_state_schema(&topology()?, &path)?;
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
/// The file differs from the topology, cannot be read or cannot be written; the message says what to do.
pub fn check_state_schema(topology: &Topology, path: impl AsRef<Path>) -> Result<()> {
    let accept = std::env::var_os(ACCEPT).is_some_and(|value| value != "0" && !value.is_empty());
    check(topology, path.as_ref(), accept)
}

/// Writes the file of [`check_state_schema`], which does this itself with `HEADWATER_ACCEPT_SCHEMA=1`.
///
/// # Errors
/// The topology cannot read what the file names, or the file cannot be read or written.
pub fn write_state_schema(topology: &Topology, path: impl AsRef<Path>) -> Result<()> {
    check(topology, path.as_ref(), true)
}

fn check(topology: &Topology, path: &Path, accept: bool) -> Result<()> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io(path, error)),
    };
    let said = |what: String| Error::failed(format!("{}: {what}", path.display()));
    let mut locked = Vec::new();
    for (number, line) in text.as_deref().unwrap_or_default().lines().enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            let entry = read_line(line).ok_or_else(|| {
                said(format!(
                    "line {} is not `operator: (key, value)`; take the file back from version control, or \
                              delete it and run the test with {ACCEPT}=1",
                    number + 1
                ))
            })?;
            locked.push(entry);
        }
    }
    let reasons: Vec<_> = locked.iter().filter_map(|written| unreadable(topology, written)).collect();
    if !reasons.is_empty() {
        return Err(said(format!(
            "{}. If no such state is left anywhere, delete the line and run the test with {ACCEPT}=1",
            reasons.join("; ")
        )));
    }
    let wanted = write_file(topology, &locked);
    if text.as_deref().is_some_and(|text| same_lines(text, &wanted)) {
        return Ok(());
    }
    if accept {
        return std::fs::write(path, wanted).map_err(|error| Error::io(path, error));
    }
    Err(said(match text {
        None => {
            format!("there is no such file yet: run the test once with {ACCEPT}=1 and commit what it writes")
        }
        Some(_) => format!(
            "the state of `{}` has changed, and what was written can still be read: run the test with {ACCEPT}=1 \
             and commit the file, which becomes\n{wanted}",
            topology.name()
        ),
    }))
}

fn read_line(line: &str) -> Option<StateSchema> {
    // Names may hold spaces and colons; the schema of an entry always begins with a bracket.
    let end = [": (", " was ("].iter().filter_map(|mark| line.find(mark)).min()?;
    let (operator, rest) = line.split_at(end);
    let fields = rest.get(rest.find('(')?..)?;
    Some(StateSchema { operator: operator.to_owned(), fields: fields.to_owned() })
}

fn same_lines(a: &str, b: &str) -> bool {
    let entries = |text: &str| {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    entries(a) == entries(b)
}

fn write_file(topology: &Topology, locked: &[StateSchema]) -> String {
    let now = schemas_of(topology);
    let mut text = format!(
        "# The state of the topology `{}`, kept by headwater::testing::check_state_schema.\n",
        topology.name()
    );
    for schema in &now {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}", schema.operator, schema.fields);
        let others =
            locked.iter().filter(|was| was.operator == schema.operator && was.fields != schema.fields);
        for was in others {
            let _ = writeln!(text, "{} was {}", was.operator, was.fields);
        }
    }
    for gone in locked.iter().filter(|gone| !now.iter().any(|schema| schema.operator == gone.operator)) {
        let _ = writeln!(text, "{} was {}", gone.operator, gone.fields);
    }
    text
}
