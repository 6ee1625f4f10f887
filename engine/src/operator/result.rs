//! The records that aggregates give: a key with its value, and a window's share of it.

use tuple_record_macro::tuple_record;

use crate::batch::Record;

mod tuple_record_macro {
    /// Implements `Record` for a generic struct by way of the tuple of its fields.
    macro_rules! tuple_record {
        ($name:ident, $view:ident, <$($parameter:ident),+>, $label:literal,
         { $($field:ident : $type:ty),+ }) => {
            impl<$($parameter: Record),+> Clone for $view<'_, $($parameter),+> {
                fn clone(&self) -> Self {
                    *self
                }
            }

            impl<$($parameter: Record),+> Copy for $view<'_, $($parameter),+> {}

            impl<$($parameter: Record),+> Record for $name<$($parameter),+> {
                type View<'a> = $view<'a, $($parameter),+>;
                type Archived = <($($type,)+) as Record>::Archived;
                type Resolver = <($($type,)+) as Record>::Resolver;
                const DENSE: bool = <($($type,)+) as Record>::DENSE;
                const WIDTH: usize = <($($type,)+) as Record>::WIDTH;

                #[inline]
                fn view(&self) -> Self::View<'_> {
                    $view { $($field: self.$field.view()),+ }
                }

                fn from_view(view: Self::View<'_>) -> Self {
                    $name { $($field: <$type as Record>::from_view(view.$field)),+ }
                }

                fn schema() -> crate::batch::Schema {
                    crate::batch::Schema::record(
                        $label,
                        vec![$((stringify!($field), <$type as Record>::schema())),+],
                    )
                }

                #[inline]
                fn archived_view(archived: &Self::Archived) -> Self::View<'_> {
                    let ($($field,)+) = <($($type,)+) as Record>::archived_view(archived);
                    $view { $($field),+ }
                }

                #[inline]
                fn serialize(
                    view: Self::View<'_>,
                    heap: &mut crate::batch::Heap,
                ) -> Result<Self::Resolver, crate::__private::RkyvError> {
                    <($($type,)+) as Record>::serialize(($(view.$field,)+), heap)
                }

                #[inline]
                fn resolve(
                    view: Self::View<'_>,
                    resolver: Self::Resolver,
                    out: crate::__private::Place<Self::Archived>,
                ) {
                    <($($type,)+) as Record>::resolve(($(view.$field,)+), resolver, out);
                }

                fn decode<'a, De: crate::batch::Decoder<'a>>(
                    decoder: &mut De,
                ) -> Result<Self::View<'a>, crate::batch::DecodeError> {
                    // Column names differ from the tuple's: read by name.
                    const NAMES: &[&str] = &[$(stringify!($field)),+];
                    $(let mut $field = None;)+
                    decoder.begin_record(NAMES)?;
                    while let Some(index) = decoder.next_field(NAMES)? {
                        let name = NAMES[index];
                        $(if name == stringify!($field) {
                            $field = Some(<$type as Record>::decode(decoder).map_err(|e| e.at(name))?);
                            continue;
                        })+
                        decoder.skip()?;
                    }
                    Ok($view { $($field: match $field {
                        Some(value) => value,
                        None => <$type as Record>::absent(stringify!($field))?,
                    }),+ })
                }

                fn encode<En: crate::batch::Encoder>(view: Self::View<'_>, encoder: &mut En) {
                    encoder.begin_record();
                    $(
                        encoder.field(stringify!($field));
                        <$type as Record>::encode(view.$field, encoder);
                    )+
                    encoder.end_record();
                }
            }
        };
    }
    pub(super) use tuple_record;
}

/// The value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedResult<K, V> {
    /// The key.
    pub key: K,
    /// What was computed for it.
    pub value: V,
}

/// The borrowed view of a [`KeyedResult`].
#[derive(Debug)]
pub struct KeyedResultView<'a, K: Record, V: Record> {
    /// The key.
    pub key: K::View<'a>,
    /// What was computed for it.
    pub value: V::View<'a>,
}

tuple_record!(KeyedResult, KeyedResultView, <K, V>, "KeyedResult", { key: K, value: V });

/// The value of a key in one window `[window_start, window_end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowResult<K, V> {
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// The key.
    pub key: K,
    /// What was computed for it.
    pub value: V,
}

/// The borrowed view of a [`WindowResult`].
#[derive(Debug)]
pub struct WindowResultView<'a, K: Record, V: Record> {
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// The key.
    pub key: K::View<'a>,
    /// What was computed for it.
    pub value: V::View<'a>,
}

tuple_record!(WindowResult, WindowResultView, <K, V>, "WindowResult",
    { window_start: i64, window_end: i64, key: K, value: V });
