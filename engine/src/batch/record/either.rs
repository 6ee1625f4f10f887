//! One of two record types: how an operator with two inputs is an operator on one stream.

use rkyv::rancor::Error;
use rkyv::result::ArchivedResult;
use rkyv::{Archive, Place};

use super::super::buffer::Heap;
use super::{Archivable, DecodeError, Decoder, Encoder, Record, Schema};

/// A record of one of two types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first type.
    Left(A),
    /// The second type.
    Right(B),
}

impl<A: Record, B: Record> Record for Either<A, B> {
    type View<'a> = Either<A::View<'a>, B::View<'a>>;
    type Archived = ArchivedResult<A::Archived, B::Archived>;
    type Resolver = Result<A::Resolver, B::Resolver>;
    const DENSE: bool = false;
    const WIDTH: usize = A::WIDTH + B::WIDTH;

    #[inline]
    fn view(&self) -> Self::View<'_> {
        match self {
            Either::Left(left) => Either::Left(left.view()),
            Either::Right(right) => Either::Right(right.view()),
        }
    }

    fn from_view(view: Self::View<'_>) -> Self {
        match view {
            Either::Left(left) => Either::Left(A::from_view(left)),
            Either::Right(right) => Either::Right(B::from_view(right)),
        }
    }

    fn schema() -> Schema {
        Schema::record(
            "",
            vec![("left", Schema::option(A::schema())), ("right", Schema::option(B::schema()))],
        )
    }

    #[inline]
    fn archived_view(archived: &Self::Archived) -> Self::View<'_> {
        match archived {
            ArchivedResult::Ok(left) => Either::Left(A::archived_view(left)),
            ArchivedResult::Err(right) => Either::Right(B::archived_view(right)),
        }
    }

    #[inline]
    fn serialize(view: Self::View<'_>, heap: &mut Heap) -> Result<Self::Resolver, Error> {
        Ok(match view {
            Either::Left(left) => Ok(A::serialize(left, heap)?),
            Either::Right(right) => Err(B::serialize(right, heap)?),
        })
    }

    #[inline]
    fn resolve(view: Self::View<'_>, resolver: Self::Resolver, out: Place<Self::Archived>) {
        let value: Result<Archivable<'_, A>, Archivable<'_, B>> = match view {
            Either::Left(left) => Ok(Archivable(left)),
            Either::Right(right) => Err(Archivable(right)),
        };
        value.resolve(resolver, out);
    }

    fn decode<'a, D: Decoder<'a>>(decoder: &mut D) -> Result<Self::View<'a>, DecodeError> {
        match <(Option<A>, Option<B>)>::decode(decoder)? {
            (Some(left), None) => Ok(Either::Left(left)),
            (None, Some(right)) => Ok(Either::Right(right)),
            _ => Err(DecodeError::new("exactly one side of an `Either` must be present")),
        }
    }

    fn encode<E: Encoder>(view: Self::View<'_>, encoder: &mut E) {
        let (left, right) = match view {
            Either::Left(left) => (Some(left), None),
            Either::Right(right) => (None, Some(right)),
        };
        <(Option<A>, Option<B>)>::encode((left, right), encoder);
    }
}
