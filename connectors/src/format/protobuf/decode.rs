//! `ProtobufReader`: records out of Protobuf's wire format, without an allocation per record.
//!
//! Fields may come in any order, and those of a list between others. A message is therefore looked through once
//! for where its fields are, and read in the order of the record type.

use std::marker::PhantomData;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Decoder, Record};
use headwater::{Error, Result};

use super::super::varint;
use super::parse::Shape;
use super::plan::{FormId, Part, Plan, Way, can_be_packed};
use super::schema::{EIGHT_BYTES, FOUR_BYTES, Kind, LENGTH, ProtobufSchema, VARINT};

/// How deep groups, which nobody asked for, may be nested.
const DEPTH_MAX: usize = 64;

/// Reads payloads of one message type as records of one type.
///
/// Fields are found by the names that their numbers have in the schema; those that the record type does not have
/// are passed over. What is not there is `None`, or the default of its type where the record type has no
/// `Option`.
///
/// ```
/// use bumpalo::Bump;
/// use headwater::prelude::*;
/// use headwater_connectors::format::{ProtobufReader, ProtobufSchema};
///
/// #[derive(Record)]
/// struct Bid { cents: i64, bidder: Option<String> }
///
/// let text = "syntax = \"proto3\"; message Bid { optional string bidder = 1; int64 cents = 7; bool large = 8; }";
/// let mut reader = ProtobufReader::<Bid>::new(&ProtobufSchema::parse(text, "Bid")?)?;
/// let arena = Bump::new();
/// let bid = reader.read(b"\x38\x96\x01\x40\x01", &arena)?;
/// assert_eq!((bid.cents, bid.bidder), (150, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProtobufReader<T: Record> {
    plan: Plan,
    frames: Vec<Frame>,
    slots: Vec<Slot>,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> ProtobufReader<T> {
    /// # Errors
    /// Records of this type cannot be made of such messages; the field and both types are named.
    pub fn new(schema: &ProtobufSchema) -> Result<Self> {
        let plan = Plan::new(schema, &T::schema(), Way::Read);
        plan.map(ProtobufReader::from).map_err(|error| Error::Config(format!("the Protobuf schema: {error}")))
    }

    /// Reads one payload. What is borrowed lives in it, or in `arena`.
    ///
    /// # Errors
    /// The bytes are not of this message type, or a value does not fit its field.
    pub fn read<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<T::View<'a>, DecodeError> {
        self.frames.clear();
        self.slots.clear();
        let now = Now { source: 0, at: 0, end: payload.len(), place: Place::Message(self.plan.root) };
        let mut decoder = ProtobufDecoder {
            payload,
            merged: Vec::new(),
            arena,
            plan: &self.plan,
            frames: &mut self.frames,
            slots: &mut self.slots,
            now,
        };
        T::decode(&mut decoder)
    }
}

impl<T: Record> From<Plan> for ProtobufReader<T> {
    fn from(plan: Plan) -> Self {
        ProtobufReader { plan, frames: Vec::new(), slots: Vec::new(), _record: PhantomData }
    }
}

/// Where a field is in the bytes of its message.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// How often it is there.
    count: u32,
    /// Where the tag of the value stands that counts: the last one, of lists and messages the first.
    at: usize,
}

/// The value that is next.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// Which bytes it is in: 0 is the payload.
    source: usize,
    at: usize,
    /// Where the bytes end that it may be in.
    end: usize,
    place: Place,
}

/// What it is; fields are named by their form and their index.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A message from `at` to `end`.
    Message(FormId),
    /// A field or an item of one, behind its tag.
    Value(FormId, usize),
    /// All items of a field, which is there so often; `at` is the first tag.
    Many(FormId, usize, u32),
    /// A field that is not there, and has its default.
    Default(FormId, usize),
    Byte,
}

