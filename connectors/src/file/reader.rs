//! `FileReader`: opens one file, keeps its place in it, and reads on until there is no more.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::PathBuf;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::error::{Error, Result};
use headwater::source::{Poll, SourceOutput, SourceReader};

use super::input::Input;
use super::options::Options;
use super::window::Window;
use crate::format::RecordEnd;

/// Most reads in one poll that find no record, so that a poll stays short.
const FILLS_MAX: usize = 16;

/// Where a reader stands in a file, between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, headwater::prelude::Record)]
pub struct FilePosition {
    /// Offset in the text, after decompression.
    pub offset: u64,
    /// Number of lines before it.
    pub line: u64,
    /// Which file has the name, where the name can pass to another: the inode of a followed file, else 0.
    pub file: u64,
}

/// How the text of one file is cut into records and read.
pub(super) trait TextFormat<T: Record>: Send {
    /// Whether an empty line is a record.
    const BLANK_LINES: bool;

    /// The end of the first record; `None` when it is not complete. `last` says that no text follows.
    fn record_end(&self, bytes: &[u8], last: bool) -> Option<RecordEnd>;

    /// Reads the record on the first line of `lines` where its end need not be looked for before, and gives
    /// the length of that line. `None` says no more than that `record_end` and `decode` must do it.
    #[inline]
    fn decode_ahead<'a>(&mut self, _lines: &'a str, _arena: &'a Bump) -> Option<(T::View<'a>, usize)> {
        None
    }

    /// Reads one record, given without its line end.
    fn decode<'a>(
        &mut self,
        text: &'a str,
        quoted: bool,
        arena: &'a Bump,
    ) -> Result<T::View<'a>, DecodeError>;

    /// True until a header has been taken, if there must be one.
    fn wants_header(&self) -> bool {
        false
    }

    /// Takes the header.
    fn take_header(&mut self, _text: &str) -> Result<()> {
        Ok(())
    }

    /// Another file begins.
    fn restart(&mut self) {}
}

/// Reads the records of one file.
pub(super) struct FileReader<T, F> {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    pub(super) input: Input,
    pub(super) window: Window,
    /// Number of lines before the window.
    pub(super) line: u64,
    /// Text before this offset is passed over: a compressed file can only be read from its start.
    pub(super) seek: u64,
    /// See [`FilePosition::file`].
    pub(super) file: u64,
    /// True when another file has taken the name and the rest of this one is being read.
    pub(super) replaced: bool,
    /// A line too long to keep, while it passes.
    pub(super) passing: Option<Passing>,
    /// What stopped the reading, to be said once the records before it are on their way.
    pub(super) failure: Option<Error>,
    pub(super) format: F,
    pub(super) arena: Bump,
    pub(super) _record: PhantomData<fn() -> T>,
}

/// A line that is passed over because it is too long.
pub(super) struct Passing {
    pub(super) offset: u64,
    pub(super) length: u64,
    /// True when its last byte so far is a carriage return.
    pub(super) returned: bool,
    pub(super) start: Vec<u8>,
}

impl<T: Record, F: TextFormat<T>> FileReader<T, F> {
    /// Opens a file at its start or at a position.
    ///
    /// # Errors
    /// The file cannot be read, lacks what its header needs, or no longer has the position.
    pub(super) fn open(
        partition: &str,
        position: Option<FilePosition>,
        options: &Options,
        format: F,
    ) -> Result<Self> {
        let path = PathBuf::from(partition);
        let input = Input::open(&path)?;
        if options.follow && input.is_compressed() {
            return Err(Error::Config(format!(
                "`{partition}` is compressed; only plain files can be followed"
            )));
        }
        let mut reader = FileReader {
            file: if options.follow { identity(&input.metadata()?) } else { 0 },
            input,
            window: Window::new(0, options.buffer_bytes),
            line: 0,
            seek: 0,
            replaced: false,
            passing: None,
            failure: None,
            format,
            arena: Bump::new(),
            options: options.clone(),
            path,
            _record: PhantomData,
        };
        reader.read_header()?;
        if let Some(position) = position {
            reader.seek(position)?;
        }
        Ok(reader)
    }

    /// Reads as far as the header goes, if one is wanted and there.
    fn read_header(&mut self) -> Result<()> {
        while self.format.wants_header() {
            let ended = !self.pass_mark() && !self.take_header()? && self.refill()?.is_some();
            if ended {
                break;
            }
        }
        Ok(())
    }

