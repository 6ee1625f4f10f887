//! What is computed over the records of a key: mergeable aggregates, and the builder that makes them.

use std::fmt;
use std::marker::PhantomData;

use crate::batch::Record;
use crate::error::{Error, Result};

/// A computation over many records whose parts can be merged in any grouping.
///
/// Merging is what lets rows be combined before they cross threads and slices be shared by windows.
/// `merge` must be associative and commutative up to what the caller can tolerate (floating-point sums
/// differ in the last bits with the grouping).
pub trait Aggregate<T: Record>: Clone + Send + Sync + 'static {
    /// The running result; kept in state, sent between stages.
    type Accumulator: Record + Clone;
    /// The final result.
    type Output: Record;

    /// The result of one record.
    fn create(&self, first: T::View<'_>) -> Self::Accumulator;

    /// Adds one record.
    fn add(&self, accumulator: &mut Self::Accumulator, record: T::View<'_>);

    /// Adds the result of other records.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: <Self::Accumulator as Record>::View<'_>);

    /// The final result.
    ///
    /// # Errors
    /// The result cannot be represented, such as an integer sum that does not fit its type.
    fn finish(&self, accumulator: &Self::Accumulator) -> Result<Self::Output>;
}

/// A number that can be summed and averaged.
pub trait Number: Record + Copy + PartialOrd {
    /// Wide enough for any sum of 2^64 of them.
    type Wide: Record + Copy + std::ops::AddAssign + for<'a> Record<View<'a> = Self::Wide>;
    /// Converts without loss.
    fn widen(self) -> Self::Wide;
    /// Converts back if it fits.
    fn narrow(wide: Self::Wide) -> Option<Self>;
    /// The nearest floating-point number.
    fn as_f64(self) -> f64;
}

macro_rules! number {
    ($wide:ty: $($type:ty),+) => {
        $(impl Number for $type {
            type Wide = $wide;
            #[inline(always)]
            fn widen(self) -> $wide {
                self.into()
            }
            fn narrow(wide: $wide) -> Option<Self> {
                Self::try_from(wide).ok()
            }
            #[inline(always)]
            fn as_f64(self) -> f64 {
                self as f64
            }
        })+
    };
}

number!(u128: u8, u16, u32, u64);
number!(i128: i8, i16, i32, i64);

impl Number for f64 {
    type Wide = f64;
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
    fn narrow(wide: f64) -> Option<f64> {
        Some(wide)
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }
}

impl Number for f32 {
    type Wide = f64;
    #[inline(always)]
    fn widen(self) -> f64 {
        self.into()
    }
    fn narrow(wide: f64) -> Option<f32> {
        Some(wide as f32)
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        self.into()
    }
}

/// Makes aggregates whose closures know the record type: the argument of `.aggregate(|a| ..)`.
pub struct AggregateBuilder<T>(PhantomData<fn() -> T>);

impl<T> fmt::Debug for AggregateBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AggregateBuilder")
    }
}

impl<T: Record> AggregateBuilder<T> {
    pub(crate) fn new() -> Self {
        AggregateBuilder(PhantomData)
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> Count {
        Count
    }

    /// Sum of a number; an integer sum that does not fit its type is an error, not a wrong number.
    pub fn sum<N: Number, F>(&self, read: F) -> Sum<N, F>
    where
        F: for<'a> Fn(T::View<'a>) -> N + Clone + Send + Sync + 'static,
    {
        Sum(read, PhantomData)
    }

    /// Smallest value. A floating-point NaN never replaces a value.
    pub fn min<V: Record + Clone + PartialOrd, F>(&self, read: F) -> Min<V, F>
    where
        F: for<'a> Fn(T::View<'a>) -> V + Clone + Send + Sync + 'static,
    {
        Min(read, PhantomData)
    }

    /// Largest value. A floating-point NaN never replaces a value.
    pub fn max<V: Record + Clone + PartialOrd, F>(&self, read: F) -> Max<V, F>
    where
        F: for<'a> Fn(T::View<'a>) -> V + Clone + Send + Sync + 'static,
    {
        Max(read, PhantomData)
    }

    /// Arithmetic mean, as a floating-point number.
    pub fn mean<N: Number, F>(&self, read: F) -> Mean<N, F>
    where
        F: for<'a> Fn(T::View<'a>) -> N + Clone + Send + Sync + 'static,
    {
        Mean(read, PhantomData)
    }

    /// An aggregate of your own from three closures: the result of one record, of one more record, and
    /// of two results.
    pub fn custom<A: Record + Clone, C, D, M>(&self, create: C, add: D, merge: M) -> Custom<A, C, D, M>
    where
        C: for<'a> Fn(T::View<'a>) -> A + Clone + Send + Sync + 'static,
        D: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + Sync + 'static,
        M: for<'a> Fn(&mut A, A::View<'a>) + Clone + Send + Sync + 'static,
    {
        Custom { create, add, merge, _accumulator: PhantomData }
    }
}

