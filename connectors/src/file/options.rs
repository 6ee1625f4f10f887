//! What every file source can be told.

use std::path::PathBuf;

use headwater::error::{Error, Result};
use headwater::source::Boundedness;

use super::paths;

/// Which files, and how they are read.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) paths: Vec<PathBuf>,
    pub(super) follow: bool,
    pub(super) line_bytes_max: usize,
    pub(super) buffer_bytes: usize,
}

impl Options {
    /// Longest line by default.
    const LINE_BYTES_MAX: usize = 16 << 20;
    /// Measured: from 128 KiB to 1 MiB it makes no difference, below that every row costs more.
    const BUFFER_BYTES: usize = 256 << 10;

    pub(super) fn new(path: PathBuf) -> Self {
        Options {
            paths: vec![path],
            follow: false,
            line_bytes_max: Self::LINE_BYTES_MAX,
            buffer_bytes: Self::BUFFER_BYTES,
        }
    }

    pub(super) fn boundedness(&self) -> Boundedness {
        if self.follow { Boundedness::Unbounded } else { Boundedness::Bounded }
    }

    pub(super) fn partitions(&self) -> Result<Vec<String>> {
        if self.line_bytes_max == 0 || self.buffer_bytes == 0 {
            return Err(Error::Config("a file source needs room for at least one byte".to_owned()));
        }
        let files = paths::files(&self.paths)?;
        files
            .into_iter()
            .map(|file| {
                file.into_os_string().into_string().map_err(|file| {
                    Error::failed(format!("the file name {file:?} is not UTF-8; rename the file"))
                })
            })
            .collect()
    }
}

/// The methods that all file sources share.
macro_rules! file_options {
    () => {
        /// Reads these paths too; each is a file, a directory or a pattern as in `new`.
        #[must_use]
        pub fn paths<P: Into<std::path::PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
            self.options.paths.extend(paths.into_iter().map(Into::into));
            self
        }

        /// Waits for more at the end of a file instead of ending, as a log that grows asks for.
        ///
        /// A line counts when its line feed is there. When another file takes the name, the old one is
        /// read to its end and then the new one from its start. A file that gets shorter is an error:
        /// what stood there is lost, so rotate by renaming. Compressed files cannot be followed. Files that
        /// appear in a directory later are read at the next start.
        #[must_use]
        pub fn follow(mut self) -> Self {
            self.options.follow = true;
            self
        }

        /// Longest line, 16 MiB if not said; a longer one is rejected as a whole without being kept in
        /// memory.
        #[must_use]
        pub fn line_bytes_max(mut self, bytes: usize) -> Self {
            self.options.line_bytes_max = bytes;
            self
        }

        /// How much is read at once, 256 KiB if not said.
        #[must_use]
        pub fn buffer_bytes(mut self, bytes: usize) -> Self {
            self.options.buffer_bytes = bytes;
            self
        }
    };
}

pub(super) use file_options;
