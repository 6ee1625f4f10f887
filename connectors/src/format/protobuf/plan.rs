//! `Plan`: which field of a message is which of a record type, found out once per schema.

use headwater::batch::{DecodeError, FieldType, Schema};

use super::parse::Shape;
use super::schema::{Field, Kind, LENGTH, MessageId, ProtobufSchema};

pub(super) type FormId = usize;

/// Largest number that is looked up in a table.
const TABLE_MAX: u32 = 256;

/// What a plan is for: reading forgives more than writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write,
}

/// How messages of one schema become records of one type, or records become messages.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) schema: ProtobufSchema,
    pub(super) forms: Vec<Form>,
    pub(super) root: FormId,
}

/// One message and the record type that it is.
#[derive(Debug)]
pub(super) struct Form {
    /// In the order of the record type.
    pub(super) fields: Vec<Part>,
    /// Indexes of fields by their numbers, and numbers that are too large for that.
    table: Vec<Option<u32>>,
    others: Vec<(u32, u32)>,
}

impl Form {
    /// The index of the field with a number.
    #[inline(always)]
    pub(super) fn index(&self, number: u32) -> Option<usize> {
        match self.table.get(number as usize) {
            Some(index) => index.map(|index| index as usize),
            None => self.other(number),
        }
    }

    fn other(&self, number: u32) -> Option<usize> {
        let found = self.others.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.others.get(found).map(|(_, index)| *index as usize)
    }
}

/// One field.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    /// Zero for one that the message does not have.
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// The form of a message.
    pub(super) form: FormId,
    pub(super) is_option: bool,
}

impl Part {
    pub(super) fn is_many(&self) -> bool {
        matches!(self.shape, Shape::Many(_))
    }

    /// What stands in front of each value.
    pub(super) fn tag(&self, wire: u8) -> u64 {
        u64::from(self.number) << 3 | u64::from(wire)
    }
}

impl Plan {
    /// # Errors
    /// The message and the record type do not suit each other.
    pub(super) fn new(schema: &ProtobufSchema, record: &Schema, way: Way) -> Result<Self, DecodeError> {
        let mut planner = Planner { schema, forms: Vec::new(), way };
        let root = planner.form(schema.root, record)?;
        Ok(Plan { schema: schema.clone(), forms: planner.forms, root })
    }
}

struct Planner<'s> {
    schema: &'s ProtobufSchema,
    forms: Vec<Form>,
    way: Way,
}

impl Planner<'_> {
    fn form(&mut self, message: MessageId, record: &Schema) -> Result<FormId, DecodeError> {
        let message = &self.schema.messages[message];
        let FieldType::Record(fields) = &record.field_type else {
            return Err(DecodeError::new(format!("the message `{}` cannot be {record}", message.name)));
        };
        if fields.is_empty() || (message.is_entry && fields.len() != 2) {
            return Err(DecodeError::new(format!("the message `{}` cannot be {record}", message.name)));
        }
        let mut parts = Vec::with_capacity(fields.len());
        for (index, (name, wanted)) in fields.iter().enumerate() {
            // A key and its value have no names of their own.
            let found = match message.is_entry {
                true => message.fields.get(index),
                false => message.fields.iter().find(|field| field.name == *name),
            };
            let part = match found {
                Some(field) => self.part(name, field, wanted).map_err(|error| error.at(name))?,
                None => self.missing(name, wanted, &message.name)?,
            };
            parts.push(part);
        }
        let largest = parts.iter().map(|part| part.number).filter(|number| *number < TABLE_MAX).max();
        let mut table = vec![None; largest.map_or(0, |largest| largest as usize + 1)];
        let mut others = Vec::new();
        for (part, index) in parts.iter().zip(0_u32..).filter(|(part, _)| part.number > 0) {
            match table.get_mut(part.number as usize) {
                Some(place) => *place = Some(index),
                None => others.push((part.number, index)),
            }
        }
        others.sort_unstable();
        self.forms.push(Form { fields: parts, table, others });
        Ok(self.forms.len() - 1)
    }

    fn missing(&self, name: &str, wanted: &Schema, message: &str) -> Result<Part, DecodeError> {
        let said = match (self.way, &wanted.field_type) {
            (Way::Read, FieldType::Option(_)) => {
                let shape = Shape::Optional;
                let kind = Kind::Bool;
                return Ok(Part { name: name.to_owned(), number: 0, kind, shape, form: 0, is_option: true });
            }
            (Way::Read, _) => format!("is not in the message `{message}`; an `Option` may be missing"),
            (Way::Write, _) => format!("the message `{message}` does not have it, so it would be lost"),
        };
        Err(DecodeError::new(said).at(name))
    }

    fn part(&mut self, name: &str, field: &Field, wanted: &Schema) -> Result<Part, DecodeError> {
        let (value, is_option) = match &wanted.field_type {
            FieldType::Option(inner) => (&**inner, true),
            _ => (wanted, false),
        };
        let is_many = matches!(field.shape, Shape::Many(_));
        let value = match &value.field_type {
            FieldType::List(_) if is_many && is_option => {
                return Err(DecodeError::new(
                    "a missing list cannot be told from an empty one: use a `Vec` without `Option`",
                ));
            }
            FieldType::List(item) if is_many => item,
            _ if is_many => {
                return Err(DecodeError::new(format!(
                    "is repeated in the schema, and {wanted} in the record type"
                )));
            }
            _ => value,
        };
        if self.way == Way::Write && is_option && field.shape == Shape::Plain {
            return Err(DecodeError::new(
                "is not `optional` in the schema: None would be read as the default value",
            ));
        }
        if self.way == Way::Write && !is_option && matches!(field.shape, Shape::One(_)) {
            return Err(DecodeError::new("is one of a `oneof` in the schema: make it an `Option`"));
        }
        let form = self.value(field.kind, value)?;
        let (number, kind, shape) = (field.number, field.kind, field.shape);
        Ok(Part { name: name.to_owned(), number, kind, shape, form, is_option })
    }

    /// Checks that a value can be of a kind; the form of a message.
    fn value(&mut self, kind: Kind, wanted: &Schema) -> Result<FormId, DecodeError> {
        use FieldType as F;
        let suits = match &wanted.field_type {
            F::U8 | F::U16 | F::U32 | F::U64 | F::U128 | F::I8 | F::I16 | F::I32 | F::I64 | F::I128 => {
                kind.is_integer() || matches!(kind, Kind::Enum(_))
            }
            F::Bool => kind == Kind::Bool,
            F::F32 => kind == Kind::Float || (kind == Kind::Double && self.way == Way::Write),
            F::F64 => kind == Kind::Double || (kind == Kind::Float && self.way == Way::Read),
            F::String => matches!(kind, Kind::String | Kind::Bytes | Kind::Enum(_)),
            F::List(item) => {
                item.field_type == F::U8
                    && (kind == Kind::Bytes || (kind == Kind::String && self.way == Way::Read))
            }
            F::Record(_) => match kind {
                Kind::Message(message) => return self.form(message, wanted),
                _ => false,
            },
            _ => false,
        };
        if suits {
            return Ok(0);
        }
        Err(DecodeError::new(format!("is {} in the schema, and {wanted} in the record type", kind.name())))
    }
}

/// Whether a list of such values may be packed.
pub(super) fn can_be_packed(kind: Kind) -> bool {
    kind.wire() != LENGTH
}
