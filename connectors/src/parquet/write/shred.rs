//! `Shredder`: takes records apart into columns, with the levels that say what is missing and what is repeated.

use bytes::Bytes;
use headwater::batch::{Encoder, Record};
use parquet::data_type::{ByteArray, FixedLenByteArray};

use super::schema::{LeafKind, Node, NodeKind, Shape};

/// The values of one column, with their levels.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) values: Values,
    pub(super) definitions: Vec<i16>,
    pub(super) repetitions: Vec<i16>,
    /// Definition level of a value that is there.
    present: i16,
    is_repeated: bool,
}

#[derive(Debug)]
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    /// All texts, one behind the other, and where each ends.
    Text(Vec<u8>, Vec<usize>),
    Wide(Vec<u8>),
}

impl Column {
    #[inline(always)]
    fn level(&mut self, definition: i16, repetition: i16) {
        if self.present > 0 {
            self.definitions.push(definition);
        }
        if self.is_repeated {
            self.repetitions.push(repetition);
        }
    }

    /// The texts of the column, which share one piece of memory.
    pub(super) fn texts(text: &mut Vec<u8>, ends: &mut Vec<usize>, out: &mut Vec<ByteArray>) {
        let room = Vec::with_capacity(text.len());
        let all = Bytes::from(std::mem::replace(text, room));
        let mut start = 0;
        for end in ends.drain(..) {
            out.push(ByteArray::from(all.slice(start..end)));
            start = end;
        }
    }

    /// The integers of 16 bytes.
    pub(super) fn wide(bytes: &mut Vec<u8>) -> Vec<FixedLenByteArray> {
        let all = Bytes::from(std::mem::take(bytes));
        let starts = (0..all.len()).step_by(16);
        starts.map(|start| FixedLenByteArray::from(ByteArray::from(all.slice(start..start + 16)))).collect()
    }
}

/// Collects rows as columns.
#[derive(Debug)]
pub(super) struct Shredder {
    pub(super) columns: Vec<Column>,
    rows: usize,
    /// Bytes of the values, as they are in memory.
    bytes: usize,
    /// A value that no column can hold.
    failure: Option<String>,
    lists: Vec<OpenList>,
}

#[derive(Clone, Copy, Debug)]
struct OpenList {
    node: usize,
    is_empty: bool,
    /// The repetition level in front of the list.
    repetition: i16,
}

impl Shredder {
    pub(super) fn new(shape: &Shape) -> Self {
        let columns = shape.leaves.iter().map(|leaf| Column {
            values: match leaf.kind {
                LeafKind::Bool => Values::Bool(Vec::new()),
                LeafKind::Int32 => Values::Int32(Vec::new()),
                LeafKind::Int64 => Values::Int64(Vec::new()),
                LeafKind::Float => Values::Float(Vec::new()),
                LeafKind::Double => Values::Double(Vec::new()),
                LeafKind::Text => Values::Text(Vec::new(), Vec::new()),
                LeafKind::Wide => Values::Wide(Vec::new()),
            },
            definitions: Vec::new(),
            repetitions: Vec::new(),
            present: leaf.definition,
            is_repeated: leaf.repetition > 0,
        });
        Shredder { columns: columns.collect(), rows: 0, bytes: 0, failure: None, lists: Vec::new() }
    }

    /// Takes one row; in words what cannot be held.
    #[inline]
    pub(super) fn push<T: Record>(&mut self, view: T::View<'_>, nodes: &[Node]) -> Result<(), String> {
        let mut walk = Walk { nodes, at: 0, repetition: 0, shredder: self };
        T::encode(view, &mut walk);
        self.rows += 1;
        match self.failure.take() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the rows; values have been taken.
    pub(super) fn clear(&mut self) {
        for column in &mut self.columns {
            column.definitions.clear();
            column.repetitions.clear();
            match &mut column.values {
                Values::Bool(values) => values.clear(),
                Values::Int32(values) => values.clear(),
                Values::Int64(values) => values.clear(),
                Values::Float(values) => values.clear(),
                Values::Double(values) => values.clear(),
                Values::Text(text, ends) => {
                    text.clear();
                    ends.clear();
                }
                Values::Wide(values) => values.clear(),
            }
        }
        (self.rows, self.bytes) = (0, 0);
    }
}

/// The way of one row through the nodes. A value is at the node where the encoder is: fields come in order.
struct Walk<'s> {
    nodes: &'s [Node],
    at: usize,
    repetition: i16,
    shredder: &'s mut Shredder,
}

