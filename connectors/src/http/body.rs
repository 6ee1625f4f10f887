//! The body of a request, and the records in it.

use crate::format::record_end;

/// How records follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The whole body is one.
    Document,
    /// One per line; lines of white space are none.
    JsonLines,
    /// One per line, and line feeds in quotes end none.
    Csv,
    /// One per line.
    Text,
}

/// A record as it stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The line that it begins on, from 1.
    pub(super) line: u64,
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
}

/// Goes through a body from record to record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces {
    shape: Shape,
    at: usize,
    line: u64,
}

impl Pieces {
    pub(super) fn new(shape: Shape) -> Self {
        Pieces { shape, at: 0, line: 1 }
    }

    /// The next record of the same body.
    pub(super) fn next<'a>(&mut self, body: &'a [u8]) -> Option<Piece<'a>> {
        loop {
            let (offset, line) = (self.at, self.line);
            let rest = body.get(offset..).filter(|rest| !rest.is_empty())?;
            let length = match self.shape {
                Shape::Document => rest.len(),
                Shape::JsonLines | Shape::Text => {
                    memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)
                }
                // A quote that is not closed takes all that is left, and is no row.
                Shape::Csv => record_end(rest, b',', true).map_or(rest.len(), |end| end.length),
            };
            let bytes = &rest[..length];
            self.at += length;
            self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
            let bytes = match self.shape {
                Shape::Document | Shape::JsonLines => bytes.trim_ascii(),
                Shape::Csv | Shape::Text => {
                    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                    bytes.strip_suffix(b"\r").unwrap_or(bytes)
                }
            };
            if !bytes.is_empty() || self.shape == Shape::Text {
                return Some(Piece { line, offset, bytes });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(shape: Shape, body: &str) -> Vec<(u64, usize, String)> {
        let mut pieces = Pieces::new(shape);
        std::iter::from_fn(|| pieces.next(body.as_bytes()))
            .map(|piece| (piece.line, piece.offset, String::from_utf8(piece.bytes.to_vec()).unwrap()))
            .collect()
    }

    fn of(expected: &[(u64, usize, &str)]) -> Vec<(u64, usize, String)> {
        expected.iter().map(|(line, offset, text)| (*line, *offset, (*text).to_owned())).collect()
    }

    #[test]
    fn a_body_falls_into_its_records() {
        let lines = "{}\r\n\n {\"a\": 1} \n{}";
        assert_eq!(pieces(Shape::JsonLines, lines), of(&[(1, 0, "{}"), (3, 5, "{\"a\": 1}"), (4, 16, "{}")]));
        assert_eq!(pieces(Shape::Document, " {\n}\n"), of(&[(1, 0, "{\n}")]));
        assert_eq!(pieces(Shape::Text, "a\r\n\nb"), of(&[(1, 0, "a"), (2, 3, ""), (3, 4, "b")]));
        let rows = "1,\"two\nlines\"\n\n2,b\n";
        assert_eq!(pieces(Shape::Csv, rows), of(&[(1, 0, "1,\"two\nlines\""), (4, 15, "2,b")]));
        assert_eq!(pieces(Shape::Csv, "1,\"open\n2,b"), of(&[(1, 0, "1,\"open\n2,b")]));
        for shape in [Shape::Document, Shape::JsonLines, Shape::Csv, Shape::Text] {
            assert_eq!(pieces(shape, ""), []);
        }
    }
}
