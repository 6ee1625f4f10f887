//! `AvroReader`: records out of Avro's binary encoding, without an allocation per record.

use std::marker::PhantomData;

use bumpalo::Bump;
use headwater::batch::{DecodeError, Decoder, Record};
use headwater::{Error, Result};

use super::super::varint;
use super::decimal;
use super::resolve::{BYTE, KEY, Move, ReadPlan, Step, StepId};
use super::schema::{AvroSchema, Node, NodeId};

/// How deep what nobody asked for may be nested.
const DEPTH_MAX: usize = 128;

/// Values without any bytes that a payload may have, besides as many as it has bytes: an array of nulls could have
/// as many as there are numbers.
const EMPTY_MAX: u64 = 4096;

/// Reads payloads of one schema as records of one type.
///
/// Fields are found by their names; those that the record type does not have are passed over, those that only it
/// has must be `Option`. Numbers may become wider, integers any type that they fit, an `enum` a `String`, a
/// `map` a `Vec` of pairs, a `union` what each of its values can be.
///
/// ```
/// use bumpalo::Bump;
/// use headwater_connectors::format::{AvroReader, AvroSchema, AvroWriter};
///
/// let schema = AvroSchema::of::<(u64, String)>()?;
/// let mut bytes = Vec::new();
/// AvroWriter::<(u64, String)>::new(&schema)?.write((7, "seven"), &mut bytes)?;
/// assert_eq!(bytes, b"\x0e\x0aseven");
///
/// let (mut reader, arena) = (AvroReader::<(u64, String)>::new(&schema)?, Bump::new());
/// assert_eq!(reader.read(&bytes, &arena)?, (7, "seven"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AvroReader<T: Record> {
    plan: ReadPlan,
    frames: Vec<Frame>,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> AvroReader<T> {
    /// # Errors
    /// Records of this type cannot be made of what the schema says; the field and both types are named.
    pub fn new(schema: &AvroSchema) -> Result<Self> {
        let plan = ReadPlan::new(schema, &T::schema());
        plan.map(AvroReader::from).map_err(|error| Error::Config(format!("the Avro schema: {error}")))
    }

    /// Reads one payload. What is borrowed lives in it, or in `arena`.
    ///
    /// # Errors
    /// The bytes are not of this schema, or a value does not fit its field.
    pub fn read<'a>(&mut self, payload: &'a [u8], arena: &'a Bump) -> Result<T::View<'a>, DecodeError> {
        self.frames.clear();
        let budget = EMPTY_MAX + 16 * payload.len() as u64;
        let mut decoder = AvroDecoder {
            bytes: payload,
            at: 0,
            arena,
            plan: &self.plan,
            next: self.plan.root,
            frames: &mut self.frames,
            budget,
        };
        let view = T::decode(&mut decoder)?;
        match payload.len() - decoder.at {
            0 => Ok(view),
            more => Err(DecodeError::new(format!("{more} bytes stand behind the record"))),
        }
    }
}

impl<T: Record> From<ReadPlan> for AvroReader<T> {
    fn from(plan: ReadPlan) -> Self {
        AvroReader { plan, frames: Vec::new(), _record: PhantomData }
    }
}

/// A record or list that is being read.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// The next of a record's moves.
    Record {
        step: StepId,
        next: usize,
    },
    /// The key or the value of a map's entry.
    Entry {
        value: StepId,
        next: usize,
    },
    /// Items that are left of a block.
    Items {
        item: StepId,
        left: u64,
    },
    Bytes {
        end: usize,
    },
}

struct AvroDecoder<'a, 'r> {
    bytes: &'a [u8],
    at: usize,
    arena: &'a Bump,
    plan: &'r ReadPlan,
    /// What comes next.
    next: StepId,
    frames: &'r mut Vec<Frame>,
    /// Values without bytes that may come yet.
    budget: u64,
}

#[cold]
fn ends() -> DecodeError {
    DecodeError::new("the bytes end inside of it: they are cut off, or of another schema")
}

#[cold]
fn unlike(what: &str) -> DecodeError {
    DecodeError::new(format!("{what}: the bytes are of another schema, or damaged"))
}

impl<'a, 'r> AvroDecoder<'a, 'r> {
    #[inline(always)]
    fn long(&mut self) -> Result<i64, DecodeError> {
        varint::read(self.bytes, &mut self.at).map(varint::unzigzag).ok_or_else(ends)
    }

    fn int(&mut self) -> Result<i64, DecodeError> {
        let value = self.long()?;
        if i32::try_from(value).is_err() {
            return Err(unlike(&format!("an int is {value}")));
        }
        Ok(value)
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(length).ok_or_else(ends)?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(ends)?;
        self.at = end;
        Ok(bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.first_chunk().copied().ok_or_else(ends)
    }

    /// Bytes with their length in front.
    #[inline(always)]
    fn prefixed(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| unlike(&format!("a length is {length}")))?;
        self.take(length)
    }

