//! `Window`: a reused buffer over the bytes of an input, which knows where its last line ends.
//!
//! ```text
//!           start            ready          end
//!   | used    | complete lines | part of one | room |
//! ```

use std::io;

use super::input::Input;

/// The part of an input that is in memory.
#[derive(Debug)]
pub(super) struct Window {
    buffer: Vec<u8>,
    start: usize,
    ready: usize,
    end: usize,
    /// Offset of `start` in the input.
    offset: u64,
    /// True when the input has no more.
    last: bool,
    size: usize,
}

impl Window {
    /// An empty window at an offset, which takes `size` bytes at once.
    pub(super) fn new(offset: u64, size: usize) -> Self {
        Window { buffer: Vec::new(), start: 0, ready: 0, end: 0, offset, last: false, size }
    }

    /// Offset of the first byte that has not been taken.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset behind the last byte that has been read.
    pub(super) fn offset_read(&self) -> u64 {
        self.offset + self.len() as u64
    }

    /// Number of bytes that have not been taken.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Complete lines; everything once the input has ended.
    #[inline]
    pub(super) fn ready(&self) -> &[u8] {
        &self.buffer[self.start..self.ready]
    }

    /// All bytes, with the part of a line at the end.
    pub(super) fn all(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// True when the input has no more.
    #[inline]
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// Takes bytes from the front.
    #[inline]
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
        self.ready = self.ready.max(self.start);
        self.offset += count as u64;
    }

    /// Says that nothing will follow: what is there is the last line.
    pub(super) fn finish(&mut self) {
        self.last = true;
        self.ready = self.end;
    }

    /// Gives the memory back; there is nothing left in it.
    pub(super) fn release(&mut self) {
        debug_assert_eq!(self.len(), 0);
        (self.buffer, self.start, self.ready, self.end) = (Vec::new(), 0, 0, 0);
    }

    /// Reads once; `size_hint` is how much may come. Gives the number of new bytes, 0 at the end.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn fill(&mut self, input: &mut Input, size_hint: usize) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.ready -= self.start;
            self.start = 0;
        }
        if self.end == 0 && self.buffer.len() > self.size {
            // A long line has passed; its memory goes back.
            self.buffer = Vec::new();
        }
        let wanted = self.end.saturating_add(size_hint).min(self.size).max(1);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.resize(self.end * 2, 0);
        }
        let count = input.read(&mut self.buffer[self.end..])?;
        let new = self.end..self.end + count;
        if let Some(line_end) = memchr::memrchr(b'\n', &self.buffer[new.clone()]) {
            self.ready = new.start + line_end + 1;
        }
        self.end = new.end;
        Ok(count)
    }
}
