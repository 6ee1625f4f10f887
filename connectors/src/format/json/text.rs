//! The slow corners of JSON text: escapes, and values that nobody asked for.

use headwater::batch::DecodeError;

use super::super::number::json_number_end;
use super::super::scan::plain_end;
use super::{DEPTH_MAX, syntax_error};

/// Position of the first byte from `at` on that is not white space.
#[inline]
pub(super) fn space_end(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// Puts the string whose first character is at `at` together in `out`; gives the position behind its
/// closing quote.
///
/// # Errors
/// The string does not end, holds a control character, a wrong escape or half a surrogate pair.
#[cold]
pub(super) fn unescape(text: &str, mut at: usize, out: &mut String) -> Result<usize, DecodeError> {
    let bytes = text.as_bytes();
    out.clear();
    loop {
        let end = plain_end(bytes, at);
        out.push_str(text.get(at..end).unwrap_or_default());
        match bytes.get(end) {
            Some(b'"') => return Ok(end + 1),
            Some(b'\\') => at = escape(bytes, end + 1, out)?,
            other => return Err(string_error(other)),
        }
    }
}

fn string_error(found: Option<&u8>) -> DecodeError {
    match found {
        None => DecodeError::new("the text ends inside a string"),
        Some(byte) => DecodeError::new(format!(
            "a string holds the control character {byte:#04x}; JSON wants it escaped"
        )),
    }
}

/// Appends what the escape behind the backslash before `at` stands for; gives the position behind it.
fn escape(bytes: &[u8], at: usize, out: &mut String) -> Result<usize, DecodeError> {
    let character = match bytes.get(at) {
        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes, at + 1, out),
        Some(_) => return Err(DecodeError::new("a string holds an unknown escape")),
        None => return Err(string_error(None)),
    };
    out.push(character);
    Ok(at + 1)
}

fn unicode_escape(bytes: &[u8], at: usize, out: &mut String) -> Result<usize, DecodeError> {
    let lone = || DecodeError::new("a string holds half of a surrogate pair");
    let first = hexadecimal(bytes, at)?;
    if !(0xD800..0xE000).contains(&first) {
        out.push(char::from_u32(first).ok_or_else(lone)?);
        return Ok(at + 4);
    }
    if first >= 0xDC00 || bytes.get(at + 4..at + 6) != Some(b"\\u") {
        return Err(lone());
    }
    let second = hexadecimal(bytes, at + 6)?;
    if !(0xDC00..0xE000).contains(&second) {
        return Err(lone());
    }
    let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    out.push(char::from_u32(code).ok_or_else(lone)?);
    Ok(at + 10)
}

fn hexadecimal(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    let wrong = || DecodeError::new("a string holds `\\u` without four hexadecimal digits");
    let digits = bytes.get(at..at + 4).ok_or_else(wrong)?;
    digits.iter().try_fold(0, |value, digit| {
        char::from(*digit).to_digit(16).map(|digit| value * 16 + digit).ok_or_else(wrong)
    })
}

/// Position behind the value that starts at `at`, which is checked for its grammar only.
///
/// # Errors
/// There is no JSON value, or it is nested deeper than the limit.
pub(super) fn value_end(bytes: &[u8], at: usize, depth: usize) -> Result<usize, DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::new(format!("values are nested deeper than {DEPTH_MAX}")));
    }
    let at = space_end(bytes, at);
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at + 1),
        Some(b'{') => members_end(bytes, at + 1, b'}', depth),
        Some(b'[') => members_end(bytes, at + 1, b']', depth),
        Some(b't') => word_end(bytes, at, b"true"),
        Some(b'f') => word_end(bytes, at, b"false"),
        Some(b'n') => word_end(bytes, at, b"null"),
        _ => json_number_end(bytes, at).ok_or_else(|| syntax_error("a value", bytes, at)),
    }
}

fn word_end(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, DecodeError> {
    if bytes.get(at..at + word.len()) == Some(word) {
        Ok(at + word.len())
    } else {
        Err(syntax_error("a value", bytes, at))
    }
}

fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, DecodeError> {
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'u') => {
                    hexadecimal(bytes, at + 2)?;
                    at += 6;
                }
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(_) => return Err(DecodeError::new("a string holds an unknown escape")),
                None => return Err(string_error(None)),
            },
            other => return Err(string_error(other)),
        }
    }
}

/// Position behind the bracket that closes a list or an object whose first member starts at `at`.
fn members_end(bytes: &[u8], at: usize, close: u8, depth: usize) -> Result<usize, DecodeError> {
    let mut at = space_end(bytes, at);
    if bytes.get(at) == Some(&close) {
        return Ok(at + 1);
    }
    loop {
        if close == b'}' {
            at = space_end(bytes, at);
            if bytes.get(at) != Some(&b'"') {
                return Err(syntax_error("a key", bytes, at));
            }
            at = space_end(bytes, string_end(bytes, at + 1)?);
            if bytes.get(at) != Some(&b':') {
                return Err(syntax_error("`:`", bytes, at));
            }
            at += 1;
        }
        at = space_end(bytes, value_end(bytes, at, depth + 1)?);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(byte) if *byte == close => return Ok(at + 1),
            _ if close == b'}' => return Err(syntax_error("`,` or `}`", bytes, at)),
            _ => return Err(syntax_error("`,` or `]`", bytes, at)),
        }
    }
}
