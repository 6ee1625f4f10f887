//! What went wrong with a server: it is gone for now, or it refuses.

use std::error::Error as _;

use headwater::Error;
use tokio_postgres::error::DbError;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is lost, or the server is busy; another attempt may succeed. Nobody may know whether the
    /// transaction was committed.
    Lost(String),
    /// The server has not answered for as long as it may.
    Silent,
    /// The server says no, and would say so again.
    Refused(Box<DbError>),
    /// So do we.
    Failed(Error),
}

/// Classes of errors that pass: connection, resources, transactions that met, administrators.
const PASSING: &[&str] = &["08", "40", "53", "57P", "55P03", "25P03", "25P04", "58"];

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            let code = said.code().code();
            if PASSING.iter().any(|class| code.starts_with(class)) {
                return Failure::Lost(describe(said));
            }
            return Failure::Refused(Box::new(said.clone()));
        }
        let cause = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        let is_io = error.source().is_some_and(|source| source.is::<std::io::Error>());
        if is_io || error.is_closed() { Failure::Lost(cause) } else { Failure::Failed(Error::failed(cause)) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

/// What the server says, in a line.
pub(super) fn describe(said: &DbError) -> String {
    let mut text = said.message().to_owned();
    if let Some(detail) = said.detail() {
        text += &format!(" ({})", detail.trim_end_matches('.'));
    }
    text
}

/// What can be done about it, if there is something to say.
pub(super) fn way_out(said: &DbError) -> &'static str {
    match said.code().code() {
        "28P01" | "28000" => "give the right user and password in the URL",
        "3D000" => "create the database, or name another in the URL",
        "42501" => "grant the user what is missing",
        "23505" => {
            "delete the row that is there, or add `.upsert(&[..])` to the sink, and run the job again: it tries \
             this epoch again"
        }
        "23502" => {
            "give the column a value in the record, or ALTER the column to DROP NOT NULL, and run the job again"
        }
        "42P10" => {
            "`upsert` needs a unique index on its keys: CREATE UNIQUE INDEX ON the table with these columns"
        }
        code if code.starts_with("22") => {
            "ALTER the column to a type that holds the value, and run the job again: it tries this epoch again"
        }
        code if code.starts_with("23") => {
            "change the constraint or the row that is in its way, and run the job again"
        }
        _ => "change the table or the sink, and run the job again: it tries this epoch again",
    }
}
