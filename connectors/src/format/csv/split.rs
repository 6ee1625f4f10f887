//! Where CSV records and cells end, with quotes in mind.

use bumpalo::Bump;
use headwater::batch::DecodeError;

/// The end of the first record in a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordEnd {
    /// Its length with the line feed, if it has one.
    pub(crate) length: usize,
    /// True when there may be quoted cells in it.
    pub(crate) quoted: bool,
}

/// Finds the end of the first record; `None` when it is not complete. `last` says that no text follows.
#[inline]
pub(crate) fn record_end(bytes: &[u8], delimiter: u8, last: bool) -> Option<RecordEnd> {
    match memchr::memchr2(b'\n', b'"', bytes) {
        Some(at) if bytes[at] == b'\n' => Some(RecordEnd { length: at + 1, quoted: false }),
        Some(_) => quoted_record_end(bytes, delimiter, last),
        None => (last && !bytes.is_empty()).then_some(RecordEnd { length: bytes.len(), quoted: false }),
    }
}

fn quoted_record_end(bytes: &[u8], delimiter: u8, last: bool) -> Option<RecordEnd> {
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&b'"') {
            at = closing_quote(bytes, at + 1)? + 1;
            if !matches!(bytes.get(at), None | Some(b'\n' | b'\r')) && bytes[at] != delimiter {
                // Not the quote that was meant. Most likely the first one is a stray: give up its line
                // and no more.
                let length = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
                return Some(RecordEnd { length, quoted: true });
            }
        }
        let rest = bytes.get(at..)?;
        match memchr::memchr2(delimiter, b'\n', rest) {
            Some(end) if rest[end] == b'\n' => {
                return Some(RecordEnd { length: at + end + 1, quoted: true });
            }
            Some(end) => at += end + 1,
            None => return last.then_some(RecordEnd { length: bytes.len(), quoted: true }),
        }
    }
}

/// Position of the quote that closes a cell; two quotes in a row stand for one in the text.
fn closing_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(b'"', bytes.get(at..)?)?;
        if bytes.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// One cell of a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cell<'a> {
    pub(crate) text: &'a str,
    /// An empty cell in quotes is an empty text, one without is no value.
    pub(crate) quoted: bool,
}

/// Calls `visit` with each cell of a record and its number; gives the number of cells.
///
/// # Errors
/// A quote is not closed, or text follows the quote that closes a cell.
pub(crate) fn split_cells<'a>(
    record: &'a str,
    delimiter: u8,
    arena: &'a Bump,
    mut visit: impl FnMut(usize, Cell<'a>),
) -> Result<usize, DecodeError> {
    let bytes = record.as_bytes();
    let (mut at, mut count) = (0, 0);
    loop {
        let quoted = bytes.get(at) == Some(&b'"');
        let end = if quoted {
            let close = closing_quote(bytes, at + 1)
                .ok_or_else(|| DecodeError::new(format!("the quote of cell {} is not closed", count + 1)))?;
            let inside = record.get(at + 1..close).unwrap_or_default();
            visit(count, Cell { text: unquoted(inside, arena), quoted });
            if bytes.get(close + 1).is_some_and(|next| *next != delimiter) {
                let reason = format!("text follows the closing quote of cell {}", count + 1);
                return Err(DecodeError::new(reason));
            }
            close + 1
        } else {
            let rest = bytes.get(at..).unwrap_or_default();
            let end = at + memchr::memchr(delimiter, rest).unwrap_or(rest.len());
            visit(count, Cell { text: record.get(at..end).unwrap_or_default(), quoted });
            end
        };
        count += 1;
        if end >= bytes.len() {
            return Ok(count);
        }
        at = end + 1;
    }
}

/// The text of a quoted cell: doubled quotes become single ones.
fn unquoted<'a>(inside: &'a str, arena: &'a Bump) -> &'a str {
    let doubled = memchr::memchr_iter(b'"', inside.as_bytes()).count() / 2;
    if doubled == 0 {
        return inside;
    }
    // Pieces up to and including the first quote of each pair; the second is left out.
    let text = arena.alloc_slice_fill_copy(inside.len() - doubled, 0u8);
    let (mut from, mut to) = (0, 0);
    while let Some(quote) = memchr::memchr(b'"', &inside.as_bytes()[from..]) {
        text[to..=to + quote].copy_from_slice(&inside.as_bytes()[from..=from + quote]);
        to += quote + 1;
        from += quote + 2;
    }
    text[to..].copy_from_slice(&inside.as_bytes()[from..]);
    std::str::from_utf8(text).unwrap_or_default()
}
