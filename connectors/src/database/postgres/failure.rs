//! What PostgreSQL says when something goes wrong: it is gone for now, or it refuses.

use std::error::Error as _;

use headwater::Error;
use tokio_postgres::error::DbError;

use super::super::failure::{self, Refusal, way};

/// Why something was not done.
pub(super) type Failure = failure::Failure<DbError>;

/// Classes of errors that pass: connection, resources, transactions that met, administrators.
const PASSING: &[&str] = &["08", "40", "53", "57P", "55P03", "25P03", "25P04", "58"];

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            let code = said.code().code();
            if PASSING.iter().any(|class| code.starts_with(class)) {
                return Failure::Lost(said.describe());
            }
            return Failure::Refused(Box::new(said.clone()));
        }
        let cause = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        let is_io = error.source().is_some_and(|source| source.is::<std::io::Error>());
        if is_io || error.is_closed() { Failure::Lost(cause) } else { Failure::Failed(Error::failed(cause)) }
    }
}

impl Refusal for DbError {
    fn describe(&self) -> String {
        let mut text = self.message().to_owned();
        if let Some(detail) = self.detail() {
            text += &format!(" ({})", detail.trim_end_matches('.'));
        }
        text
    }

    fn way_out(&self) -> &'static str {
        match self.code().code() {
            "28P01" | "28000" => way::USER,
            "3D000" => way::DATABASE,
            "42501" => way::GRANT,
            "23505" => way::UNIQUE,
            "23502" => way::NULL,
            "42P10" => {
                "`upsert` needs a unique index on its keys: CREATE UNIQUE INDEX ON the table with these columns"
            }
            code if code.starts_with("22") => way::VALUE,
            code if code.starts_with("23") => way::CONSTRAINT,
            _ => way::OTHER,
        }
    }
}