/// A message or list that is being read.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// Where its slots begin, and the next of its fields.
    Record {
        form: FormId,
        base: usize,
        next: usize,
        source: usize,
        end: usize,
    },
    Items {
        form: FormId,
        field: usize,
        source: usize,
        at: usize,
        end: usize,
        /// How often the field comes yet, and the end of the items that came together.
        left: u32,
        packed_end: usize,
    },
    Bytes {
        source: usize,
        at: usize,
        end: usize,
    },
}

struct ProtobufDecoder<'a, 'r> {
    payload: &'a [u8],
    /// Messages that came in several parts.
    merged: Vec<&'a [u8]>,
    arena: &'a Bump,
    plan: &'r Plan,
    frames: &'r mut Vec<Frame>,
    slots: &'r mut Vec<Slot>,
    now: Now,
}

#[cold]
fn ends() -> DecodeError {
    DecodeError::new("the bytes end inside of it: they are cut off, or of another message")
}

#[cold]
fn unlike(what: &str) -> DecodeError {
    DecodeError::new(format!("{what}: the bytes are of another message, or damaged"))
}

/// Reads the number of a field and how its value lies in the bytes.
#[inline(always)]
fn read_tag(bytes: &[u8], at: &mut usize) -> Result<(u32, u8), DecodeError> {
    let tag = varint::read(bytes, at).ok_or_else(ends)?;
    match u32::try_from(tag >> 3) {
        Ok(number) if number > 0 => Ok((number, (tag & 7) as u8)),
        _ => Err(unlike("a field has a number that none can have")),
    }
}

/// Reads the length of a value and checks that so much is there.
#[inline(always)]
fn read_length(bytes: &[u8], at: &mut usize) -> Result<usize, DecodeError> {
    let length = varint::read(bytes, at).ok_or_else(ends)?;
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len() - *at => Ok(length),
        _ => Err(ends()),
    }
}

/// Goes behind a value.
#[inline(always)]
fn pass(bytes: &[u8], at: &mut usize, number: u32, wire: u8) -> Result<(), DecodeError> {
    match wire {
        VARINT => drop(varint::read(bytes, at).ok_or_else(ends)?),
        LENGTH => {
            let length = read_length(bytes, at)?;
            *at += length;
        }
        EIGHT_BYTES => *at += 8,
        FOUR_BYTES => *at += 4,
        _ => pass_group(bytes, at, number, wire)?,
    }
    if *at > bytes.len() { Err(ends()) } else { Ok(()) }
}

/// Goes behind the end of a group.
#[cold]
fn pass_group(bytes: &[u8], at: &mut usize, number: u32, wire: u8) -> Result<(), DecodeError> {
    const BEGIN: u8 = 3;
    const END: u8 = 4;
    if wire != BEGIN {
        return Err(unlike(&format!("field {number} has the wire type {wire}")));
    }
    let mut open = vec![number];
    while let Some(group) = open.last() {
        match read_tag(bytes, at)? {
            (number, END) if number == *group => drop(open.pop()),
            (number, BEGIN) if open.len() < DEPTH_MAX => open.push(number),
            (number, BEGIN | END) => {
                return Err(unlike(&format!("a group of field {number} begins or ends in another one")));
            }
            (number, wire) => pass(bytes, at, number, wire)?,
        }
    }
    Ok(())
}