    /// Takes values without bytes from what is left of them.
    fn spend(&mut self, count: u64) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(count).ok_or_else(|| unlike("it has too many empty values"))?;
        Ok(())
    }

    /// The step of the next value, behind the number of a union's branch.
    #[inline(always)]
    fn step(&mut self) -> Result<&'r Step, DecodeError> {
        let plan = self.plan;
        match &plan.steps[self.next] {
            Step::Union(branches) => {
                self.branch(branches)?;
                match &plan.steps[self.next] {
                    Step::Refused(why) => Err(DecodeError::new(why.clone())),
                    step => Ok(step),
                }
            }
            step => Ok(step),
        }
    }

    #[inline]
    fn branch(&mut self, branches: &[StepId]) -> Result<(), DecodeError> {
        let branch = self.long()?;
        let step = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
        self.next = *step.ok_or_else(|| unlike(&format!("branch {branch} of a union is not there")))?;
        Ok(())
    }

    fn decimal(&mut self, size: Option<usize>) -> Result<&'a [u8], DecodeError> {
        match size {
            Some(size) => self.take(size),
            None => self.prefixed(),
        }
    }

    /// An integer of any size.
    fn wide(&mut self) -> Result<i128, DecodeError> {
        match self.step()? {
            Step::Int => self.int().map(i128::from),
            Step::Long => self.long().map(i128::from),
            Step::Decimal { size, .. } => decimal::integer(self.decimal(*size)?),
            _ => Err(unlike("no integer is next")),
        }
    }

    /// The number of items in the next block; nothing behind the last.
    fn block(&mut self) -> Result<u64, DecodeError> {
        let count = self.long()?;
        if count < 0 {
            // Behind a negative count stands how many bytes the block has, for those who pass over it.
            let bytes = self.long()?;
            if bytes < 0 || bytes as u64 > (self.bytes.len() - self.at) as u64 {
                return Err(ends());
            }
        }
        self.spend(count.unsigned_abs())?;
        Ok(count.unsigned_abs())
    }

    /// Passes over a value that nobody asked for.
    fn pass(&mut self, node: NodeId, depth: usize) -> Result<(), DecodeError> {
        if depth > DEPTH_MAX {
            return Err(DecodeError::new(format!("values are nested deeper than {DEPTH_MAX}")));
        }
        let schema = &self.plan.schema;
        match &schema.nodes[node] {
            Node::Null => {}
            Node::Boolean => drop(self.take(1)?),
            Node::Int | Node::Long | Node::Enum(_) => drop(self.long()?),
            Node::Float => drop(self.take(4)?),
            Node::Double => drop(self.take(8)?),
            Node::Bytes | Node::String | Node::Decimal { size: None, .. } => drop(self.prefixed()?),
            Node::Fixed(size) | Node::Decimal { size: Some(size), .. } => drop(self.take(*size)?),
            Node::Union(branches) => {
                let branch = self.long()?;
                let node = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
                let node = node.ok_or_else(|| unlike(&format!("branch {branch} of a union is not there")))?;
                self.pass(*node, depth + 1)?;
            }
            Node::Record(members) => {
                self.spend(1)?;
                for member in members {
                    self.pass(member.node, depth + 1)?;
                }
            }
            Node::Array(item) => self.pass_blocks(*item, false, depth)?,
            Node::Map(value) => self.pass_blocks(*value, true, depth)?,
        }
        Ok(())
    }

    fn pass_blocks(&mut self, item: NodeId, has_keys: bool, depth: usize) -> Result<(), DecodeError> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.prefixed()?;
                continue;
            }
            self.spend(count as u64)?;
            for _ in 0..count {
                if has_keys {
                    self.prefixed()?;
                }
                self.pass(item, depth + 1)?;
            }
        }
    }

    fn move_on(&mut self, moves: &[Move]) -> Result<Option<usize>, DecodeError> {
        loop {
            let Some(Frame::Record { next, .. }) = self.frames.last_mut() else { return Ok(None) };
            let Some(step) = moves.get(*next) else {
                self.frames.pop();
                return Ok(None);
            };
            *next += 1;
            match step {
                Move::Skip(node) => self.pass(*node, 0)?,
                Move::Read(field, step) => {
                    self.next = *step;
                    return Ok(Some(*field));
                }
            }
        }
    }
}