/// Number of records; see [`AggregateBuilder::count`].
#[derive(Clone, Copy, Debug)]
pub struct Count;

impl<T: Record> Aggregate<T> for Count {
    type Accumulator = u64;
    type Output = u64;

    #[inline(always)]
    fn create(&self, _: T::View<'_>) -> u64 {
        1
    }

    #[inline(always)]
    fn add(&self, count: &mut u64, _: T::View<'_>) {
        *count += 1;
    }

    #[inline(always)]
    fn merge(&self, count: &mut u64, other: u64) {
        *count += other;
    }

    fn finish(&self, count: &u64) -> Result<u64> {
        Ok(*count)
    }
}

/// Sum of a number; see [`AggregateBuilder::sum`].
#[derive(Clone, Copy)]
pub struct Sum<N, F>(F, PhantomData<fn() -> N>);

/// Smallest value; see [`AggregateBuilder::min`].
#[derive(Clone, Copy)]
pub struct Min<V, F>(F, PhantomData<fn() -> V>);

/// Largest value; see [`AggregateBuilder::max`].
#[derive(Clone, Copy)]
pub struct Max<V, F>(F, PhantomData<fn() -> V>);

/// Arithmetic mean; see [`AggregateBuilder::mean`].
#[derive(Clone, Copy)]
pub struct Mean<N, F>(F, PhantomData<fn() -> N>);

/// An aggregate from closures; see [`AggregateBuilder::custom`].
#[derive(Clone, Copy)]
pub struct Custom<A, C, D, M> {
    create: C,
    add: D,
    merge: M,
    _accumulator: PhantomData<fn() -> A>,
}

macro_rules! debug_by_name {
    ($($name:ident<$($parameter:ident),+>),+) => {
        $(impl<$($parameter),+> fmt::Debug for $name<$($parameter),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        })+
    };
}

debug_by_name!(Sum<N, F>, Min<V, F>, Max<V, F>, Mean<N, F>, Custom<A, C, D, M>);

impl<T: Record, N: Number, F> Aggregate<T> for Sum<N, F>
where
    F: for<'a> Fn(T::View<'a>) -> N + Clone + Send + Sync + 'static,
{
    type Accumulator = N::Wide;
    type Output = N;

    #[inline(always)]
    fn create(&self, first: T::View<'_>) -> N::Wide {
        (self.0)(first).widen()
    }

    #[inline(always)]
    fn add(&self, sum: &mut N::Wide, record: T::View<'_>) {
        *sum += (self.0)(record).widen();
    }

    #[inline(always)]
    fn merge(&self, sum: &mut N::Wide, other: N::Wide) {
        *sum += other;
    }

    fn finish(&self, sum: &N::Wide) -> Result<N> {
        N::narrow(*sum).ok_or_else(|| {
            Error::failed(format!(
                "a sum does not fit {}; widen the number in the closure, for instance `|r| r.price as f64`",
                std::any::type_name::<N>()
            ))
        })
    }
}

impl<T: Record, V: Record + Clone + PartialOrd, F> Aggregate<T> for Min<V, F>
where
    F: for<'a> Fn(T::View<'a>) -> V + Clone + Send + Sync + 'static,
{
    type Accumulator = V;
    type Output = V;

    #[inline(always)]
    fn create(&self, first: T::View<'_>) -> V {
        (self.0)(first)
    }

    #[inline(always)]
    fn add(&self, least: &mut V, record: T::View<'_>) {
        keep(least, (self.0)(record), |new, old| new < old);
    }

    #[inline(always)]
    fn merge(&self, least: &mut V, other: V::View<'_>) {
        keep(least, V::from_view(other), |new, old| new < old);
    }

    fn finish(&self, least: &V) -> Result<V> {
        Ok(least.clone())
    }
}

