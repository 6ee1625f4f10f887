//! `Option<T>` and `Vec<T>` as records, and the borrowed list that a view of a `Vec` is.

use std::fmt;

use rkyv::option::ArchivedOption;
use rkyv::rancor::Error;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Place};

use super::super::buffer::Heap;
use super::{Archivable, DecodeError, Decoder, Encoder, Record, Schema};

impl<T: Record> Record for Option<T> {
    type View<'a> = Option<T::View<'a>>;
    type Archived = ArchivedOption<T::Archived>;
    type Resolver = Option<T::Resolver>;
    const DENSE: bool = false;
    const WIDTH: usize = T::WIDTH;

    #[inline]
    fn view(&self) -> Self::View<'_> {
        self.as_ref().map(T::view)
    }

    fn from_view(view: Self::View<'_>) -> Self {
        view.map(T::from_view)
    }

    fn schema() -> Schema {
        Schema::option(T::schema())
    }

    #[inline]
    fn archived_view(archived: &Self::Archived) -> Self::View<'_> {
        archived.as_ref().map(T::archived_view)
    }

    #[inline]
    fn serialize(view: Self::View<'_>, heap: &mut Heap) -> Result<Self::Resolver, Error> {
        view.map(|value| T::serialize(value, heap)).transpose()
    }

    #[inline]
    fn resolve(view: Self::View<'_>, resolver: Self::Resolver, out: Place<Self::Archived>) {
        view.map(Archivable::<T>).resolve(resolver, out);
    }

    #[inline]
    fn decode<'a, D: Decoder<'a>>(decoder: &mut D) -> Result<Self::View<'a>, DecodeError> {
        if decoder.take_null(T::WIDTH)? { Ok(None) } else { T::decode(decoder).map(Some) }
    }

    fn absent<'a>(_: &'static str) -> Result<Self::View<'a>, DecodeError> {
        Ok(None)
    }

    fn encode<E: Encoder>(view: Self::View<'_>, encoder: &mut E) {
        match view {
            Some(value) => T::encode(value, encoder),
            None => encoder.null(T::WIDTH),
        }
    }
}

/// A borrowed list of records: the view of a `Vec<T>`.
pub struct List<'a, T: Record>(Items<'a, T>);

enum Items<'a, T: Record> {
    Owned(&'a [T]),
    Archived(&'a [T::Archived]),
    Views(&'a [T::View<'a>]),
}

impl<T: Record> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for List<'_, T> {}

impl<T: Record> Clone for Items<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for Items<'_, T> {}

impl<'a, T: Record> List<'a, T> {
    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Items::Owned(items) => items.len(),
            Items::Archived(items) => items.len(),
            Items::Views(items) => items.len(),
        }
    }

    /// True when there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T::View<'a>> {
        match self.0 {
            Items::Owned(items) => items.get(index).map(T::view),
            Items::Archived(items) => items.get(index).map(T::archived_view),
            Items::Views(items) => items.get(index).copied(),
        }
    }

    /// The items in order.
    pub fn iter(self) -> impl Iterator<Item = T::View<'a>> {
        (0..self.len()).filter_map(move |index| self.get(index))
    }
}

impl<'a, T: Record> From<&'a [T]> for List<'a, T> {
    fn from(items: &'a [T]) -> Self {
        List(Items::Owned(items))
    }
}

impl<'a, T: Record<View<'a>: fmt::Debug>> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Record<View<'a>: PartialEq>> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}

impl<T: Record> Record for Vec<T> {
    type View<'a> = List<'a, T>;
    type Archived = ArchivedVec<T::Archived>;
    type Resolver = VecResolver;
    const DENSE: bool = true;
    const WIDTH: usize = 1;

    fn view(&self) -> List<'_, T> {
        List(Items::Owned(self))
    }

    fn from_view(view: List<'_, T>) -> Self {
        view.iter().map(T::from_view).collect()
    }

    fn schema() -> Schema {
        Schema::list(T::schema())
    }

    #[inline]
    fn archived_view(archived: &Self::Archived) -> List<'_, T> {
        List(Items::Archived(archived.as_slice()))
    }

    fn serialize(view: List<'_, T>, heap: &mut Heap) -> Result<VecResolver, Error> {
        // rkyv's order: what the items point to comes before the items, as its validator demands.
        let resolvers = view.iter().map(|item| T::serialize(item, heap)).collect::<Result<Vec<_>, _>>()?;
        let first = heap.reserve::<T::Archived>(view.len())?;
        for (index, (item, resolver)) in view.iter().zip(resolvers).enumerate() {
            T::resolve(item, resolver, heap.place(first + index * size_of::<T::Archived>()));
        }
        Ok(VecResolver::from_pos(first))
    }

    fn resolve(view: List<'_, T>, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(view.len(), resolver, out);
    }

    fn decode<'a, D: Decoder<'a>>(decoder: &mut D) -> Result<List<'a, T>, DecodeError> {
        let mut views = Vec::new();
        decoder.begin_list()?;
        while decoder.next_item()? {
            views.push(T::decode(decoder)?);
        }
        Ok(List(Items::Views(decoder.arena().alloc_slice_copy(&views))))
    }

    fn encode<E: Encoder>(view: List<'_, T>, encoder: &mut E) {
        encoder.begin_list();
        for item in view.iter() {
            encoder.item();
            T::encode(item, encoder);
        }
        encoder.end_list();
    }
}
