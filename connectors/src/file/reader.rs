//! `FileReader`: takes records from a window over one file and keeps the place of each.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use bumpalo::Bump;
use headwater::batch::{DecodeError, Record};
use headwater::error::{Error, Result};
use headwater::source::{Poll, Rejected, SourceOutput, SourceReader};

use super::input::Input;
use super::options::Options;
use super::window::Window;
use crate::format::RecordEnd;

/// How much text is checked for UTF-8 at once; what a poll leaves of it is checked again by the next.
const CHUNK_BYTES: usize = 32 << 10;
/// Most reads in one poll that find no record, so that a poll stays short.
const FILLS_MAX: usize = 16;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

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
    path: PathBuf,
    options: Options,
    input: Input,
    window: Window,
    /// Number of lines before the window.
    line: u64,
    /// Text before this offset is passed over: a compressed file can only be read from its start.
    seek: u64,
    /// See [`FilePosition::file`].
    file: u64,
    /// True when another file has taken the name and the rest of this one is being read.
    replaced: bool,
    /// A line too long to keep, while it passes.
    passing: Option<Passing>,
    /// What stopped the reading, to be said once the records before it are on their way.
    failure: Option<Error>,
    format: F,
    arena: Bump,
    _record: PhantomData<fn() -> T>,
}

