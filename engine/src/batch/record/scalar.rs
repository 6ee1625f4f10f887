//! Integers, floats, `bool`, `String` and `()` as records.

use rkyv::rancor::Error;
use rkyv::string::{ArchivedString, StringResolver};
use rkyv::{Archive, Place};

use super::super::buffer::Heap;
use super::{DecodeError, Decoder, Encoder, FieldType, Record, Schema};

macro_rules! scalar {
    ($type:ty, $field_type:ident, $native:expr, $decode:expr, $encode:expr) => {
        impl Record for $type {
            type View<'a> = $type;
            type Archived = <$type as Archive>::Archived;
            type Resolver = ();
            const DENSE: bool = true;
            const WIDTH: usize = 1;

            #[inline(always)]
            fn view(&self) -> $type {
                *self
            }

            #[inline(always)]
            fn from_view(view: $type) -> Self {
                view
            }

            fn schema() -> Schema {
                Schema::scalar(FieldType::$field_type)
            }

            #[inline(always)]
            fn archived_view(archived: &Self::Archived) -> $type {
                $native(archived)
            }

            #[inline(always)]
            fn serialize(_: $type, _: &mut Heap) -> Result<(), Error> {
                Ok(())
            }

            #[inline(always)]
            fn resolve(view: $type, (): (), out: Place<Self::Archived>) {
                Archive::resolve(&view, (), out);
            }

            #[inline(always)]
            fn decode<'a, D: Decoder<'a>>(decoder: &mut D) -> Result<$type, DecodeError> {
                $decode(decoder)
            }

            #[inline(always)]
            fn encode<E: Encoder>(view: $type, encoder: &mut E) {
                $encode(encoder, view)
            }
        }
    };
}

macro_rules! integer {
    ($type:ty, $field_type:ident, $wide:ident) => {
        scalar!(
            $type,
            $field_type,
            |archived: &<$type as Archive>::Archived| <$type>::from(*archived),
            |decoder: &mut D| {
                let wide = decoder.$wide()?;
                <$type>::try_from(wide).map_err(|_| DecodeError::range(wide, stringify!($type)))
            },
            |encoder: &mut E, view: $type| encoder.$wide(view.into())
        );
    };
}

integer!(u8, U8, u64);
integer!(u16, U16, u64);
integer!(u32, U32, u64);
integer!(u64, U64, u64);
integer!(u128, U128, u128);
integer!(i8, I8, i64);
integer!(i16, I16, i64);
integer!(i32, I32, i64);
integer!(i64, I64, i64);
integer!(i128, I128, i128);

scalar!(
    f64,
    F64,
    |archived: &<f64 as Archive>::Archived| archived.to_native(),
    |decoder: &mut D| decoder.f64(),
    |encoder: &mut E, view| encoder.f64(view)
);
scalar!(
    f32,
    F32,
    |archived: &<f32 as Archive>::Archived| archived.to_native(),
    |decoder: &mut D| decoder.f32(),
    |encoder: &mut E, view| encoder.f32(view)
);
scalar!(
    bool,
    Bool,
    |archived: &bool| *archived,
    |decoder: &mut D| decoder.bool(),
    |encoder: &mut E, view| encoder.bool(view)
);

impl Record for String {
    type View<'a> = &'a str;
    type Archived = ArchivedString;
    type Resolver = StringResolver;
    const DENSE: bool = true;
    const WIDTH: usize = 1;

    #[inline(always)]
    fn view(&self) -> &str {
        self
    }

    fn from_view(view: &str) -> Self {
        view.to_owned()
    }

    fn schema() -> Schema {
        Schema::scalar(FieldType::String)
    }

    #[inline(always)]
    fn archived_view(archived: &ArchivedString) -> &str {
        archived.as_str()
    }

    #[inline(always)]
    fn serialize(view: &str, heap: &mut Heap) -> Result<StringResolver, Error> {
        ArchivedString::serialize_from_str(view, heap)
    }

    #[inline(always)]
    fn resolve(view: &str, resolver: StringResolver, out: Place<ArchivedString>) {
        ArchivedString::resolve_from_str(view, resolver, out);
    }

    #[inline(always)]
    fn decode<'a, D: Decoder<'a>>(decoder: &mut D) -> Result<&'a str, DecodeError> {
        decoder.str()
    }

    #[inline(always)]
    fn encode<E: Encoder>(view: &str, encoder: &mut E) {
        encoder.str(view);
    }
}

impl Record for () {
    type View<'a> = ();
    type Archived = ();
    type Resolver = ();
    const DENSE: bool = true;
    const WIDTH: usize = 0;

    fn view(&self) {}

    fn from_view((): ()) -> Self {}

    fn schema() -> Schema {
        Schema::record("", Vec::new())
    }

    fn archived_view((): &()) {}

    fn serialize((): (), _: &mut Heap) -> Result<(), Error> {
        Ok(())
    }

    fn resolve((): (), (): (), _: Place<()>) {}

    fn decode<'a, D: Decoder<'a>>(decoder: &mut D) -> Result<(), DecodeError> {
        decoder.take_null(0).map(drop)
    }

    fn encode<E: Encoder>((): (), encoder: &mut E) {
        encoder.null(0);
    }
}
