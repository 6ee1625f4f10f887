//! `Value`: a record without its type, for what prints records or asks for one by its text.

use std::fmt::{self, Write};

use bumpalo::Bump;

use super::{DecodeError, Decoder, Encoder, Record};

/// What a record holds, as a tree. Its `Display` is JSON on one line, with the fields in their order;
/// a number that JSON does not know is `null`.
///
/// ```
/// use headwater::batch::Value;
///
/// let value = Value::of::<(u64, String)>((7, "a \"b\""));
/// assert_eq!(value.to_string(), r#"{"_1":7,"_2":"a \"b\""}"#);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing is there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An unsigned integer.
    Unsigned(u128),
    /// A signed integer.
    Signed(i128),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// Any number of items.
    List(Vec<Value>),
    /// Named fields, in order.
    Record(Vec<(String, Value)>),
}

impl Value {
    /// What a record holds.
    #[must_use]
    pub fn of<T: Record>(view: T::View<'_>) -> Value {
        let mut writer = Writer { open: Vec::new(), field: "", done: Value::Null };
        T::encode(view, &mut writer);
        writer.done
    }

    /// Named fields.
    #[must_use]
    pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The field of a record.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Record(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The record that this is; a list stands for a record with as many fields.
    ///
    /// # Errors
    /// It is another one.
    pub(crate) fn read<T: Record>(&self) -> Result<T, DecodeError> {
        let arena = Bump::new();
        let mut reader = Reader { next: Some(self), open: Vec::new(), arena: &arena };
        T::decode(&mut reader).map(T::from_view)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Unsigned(number.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl<V: Into<Value>> From<Vec<V>> for Value {
    fn from(items: Vec<V>) -> Self {
        Value::List(items.into_iter().map(V::into).collect())
    }
}

impl<V: Into<Value>> From<Option<V>> for Value {
    fn from(value: Option<V>) -> Self {
        value.map_or(Value::Null, V::into)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Unsigned(number) => write!(f, "{number}"),
            Value::Signed(number) => write!(f, "{number}"),
            // `{:?}` is the shortest form that reads back equal, with an exponent where it is long.
            Value::Number(number) if number.is_finite() => write!(f, "{number:?}"),
            Value::Number(_) => f.write_str("null"),
            Value::Text(text) => quoted(text, f),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "[" } else { "," })?;
                }
                f.write_str(if items.is_empty() { "[]" } else { "]" })
            }
            Value::Record(fields) => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    f.write_char(if index == 0 { '{' } else { ',' })?;
                    quoted(name, f)?;
                    write!(f, ":{value}")?;
                }
                f.write_str(if fields.is_empty() { "{}" } else { "}" })
            }
        }
    }
}

fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control < ' ' => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

/// Builds the tree of what a record writes.
struct Writer {
    /// Records and lists that are not closed, with the field of their parent that they are.
    open: Vec<(&'static str, Value)>,
    /// The field that comes next.
    field: &'static str,
    done: Value,
}

impl Writer {
    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            Some((_, Value::Record(fields))) => fields.push((self.field.to_owned(), value)),
            Some((_, Value::List(items))) => items.push(value),
            _ => self.done = value,
        }
    }

    fn close(&mut self) {
        if let Some((field, value)) = self.open.pop() {
            self.field = field;
            self.put(value);
        }
    }
}

impl Encoder for Writer {
    fn null(&mut self, _: usize) {
        self.put(Value::Null);
    }

    fn bool(&mut self, value: bool) {
        self.put(Value::Bool(value));
    }

    fn u64(&mut self, value: u64) {
        self.put(value.into());
    }

    fn i64(&mut self, value: i64) {
        self.put(Value::Signed(value.into()));
    }

    fn u128(&mut self, value: u128) {
        self.put(Value::Unsigned(value));
    }

    fn i128(&mut self, value: i128) {
        self.put(Value::Signed(value));
    }

    fn f64(&mut self, value: f64) {
        self.put(Value::Number(value));
    }

    fn f32(&mut self, value: f32) {
        // Its own shortest form, not that of the wider number.
        self.put(Value::Number(value.to_string().parse().unwrap_or(f64::from(value))));
    }

    fn str(&mut self, value: &str) {
        self.put(value.into());
    }

    fn begin_record(&mut self) {
        self.open.push((self.field, Value::Record(Vec::new())));
    }

    fn field(&mut self, name: &'static str) {
        self.field = name;
    }

    fn end_record(&mut self) {
        self.close();
    }

    fn begin_list(&mut self) {
        self.open.push((self.field, Value::List(Vec::new())));
    }

    fn item(&mut self) {}

    fn end_list(&mut self) {
        self.close();
    }
}

/// Reads a record out of a tree.
struct Reader<'a> {
    next: Option<&'a Value>,
    open: Vec<Open<'a>>,
    arena: &'a Bump,
}

