//! `AvroWriter`: records to Avro's binary encoding, appended to a buffer.

use std::fmt;
use std::marker::PhantomData;

use headwater::batch::{Encoder, Record};
use headwater::{Error, Result};

use super::super::varint;
use super::decimal;
use super::fill::{BYTE, Form, Part, Put, PutId, WritePlan};
use super::schema::AvroSchema;

/// Writes records of one type as a schema says.
///
/// The schema is [`AvroSchema::of`] the type, or one with the same fields: their order may differ, a `String`
/// may be an `enum`, a `Vec` of pairs a `map`, and fields that the type does not have may be null.
#[derive(Debug)]
pub struct AvroWriter<T: Record> {
    plan: WritePlan,
    scratch: Scratch,
    _record: PhantomData<fn() -> T>,
}

/// What is kept between two records.
#[derive(Debug, Default)]
struct Scratch {
    frames: Vec<Frame>,
    /// Where the fields begin of records whose order is another one.
    marks: Vec<usize>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    put: PutId,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The number of the next field.
    Record { next: usize },
    /// Where the count stands, and how many items there are.
    List { start: usize, items: u64 },
    /// Where the length stands, if there is one.
    Bytes { start: usize },
}

impl<T: Record> AvroWriter<T> {
    /// # Errors
    /// The schema has no place for what such a record holds, or wants what it does not hold.
    pub fn new(schema: &AvroSchema) -> Result<Self> {
        let plan = WritePlan::new(schema, &T::schema())?;
        Ok(AvroWriter { plan, scratch: Scratch::default(), _record: PhantomData })
    }

    /// Appends one record.
    ///
    /// # Errors
    /// A value does not fit its field in the schema, which is named; then `out` is as it was.
    pub fn write(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        self.scratch.frames.clear();
        self.scratch.marks.clear();
        let mut encoder = AvroEncoder {
            plan: &self.plan,
            scratch: &mut self.scratch,
            next: self.plan.root,
            out,
            error: None,
        };
        T::encode(view, &mut encoder);
        match encoder.error {
            None => Ok(()),
            Some(error) => {
                out.truncate(start);
                Err(Error::failed(format!("a record cannot be written as Avro: {error}")))
            }
        }
    }
}

struct AvroEncoder<'w, 'o> {
    plan: &'w WritePlan,
    scratch: &'w mut Scratch,
    /// How the next value is written.
    next: PutId,
    out: &'o mut Vec<u8>,
    /// The first thing that did not fit.
    error: Option<String>,
}

impl<'w> AvroEncoder<'w, '_> {
    #[inline(always)]
    fn long(&mut self, value: i64) {
        varint::write(varint::zigzag(value), self.out);
    }

    /// How the next value is written, behind the number of a union's branch.
    #[inline(always)]
    fn put(&mut self) -> &'w Put {
        let plan = self.plan;
        match &plan.puts[self.next] {
            Put::Union { branch, value, .. } => {
                varint::write(*branch, self.out);
                self.next = *value;
                &plan.puts[*value]
            }
            put => put,
        }
    }

    /// As [`put`](Self::put), unless it is in a union.
    #[inline(always)]
    fn put_plain(&self) -> Option<&'w Put> {
        let plan = self.plan;
        match &plan.puts[self.next] {
            Put::Union { .. } => None,
            put => Some(put),
        }
    }

    #[cold]
    fn refuse(&mut self, what: impl fmt::Display) {
        if self.error.is_some() {
            return;
        }
        let fields =
            self.scratch.frames.iter().filter_map(|frame| match (&self.plan.puts[frame.put], frame.kind) {
                (Put::Record(form), Kind::Record { next }) => form.fields.get(next.checked_sub(1)?),
                _ => None,
            });
        let path: Vec<_> = fields.map(|field| field.name.as_str()).collect();
        self.error = Some(match path.as_slice() {
            [] => what.to_string(),
            path => format!("field `{}`: {what}", path.join(".")),
        });
    }

    fn integer(&mut self, value: i128) {
        match self.put() {
            Put::Int => match i32::try_from(value) {
                Ok(value) => self.long(value.into()),
                Err(_) => self.refuse(format_args!("{value} does not fit an int of Avro, which has 32 bits")),
            },
            Put::Long => match i64::try_from(value) {
                Ok(value) => self.long(value),
                Err(_) => {
                    self.refuse(format_args!(
                        "{value} does not fit a long of Avro, which has 64 bits and a sign"
                    ));
                }
            },
            Put::Decimal(size) => self.decimal(value, *size, None),
            Put::Byte => self.out.push(value as u8),
            _ => self.refuse("an integer has no place"),
        }
    }

    /// `high` stands in front of it.
    fn decimal(&mut self, value: i128, size: Option<usize>, high: Option<u8>) {
        let bytes: Vec<u8> = match high {
            None => decimal::shortest(value).collect(),
            Some(high) => std::iter::once(high).chain(value.to_be_bytes()).collect(),
        };
        match size {
            None => self.long(bytes.len() as i64),
            Some(size) if bytes.len() <= size => {
                let sign = if value < 0 && high.is_none() { 0xff } else { 0 };
                self.out.resize(self.out.len() + size - bytes.len(), sign);
            }
            Some(size) => return self.refuse(format_args!("it does not fit a decimal of {size} bytes")),
        }
        self.out.extend_from_slice(&bytes);
    }

    /// Brings the fields of a record that was written into the order of the schema.
    fn reorder(&mut self, form: &Form, order: &[Part]) {
        let Scratch { marks, bytes, .. } = &mut *self.scratch;
        let first = marks.len().saturating_sub(form.fields.len());
        let Some(start) = marks.get(first).copied() else { return };
        bytes.clear();
        for part in order {
            match part {
                Part::Bytes(constant) => bytes.extend_from_slice(constant),
                Part::Field(field) => {
                    let from = marks.get(first + field).copied().unwrap_or(self.out.len());
                    let to = marks.get(first + field + 1).copied().unwrap_or(self.out.len());
                    bytes.extend_from_slice(&self.out[from..to]);
                }
            }
        }
        marks.truncate(first);
        self.out.truncate(start);
        self.out.extend_from_slice(bytes);
    }
}

