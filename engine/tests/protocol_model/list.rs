//! Small collections with one encoding per content, so that equal states have equal fingerprints.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A list with room for `N` items; what lies behind its length is always the default.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct List<T, const N: usize> {
    items: [T; N],
    length: u8,
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self { items: [T::default(); N], length: 0 }
    }
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    pub(crate) fn as_slice(&self) -> &[T] {
        &self.items[..usize::from(self.length)]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items[..usize::from(self.length)]
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = T> + '_ {
        self.as_slice().iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.length)
    }

    pub(crate) fn push(&mut self, item: T) {
        self.items[self.len()] = item;
        self.length += 1;
    }

    pub(crate) fn take_first(&mut self) -> Option<T> {
        let first = self.iter().next();
        let rest: Self = self.iter().skip(1).collect();
        *self = rest;
        first
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(T) -> bool) {
        let kept: Self = self.iter().filter(|item| keep(*item)).collect();
        *self = kept;
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for List<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

impl<T: Copy + Default + Hash, const N: usize> Hash for List<T, N> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.as_slice().hash(hasher);
    }
}

impl<T: Copy + Default + fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.as_slice()).finish()
    }
}

/// How often each record was counted, up to three times: what a fold over records gives, whatever their order.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fold(u16);

impl Fold {
    /// The records of both partitions before these positions, each once.
    pub(crate) fn before(positions: [u8; 2]) -> Self {
        let mut fold = Self::default();
        for (partition, position) in positions.into_iter().enumerate() {
            (0..position).for_each(|index| fold.add(record(partition, index)));
        }
        fold
    }

    pub(crate) fn count(self, record: u8) -> u8 {
        (self.0 >> (2 * record) & 3) as u8
    }

    pub(crate) fn add(&mut self, record: u8) {
        if self.count(record) < 3 {
            self.0 += 1 << (2 * record);
        }
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        (0..8).for_each(|record| (0..other.count(record)).for_each(|_| self.add(record)));
    }

    pub(crate) fn remove_all(&mut self, other: Self) {
        self.0 -= other.0;
    }

    pub(crate) fn includes(self, other: Self) -> bool {
        (0..8).all(|record| self.count(record) >= other.count(record))
    }

    pub(crate) fn total(self) -> u8 {
        (0..8).map(|record| self.count(record)).sum()
    }

    /// The part that belongs to the keys of a mask.
    pub(crate) fn of_keys(self, keys: u8) -> Self {
        let mut part = Self::default();
        for record in (0..8).filter(|record| key(*record) & keys != 0) {
            (0..self.count(record)).for_each(|_| part.add(record));
        }
        part
    }
}

impl fmt::Debug for Fold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = (0..8).filter(|record| self.count(*record) > 0);
        formatter.debug_map().entries(counted.map(|record| (record, self.count(record)))).finish()
    }
}

/// The number of a record: the partitions take turns.
pub(crate) fn record(partition: usize, index: u8) -> u8 {
    2 * index + u8::from(partition == 1)
}

/// The key of a record, as the bit of a mask: neighbouring epochs change different keys.
pub(crate) fn key(record: u8) -> u8 {
    1 << (record / 2 % 2)
}
