//! Shared parts of the measurements: data sets, a process timer, result digests and tables.

pub mod dataset;
pub mod digest;
pub mod engine;
pub mod machine;
pub mod meter;
pub mod process;
pub mod report;
pub mod workload;

/// What goes wrong in a measurement, always with what it was about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{what}: {cause}")]
    Io {
        /// The path or the step.
        what: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A program could not be started or ended with an error.
    #[error("{0}")]
    Failed(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what an input or output error was about.
pub(crate) trait Context<T> {
    fn context(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|cause| Error::Io { what: what.to_string(), cause })
    }
}
