//! `ProtobufWriter`: records to Protobuf's wire format, appended to a buffer.

use std::fmt;
use std::marker::PhantomData;

use headwater::batch::{Encoder, Record};
use headwater::{Error, Result};

use super::super::varint;
use super::parse::Shape;
use super::plan::{FormId, Part, Plan, Way};
use super::schema::{Kind, LENGTH, ProtobufSchema};

/// Writes records of one type as messages of one type.
///
/// The schema is [`ProtobufSchema::of`] the record type, or one that has all of its fields: their numbers and
/// order may differ, a `String` may be an `enum`, a `Vec` of pairs a `map`, an `Option` one of a `oneof`.
#[derive(Debug)]
pub struct ProtobufWriter<T: Record> {
    plan: Plan,
    frames: Vec<Frame>,
    _record: PhantomData<fn() -> T>,
}

#[derive(Clone, Copy, Debug)]
enum Frame {
    Record {
        form: FormId,
        next: usize,
        /// Where its length stands; nothing stands in front of the first.
        length_at: Option<usize>,
        /// The `oneof`s that have a value, by their numbers.
        ones: u64,
    },
    /// Where the list begins, and where its length stands if it is packed.
    List { form: FormId, field: usize, start: usize, length_at: Option<usize> },
    /// Bytes, where their tag and their length stand.
    Bytes { start: usize, length_at: usize, is_plain: bool },
}

impl<T: Record> ProtobufWriter<T> {
    /// # Errors
    /// The message has no place for what such a record holds; the field and both types are named.
    pub fn new(schema: &ProtobufSchema) -> Result<Self> {
        let plan = Plan::new(schema, &T::schema(), Way::Write).map_err(|error| {
            Error::Config(format!("the record cannot be written with the Protobuf schema: {error}"))
        })?;
        Ok(ProtobufWriter { plan, frames: Vec::new(), _record: PhantomData })
    }

    /// Appends one record.
    ///
    /// # Errors
    /// A value does not fit its field in the schema, which is named; then `out` is as it was.
    pub fn write(&mut self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        self.frames.clear();
        let mut encoder = ProtobufEncoder { plan: &self.plan, frames: &mut self.frames, out, error: None };
        T::encode(view, &mut encoder);
        match encoder.error {
            None => Ok(()),
            Some(error) => {
                out.truncate(start);
                Err(Error::failed(format!("a record cannot be written as Protobuf: {error}")))
            }
        }
    }
}

struct ProtobufEncoder<'w, 'o> {
    plan: &'w Plan,
    frames: &'w mut Vec<Frame>,
    out: &'o mut Vec<u8>,
    /// The first thing that did not fit.
    error: Option<String>,
}

/// How a value is written where it stands.
#[derive(Clone, Copy)]
struct Spot<'w> {
    part: &'w Part,
    /// An item of a packed list has no tag.
    has_tag: bool,
    /// A default need not be written.
    may_be_left_out: bool,
}

