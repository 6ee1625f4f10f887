//! `LineBuffer`: cuts what a connection gives into lines, within a bound.

use std::io::{self, Read};

use memchr::memchr;

/// Longest line that is taken.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;
/// How many bytes are read at once.
const READ_BYTES: usize = 32 << 10;

/// One line of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The line without its end; of a line that is too long, its beginning.
    pub(super) bytes: &'a [u8],
    /// True when more than [`LINE_BYTES_MAX`] came without a line feed; the rest is passed over.
    pub(super) too_long: bool,
    /// Offset of the line's first byte from the beginning of the connection.
    pub(super) offset: u64,
}

/// The bytes of a connection that are not a line yet; never more than the longest line and one read.
#[derive(Debug)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no line feed.
    searched: usize,
    /// Offset of `bytes[0]` from the beginning of the connection.
    offset: u64,
    /// True inside a line that was too long and has been given.
    passing_over: bool,
}

impl LineBuffer {
    pub(super) fn new() -> Self {
        LineBuffer { bytes: Vec::new(), start: 0, searched: 0, offset: 0, passing_over: false }
    }

    /// Reads once; 0 is the end of the connection. All lines must have been taken before.
    pub(super) fn read_from(&mut self, connection: &mut impl Read) -> io::Result<usize> {
        self.forget_taken();
        let filled = self.bytes.len();
        self.bytes.resize(filled + READ_BYTES, 0);
        let read = connection.read(&mut self.bytes[filled..]);
        self.bytes.truncate(filled + read.as_ref().map_or(0, |count| *count));
        read
    }

    /// The next line that has an end, or is too long.
    pub(super) fn next_line(&mut self) -> Option<Line<'_>> {
        loop {
            let Some(found) = memchr(b'\n', &self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                if self.passing_over {
                    self.start = self.searched;
                    return None;
                }
                let too_long = self.searched - self.start > LINE_BYTES_MAX;
                self.passing_over = too_long;
                return too_long.then(|| self.take(self.searched, self.searched));
            };
            let end = self.searched + found;
            self.searched = end + 1;
            if !std::mem::take(&mut self.passing_over) {
                return Some(self.take(end, end + 1));
            }
            self.start = end + 1;
        }
    }

    /// What came behind the last line feed, at the end of the connection; makes the buffer new.
    pub(super) fn last_line(&mut self) -> Option<Line<'_>> {
        let is_line = !self.passing_over && self.start < self.bytes.len();
        let (end, offset) = (self.bytes.len(), self.offset);
        let start = std::mem::replace(&mut self.start, end);
        self.passing_over = false;
        self.searched = end;
        is_line.then(|| line(&self.bytes[start..end], offset + start as u64))
    }

    /// Begins with a new connection.
    pub(super) fn clear(&mut self) {
        *self = LineBuffer { bytes: std::mem::take(&mut self.bytes), ..LineBuffer::new() };
        self.bytes.clear();
    }

    fn take(&mut self, end: usize, next: usize) -> Line<'_> {
        let start = std::mem::replace(&mut self.start, next);
        line(&self.bytes[start..end], self.offset + start as u64)
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.start);
        self.offset += self.start as u64;
        self.searched -= self.start;
        self.start = 0;
    }
}

fn line(bytes: &[u8], offset: u64) -> Line<'_> {
    let too_long = bytes.len() > LINE_BYTES_MAX;
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    Line { bytes, too_long, offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of a size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(out.len()).min(self.0.len());
            let (piece, rest) = self.0.split_at(count);
            out[..count].copy_from_slice(piece);
            self.0 = rest;
            Ok(count)
        }
    }

    fn lines(bytes: &[u8], piece: usize) -> Vec<(Vec<u8>, bool, u64)> {
        let mut connection = Pieces(bytes, piece);
        let mut buffer = LineBuffer::new();
        let mut lines = Vec::new();
        let owned = |line: Line<'_>| (line.bytes.to_vec(), line.too_long, line.offset);
        while buffer.read_from(&mut connection).unwrap() > 0 {
            while let Some(line) = buffer.next_line() {
                lines.push(owned(line));
            }
            assert!(buffer.bytes.len() <= LINE_BYTES_MAX + READ_BYTES);
        }
        lines.extend(buffer.last_line().map(owned));
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive() {
        let text = b"one\r\n\ntwo words\nthe last has no end";
        let expected = [(&b"one"[..], 0), (b"", 5), (b"two words", 6), (b"the last has no end", 16)];
        for piece in 1..=text.len() {
            let found = lines(text, piece);
            let found: Vec<_> = found.iter().map(|(bytes, _, offset)| (bytes.as_slice(), *offset)).collect();
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_given_once_and_passed_over() {
        let mut text = b"before\n".to_vec();
        text.extend(vec![b'x'; 3 * LINE_BYTES_MAX]);
        text.extend(b"\nafter\n");
        let found = lines(&text, READ_BYTES);
        assert_eq!(found.len(), 3);
        assert!(found[1].1 && found[1].2 == 7);
        assert_eq!(found[2], (b"after".to_vec(), false, 3 * LINE_BYTES_MAX as u64 + 8));
    }

    #[test]
    fn the_longest_line_is_taken() {
        let mut text = vec![b'x'; LINE_BYTES_MAX];
        text.extend(b"\nafter");
        let found = lines(&text, READ_BYTES);
        assert_eq!(found.iter().map(|line| line.1).collect::<Vec<_>>(), [false, false]);
    }

    #[test]
    fn nothing_of_one_connection_gets_into_the_next() {
        let mut buffer = LineBuffer::new();
        buffer.read_from(&mut Pieces(b"half", 9)).unwrap();
        assert_eq!(buffer.next_line(), None);
        buffer.clear();
        buffer.read_from(&mut Pieces(b"whole\n", 9)).unwrap();
        assert_eq!(buffer.next_line().map(|line| line.bytes.to_vec()), Some(b"whole".to_vec()));
    }
}
