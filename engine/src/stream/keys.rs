//! How the keys of a batch are read: by a closure that gives an owned key, or by a field that borrows.

use std::sync::Arc;

use crate::batch::{Batch, Either, Field, Key, KeyHash, Record};
use crate::channel::KeyExtractor;
use crate::operator::combine::{Combined, KeyReader};
use crate::window::Aggregate;

/// Keys that a closure makes, one per record.
pub(super) struct ByClosure<F>(pub(super) F);

impl<T: Record, K: Key, F> KeyReader<T, K> for ByClosure<F>
where
    F: for<'a> Fn(T::View<'a>) -> K + Send + Sync,
{
    fn with_keys(&self, batch: &Batch<T>, visit: &mut dyn FnMut(&[K::View<'_>])) {
        let owned = batch.column(&self.0);
        let views: Vec<_> = owned.iter().map(K::view).collect();
        visit(&views);
    }
}

/// Keys that are a field of the record: strings stay where they are.
pub(super) struct ByField<T: Record, K: Record>(pub(super) Field<T, K>);

impl<T: Record, K: Key> KeyReader<T, K> for ByField<T, K> {
    fn with_keys(&self, batch: &Batch<T>, visit: &mut dyn FnMut(&[K::View<'_>])) {
        visit(&self.0.column(batch));
    }
}

/// The whole record is the key.
pub(super) struct ByValue;

impl<K: Key> KeyReader<K, K> for ByValue {
    fn with_keys(&self, batch: &Batch<K>, visit: &mut dyn FnMut(&[K::View<'_>])) {
        visit(&batch.column(|view| view));
    }
}

/// Hashes the keys of records: for an exchange of the records themselves.
pub(super) struct RecordHashes<T: Record, K: Key>(pub(super) Arc<dyn KeyReader<T, K>>);

impl<T: Record, K: Key> KeyExtractor<T> for RecordHashes<T, K> {
    fn hashes(&self, batch: &Batch<T>, hashes: &mut Vec<KeyHash>) {
        self.0.with_keys(batch, &mut |keys| hashes.extend(keys.iter().map(|key| K::hash(*key))));
    }
}

/// Hashes the keys of partial aggregates, and of the records that travel among them.
pub(super) struct CombinedHashes<T: Record, K: Key, A> {
    keys: Arc<dyn KeyReader<T, K>>,
    _aggregate: std::marker::PhantomData<fn() -> A>,
}

impl<T: Record, K: Key, A: Aggregate<T>> CombinedHashes<T, K, A> {
    pub(super) fn new(keys: Arc<dyn KeyReader<T, K>>) -> Self {
        CombinedHashes { keys, _aggregate: std::marker::PhantomData }
    }
}

impl<T: Record, K: Key, A: Aggregate<T>> KeyExtractor<Combined<T, K, A>> for CombinedHashes<T, K, A> {
    fn hashes(&self, batch: &Batch<Combined<T, K, A>>, hashes: &mut Vec<KeyHash>) {
        let start = hashes.len();
        let mut records = crate::batch::BatchBuilder::<T>::new(crate::batch::BatchLimits::default());
        let mut positions = Vec::new();
        batch.for_each(|_, row| match row {
            Either::Left((_, key, _)) => hashes.push(K::hash(key)),
            Either::Right(record) => {
                positions.push(hashes.len());
                hashes.push(0);
                // It came out of a batch, so it fits one.
                let _ = records.push(record);
            }
        });
        debug_assert_eq!(hashes.len() - start, batch.len());
        if let Some(records) = records.finish() {
            self.keys.with_keys(&records, &mut |keys| {
                for (position, key) in positions.iter().zip(keys) {
                    hashes[*position] = K::hash(*key);
                }
            });
        }
    }
}
