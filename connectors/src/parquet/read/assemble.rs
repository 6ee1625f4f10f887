//! `Assembler`: puts records together from columns; a text is borrowed from its page.

use bumpalo::Bump;
use headwater::batch::{DecodeError, Decoder};

use super::columns::{Column, Cursor, Values};
use super::matching::{Node, NodeKind, Reads};

/// Where each column is, and which records and lists are open.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) cursors: Vec<Cursor>,
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
enum Open {
    /// A record, and its next field.
    Record { node: usize, next: usize },
    /// A list whose first item comes now.
    First { node: usize },
    /// A list that has given an item.
    More { node: usize },
    /// A list without items.
    Empty { node: usize },
}

/// Reads one row.
pub(super) struct Assembler<'a, 'p> {
    nodes: &'a [Node],
    columns: &'a [Column],
    arena: &'a Bump,
    progress: &'p mut Progress,
    at: usize,
}

impl<'a, 'p> Assembler<'a, 'p> {
    #[inline]
    pub(super) fn new(
        nodes: &'a [Node],
        columns: &'a [Column],
        arena: &'a Bump,
        progress: &'p mut Progress,
    ) -> Self {
        progress.open.clear();
        Assembler { nodes, columns, arena, progress, at: 0 }
    }

    /// The next value of the column where the decoder is.
    #[inline(always)]
    fn next(&mut self) -> Result<(&'a Column, usize), DecodeError> {
        let at = self.nodes[self.at].leaves.start;
        let (column, cursor) = (&self.columns[at], &mut self.progress.cursors[at]);
        if column.leaf.definition > 0 {
            let level = column.definitions.get(cursor.level).copied().unwrap_or(0);
            cursor.level += 1;
            if level < column.leaf.definition {
                return Err(null());
            }
        }
        let value = cursor.value;
        cursor.value += 1;
        Ok((column, value))
    }

    /// The definition level of what comes next below a node; `None` when no column is below it.
    #[inline]
    fn level(&self, node: &Node) -> Option<i16> {
        let column = self.columns.get(node.leaves.clone())?.first()?;
        if column.leaf.definition == 0 {
            return Some(0);
        }
        let cursor = self.progress.cursors[node.leaves.start];
        column.definitions.get(cursor.level).copied()
    }

    /// Passes over the one level that columns have for what is not there.
    fn pass(&mut self, node: &Node) {
        for cursor in &mut self.progress.cursors[node.leaves.clone()] {
            cursor.level += 1;
        }
    }

    #[inline(always)]
    fn integer(&mut self) -> Result<i128, DecodeError> {
        let (column, at) = self.next()?;
        Ok(match (&column.values, column.leaf.reads) {
            (Values::Int64(values), Reads::Integer { is_unsigned: false, ticks: 1 }) => values[at].into(),
            (Values::Int64(values), Reads::Integer { is_unsigned: true, .. }) => (values[at] as u64).into(),
            (Values::Int64(values), Reads::Integer { ticks, .. }) => values[at].div_euclid(ticks).into(),
            (Values::Int32(values), Reads::Integer { is_unsigned: true, .. }) => (values[at] as u32).into(),
            (Values::Int32(values), _) => values[at].into(),
            (Values::Int96(values), _) => values[at].to_millis().into(),
            (Values::Fixed(values), _) => decimal(values[at].data())?,
            (Values::Bytes(values), _) => decimal(values[at].data())?,
            _ => return Err(other()),
        })
    }
}

/// An integer in bytes, the highest first.
fn decimal(bytes: &[u8]) -> Result<i128, DecodeError> {
    let is_negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if is_negative { 0xff } else { 0 };
    let more = bytes.len().saturating_sub(16);
    if bytes[..more].iter().any(|byte| *byte != fill) {
        return Err(DecodeError::new("is a decimal that does not fit 128 bits"));
    }
    let mut wide = [fill; 16];
    let bytes = &bytes[more..];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    Ok(i128::from_be_bytes(wide))
}

#[cold]
fn null() -> DecodeError {
    DecodeError::new("is null, and the field is no `Option`")
}

#[cold]
fn other() -> DecodeError {
    DecodeError::new("is of another type")
}