impl Walk<'_> {
    /// The column of the value that comes now.
    #[inline(always)]
    fn leaf(&mut self) -> Option<&mut Column> {
        let node = self.nodes.get(self.at)?;
        self.at = node.end;
        let column = self.shredder.columns.get_mut(node.leaves.start)?;
        column.level(node.present, self.repetition);
        Some(column)
    }

    fn nothing(&mut self, definition: i16) {
        let Some(node) = self.nodes.get(self.at) else { return };
        for leaf in node.leaves.clone() {
            self.shredder.columns[leaf].level(definition, self.repetition);
        }
        self.at = node.end;
    }

    #[inline(always)]
    fn integer(&mut self, value: i64) {
        self.shredder.bytes += 8;
        match self.leaf().map(|column| &mut column.values) {
            Some(Values::Int64(values)) => values.push(value),
            // Unsigned integers of 32 bits have the same bits.
            Some(Values::Int32(values)) => values.push(value as i32),
            _ => {}
        }
    }

    fn wide(&mut self, value: Option<i128>, said: &dyn std::fmt::Display) {
        // Decimals of Parquet, and of most of its readers, have 38 digits.
        const LARGEST: i128 = 10_i128.pow(38) - 1;
        let fits = value.filter(|value| (-LARGEST..=LARGEST).contains(value));
        if fits.is_none() {
            self.shredder.failure = Some(format!("{said} has more than the 38 digits of a decimal"));
        }
        self.shredder.bytes += 16;
        if let Some(Values::Wide(bytes)) = self.leaf().map(|column| &mut column.values) {
            bytes.extend_from_slice(&fits.unwrap_or(0).to_be_bytes());
        }
    }
}

impl Encoder for Walk<'_> {
    fn null(&mut self, _: usize) {
        let Some(node) = self.nodes.get(self.at) else { return };
        // A field without content is a null, too, and has no column that takes the level.
        self.nothing(node.present - 1);
    }

    #[inline(always)]
    fn bool(&mut self, value: bool) {
        self.shredder.bytes += 1;
        if let Some(Values::Bool(values)) = self.leaf().map(|column| &mut column.values) {
            values.push(value);
        }
    }

    #[inline(always)]
    fn u64(&mut self, value: u64) {
        self.integer(value as i64);
    }

    #[inline(always)]
    fn i64(&mut self, value: i64) {
        self.integer(value);
    }

    fn u128(&mut self, value: u128) {
        self.wide(i128::try_from(value).ok(), &value);
    }

    fn i128(&mut self, value: i128) {
        self.wide(Some(value), &value);
    }

    #[inline(always)]
    fn f64(&mut self, value: f64) {
        self.shredder.bytes += 8;
        if let Some(Values::Double(values)) = self.leaf().map(|column| &mut column.values) {
            values.push(value);
        }
    }

    #[inline(always)]
    fn f32(&mut self, value: f32) {
        self.shredder.bytes += 4;
        if let Some(Values::Float(values)) = self.leaf().map(|column| &mut column.values) {
            values.push(value);
        }
    }

    #[inline(always)]
    fn str(&mut self, value: &str) {
        self.shredder.bytes += value.len() + 4;
        if let Some(Values::Text(text, ends)) = self.leaf().map(|column| &mut column.values) {
            text.extend_from_slice(value.as_bytes());
            ends.push(text.len());
        }
    }

    #[inline(always)]
    fn begin_record(&mut self) {
        self.at += 1;
    }

    #[inline(always)]
    fn field(&mut self, _: &'static str) {}

    #[inline(always)]
    fn end_record(&mut self) {}

    fn begin_list(&mut self) {
        let list = OpenList { node: self.at, is_empty: true, repetition: self.repetition };
        self.shredder.lists.push(list);
    }

    fn item(&mut self) {
        let Some(list) = self.shredder.lists.last_mut() else { return };
        let was_empty = std::mem::replace(&mut list.is_empty, false);
        if let NodeKind::List(repetition) = self.nodes[list.node].kind {
            self.repetition = if was_empty { list.repetition } else { repetition };
        }
        self.at = list.node + 1;
    }

    fn end_list(&mut self) {
        let Some(list) = self.shredder.lists.pop() else { return };
        self.repetition = list.repetition;
        self.at = list.node;
        let node = &self.nodes[list.node];
        if list.is_empty {
            self.nothing(node.present);
        } else {
            self.at = node.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (u8, (), Vec<Vec<Option<i64>>>, Option<(String, bool)>);

    #[test]
    fn levels_say_what_is_missing_and_what_is_repeated() {
        let shape = Shape::of::<Row>(&[]).unwrap();
        let mut shredder = Shredder::new(&shape);
        let rows: [Row; 3] = [
            (1, (), vec![vec![Some(7), None], vec![], vec![Some(9)]], Some(("a".into(), true))),
            (2, (), vec![], None),
            (3, (), vec![vec![Some(5)]], Some((String::new(), false))),
        ];
        for row in &rows {
            shredder.push::<Row>(row.view(), &shape.nodes).unwrap();
        }
        let list = &shredder.columns[1];
        assert_eq!(list.definitions, [3, 2, 1, 3, 0, 3]);
        assert_eq!(list.repetitions, [0, 2, 1, 1, 0, 0]);
        assert!(matches!(&list.values, Values::Int64(values) if *values == [7, 9, 5]));
        assert_eq!(shredder.columns[2].definitions, [1, 0, 1]);
        assert!(matches!(&shredder.columns[3].values, Values::Bool(values) if *values == [true, false]));
    }

    #[test]
    fn an_integer_with_more_than_38_digits_is_refused() {
        let shape = Shape::of::<(u128, i128)>(&[]).unwrap();
        let mut shredder = Shredder::new(&shape);
        assert!(shredder.push::<(u128, i128)>((7, -7), &shape.nodes).is_ok());
        let refused = shredder.push::<(u128, i128)>((u128::MAX, 0), &shape.nodes).unwrap_err();
        assert!(refused.contains("38 digits"), "{refused}");
    }
}
