//! The options that all sinks into databases share.

use std::time::Duration;

use headwater::sink::OutputMode;
use headwater::{Error, Result};

/// Where rows go, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) table: String,
    /// Under which name the tokens of its epochs are kept; `None`: at-least-once.
    pub(crate) exactly_once: Option<String>,
    /// Columns by which a row replaces an older one; none: rows are added.
    pub(crate) keys: Vec<String>,
    pub(crate) creates: bool,
    pub(crate) patience: Duration,
}

impl Options {
    pub(crate) fn new(table: String) -> Self {
        let patience = Duration::from_secs(120);
        Options { table, exactly_once: None, keys: Vec::new(), creates: false, patience }
    }

    /// Adding rows shows a result that never changes, replacing them also one that does; a whole result at
    /// every epoch would need the old one to be deleted.
    pub(crate) fn accepts(&self, mode: OutputMode) -> bool {
        match mode {
            OutputMode::Append => true,
            OutputMode::Update => !self.keys.is_empty(),
            OutputMode::Complete => false,
        }
    }

    /// # Errors
    /// A name that no database takes, or keys that are no fields of the record.
    pub(crate) fn check(&self, fields: &[(String, headwater::batch::Schema)]) -> Result<()> {
        let names = std::iter::once(&self.table).chain(&self.keys).chain(&self.exactly_once);
        if let Some(name) = names.into_iter().find(|name| name.is_empty() || name.contains('\0')) {
            return Err(Error::Config(format!("{name:?} cannot be the name of a table, a key or a sink")));
        }
        if let Some(key) = self.keys.iter().find(|key| fields.iter().all(|(name, _)| name != *key)) {
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::Config(format!(
                "`upsert` names the key `{key}`, which is no field of the record; its fields are {}",
                names.join(", ")
            )));
        }
        Ok(())
    }
}

/// The methods of a sink whose options are in its field `options`.
macro_rules! sink_options {
    () => {
        /// Shows each row exactly once: with the rows of an epoch a token of it is written, in the same
        /// transaction, under this name. The name is the job's own, in its database: two jobs that share
        /// it take the tokens from each other, and the older one fails.
        #[must_use]
        pub fn exactly_once(mut self, name: impl Into<String>) -> Self {
            self.options.exactly_once = Some(name.into());
            self
        }

        /// A row replaces the one that has the same values in these columns, for which the table needs a
        /// unique index. So the sink takes results that change (`OutputMode::Update`), too. Rows that have
        /// the same key should come from one subtask: key the stream by it.
        #[must_use]
        pub fn upsert(mut self, keys: &[&str]) -> Self {
            self.options.keys = keys.iter().map(|key| (*key).to_owned()).collect();
            self
        }

        /// Makes the table when it is missing: a column per field, of a type that holds all its values;
        /// the keys of [`upsert`](Self::upsert) are its primary key.
        #[must_use]
        pub fn create_table(mut self) -> Self {
            self.options.creates = true;
            self
        }

        /// How long to wait for a database that is away or busy (two minutes) before the run fails. Nothing
        /// is lost then: the next run shows what this one could not. While it waits, the job waits.
        #[must_use]
        pub fn patience(mut self, patience: std::time::Duration) -> Self {
            self.options.patience = patience;
            self
        }
    };
}

pub(crate) use sink_options;