impl<'a, 'r> ProtobufDecoder<'a, 'r> {
    #[inline(always)]
    fn bytes(&self, source: usize, end: usize) -> &'a [u8] {
        let bytes = match source {
            0 => self.payload,
            _ => self.merged.get(source - 1).copied().unwrap_or_default(),
        };
        bytes.get(..end).unwrap_or(bytes)
    }

    #[inline(always)]
    fn part(&self, form: FormId, field: usize) -> &'r Part {
        &self.plan.forms[form].fields[field]
    }

    /// Finds the fields of a message.
    fn scan(&mut self, form: FormId, source: usize, start: usize, end: usize) -> Result<usize, DecodeError> {
        let plan = self.plan;
        let form = &plan.forms[form];
        let bytes = self.bytes(source, end);
        let base = self.slots.len();
        self.slots.resize(base + form.fields.len(), Slot::default());
        let slots = &mut self.slots[base..];
        let mut at = start;
        while at < bytes.len() {
            let tag_at = at;
            let (number, wire) = read_tag(bytes, &mut at)?;
            if let Some(index) = form.index(number) {
                let part = &form.fields[index];
                let is_packed = wire == LENGTH && part.is_many() && can_be_packed(part.kind);
                if wire != part.kind.wire() && !is_packed {
                    let what = format!("it has the wire type {wire}, and {} another one", part.kind.name());
                    return Err(unlike(&what).at(&part.name));
                }
                let slot = &mut slots[index];
                if slot.count == 0 || !(part.is_many() || matches!(part.kind, Kind::Message(_))) {
                    slot.at = tag_at;
                }
                slot.count = slot.count.saturating_add(1);
            }
            pass(bytes, &mut at, number, wire)?;
        }
        Ok(base)
    }

    /// Puts the parts together in which a message came: one behind the other, they are the message.
    #[cold]
    fn merge(&mut self, part: &Part, source: usize, start: usize, end: usize) -> Result<Now, DecodeError> {
        let bytes = self.bytes(source, end);
        let (mut whole, mut at) = (Vec::new(), start);
        while at < bytes.len() {
            let (number, wire) = read_tag(bytes, &mut at)?;
            if number == part.number && wire == LENGTH {
                let length = read_length(bytes, &mut at)?;
                whole.extend_from_slice(&bytes[at..at + length]);
                at += length;
            } else {
                pass(bytes, &mut at, number, wire)?;
            }
        }
        self.merged.push(self.arena.alloc_slice_copy(&whole));
        let place = Place::Message(part.form);
        Ok(Now { source: self.merged.len(), at: 0, end: whole.len(), place })
    }

    /// The kind of the value that is next, and its bytes with all that follows; `None` for a default.
    #[inline(always)]
    fn value(&self) -> Result<(Kind, Option<&'a [u8]>), DecodeError> {
        let Now { source, at, end, place } = self.now;
        match place {
            Place::Value(form, field) => {
                let bytes = self.bytes(source, end);
                Ok((self.part(form, field).kind, Some(bytes.get(at..).unwrap_or_default())))
            }
            Place::Default(form, field) => Ok((self.part(form, field).kind, None)),
            _ => Err(unlike("no such value is next")),
        }
    }

    #[inline(always)]
    fn varint(bytes: &[u8]) -> Result<u64, DecodeError> {
        varint::read(bytes, &mut 0).ok_or_else(ends)
    }

    fn four(bytes: &[u8]) -> Result<[u8; 4], DecodeError> {
        bytes.first_chunk().copied().ok_or_else(ends)
    }

    fn eight(bytes: &[u8]) -> Result<[u8; 8], DecodeError> {
        bytes.first_chunk().copied().ok_or_else(ends)
    }

    /// An integer of any kind.
    fn wide(&mut self) -> Result<i128, DecodeError> {
        let (kind, bytes) = self.value()?;
        let Some(bytes) = bytes else {
            return Ok(match kind {
                Kind::Enum(number) => {
                    self.plan.schema.enums[number].values.first().map_or(0, |(_, first)| (*first).into())
                }
                _ => 0,
            });
        };
        Ok(match kind {
            // Of more bits than it has, the lowest count.
            Kind::Int32 | Kind::Enum(_) => i128::from(Self::varint(bytes)? as i32),
            Kind::Uint32 => i128::from(Self::varint(bytes)? as u32),
            Kind::Sint32 => i128::from(varint::unzigzag(Self::varint(bytes)? & 0xffff_ffff)),
            Kind::Int64 => i128::from(Self::varint(bytes)? as i64),
            Kind::Uint64 => i128::from(Self::varint(bytes)?),
            Kind::Sint64 => i128::from(varint::unzigzag(Self::varint(bytes)?)),
            Kind::Fixed32 => i128::from(u32::from_le_bytes(Self::four(bytes)?)),
            Kind::Sfixed32 => i128::from(i32::from_le_bytes(Self::four(bytes)?)),
            Kind::Fixed64 => i128::from(u64::from_le_bytes(Self::eight(bytes)?)),
            Kind::Sfixed64 => i128::from(i64::from_le_bytes(Self::eight(bytes)?)),
            _ => return Err(unlike("no integer is next")),
        })
    }

    /// The field that is next of a record, if it is there or has a default.
    fn enter(
        &mut self,
        form: FormId,
        base: usize,
        index: usize,
        source: usize,
        end: usize,
    ) -> Result<bool, DecodeError> {
        let part = self.part(form, index);
        let Slot { count, mut at } = self.slots.get(base + index).copied().unwrap_or_default();
        if count == 0 {
            // What an `Option` cannot be told from is no `None`.
            let is_none = part.number == 0 || (part.is_option && part.shape != Shape::Plain);
            self.now = Now { source, at: end, end, place: Place::Default(form, index) };
            return Ok(!is_none);
        }
        self.now = if part.is_many() {
            Now { source, at, end, place: Place::Many(form, index, count) }
        } else if count > 1 && matches!(part.kind, Kind::Message(_)) {
            self.merge(part, source, at, end)?
        } else {
            read_tag(self.bytes(source, end), &mut at)?;
            Now { source, at, end, place: Place::Value(form, index) }
        };
        Ok(true)
    }

    /// Text or bytes.
    #[inline(always)]
    fn prefixed(bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let mut at = 0;
        let length = read_length(bytes, &mut at)?;
        Ok(&bytes[at..at + length])
    }
}

