//! From bytes to records: what a `FileReader` takes from its window, and what it refuses.

use std::path::Path;

use headwater::batch::Record;
use headwater::error::{Error, Result};
use headwater::source::{Rejected, SourceOutput};

use super::options::Options;
use super::reader::{FileReader, Passing, TextFormat};

/// How much text is checked for UTF-8 at once; what a poll leaves of it is checked again by the next.
const CHUNK_BYTES: usize = 32 << 10;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl<T: Record, F: TextFormat<T>> FileReader<T, F> {
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
    pub(super) fn deliver(&mut self, out: &mut SourceOutput<'_, T>) -> Result<bool> {
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
    pub(super) fn pass_mark(&mut self) -> bool {
        let marked = self.window.offset() == 0 && self.window.ready().starts_with(BYTE_ORDER_MARK);
        if marked {
            self.window.take(BYTE_ORDER_MARK.len());
        }
        marked
    }

    /// Takes the header or an empty line in front of it; false when it is not complete.
    pub(super) fn take_header(&mut self) -> Result<bool> {
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
            && let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty())
        {
            if let Some((view, length)) = self.format.decode_ahead(rest, &self.arena)
                && length <= self.options.line_bytes_max
            {
                out.push(view)?;
                (at, line) = (at + length, line + 1);
                continue;
            }
            let Some(end) = self.format.record_end(rest.as_bytes(), last) else { break };
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
    pub(super) fn overflow(&mut self, out: &mut SourceOutput<'_, T>) -> Result<()> {
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