impl<'a> Decoder<'a> for Assembler<'a, '_> {
    fn arena(&self) -> &'a Bump {
        self.arena
    }

    fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.next()? {
            (Column { values: Values::Bool(values), .. }, at) => Ok(values[at]),
            _ => Err(other()),
        }
    }

    #[inline(always)]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        let number = self.integer()?;
        u64::try_from(number).map_err(|_| DecodeError::range(number, "an unsigned integer"))
    }

    #[inline(always)]
    fn i64(&mut self) -> Result<i64, DecodeError> {
        let number = self.integer()?;
        i64::try_from(number).map_err(|_| DecodeError::range(number, "i64"))
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        let number = self.integer()?;
        u128::try_from(number).map_err(|_| DecodeError::range(number, "u128"))
    }

    fn i128(&mut self) -> Result<i128, DecodeError> {
        self.integer()
    }

    #[inline(always)]
    fn f64(&mut self) -> Result<f64, DecodeError> {
        match self.next()? {
            (Column { values: Values::Double(values), .. }, at) => Ok(values[at]),
            (Column { values: Values::Float(values), .. }, at) => Ok(values[at].into()),
            (Column { values: Values::Int32(values), .. }, at) => Ok(values[at].into()),
            _ => Err(other()),
        }
    }

    fn f32(&mut self) -> Result<f32, DecodeError> {
        match self.next()? {
            (Column { values: Values::Float(values), .. }, at) => Ok(values[at]),
            _ => Err(other()),
        }
    }

    #[inline(always)]
    fn str(&mut self) -> Result<&'a str, DecodeError> {
        match self.next()? {
            (Column { values: Values::Bytes(values), .. }, at) => std::str::from_utf8(values[at].data())
                .map_err(|error| DecodeError::new(format!("is not UTF-8: {error}"))),
            _ => Err(other()),
        }
    }

    #[inline]
    fn take_null(&mut self, _: usize) -> Result<bool, DecodeError> {
        let node = &self.nodes[self.at];
        let is_there = match self.level(node) {
            Some(level) => level >= node.present,
            // Nothing below it is read: what is not there need not be told from what is empty.
            None => false,
        };
        if !is_there {
            self.pass(node);
        }
        Ok(!is_there)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        Err(other())
    }

    #[inline]
    fn begin_record(&mut self, _: &'static [&'static str]) -> Result<(), DecodeError> {
        let node = &self.nodes[self.at];
        if node.present > 0 && self.level(node).is_some_and(|level| level < node.present) {
            return Err(null());
        }
        self.progress.open.push(Open::Record { node: self.at, next: 0 });
        Ok(())
    }

    #[inline(always)]
    fn next_field(&mut self, _: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        if let Some(Open::Record { node, next }) = self.progress.open.last_mut()
            && let NodeKind::Record(children) = &self.nodes[*node].kind
            && let Some((number, child)) = children.get(*next)
        {
            *next += 1;
            self.at = *child;
            return Ok(Some(*number));
        }
        self.progress.open.pop();
        Ok(None)
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        let node = &self.nodes[self.at];
        let NodeKind::List { filled, .. } = node.kind else { return Err(other()) };
        let level = self.level(node).unwrap_or(0);
        if level < node.present {
            return Err(null());
        }
        let node = self.at;
        self.progress.open.push(if level < filled { Open::Empty { node } } else { Open::First { node } });
        Ok(())
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        let (at, has_item) = match self.progress.open.pop() {
            Some(Open::First { node }) => (node, true),
            Some(Open::More { node }) => {
                let NodeKind::List { repetition, .. } = self.nodes[node].kind else { return Err(other()) };
                let first = self.nodes[node].leaves.start;
                let cursor = self.progress.cursors[first];
                (node, self.columns[first].repetitions.get(cursor.level) == Some(&repetition))
            }
            Some(Open::Empty { node }) => {
                let nodes = self.nodes;
                self.pass(&nodes[node]);
                (node, false)
            }
            _ => return Err(other()),
        };
        if has_item && let NodeKind::List { item, .. } = self.nodes[at].kind {
            self.progress.open.push(Open::More { node: at });
            self.at = item;
        }
        Ok(has_item)
    }
}
