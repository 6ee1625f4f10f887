//! `StateCodec`: keys and values of a table without their types, for those who only look.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{Envelope, Migrations, state_key};
use crate::batch::{DecodeError, FieldType, Key, KeyGroup, Record, Schema, Value, group_of};
use crate::error::Result;

/// The version of the values of all operators.
pub(super) const VERSION: u16 = 1;

/// The key and the value in the bytes that the store holds for the named operator.
type ReadEntry = Arc<dyn Fn(&str, &[u8]) -> Result<(Value, Value)> + Send + Sync>;

/// How to read the keyed state of an operator; made where its types are known.
#[derive(Clone)]
pub(crate) struct StateCodec {
    key: fn() -> Schema,
    value: fn() -> Schema,
    both: fn() -> Schema,
    migrations: Migrations,
    entry: ReadEntry,
    state_key: fn(&Value, i64, KeyGroup) -> Result<Vec<u8>, DecodeError>,
}

impl fmt::Debug for StateCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCodec").field("schema", &self.schema()).finish_non_exhaustive()
    }
}

impl StateCodec {
    /// For values of `V` per key of `K`.
    pub(crate) fn of<K: Key, V: Record>(migrations: Migrations) -> Self {
        // Made with the first entry: the operator may get another name until the topology is built.
        let (known, envelope) = (migrations.clone(), OnceLock::new());
        StateCodec {
            key: K::schema,
            value: V::schema,
            both: <(K, V)>::schema,
            migrations,
            entry: Arc::new(move |operator, bytes| {
                let make = || Envelope::<(K, V)>::new(operator, VERSION).migrating(known.clone());
                let (key, value) = envelope.get_or_init(make).decode(bytes)?;
                Ok((Value::of::<K>(key.view()), Value::of::<V>(value.view())))
            }),
            state_key: |key, namespace, groups| {
                let key: K = key.read()?;
                let mut bytes = Vec::new();
                state_key::<K>(group_of(K::hash(key.view()), groups), namespace, key.view(), &mut bytes);
                Ok(bytes)
            },
        }
    }

    /// The schema of the entries `(key, value)`.
    pub(crate) fn schema(&self) -> Schema {
        (self.both)()
    }

    /// True when entries of the schema with this hash can be read.
    pub(crate) fn reads(&self, schema: u64) -> bool {
        self.migrations.reach(schema, &self.schema())
    }

    /// What is wrong with the migrations.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.migrations.problems(&self.schema())
    }

    /// True when keys are strings, which are asked for as they are.
    pub(crate) fn key_is_text(&self) -> bool {
        (self.key)().field_type == FieldType::String
    }

    /// The type of the keys, in words.
    pub(crate) fn key_type(&self) -> String {
        words(&(self.key)())
    }

    /// The type of the values, in words.
    pub(crate) fn value_type(&self) -> String {
        words(&(self.value)())
    }

    /// The key and the value in the bytes that the store holds.
    ///
    /// # Errors
    /// They were written by another version, for another type, or are damaged.
    pub(crate) fn entry(&self, operator: &str, bytes: &[u8]) -> Result<(Value, Value)> {
        (self.entry)(operator, bytes)
    }

    /// The bytes under which the store holds a key.
    ///
    /// # Errors
    /// The key is of another type.
    pub(crate) fn state_key(
        &self,
        key: &Value,
        namespace: i64,
        groups: KeyGroup,
    ) -> Result<Vec<u8>, DecodeError> {
        (self.state_key)(key, namespace, groups)
    }
}

fn words(schema: &Schema) -> String {
    match &schema.field_type {
        FieldType::Option(inner) => format!("{}?", words(inner)),
        FieldType::List(item) => format!("list of {}", words(item)),
        FieldType::Record(fields) => {
            let field = |(name, schema): &(String, Schema)| match name.strip_prefix('_') {
                Some(_) => words(schema),
                None => format!("{name}: {}", words(schema)),
            };
            format!("[{}]", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        FieldType::String => "text".to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}