impl<'a> Decoder<'a> for AvroDecoder<'a, '_> {
    fn arena(&self) -> &'a Bump {
        self.arena
    }

    fn bool(&mut self) -> Result<bool, DecodeError> {
        let Step::Boolean = self.step()? else { return Err(unlike("no boolean is next")) };
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(unlike(&format!("a boolean is {other:?}"))),
        }
    }

    #[inline(always)]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        match self.step()? {
            Step::Long => {
                let value = self.long()?;
                u64::try_from(value).map_err(|_| DecodeError::range(value, "u64"))
            }
            Step::Byte => Ok(self.chunk::<1>()?[0].into()),
            _ => {
                let value = self.wide()?;
                u64::try_from(value).map_err(|_| DecodeError::range(value, "u64"))
            }
        }
    }

    #[inline(always)]
    fn i64(&mut self) -> Result<i64, DecodeError> {
        match self.step()? {
            Step::Long => self.long(),
            Step::Int => self.int(),
            _ => {
                let value = self.wide()?;
                i64::try_from(value).map_err(|_| DecodeError::range(value, "i64"))
            }
        }
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        match self.step()? {
            Step::Decimal { size, .. } => decimal::unsigned(self.decimal(*size)?),
            _ => {
                let value = self.wide()?;
                u128::try_from(value).map_err(|_| DecodeError::range(value, "u128"))
            }
        }
    }

    fn i128(&mut self) -> Result<i128, DecodeError> {
        self.wide()
    }

    #[inline(always)]
    fn f64(&mut self) -> Result<f64, DecodeError> {
        match self.step()? {
            Step::Double => Ok(f64::from_le_bytes(self.chunk()?)),
            Step::Float => Ok(f32::from_le_bytes(self.chunk()?).into()),
            Step::Decimal { size, scale } => decimal::number(self.decimal(*size)?, *scale),
            _ => Ok(self.wide()? as f64),
        }
    }

    fn f32(&mut self) -> Result<f32, DecodeError> {
        match self.step()? {
            Step::Float => Ok(f32::from_le_bytes(self.chunk()?)),
            _ => Ok(self.wide()? as f32),
        }
    }

    #[inline(always)]
    fn str(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = match self.step()? {
            Step::Text => self.prefixed()?,
            Step::Fixed(size) => self.take(*size)?,
            Step::Enum(symbols) => {
                let number = self.int()?;
                let symbol = usize::try_from(number).ok().and_then(|number| symbols.get(number));
                let symbol =
                    symbol.ok_or_else(|| unlike(&format!("symbol {number} of an enum is not there")))?;
                return Ok(self.arena.alloc_str(symbol));
            }
            Step::Decimal { size, scale } => {
                let text = decimal::text(self.decimal(*size)?, *scale)?;
                return Ok(self.arena.alloc_str(&text));
            }
            _ => return Err(unlike("no string is next")),
        };
        simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::new("the text is not UTF-8"))
    }

    #[inline(always)]
    fn take_null(&mut self, _: usize) -> Result<bool, DecodeError> {
        let plan = self.plan;
        if let Step::Union(branches) = &plan.steps[self.next] {
            self.branch(branches)?;
            if let Step::Refused(why) = &plan.steps[self.next] {
                return Err(DecodeError::new(why.clone()));
            }
        }
        Ok(matches!(plan.steps[self.next], Step::Null))
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        Err(DecodeError::new("no field of it is left out"))
    }

    #[inline(always)]
    fn begin_record(&mut self, _: &'static [&'static str]) -> Result<(), DecodeError> {
        let frame = match self.step()? {
            Step::Record(_) => Frame::Record { step: self.next, next: 0 },
            Step::Entry(value) => Frame::Entry { value: *value, next: 0 },
            _ => return Err(unlike("no record is next")),
        };
        self.frames.push(frame);
        Ok(())
    }

    #[inline(always)]
    fn next_field(&mut self, _: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        let plan = self.plan;
        match self.frames.last_mut() {
            Some(Frame::Record { step, .. }) => match &plan.steps[*step] {
                Step::Record(moves) => self.move_on(moves),
                _ => Ok(None),
            },
            Some(Frame::Entry { value, next }) => {
                let at = *next;
                *next += 1;
                match at {
                    0 => self.next = KEY,
                    1 => self.next = *value,
                    _ => drop(self.frames.pop()),
                }
                Ok((at < 2).then_some(at))
            }
            _ => Ok(None),
        }
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        let frame = match self.step()? {
            Step::Array(item) | Step::Map(item) => Frame::Items { item: *item, left: 0 },
            Step::Text => {
                let bytes = self.prefixed()?.len();
                self.at -= bytes;
                Frame::Bytes { end: self.at + bytes }
            }
            Step::Fixed(size) => {
                self.take(*size)?;
                self.at -= *size;
                Frame::Bytes { end: self.at + *size }
            }
            _ => return Err(unlike("no list is next")),
        };
        self.frames.push(frame);
        Ok(())
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        let (item, count) = match self.frames.last().copied() {
            Some(Frame::Items { item, left: 0 }) => (item, self.block()?),
            Some(Frame::Items { item, left }) => (item, left),
            Some(Frame::Bytes { end }) if self.at < end => {
                self.next = BYTE;
                return Ok(true);
            }
            _ => {
                self.frames.pop();
                return Ok(false);
            }
        };
        if count == 0 {
            self.frames.pop();
            return Ok(false);
        }
        if let Some(Frame::Items { left, .. }) = self.frames.last_mut() {
            *left = count - 1;
        }
        self.next = item;
        Ok(true)
    }
}