/// A line that is passed over because it is too long.
struct Passing {
    offset: u64,
    length: u64,
    /// True when its last byte so far is a carriage return.
    returned: bool,
    start: Vec<u8>,
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
        let length = self.input.metadata()?.len();
        if length < position.offset {
            return Err(self.too_short(position.offset, length));
        }
        self.input.seek(position.offset)?;
        self.window = Window::new(position.offset, self.options.buffer_bytes);
        Ok(())
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::failed(format!("`{}`: {message}", self.path.display()))
    }

    fn too_short(&self, offset: u64, length: u64) -> Error {
        self.error(format!(
            "has become shorter: {offset} bytes of it were read, but it has only {length}; it must not be cut \
             while its position is kept (to rotate it, rename it)"
        ))
    }

    fn rejected(&self, reason: impl Into<String>, payload: &[u8]) -> Rejected {
        Rejected {
            origin: self.path.display().to_string(),
            line: self.line + 1,
            offset: self.window.offset(),
            reason: reason.into(),
            payload: Rejected::text(without_line_end(payload)),
        }
    }

    /// Takes what can be taken without reading; false when more text is needed.
    fn deliver(&mut self, out: &mut SourceOutput<'_, T>) -> Result<bool> {
        if self.window.offset() < self.seek {
            let passed = (self.seek - self.window.offset()).min(self.window.len() as u64);
            self.window.take(passed as usize);
            return Ok(passed > 0);
        }
        if self.passing.is_some() {
            return self.pass_line(out);
        }
        if self.window.ready().is_empty() {
            return Ok(false);
        }
        if self.pass_mark() {
            return Ok(true);
        }
        if self.format.wants_header() {
            return self.take_header();
        }
        Ok(self.deliver_chunk(out)? || self.deliver_one(out)?)
    }

    /// Passes over a byte order mark.
    fn pass_mark(&mut self) -> bool {
        let marked = self.window.offset() == 0 && self.window.ready().starts_with(BYTE_ORDER_MARK);
        if marked {
            self.window.take(BYTE_ORDER_MARK.len());
        }
        marked
    }

    /// Takes the header or an empty line in front of it; false when it is not complete.
    fn take_header(&mut self) -> Result<bool> {
        let bytes = self.window.ready();
        let Some(end) = self.format.record_end(bytes, self.window.is_last()) else {
            if self.window.is_last() && !bytes.is_empty() {
                return Err(self.error("a quoted cell in the header is never closed"));
            }
            if self.window.len() > self.options.line_bytes_max {
                let most = self.options.line_bytes_max;
                return Err(self.error(format!("the header has more than the {most} bytes allowed")));
            }
            return Ok(false);
        };
        let header = without_line_end(&bytes[..end.length]);
        if !header.is_empty() {
            let header = std::str::from_utf8(header)
                .map_err(|error| self.error(format!("the header is not UTF-8: {error}")))?;
            self.format
                .take_header(header)
                .map_err(|error| Error::failed(format!("`{}`: {error}", self.path.display())))?;
        }
        self.line += line_count(&bytes[..end.length], end.quoted);
        self.window.take(end.length);
        Ok(true)
    }

    /// Takes complete records of valid text, many at once.
    fn deliver_chunk(&mut self, out: &mut SourceOutput<'_, T>) -> Result<bool> {
        let bytes = self.window.ready();
        let (chunk, mut last) = match bytes.get(..CHUNK_BYTES) {
            Some(chunk) => (lines(chunk), false),
            None => (bytes, self.window.is_last()),
        };
        let text = match simdutf8::compat::from_utf8(chunk) {
            Ok(text) => text,
            Err(error) => {
                last = false;
                std::str::from_utf8(lines(&chunk[..error.valid_up_to()])).unwrap_or_default()
            }
        };
        let (mut at, mut line) = (0, self.line);
        while !out.is_full()
            && let Some(rest) = text.get(at..)
            && let Some(end) = self.format.record_end(rest.as_bytes(), last)
        {
            let record = rest.get(..end.length).unwrap_or_default();
            let lines = if end.quoted { line_count(record.as_bytes(), true) } else { 1 };
            let record = match record.strip_suffix('\n') {
                Some(line) => line.strip_suffix('\r').unwrap_or(line),
                None => record,
            };
            if (F::BLANK_LINES || !record.is_empty()) && record.len() <= self.options.line_bytes_max {
                match self.format.decode(record, end.quoted, &self.arena) {
                    Ok(view) => out.push(view)?,
                    Err(error) => {
                        let offset = self.window.offset() + at as u64;
                        out.reject(&refusal(&self.path, line, offset, error.to_string(), record))?;
                    }
                }
            } else if !record.is_empty() {
                let reason = too_long(record.len() as u64, &self.options);
                let offset = self.window.offset() + at as u64;
                out.reject(&refusal(&self.path, line, offset, reason, record))?;
            }
            at += end.length;
            line += lines;
        }
        self.line = line;
        self.window.take(at);
        Ok(at > 0)
    }

    /// Takes the first record alone: it is longer than a chunk, not UTF-8, or not closed.
    #[cold]
    fn deliver_one(&mut self, out: &mut SourceOutput<'_, T>) -> Result<bool> {
        let bytes = self.window.ready();
        let Some(end) = self.format.record_end(bytes, self.window.is_last()) else {
            if self.window.is_last() {
                self.reject_line("a quoted cell that starts on this line is never closed", out)?;
            }
            return Ok(self.window.is_last());
        };
        let record = without_line_end(&bytes[..end.length]);
        if record.len() > self.options.line_bytes_max {
            out.reject(&self.rejected(too_long(record.len() as u64, &self.options), record))?;
        } else {
            match simdutf8::compat::from_utf8(record) {
                Err(error) => {
                    let at = error.valid_up_to();
                    let byte = record.get(at).copied().unwrap_or_default();
                    let offset = self.window.offset() + at as u64;
                    let reason = format!("not UTF-8: the byte {byte:#04x} at offset {offset}");
                    out.reject(&self.rejected(reason, record))?;
                }
                Ok(text) => match self.format.decode(text, end.quoted, &self.arena) {
                    Ok(view) => out.push(view)?,
                    Err(error) => {
                        let offset = self.window.offset();
                        out.reject(&refusal(&self.path, self.line, offset, error.to_string(), text))?;
                    }
                },
            }
        }
        self.line += line_count(&bytes[..end.length], end.quoted);
        self.window.take(end.length);
        Ok(true)
    }

    /// Rejects the first line, whatever record it begins.
    fn reject_line(&mut self, reason: &str, out: &mut SourceOutput<'_, T>) -> Result<()> {
        let bytes = self.window.ready();
        let length = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        out.reject(&self.rejected(reason, &bytes[..length]))?;
        self.line += 1;
        self.window.take(length);
        Ok(())
    }

    /// The first record is longer than what may be kept.
    fn overflow(&mut self, out: &mut SourceOutput<'_, T>) -> Result<()> {
        let most = self.options.line_bytes_max;
        if !self.window.ready().is_empty() {
            let reason = format!("a quoted cell that starts on this line is not closed within {most} bytes");
            return self.reject_line(&reason, out);
        }
        let offset = self.window.offset();
        self.passing = Some(Passing { offset, length: 0, returned: false, start: Vec::new() });
        Ok(())
    }

    /// Passes over as much as there is of a line that is too long, and rejects it at its end.
    fn pass_line(&mut self, out: &mut SourceOutput<'_, T>) -> Result<bool> {
        let Some(passing) = &mut self.passing else { return Ok(false) };
        let bytes = self.window.all();
        let end = memchr::memchr(b'\n', bytes);
        let passed = end.unwrap_or(bytes.len());
        let returned = if passed > 0 { bytes[passed - 1] == b'\r' } else { passing.returned };
        passing.returned = returned;
        passing.length += passed as u64;
        let wanted = Rejected::PAYLOAD_BYTES_MAX - passing.start.len();
        passing.start.extend_from_slice(&bytes[..passed.min(wanted)]);
        self.window.take(passed + usize::from(end.is_some()));
        let ended = end.is_some() || self.window.is_last();
        if ended && let Some(passing) = self.passing.take() {
            let length = passing.length - u64::from(passing.returned && end.is_some());
            let start = passing.start.get(..length as usize).unwrap_or(&passing.start);
            let rejected = self.rejected(too_long(length, &self.options), start);
            out.reject(&Rejected { offset: passing.offset, ..rejected })?;
            self.line += 1;
        }
        Ok(ended || passed > 0)
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
            let length = self.input.metadata()?.len();
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
        let length = self.input.metadata()?.len();
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

#[cold]
fn refusal(path: &Path, line: u64, offset: u64, reason: String, record: &str) -> Rejected {
    let origin = path.display().to_string();
    Rejected { origin, line: line + 1, offset, reason, payload: Rejected::text(record.as_bytes()) }
}

#[cold]
fn too_long(length: u64, options: &Options) -> String {
    format!("the line has {length} bytes, more than the {} allowed", options.line_bytes_max)
}

/// The part up to and including the last line feed.
fn lines(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)]
}

/// Number of lines that a record takes.
fn line_count(record: &[u8], quoted: bool) -> u64 {
    let inside = record.strip_suffix(b"\n").unwrap_or(record);
    if quoted { memchr::memchr_iter(b'\n', inside).count() as u64 + 1 } else { 1 }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
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
