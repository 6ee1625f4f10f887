//! The `Record` trait: what a user type must be to travel in a batch.
//!
//! 1. `scalar`: integers, floats, `bool`, `String`
//! 2. `tuple`: tuples of up to twelve records
//! 3. `list`: `Option<T>` and `Vec<T>`
//! 4. `either`: one of two record types on one stream
//! 5. `key`: records that a stream can be keyed by, and their stable hash
//! 6. `codec`: the text formats' side of a record, `Decoder` and `Encoder`
//! 7. `schema`: names and types of the fields
//! 8. `value`: [`Value`], a record without its type

mod codec;
mod either;
mod key;
mod list;
mod scalar;
mod schema;
mod tuple;
mod value;

use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Strategy;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::{Place, Portable};

pub use self::codec::{DecodeError, Decoder, Encoder};
pub use self::either::Either;
pub use self::key::{
    Field, GROUPS_DEFAULT, Key, KeyGroup, KeyHash, group_of, groups_of, hash_bytes, hash_combine, hash_u64,
    subtask_of,
};
pub use self::list::List;
pub use self::schema::{FieldType, Schema};
pub use self::value::Value;
use super::buffer::Heap;

/// The context in which archived rows from outside the process are checked.
pub type RowValidator<'a> = Strategy<ArchiveValidator<'a>, rkyv::rancor::Error>;

/// A type whose values travel through a topology.
///
/// Derive it; the derive also writes `NAMEView`, the borrowed form that closures see, with native
/// field types and `&str` for strings. Reading a view never decodes or allocates.
///
/// ```
/// use headwater::prelude::*;
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Bid {
///     auction: u64,
///     price: u64,
///     channel: String,
/// }
///
/// let bid = Bid { auction: 7, price: 250, channel: "web".into() };
/// let view: BidView<'_> = bid.view();
/// assert_eq!((view.price, view.channel), (250, "web"));
/// assert_eq!(Bid::from_view(view), bid);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel through a topology",
    label = "this type is not a record",
    note = "add `#[derive(Record)]` to `{Self}` (from `headwater::prelude`)",
    note = "its fields may be integers, floats, `bool`, `String`, `Option`, `Vec`, tuples and other records"
)]
pub trait Record: Sized + Send + Sync + 'static {
    /// The borrowed form of one record: native values, `&str` for strings; a handful of registers.
    type View<'a>: Copy;
    /// The bytes of one row.
    #[doc(hidden)]
    type Archived: Portable + for<'a> CheckBytes<RowValidator<'a>> + Send + Sync + 'static;
    /// Where the out-of-line bytes of one row went.
    #[doc(hidden)]
    type Resolver;
    /// True when an archived row has no padding, so that writing its fields writes all its bytes.
    #[doc(hidden)]
    const DENSE: bool;
    /// Number of cells of one row in a flat format such as CSV.
    const WIDTH: usize;

    /// Borrows this record.
    fn view(&self) -> Self::View<'_>;

    /// Copies a view into an owned record.
    fn from_view(view: Self::View<'_>) -> Self;

    /// Names and types of the fields.
    fn schema() -> Schema;

    #[doc(hidden)]
    fn archived_view(archived: &Self::Archived) -> Self::View<'_>;

    #[doc(hidden)]
    fn serialize(view: Self::View<'_>, heap: &mut Heap) -> Result<Self::Resolver, rkyv::rancor::Error>;

    #[doc(hidden)]
    fn resolve(view: Self::View<'_>, resolver: Self::Resolver, out: Place<Self::Archived>);

    /// Reads one value from a text format.
    ///
    /// # Errors
    /// The text does not hold a value of this type.
    fn decode<'a, D: Decoder<'a>>(decoder: &mut D) -> Result<Self::View<'a>, DecodeError>;

    /// The value of a field that the text does not have: an error, except for `Option`.
    ///
    /// # Errors
    /// The field is required.
    fn absent<'a>(name: &'static str) -> Result<Self::View<'a>, DecodeError> {
        Err(DecodeError::missing(name))
    }

    /// Writes one value to a text format.
    fn encode<E: Encoder>(view: Self::View<'_>, encoder: &mut E);
}

/// A view that rkyv's own containers can archive.
pub(super) struct Archivable<'a, T: Record>(pub(super) T::View<'a>);

impl<T: Record> rkyv::Archive for Archivable<'_, T> {
    type Archived = T::Archived;
    type Resolver = T::Resolver;

    fn resolve(&self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        T::resolve(self.0, resolver, out);
    }
}
