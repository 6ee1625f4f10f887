//! Sinks into databases and sources out of them, on real ones: each row is there once, whatever happens.
//!
//! Those of servers need them: `scripts/services up postgres mariadb; eval "$(scripts/services env)"`.
#![cfg(all(feature = "mariadb", feature = "postgres", feature = "sqlite"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers stand outside of test functions"
)]

mod crashes;
mod kit;
mod mariadb;
mod place;
mod refusals;
mod server;
mod source;
mod values;

use headwater::batch::{BatchBuilder, BatchLimits, Record};
use headwater::prelude::*;
use headwater::sink::{Cut, Sink, SinkWriter, Staged, Subtask};
use headwater::time::Epoch;

pub(crate) use self::place::{Kind, Place, on_all, on_servers, server};

pub(crate) const ONLY: Subtask = Subtask { index: 0, count: 1 };

pub(crate) fn cut(epoch: u64) -> Cut {
    Cut { epoch: Epoch(epoch), is_last: false, now_ms: epoch }
}

/// Writes rows as one epoch, and gives what it keeps.
pub(crate) fn stage<T: Record>(writer: &mut dyn SinkWriter<T>, epoch: u64, rows: &[T]) -> Result<Staged> {
    let mut batch = BatchBuilder::new(BatchLimits::default());
    rows.iter().try_for_each(|row| batch.push(row.view())).unwrap();
    if let Some(batch) = batch.finish() {
        writer.write(&batch)?;
    }
    writer.prepare(cut(epoch))
}

/// Writes and shows rows as the first epoch of a new writer.
pub(crate) fn show<T: Record>(sink: &impl Sink<T>, rows: &[T]) -> Result<()> {
    let mut writer = sink.open(ONLY)?;
    let staged = stage(&mut *writer, 1, rows)?;
    writer.commit(Epoch(1), &staged).map(|_| ())
}

/// The error of something that must not succeed.
pub(crate) fn refused<R>(result: Result<R>) -> String {
    match result {
        Ok(_) => panic!("this must fail"),
        Err(error) => {
            let text = error.to_string();
            for variable in ["POSTGRES_URL", "MARIADB_URL"] {
                let password = std::env::var(variable).ok();
                let password = password.as_deref().and_then(|url| url.split(':').nth(2)?.split('@').next());
                let is_shown = password.is_some_and(|password| text.contains(password));
                assert!(!is_shown, "an error shows the password");
            }
            text
        }
    }
}

/// An error says all of this.
pub(crate) fn has(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
}