impl<'a> Decoder<'a> for ProtobufDecoder<'a, '_> {
    fn arena(&self) -> &'a Bump {
        self.arena
    }

    fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.value()? {
            (Kind::Bool, Some(bytes)) => Ok(Self::varint(bytes)? != 0),
            (Kind::Bool, None) => Ok(false),
            _ => Err(unlike("no bool is next")),
        }
    }

    #[inline(always)]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        if let Place::Byte = self.now.place {
            let bytes = self.bytes(self.now.source, self.now.end);
            return bytes.get(self.now.at).map(|byte| u64::from(*byte)).ok_or_else(ends);
        }
        match self.value()? {
            (Kind::Uint64, Some(bytes)) => Self::varint(bytes),
            _ => {
                let value = self.wide()?;
                u64::try_from(value).map_err(|_| DecodeError::range(value, "u64"))
            }
        }
    }

    #[inline(always)]
    fn i64(&mut self) -> Result<i64, DecodeError> {
        match self.value()? {
            (Kind::Int64, Some(bytes)) => Ok(Self::varint(bytes)? as i64),
            _ => {
                let value = self.wide()?;
                i64::try_from(value).map_err(|_| DecodeError::range(value, "i64"))
            }
        }
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        let value = self.wide()?;
        u128::try_from(value).map_err(|_| DecodeError::range(value, "u128"))
    }

    fn i128(&mut self) -> Result<i128, DecodeError> {
        self.wide()
    }

    #[inline(always)]
    fn f64(&mut self) -> Result<f64, DecodeError> {
        match self.value()? {
            (Kind::Double, Some(bytes)) => Ok(f64::from_le_bytes(Self::eight(bytes)?)),
            (Kind::Float, Some(bytes)) => Ok(f32::from_le_bytes(Self::four(bytes)?).into()),
            (Kind::Double | Kind::Float, None) => Ok(0.0),
            _ => Err(unlike("no number is next")),
        }
    }

    fn f32(&mut self) -> Result<f32, DecodeError> {
        match self.value()? {
            (Kind::Float, Some(bytes)) => Ok(f32::from_le_bytes(Self::four(bytes)?)),
            (Kind::Float, None) => Ok(0.0),
            _ => Err(unlike("no number is next")),
        }
    }

    #[inline(always)]
    fn str(&mut self) -> Result<&'a str, DecodeError> {
        match self.value()? {
            (Kind::String | Kind::Bytes, Some(bytes)) => {
                let text = simdutf8::basic::from_utf8(Self::prefixed(bytes)?);
                text.map_err(|_| DecodeError::new("the text is not UTF-8"))
            }
            (Kind::String | Kind::Bytes, None) => Ok(""),
            (Kind::Enum(kind), _) => {
                let number = self.wide()? as i32;
                let name = self.plan.schema.enums[kind].name(number);
                let name = name.ok_or_else(|| DecodeError::new(format!("the enum has no value {number}")))?;
                Ok(self.arena.alloc_str(name))
            }
            _ => Err(unlike("no text is next")),
        }
    }

    #[inline(always)]
    fn take_null(&mut self, _: usize) -> Result<bool, DecodeError> {
        // What is null is not there.
        Ok(false)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        Err(DecodeError::new("no field of it is left out"))
    }

    fn begin_record(&mut self, _: &'static [&'static str]) -> Result<(), DecodeError> {
        let Now { source, mut at, mut end, place } = self.now;
        let form = match place {
            Place::Message(form) => form,
            Place::Value(form, field) => {
                let length = read_length(self.bytes(source, end), &mut at)?;
                end = at + length;
                self.part(form, field).form
            }
            Place::Default(form, field) => self.part(form, field).form,
            _ => return Err(unlike("no message is next")),
        };
        let base = self.scan(form, source, at, end)?;
        self.frames.push(Frame::Record { form, base, next: 0, source, end });
        Ok(())
    }

    #[inline]
    fn next_field(&mut self, _: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        loop {
            let Some(Frame::Record { form, base, next, source, end }) = self.frames.last_mut() else {
                return Ok(None);
            };
            let (form, base, index, source, end) = (*form, *base, *next, *source, *end);
            *next += 1;
            if index >= self.plan.forms[form].fields.len() {
                self.slots.truncate(base);
                self.frames.pop();
                return Ok(None);
            }
            if self.enter(form, base, index, source, end)? {
                return Ok(Some(index));
            }
        }
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        let Now { source, mut at, end, place } = self.now;
        let frame = match place {
            Place::Many(form, field, left) => {
                Frame::Items { form, field, source, at, end, left, packed_end: at }
            }
            Place::Value(..) => {
                let length = read_length(self.bytes(source, end), &mut at)?;
                Frame::Bytes { source, at, end: at + length }
            }
            Place::Default(..) => Frame::Bytes { source, at: end, end },
            _ => return Err(unlike("no list is next")),
        };
        self.frames.push(frame);
        Ok(())
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        let plan = self.plan;
        match self.frames.last().copied() {
            Some(Frame::Bytes { source, at, end }) if at < end => {
                self.now = Now { source, at, end, place: Place::Byte };
                if let Some(Frame::Bytes { at, .. }) = self.frames.last_mut() {
                    *at += 1;
                }
                Ok(true)
            }
            Some(Frame::Items { form, field, source, mut at, end, mut left, mut packed_end }) => {
                let part = &plan.forms[form].fields[field];
                let bytes = self.bytes(source, end);
                loop {
                    let value_at = if at < packed_end {
                        at
                    } else if left == 0 {
                        self.frames.pop();
                        return Ok(false);
                    } else {
                        let (number, wire) = read_tag(bytes, &mut at)?;
                        if number != part.number {
                            pass(bytes, &mut at, number, wire)?;
                            continue;
                        }
                        left -= 1;
                        if wire == LENGTH && can_be_packed(part.kind) {
                            packed_end = read_length(bytes, &mut at)? + at;
                            continue;
                        }
                        at
                    };
                    pass(bytes, &mut at, part.number, part.kind.wire())?;
                    self.now = Now { source, at: value_at, end, place: Place::Value(form, field) };
                    if let Some(frame) = self.frames.last_mut() {
                        *frame = Frame::Items { form, field, source, at, end, left, packed_end };
                    }
                    return Ok(true);
                }
            }
            _ => {
                self.frames.pop();
                Ok(false)
            }
        }
    }
}
