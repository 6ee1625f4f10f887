//! The bytes of a state value: what they are, said in front of them.
//!
//! ```text
//! 0   magic    0x48
//! 1   flags    zero
//! 2   version  u16 le   version of the schema, counted by the operator that owns the state
//! 4   schema   u64 le   hash of the field names and types
//! 12  the archived record
//! ```
//!
//! A value is read only when all of it is known: state that means something else than the program
//! believes is worse than no state. `migration` turns values of earlier versions into those of this one.

mod migration;

use std::marker::PhantomData;

pub(crate) use self::migration::Migrations;
use crate::batch::{Record, decode_one, encode_one};
use crate::error::{Error, Result};

const MAGIC: u8 = 0x48;
const FLAGS: u8 = 0;
const HEADER_BYTES: usize = 12;

/// Writes and reads the values of one table.
#[derive(Clone, Debug)]
pub struct Envelope<T: Record> {
    operator: String,
    version: u16,
    header: [u8; HEADER_BYTES],
    migrations: Migrations,
    _record: PhantomData<fn() -> T>,
}

impl<T: Record> Envelope<T> {
    /// The envelope of an operator's values.
    #[must_use]
    pub fn new(operator: impl Into<String>, version: u16) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[0] = MAGIC;
        header[1] = FLAGS;
        header[2..4].copy_from_slice(&version.to_le_bytes());
        header[4..].copy_from_slice(&T::schema().hash().to_le_bytes());
        let migrations = Migrations::default();
        Envelope { operator: operator.into(), version, header, migrations, _record: PhantomData }
    }

    /// Reads values of earlier versions by way of these functions, too.
    #[must_use]
    pub(crate) fn migrating(self, migrations: Migrations) -> Self {
        Envelope { migrations, ..self }
    }

    /// Appends the bytes of a value.
    ///
    /// # Errors
    /// The value is larger than 2 GiB.
    pub fn encode(&self, view: T::View<'_>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.header);
        encode_one::<T>(view, out).map_err(|error| {
            Error::failed(format!("the state of `{}` cannot be stored: {error}", self.operator))
        })
    }

    /// Reads the bytes of a value.
    ///
    /// # Errors
    /// They were written by another version, for another type, or are damaged.
    pub fn decode(&self, bytes: &[u8]) -> Result<T> {
        let Some((header, record)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(self.damaged("a value is shorter than its header"));
        };
        if *header != self.header {
            return self.decode_other(*header, record);
        }
        decode_one(record).map_err(|error| self.damaged(error))
    }

    /// A value of an earlier version of the program.
    #[cold]
    fn decode_other(&self, header: [u8; HEADER_BYTES], record: &[u8]) -> Result<T> {
        let same_format = header[..4] == self.header[..4];
        let [from, to] =
            [header, self.header].map(|of| of.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
        match same_format.then(|| self.migrations.read::<T>(from, to, record)).flatten() {
            Some(read) => read.map_err(|error| self.damaged(error)),
            None => Err(self.refuse(header)),
        }
    }

    #[cold]
    fn refuse(&self, header: [u8; HEADER_BYTES]) -> Error {
        let operator = &self.operator;
        if header[0] != MAGIC || header[1] != FLAGS {
            return Error::failed(format!(
                "the state of `{operator}` is damaged or was written by a newer Headwater: run the \
                 version that wrote it, or restore a snapshot of the state directory",
            ));
        }
        let version = u16::from_le_bytes([header[2], header[3]]);
        if version != self.version {
            return Error::failed(format!(
                "the state of `{operator}` has schema version {version}, this program reads version {}: \
                 run the program that wrote it, or give the operator a new name to start from empty \
                 state",
                self.version
            ));
        }
        Error::failed(format!(
            "the state of `{operator}` holds another type than this program uses ({}): give the type \
             its former fields back, say with `migrate_state` how the old type becomes the new one, or give \
             the operator a new name to start from empty state",
            T::schema()
        ))
    }

    #[cold]
    fn damaged(&self, reason: impl std::fmt::Display) -> Error {
        Error::failed(format!(
            "the state of `{}` is damaged ({reason}): restore a snapshot of the state directory, or \
             delete the directory to start from empty state",
            self.operator
        ))
    }
}
