//! Tuples of records; derived records are stored as tuples of their fields.

use rkyv::rancor::Error;
use rkyv::tuple::{
    ArchivedTuple1, ArchivedTuple2, ArchivedTuple3, ArchivedTuple4, ArchivedTuple5, ArchivedTuple6,
    ArchivedTuple7, ArchivedTuple8, ArchivedTuple9, ArchivedTuple10, ArchivedTuple11, ArchivedTuple12,
};
use rkyv::{Place, munge::munge};

use super::super::buffer::Heap;
use super::{DecodeError, Decoder, Encoder, Key, Record, Schema, hash_combine};

macro_rules! tuple {
    ($archived:ident, $count:literal, $(($name:ident $slot:ident $index:tt $column:literal)),+) => {
        impl<$($name: Record),+> Record for ($($name,)+) {
            type View<'a> = ($($name::View<'a>,)+);
            type Archived = $archived<$($name::Archived),+>;
            type Resolver = ($($name::Resolver,)+);
            const DENSE: bool = $($name::DENSE &&)+
                size_of::<Self::Archived>() == (0 $(+ size_of::<$name::Archived>())+);
            const WIDTH: usize = 0 $(+ $name::WIDTH)+;

            #[inline(always)]
            fn view(&self) -> Self::View<'_> {
                ($(self.$index.view(),)+)
            }

            #[inline]
            fn from_view(view: Self::View<'_>) -> Self {
                ($($name::from_view(view.$index),)+)
            }

            fn schema() -> Schema {
                Schema::record("", vec![$(($column, $name::schema())),+])
            }

            #[inline(always)]
            fn archived_view(archived: &Self::Archived) -> Self::View<'_> {
                ($($name::archived_view(&archived.$index),)+)
            }

            #[inline(always)]
            fn serialize(view: Self::View<'_>, heap: &mut Heap) -> Result<Self::Resolver, Error> {
                Ok(($($name::serialize(view.$index, heap)?,)+))
            }

            #[inline(always)]
            fn resolve(view: Self::View<'_>, resolver: Self::Resolver, out: Place<Self::Archived>) {
                munge!(let $archived($($slot),+) = out);
                $($name::resolve(view.$index, resolver.$index, $slot);)+
            }

            #[inline(always)]
            fn decode<'a, De: Decoder<'a>>(decoder: &mut De) -> Result<Self::View<'a>, DecodeError> {
                const NAMES: &[&str] = &[$($column),+];
                $(let mut $slot = None;)+
                decoder.begin_record(NAMES)?;
                while let Some(field) = decoder.next_field(NAMES)? {
                    match field {
                        $($index => $slot = Some($name::decode(decoder).map_err(|e| e.at($column))?),)+
                        _ => decoder.skip()?,
                    }
                }
                Ok(($(match $slot {
                    Some(value) => value,
                    None => $name::absent($column)?,
                },)+))
            }

            #[inline]
            fn encode<En: Encoder>(view: Self::View<'_>, encoder: &mut En) {
                encoder.begin_record();
                $(
                    encoder.field($column);
                    $name::encode(view.$index, encoder);
                )+
                encoder.end_record();
            }
        }

        impl<$($name: Key),+> Key for ($($name,)+) {
            type Stored = ($($name::Stored,)+);

            #[inline]
            fn store(view: Self::View<'_>) -> Self::Stored {
                ($($name::store(view.$index),)+)
            }

            #[inline]
            fn stored_view(stored: &Self::Stored) -> Self::View<'_> {
                ($($name::stored_view(&stored.$index),)+)
            }

            #[inline]
            fn stored_heap_bytes(stored: &Self::Stored) -> usize {
                0 $(+ $name::stored_heap_bytes(&stored.$index))+
            }

            #[inline]
            fn stored_matches(stored: &Self::Stored, view: Self::View<'_>) -> bool {
                true $(&& $name::stored_matches(&stored.$index, view.$index))+
            }

            #[inline]
            fn hash(view: Self::View<'_>) -> u64 {
                let hash = $count;
                $(let hash = hash_combine(hash, $name::hash(view.$index));)+
                hash
            }

            #[inline]
            fn matches(&self, view: Self::View<'_>) -> bool {
                true $(&& self.$index.matches(view.$index))+
            }

            fn write_bytes(view: Self::View<'_>, out: &mut Vec<u8>) {
                $($name::write_bytes(view.$index, out);)+
            }
        }
    };
}

tuple!(ArchivedTuple1, 1, (A a 0 "_1"));
tuple!(ArchivedTuple2, 2, (A a 0 "_1"), (B b 1 "_2"));
tuple!(ArchivedTuple3, 3, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"));
tuple!(ArchivedTuple4, 4, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"));
tuple!(ArchivedTuple5, 5, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"));
tuple!(ArchivedTuple6, 6, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"),
    (F f 5 "_6"));
tuple!(ArchivedTuple7, 7, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"),
    (F f 5 "_6"), (G g 6 "_7"));
tuple!(ArchivedTuple8, 8, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"),
    (F f 5 "_6"), (G g 6 "_7"), (H h 7 "_8"));
tuple!(ArchivedTuple9, 9, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"),
    (F f 5 "_6"), (G g 6 "_7"), (H h 7 "_8"), (I i 8 "_9"));
tuple!(ArchivedTuple10, 10, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"),
    (F f 5 "_6"), (G g 6 "_7"), (H h 7 "_8"), (I i 8 "_9"), (J j 9 "_10"));
tuple!(ArchivedTuple11, 11, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"),
    (F f 5 "_6"), (G g 6 "_7"), (H h 7 "_8"), (I i 8 "_9"), (J j 9 "_10"), (K k 10 "_11"));
tuple!(ArchivedTuple12, 12, (A a 0 "_1"), (B b 1 "_2"), (C c 2 "_3"), (D d 3 "_4"), (E e 4 "_5"),
    (F f 5 "_6"), (G g 6 "_7"), (H h 7 "_8"), (I i 8 "_9"), (J j 9 "_10"), (K k 10 "_11"),
    (L l 11 "_12"));