    fn seek(&mut self, position: FilePosition) -> Result<()> {
        if position.file != self.file {
            return Err(self.error(
                "another file has taken the name since the last run, and the rest of the old one cannot be \
                 found; give the file its old name back, or start without the saved state",
            ));
        }
        if position.offset <= self.window.offset() {
            return Ok(());
        }
        self.line = position.line;
        if self.input.is_compressed() {
            self.seek = position.offset;
            return Ok(());
        }
        let length = self.input.length()?;
        if length < position.offset {
            return Err(self.too_short(position.offset, length));
        }
        self.input.seek(position.offset)?;
        self.window = Window::new(position.offset, self.options.buffer_bytes);
        Ok(())
    }

    pub(super) fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::failed(format!("`{}`: {message}", self.path.display()))
    }

    fn too_short(&self, offset: u64, length: u64) -> Error {
        self.error(format!(
            "has become shorter: {offset} bytes of it were read, but it has only {length}; it must not be \
             cut while its position is kept (to rotate it, rename it)"
        ))
    }

    /// Reads on; says what the poll must return when there is nothing to read.
    fn refill(&mut self) -> Result<Option<Poll>> {
        if self.window.is_last() {
            if self.replaced {
                return self.reopen().map(|()| None);
            }
            self.window.release();
            return Ok(Some(Poll::Finished));
        }
        let left = if self.input.is_compressed() {
            usize::MAX
        } else {
            // One more byte, so that the end is seen without a buffer that is larger than the file.
            let length = self.input.length()?;
            usize::try_from(length.saturating_sub(self.window.offset_read()) + 1).unwrap_or(usize::MAX)
        };
        match self.window.fill(&mut self.input, left) {
            Ok(0) => self.ended(),
            Ok(_) => Ok(None),
            Err(error) => Err(self.input.failure(self.window.offset_read(), error)),
        }
    }

    /// The file has no more for now.
    fn ended(&mut self) -> Result<Option<Poll>> {
        if self.window.offset_read() < self.seek {
            return Err(self.too_short(self.seek, self.window.offset_read()));
        }
        if !self.options.follow || self.replaced {
            self.window.finish();
            return Ok(None);
        }
        let length = self.input.length()?;
        if length < self.window.offset_read() {
            return Err(self.too_short(self.window.offset_read(), length));
        }
        match std::fs::metadata(&self.path) {
            // What was written before the name passed on is read before the next file.
            Ok(metadata) if identity(&metadata) != self.file => {
                self.replaced = true;
                Ok(None)
            }
            Ok(_) => Ok(Some(Poll::Idle)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(Poll::Idle)),
            Err(error) => Err(Error::io(&self.path, error)),
        }
    }

    /// Goes on with the file that has taken the name.
    fn reopen(&mut self) -> Result<()> {
        self.input = Input::open(&self.path)?;
        if self.input.is_compressed() {
            return Err(self.error("is compressed now; only plain files can be followed"));
        }
        self.file = identity(&self.input.metadata()?);
        self.window = Window::new(0, self.options.buffer_bytes);
        (self.line, self.seek, self.replaced) = (0, 0, false);
        self.format.restart();
        Ok(())
    }
}

impl<T: Record, F: TextFormat<T>> SourceReader<T, FilePosition> for FileReader<T, F> {
    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Poll> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.arena.reset();
        let mut delivered = false;
        for _ in 0..FILLS_MAX {
            while !out.is_full() && self.deliver(out)? {
                delivered = true;
            }
            if out.is_full() {
                return Ok(Poll::More);
            }
            // One more byte than allowed may be a carriage return whose line feed is to come.
            if self.passing.is_none() && self.window.len() > self.options.line_bytes_max + 1 {
                self.overflow(out)?;
                continue;
            }
            match self.refill() {
                Ok(None) => {}
                Ok(Some(poll)) => return Ok(poll),
                Err(error) if delivered => {
                    self.failure = Some(error);
                    return Ok(Poll::More);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Poll::More)
    }

    fn position(&self) -> FilePosition {
        let offset = match &self.passing {
            Some(passing) => passing.offset,
            None => self.window.offset().max(self.seek),
        };
        FilePosition { offset, line: self.line, file: self.file }
    }
}

/// The number by which the system knows a file, whatever its name.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

/// The number by which the system knows a file, whatever its name.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> u64 {
    0
}