impl<T: Record, V: Record + Clone + PartialOrd, F> Aggregate<T> for Max<V, F>
where
    F: for<'a> Fn(T::View<'a>) -> V + Clone + Send + Sync + 'static,
{
    type Accumulator = V;
    type Output = V;

    #[inline(always)]
    fn create(&self, first: T::View<'_>) -> V {
        (self.0)(first)
    }

    #[inline(always)]
    fn add(&self, greatest: &mut V, record: T::View<'_>) {
        keep(greatest, (self.0)(record), |new, old| new > old);
    }

    #[inline(always)]
    fn merge(&self, greatest: &mut V, other: V::View<'_>) {
        keep(greatest, V::from_view(other), |new, old| new > old);
    }

    fn finish(&self, greatest: &V) -> Result<V> {
        Ok(greatest.clone())
    }
}

/// Replaces `old` if `new` is better, or if `old` cannot be compared with itself (NaN).
#[inline(always)]
fn keep<V: PartialOrd>(old: &mut V, new: V, better: impl Fn(&V, &V) -> bool) {
    #[expect(clippy::eq_op, reason = "a NaN differs from itself")]
    let replace = better(&new, old) || (*old != *old);
    if replace {
        *old = new;
    }
}

impl<T: Record, N: Number, F> Aggregate<T> for Mean<N, F>
where
    F: for<'a> Fn(T::View<'a>) -> N + Clone + Send + Sync + 'static,
{
    type Accumulator = (f64, u64);
    type Output = f64;

    #[inline(always)]
    fn create(&self, first: T::View<'_>) -> (f64, u64) {
        ((self.0)(first).as_f64(), 1)
    }

    #[inline(always)]
    fn add(&self, (sum, count): &mut (f64, u64), record: T::View<'_>) {
        *sum += (self.0)(record).as_f64();
        *count += 1;
    }

    #[inline(always)]
    fn merge(&self, (sum, count): &mut (f64, u64), other: (f64, u64)) {
        *sum += other.0;
        *count += other.1;
    }

    fn finish(&self, (sum, count): &(f64, u64)) -> Result<f64> {
        Ok(sum / *count as f64)
    }
}

impl<T: Record, A: Record + Clone, C, D, M> Aggregate<T> for Custom<A, C, D, M>
where
    C: for<'a> Fn(T::View<'a>) -> A + Clone + Send + Sync + 'static,
    D: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + Sync + 'static,
    M: for<'a> Fn(&mut A, A::View<'a>) + Clone + Send + Sync + 'static,
{
    type Accumulator = A;
    type Output = A;

    fn create(&self, first: T::View<'_>) -> A {
        (self.create)(first)
    }

    fn add(&self, accumulator: &mut A, record: T::View<'_>) {
        (self.add)(accumulator, record);
    }

    fn merge(&self, accumulator: &mut A, other: A::View<'_>) {
        (self.merge)(accumulator, other);
    }

    fn finish(&self, accumulator: &A) -> Result<A> {
        Ok(accumulator.clone())
    }
}

macro_rules! aggregate_tuple {
    ($(($name:ident $index:tt)),+) => {
        impl<T: Record, $($name: Aggregate<T>),+> Aggregate<T> for ($($name,)+) {
            type Accumulator = ($($name::Accumulator,)+);
            type Output = ($($name::Output,)+);

            #[inline(always)]
            fn create(&self, first: T::View<'_>) -> Self::Accumulator {
                ($(self.$index.create(first),)+)
            }

            #[inline(always)]
            fn add(&self, accumulator: &mut Self::Accumulator, record: T::View<'_>) {
                $(self.$index.add(&mut accumulator.$index, record);)+
            }

            #[inline(always)]
            fn merge(
                &self,
                accumulator: &mut Self::Accumulator,
                other: <Self::Accumulator as Record>::View<'_>,
            ) {
                $(self.$index.merge(&mut accumulator.$index, other.$index);)+
            }

            fn finish(&self, accumulator: &Self::Accumulator) -> Result<Self::Output> {
                Ok(($(self.$index.finish(&accumulator.$index)?,)+))
            }
        }
    };
}

aggregate_tuple!((A 0));
aggregate_tuple!((A 0), (B 1));
aggregate_tuple!((A 0), (B 1), (C 2));
aggregate_tuple!((A 0), (B 1), (C 2), (D 3));
aggregate_tuple!((A 0), (B 1), (C 2), (D 3), (E 4));
aggregate_tuple!((A 0), (B 1), (C 2), (D 3), (E 4), (F 5));
aggregate_tuple!((A 0), (B 1), (C 2), (D 3), (E 4), (F 5), (G 6));
aggregate_tuple!((A 0), (B 1), (C 2), (D 3), (E 4), (F 5), (G 6), (H 7));