impl<'w> ProtobufEncoder<'w, '_> {
    #[cold]
    fn refuse(&mut self, what: impl fmt::Display) {
        if self.error.is_some() {
            return;
        }
        let parts = self.frames.iter().filter_map(|frame| match frame {
            Frame::Record { form, next, .. } => self.plan.forms[*form].fields.get(next.checked_sub(1)?),
            _ => None,
        });
        let path: Vec<_> = parts.map(|part| part.name.as_str()).collect();
        self.error = Some(match path.as_slice() {
            [] => what.to_string(),
            path => format!("field `{}`: {what}", path.join(".")),
        });
    }

    /// Where the next value goes.
    #[inline(always)]
    fn spot(&mut self) -> Option<Spot<'w>> {
        let plan = self.plan;
        match self.frames.last_mut() {
            Some(Frame::Record { form, next, ones, .. }) => {
                let part = plan.forms[*form].fields.get(next.checked_sub(1)?)?;
                if let Shape::One(number) = part.shape {
                    let one = 1_u64.checked_shl(number).unwrap_or(0);
                    if *ones & one != 0 {
                        self.refuse("another field of its `oneof` has a value, too");
                        return None;
                    }
                    *ones |= one;
                }
                Some(Spot { part, has_tag: true, may_be_left_out: part.shape == Shape::Plain })
            }
            Some(Frame::List { form, field, length_at, .. }) => {
                let part = plan.forms[*form].fields.get(*field)?;
                Some(Spot { part, has_tag: length_at.is_none(), may_be_left_out: false })
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn tag(&mut self, spot: Spot<'_>) {
        if spot.has_tag {
            varint::write(spot.part.tag(spot.part.kind.wire()), self.out);
        }
    }

    #[inline(always)]
    fn varint(&mut self, spot: Spot<'_>, value: u64) {
        if value != 0 || !spot.may_be_left_out {
            self.tag(spot);
            varint::write(value, self.out);
        }
    }

    fn fixed(&mut self, spot: Spot<'_>, bytes: &[u8]) {
        if !spot.may_be_left_out || bytes.iter().any(|byte| *byte != 0) {
            self.tag(spot);
            self.out.extend_from_slice(bytes);
        }
    }

    fn integer(&mut self, value: i128) {
        if let Some(Frame::Bytes { .. }) = self.frames.last() {
            self.out.push(value as u8);
            return;
        }
        let Some(spot) = self.spot() else { return };
        let small = i32::try_from(value);
        let written = match spot.part.kind {
            Kind::Int32 | Kind::Enum(_) => {
                small.map(|value| self.varint(spot, i64::from(value) as u64)).is_ok()
            }
            Kind::Sint32 => small.map(|value| self.varint(spot, varint::zigzag(value.into()))).is_ok(),
            Kind::Sfixed32 => small.map(|value| self.fixed(spot, &value.to_le_bytes())).is_ok(),
            Kind::Uint32 => u32::try_from(value).map(|value| self.varint(spot, value.into())).is_ok(),
            Kind::Fixed32 => u32::try_from(value).map(|value| self.fixed(spot, &value.to_le_bytes())).is_ok(),
            Kind::Int64 => i64::try_from(value).map(|value| self.varint(spot, value as u64)).is_ok(),
            Kind::Sint64 => {
                i64::try_from(value).map(|value| self.varint(spot, varint::zigzag(value))).is_ok()
            }
            Kind::Sfixed64 => {
                i64::try_from(value).map(|value| self.fixed(spot, &value.to_le_bytes())).is_ok()
            }
            Kind::Uint64 => u64::try_from(value).map(|value| self.varint(spot, value)).is_ok(),
            Kind::Fixed64 => u64::try_from(value).map(|value| self.fixed(spot, &value.to_le_bytes())).is_ok(),
            _ => false,
        };
        if !written {
            self.refuse(format_args!("{value} does not fit {}", spot.part.kind.name()));
        }
    }
}

impl Encoder for ProtobufEncoder<'_, '_> {
    fn null(&mut self, _: usize) {}

    fn bool(&mut self, value: bool) {
        if let Some(spot) = self.spot() {
            self.varint(spot, value.into());
        }
    }

    #[inline(always)]
    fn u64(&mut self, value: u64) {
        self.integer(value.into());
    }

    #[inline(always)]
    fn i64(&mut self, value: i64) {
        self.integer(value.into());
    }

    fn u128(&mut self, value: u128) {
        match i128::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => self.refuse(format_args!("{value} does not fit 64 bits")),
        }
    }

    fn i128(&mut self, value: i128) {
        self.integer(value);
    }

    fn f64(&mut self, value: f64) {
        if let Some(spot) = self.spot() {
            self.fixed(spot, &value.to_le_bytes());
        }
    }

    fn f32(&mut self, value: f32) {
        let Some(spot) = self.spot() else { return };
        match spot.part.kind {
            Kind::Double => self.fixed(spot, &f64::from(value).to_le_bytes()),
            _ => self.fixed(spot, &value.to_le_bytes()),
        }
    }

    #[inline(always)]
    fn str(&mut self, value: &str) {
        let Some(spot) = self.spot() else { return };
        if let Kind::Enum(kind) = spot.part.kind {
            return match self.plan.schema.enums[kind].number(value) {
                Some(number) => self.varint(spot, i64::from(number) as u64),
                None => self.refuse(format_args!("`{value}` is no value of its enum")),
            };
        }
        if !value.is_empty() || !spot.may_be_left_out {
            self.tag(spot);
            varint::write(value.len() as u64, self.out);
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    fn begin_record(&mut self) {
        let (form, length_at) = if self.frames.is_empty() {
            (self.plan.root, None)
        } else {
            let Some(spot) = self.spot() else {
                // Something is wrong already; the fields of this record have no place.
                let form = self.plan.root;
                return self.frames.push(Frame::Record {
                    form,
                    next: usize::MAX / 2,
                    length_at: None,
                    ones: 0,
                });
            };
            self.tag(spot);
            self.out.push(0);
            (spot.part.form, Some(self.out.len() - 1))
        };
        self.frames.push(Frame::Record { form, next: 0, length_at, ones: 0 });
    }

    #[inline(always)]
    fn field(&mut self, _: &'static str) {
        if let Some(Frame::Record { next, .. }) = self.frames.last_mut() {
            *next += 1;
        }
    }

    fn end_record(&mut self) {
        if let Some(Frame::Record { length_at: Some(at), .. }) = self.frames.pop() {
            let length = self.out.len() - at - 1;
            varint::write_at(length as u64, at, self.out);
        }
    }

    fn begin_list(&mut self) {
        let start = self.out.len();
        let (form, field) = match self.frames.last() {
            Some(Frame::Record { form, next, .. }) => (*form, next.saturating_sub(1)),
            Some(Frame::List { form, field, .. }) => (*form, *field),
            _ => (self.plan.root, usize::MAX),
        };
        let is_item = matches!(self.frames.last(), Some(Frame::List { .. }));
        let part = self.plan.forms[form].fields.get(field);
        let frame = match part.map(|part| (part, part.shape)) {
            Some((part, Shape::Many(is_packed))) if !is_item => {
                let length_at = is_packed.then(|| {
                    varint::write(part.tag(LENGTH), self.out);
                    self.out.push(0);
                    self.out.len() - 1
                });
                Frame::List { form, field, start, length_at }
            }
            _ => {
                let is_plain = self.spot().is_some_and(|spot| {
                    self.tag(spot);
                    spot.may_be_left_out
                });
                self.out.push(0);
                Frame::Bytes { start, length_at: self.out.len() - 1, is_plain }
            }
        };
        self.frames.push(frame);
    }

    fn item(&mut self) {}

    fn end_list(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let (start, length_at, may_be_empty) = match frame {
            Frame::List { start, length_at: Some(at), .. } => (start, at, false),
            Frame::Bytes { start, length_at, is_plain } => (start, length_at, !is_plain),
            _ => return,
        };
        match self.out.len() - length_at - 1 {
            0 if !may_be_empty => self.out.truncate(start),
            length => varint::write_at(length as u64, length_at, self.out),
        }
    }
}