impl Encoder for AvroEncoder<'_, '_> {
    fn null(&mut self, _: usize) {
        match &self.plan.puts[self.next] {
            Put::Union { null: Some(null), .. } => varint::write(*null, self.out),
            Put::Null => {}
            _ => self.refuse("null has no place"),
        }
    }

    fn bool(&mut self, value: bool) {
        match self.put() {
            Put::Boolean => self.out.push(value.into()),
            _ => self.refuse("a boolean has no place"),
        }
    }

    #[inline(always)]
    fn u64(&mut self, value: u64) {
        match (self.put_plain(), i64::try_from(value)) {
            (Some(Put::Long), Ok(value)) => self.long(value),
            _ => self.integer(value.into()),
        }
    }

    #[inline(always)]
    fn i64(&mut self, value: i64) {
        match self.put_plain() {
            Some(Put::Long) => self.long(value),
            _ => self.integer(value.into()),
        }
    }

    fn u128(&mut self, value: u128) {
        match i128::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => match self.put() {
                // All its bits, and a byte for the sign.
                Put::Decimal(size) => self.decimal(value as i128, *size, Some(0)),
                _ => self.refuse(format_args!("{value} does not fit its type in the schema")),
            },
        }
    }

    fn i128(&mut self, value: i128) {
        self.integer(value);
    }

    #[inline(always)]
    fn f64(&mut self, value: f64) {
        match self.put() {
            Put::Double => self.out.extend_from_slice(&value.to_le_bytes()),
            _ => self.refuse("a number has no place"),
        }
    }

    fn f32(&mut self, value: f32) {
        match self.put() {
            Put::Float => self.out.extend_from_slice(&value.to_le_bytes()),
            Put::Double => self.out.extend_from_slice(&f64::from(value).to_le_bytes()),
            _ => self.refuse("a number has no place"),
        }
    }

    #[inline(always)]
    fn str(&mut self, value: &str) {
        match self.put() {
            Put::String => {
                self.long(value.len() as i64);
                self.out.extend_from_slice(value.as_bytes());
            }
            Put::Enum(symbols) => match symbols.get(value) {
                Some(number) => self.long(*number as i64),
                None => self.refuse(format_args!("`{value}` is no symbol of its enum")),
            },
            _ => self.refuse("a text has no place"),
        }
    }

    fn begin_record(&mut self) {
        self.put();
        let frame = Frame { put: self.next, kind: Kind::Record { next: 0 } };
        self.scratch.frames.push(frame);
    }

    #[inline(always)]
    fn field(&mut self, _: &'static str) {
        let plan = self.plan;
        let Scratch { frames, marks, .. } = &mut *self.scratch;
        if let Some(Frame { put, kind: Kind::Record { next } }) = frames.last_mut()
            && let Put::Record(form) = &plan.puts[*put]
        {
            if form.order.is_some() {
                marks.push(self.out.len());
            }
            if let Some(field) = form.fields.get(*next) {
                self.next = field.put;
            }
            *next += 1;
        }
    }

    fn end_record(&mut self) {
        let plan = self.plan;
        let Some(frame) = self.scratch.frames.pop() else { return };
        if let Put::Record(form) = &plan.puts[frame.put]
            && let Some(order) = &form.order
        {
            self.reorder(form, order);
        }
    }

    fn begin_list(&mut self) {
        let kind = match self.put() {
            Put::Fixed(_) => Kind::Bytes { start: self.out.len() },
            put => {
                // One byte for the count or the length; few need more.
                let start = self.out.len();
                self.out.push(0);
                match put {
                    Put::Bytes => Kind::Bytes { start },
                    _ => Kind::List { start, items: 0 },
                }
            }
        };
        let put = self.next;
        self.scratch.frames.push(Frame { put, kind });
    }

    fn item(&mut self) {
        let Some(Frame { put, kind }) = self.scratch.frames.last_mut() else { return };
        self.next = match (&self.plan.puts[*put], kind) {
            (Put::List(item), Kind::List { items, .. }) => {
                *items += 1;
                *item
            }
            _ => BYTE,
        };
    }

    fn end_list(&mut self) {
        let Some(Frame { put, kind }) = self.scratch.frames.pop() else { return };
        match (&self.plan.puts[put], kind) {
            (Put::Fixed(size), Kind::Bytes { start }) => {
                let length = self.out.len() - start;
                if length != *size {
                    self.refuse(format_args!(
                        "{length} bytes are written where the schema has exactly {size}"
                    ));
                }
            }
            (_, Kind::Bytes { start }) => {
                let length = self.out.len() - start - 1;
                varint::write_at(varint::zigzag(length as i64), start, self.out);
            }
            // An empty list is its end.
            (_, Kind::List { items: 0, .. }) => {}
            (_, Kind::List { start, items }) => {
                varint::write_at(varint::zigzag(items as i64), start, self.out);
                self.out.push(0);
            }
            _ => {}
        }
    }
}