enum Open<'a> {
    Fields(std::slice::Iter<'a, (String, Value)>),
    /// Fields without their names.
    Places(std::iter::Enumerate<std::slice::Iter<'a, Value>>),
    Items(std::slice::Iter<'a, Value>),
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Result<&'a Value, DecodeError> {
        self.next.take().ok_or_else(|| DecodeError::new("is missing"))
    }

    fn unsigned(&mut self) -> Result<u128, DecodeError> {
        match self.take()? {
            Value::Unsigned(number) => Ok(*number),
            Value::Signed(number) => {
                u128::try_from(*number).map_err(|_| DecodeError::range(number, "an unsigned integer"))
            }
            other => Err(expected("an unsigned integer", other)),
        }
    }

    fn signed(&mut self) -> Result<i128, DecodeError> {
        match self.take()? {
            Value::Signed(number) => Ok(*number),
            Value::Unsigned(number) => {
                i128::try_from(*number).map_err(|_| DecodeError::range(number, "an integer"))
            }
            other => Err(expected("an integer", other)),
        }
    }
}

#[cold]
fn expected(what: &str, found: &Value) -> DecodeError {
    DecodeError::new(format!("{what} is expected, not {found}"))
}

impl<'a> Decoder<'a> for Reader<'a> {
    fn arena(&self) -> &'a Bump {
        self.arena
    }

    fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.take()? {
            Value::Bool(value) => Ok(*value),
            other => Err(expected("true or false", other)),
        }
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        let number = self.unsigned()?;
        u64::try_from(number).map_err(|_| DecodeError::range(number, "u64"))
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        let number = self.signed()?;
        i64::try_from(number).map_err(|_| DecodeError::range(number, "i64"))
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        self.unsigned()
    }

    fn i128(&mut self) -> Result<i128, DecodeError> {
        self.signed()
    }

    fn f64(&mut self) -> Result<f64, DecodeError> {
        match self.take()? {
            Value::Number(number) => Ok(*number),
            Value::Unsigned(number) => Ok(*number as f64),
            Value::Signed(number) => Ok(*number as f64),
            other => Err(expected("a number", other)),
        }
    }

    fn f32(&mut self) -> Result<f32, DecodeError> {
        self.f64().map(|number| number as f32)
    }

    fn str(&mut self) -> Result<&'a str, DecodeError> {
        match self.take()? {
            Value::Text(text) => Ok(text),
            other => Err(expected("a string", other)),
        }
    }

    fn take_null(&mut self, _: usize) -> Result<bool, DecodeError> {
        let is_null = matches!(self.next, Some(Value::Null));
        if is_null {
            self.next = None;
        }
        Ok(is_null)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.next = None;
        Ok(())
    }

    fn begin_record(&mut self, names: &'static [&'static str]) -> Result<(), DecodeError> {
        let open = match self.take()? {
            Value::Record(fields) => Open::Fields(fields.iter()),
            Value::List(items) if items.len() == names.len() => Open::Places(items.iter().enumerate()),
            other => return Err(expected(&format!("[{}]", names.join(", ")), other)),
        };
        self.open.push(open);
        Ok(())
    }

    fn next_field(&mut self, names: &'static [&'static str]) -> Result<Option<usize>, DecodeError> {
        let next = match self.open.last_mut() {
            Some(Open::Fields(fields)) => fields.find_map(|(name, value)| {
                names.iter().position(|known| known == name).map(|index| (index, value))
            }),
            Some(Open::Places(items)) => items.next(),
            _ => None,
        };
        match next {
            Some((index, value)) => {
                self.next = Some(value);
                Ok(Some(index))
            }
            None => {
                self.open.pop();
                Ok(None)
            }
        }
    }

    fn begin_list(&mut self) -> Result<(), DecodeError> {
        match self.take()? {
            Value::List(items) => self.open.push(Open::Items(items.iter())),
            other => return Err(expected("a list", other)),
        }
        Ok(())
    }

    fn next_item(&mut self) -> Result<bool, DecodeError> {
        self.next = match self.open.last_mut() {
            Some(Open::Items(items)) => items.next(),
            _ => None,
        };
        if self.next.is_none() {
            self.open.pop();
        }
        Ok(self.next.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (u64, Option<String>, Vec<(i16, bool)>, (f32, f64));

    #[test]
    fn a_record_becomes_a_tree_and_comes_back() {
        let row: Row = (7, Some("a\n\u{1}".into()), vec![(-1, true), (2, false)], (0.1, 1e300));
        let value = Value::of::<Row>(row.view());
        let text = concat!(
            r#"{"_1":7,"_2":"a\n\u0001","_3":[{"_1":-1,"_2":true},{"_1":2,"_2":false}],"#,
            r#""_4":{"_1":0.1,"_2":1e300}}"#
        );
        assert_eq!(value.to_string(), text);
        assert_eq!(value.read::<Row>().unwrap(), row);
    }

    #[test]
    fn a_list_stands_for_the_fields_in_order() {
        let key = Value::from(vec![Value::from("a"), Value::from(3)]);
        assert_eq!(key.read::<(String, u8)>().unwrap(), ("a".to_owned(), 3));
        assert!(key.read::<(String, u8, u8)>().is_err());
        assert!(key.read::<(u8, u8)>().unwrap_err().to_string().contains("an unsigned integer is expected"));
    }
}
