//! `KeyedStream`: one running result per key, or windows.

use std::fmt;
use std::sync::Arc;

use super::keys::{CombinedHashes, RecordHashes};
use super::words::outputs;
use super::{Name, OperatorNode, Port, Stream, WindowedStream};
use crate::batch::{BatchBuilder, Key, Record};
use crate::channel::Partitioning;
use crate::operator::combine::{Combine, CombineLimits, Combined, KeyReader, WindowRule};
use crate::operator::keep::resume_state;
use crate::operator::rolling::{Fold, Merge, Rolling, RollingOperator, RollingState};
use crate::operator::stateful::Stateful;
use crate::operator::transform::Emit;
use crate::operator::{KeyedResult, Next};
use crate::sink::OutputMode;
use crate::source::Rejected;
use crate::state::{KeyedState, Migrations};
use crate::topology::{AggregateKind, Erased, NodeKind, StatePlace, Wiring, downstream, kept};
use crate::window::{Aggregate, AggregateBuilder, Window};

/// Records grouped by a key: what comes next is computed per key.
#[must_use = "a keyed stream does nothing until something is computed per key"]
pub struct KeyedStream<K: Key, T: Record> {
    pub(super) stream: Stream<T>,
    pub(super) keys: Arc<dyn KeyReader<T, K>>,
    pub(super) migrations: Migrations,
}

impl<K: Key, T: Record> Clone for KeyedStream<K, T> {
    fn clone(&self) -> Self {
        let (stream, keys) = (self.stream.clone(), Arc::clone(&self.keys));
        KeyedStream { stream, keys, migrations: self.migrations.clone() }
    }
}

impl<K: Key, T: Record> fmt::Debug for KeyedStream<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<K: Key, T: Record> KeyedStream<K, T> {
    pub(super) fn new(stream: Stream<T>, keys: Arc<dyn KeyReader<T, K>>) -> Self {
        KeyedStream { stream, keys, migrations: Migrations::default() }
    }

    /// Says how a value that an earlier version of the program kept per key becomes one of `New`.
    ///
    /// A state directory or savepoint holds values as they were written. When the type of the state changes,
    /// keep the old type under another name (names of types do not matter, names and types of fields do) and
    /// say how it becomes the new one; the values are turned when they are read. Several steps form a chain,
    /// so that state of any age can be read. A type without a way to today's is refused when the job starts.
    /// The key cannot change: it decides where a value lives.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(9, |n| n));
    /// #[derive(Record, Clone)]
    /// struct TotalV1 {
    ///     sum: u64,
    /// }
    ///
    /// #[derive(Record, Clone)]
    /// struct Total {
    ///     sum: u64,
    ///     largest: u64,
    /// }
    ///
    /// let totals = numbers
    ///     .key_by(|n| n % 3)
    ///     .migrate_state(|old: TotalV1| Total { sum: old.sum, largest: 0 })
    ///     .fold(Total { sum: 0, largest: 0 }, |total, n| {
    ///         total.sum += n;
    ///         total.largest = total.largest.max(n);
    ///     })
    ///     .output_mode(OutputMode::Append);
    /// # totals.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # assert_eq!(out.take().iter().map(|total| total.value.largest).max(), Some(8));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn migrate_state<Old: Record, New: Record>(
        mut self,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        self.migrations.add::<K, Old, New>(migrate);
        self
    }

    /// Partial aggregates, made in front of the exchange by key.
    pub(super) fn combined<A: Aggregate<T>>(&self, aggregate: A, rule: Option<WindowRule>) -> Port {
        let node = OperatorNode::new(Name::Word("combine"), NodeKind::Combine);
        let keys = Arc::clone(&self.keys);
        self.stream.port.then::<T>(node, Partitioning::Forward, move |wiring| {
            let next = downstream::<Combined<T, K, A>>(wiring, 0)?;
            let keys_max = wiring.config().combined_keys_max;
            let limits = CombineLimits { keys_max, bytes_max: wiring.combine_bytes() };
            let rows = BatchBuilder::new(wiring.config().batch);
            let (name, keys, aggregate) = (wiring.name(), Arc::clone(&keys), aggregate.clone());
            let mut combine = Combine::new(name, keys, aggregate, rule, limits, rows, next);
            if let Some(before) = kept(wiring)? {
                combine.resume_from(&before.records);
            }
            Ok(Box::new(Box::new(combine) as Next<T>) as Erased)
        })
    }

    pub(super) fn by_key<A: Aggregate<T>>(&self) -> Partitioning<Combined<T, K, A>> {
        Partitioning::Hash(Arc::new(CombinedHashes::<T, K, A>::new(Arc::clone(&self.keys))))
    }

    /// Number of records per key, so far.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(9, |n| n));
    /// let counts = numbers.key_by(|n| n % 3).count().output_mode(OutputMode::Append);
    /// # counts.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// assert!(out.take().iter().all(|count| count.value == 3));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn count(&self) -> Stream<KeyedResult<K, u64>> {
        self.rolling("count", |a| a.count())
    }

    /// Mergeable aggregates per key, so far.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(4, |n| n));
    /// let stats = numbers
    ///     .key_by(|n| n % 2)
    ///     .aggregate(|a| (a.sum(|n| n), a.max(|n| n), a.mean(|n| n)))
    ///     .output_mode(OutputMode::Append);
    /// # stats.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// let odd = out.take().into_iter().find(|stats| stats.key == 1).unwrap();
    /// assert_eq!(odd.value, (4, 3, 2.0));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn aggregate<A: Aggregate<T>>(
        &self,
        aggregate: impl FnOnce(&AggregateBuilder<T>) -> A,
    ) -> Stream<KeyedResult<K, A::Output>> {
        self.rolling("aggregate", aggregate)
    }

    /// Combines the records of a key two by two. `reduce` must be associative.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(5, |n| n + 1));
    /// let products = numbers.key_by(|_| 0_u8).reduce(|a, b| a * b).output_mode(OutputMode::Append);
    /// # products.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// assert_eq!(out.take()[0].value, 120);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn reduce(
        &self,
        reduce: impl for<'a> Fn(T::View<'a>, T::View<'a>) -> T + Clone + Send + Sync + 'static,
    ) -> Stream<KeyedResult<K, T>>
    where
        T: Clone,
    {
        let merge = reduce.clone();
        self.rolling("reduce", move |a| {
            a.custom(
                |first| T::from_view(first),
                move |value: &mut T, record| *value = reduce_views::<T>(value, record, &reduce),
                move |value: &mut T, other| *value = reduce_views::<T>(value, other, &merge),
            )
        })
    }

    /// Folds the records of a key, in the order in which they arrive, into one value.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(3, |n| n));
    /// let joined = numbers
    ///     .key_by(|_| 0_u8)
    ///     .fold(String::new(), |text, n| text.push_str(&n.to_string()))
    ///     .output_mode(OutputMode::Append);
    /// # joined.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// assert_eq!(out.take()[0].value, "012");
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn fold<V: Record + Clone>(
        &self,
        initial: V,
        fold: impl for<'a> Fn(&mut V, T::View<'a>) + Clone + Send + Sync + 'static,
    ) -> Stream<KeyedResult<K, V>> {
        let keys = Arc::clone(&self.keys);
        let by_key = Partitioning::Hash(Arc::new(RecordHashes(Arc::clone(&self.keys))));
        let migrations = self.migrations.clone();
        let node = OperatorNode::new(Name::Word("fold"), ROLLING).keeping::<K, V>(&migrations);
        Stream::new(self.stream.port.then::<T>(node, by_key, move |wiring| {
            let rolling = rolling::<K, V, V>(wiring, &migrations, |value| Ok(value.clone()))?;
            let (keys, initial, fold) = (Arc::clone(&keys), initial.clone(), fold.clone());
            let update = Fold { keys, initial, fold };
            Ok(Box::new(Box::new(RollingOperator { update, rolling }) as Next<T>) as Erased)
        }))
    }

    /// One row per record, from the record and a value that is kept of its key and may be changed.
    ///
    /// The value begins as `initial`, lives in keyed state, and never ends. Records of a key come in the order in
    /// which they arrive, and a row has the event time of its record. After a failure the values are those of the
    /// last epoch and the records behind it come again, so each counts once.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(6, |n| n * n));
    /// let steps = numbers.key_by(|n| n % 2).map_with_state(0, |before, n| {
    ///     let step = n - *before;
    ///     *before = n;
    ///     step
    /// });
    /// # steps.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), [0, 1, 4, 8, 12, 16]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn map_with_state<V: Record + Clone, O: Record>(
        &self,
        initial: V,
        work: impl for<'a> Fn(&mut V, T::View<'a>) -> O + Clone + Send + Sync + 'static,
    ) -> Stream<O> {
        let port =
            self.stateful("map_with_state", initial, false, move |value, view, emit: &mut Emit<'_, O>| {
                emit.push(work(value, view).view());
            });
        Stream::new(port)
    }

    /// Any number of rows per record, from the record and a value that is kept of its key and may be changed; see
    /// [`map_with_state`](Self::map_with_state).
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(7, |n| n % 4));
    /// let records: Stream<u64> = numbers.key_by(|_| 0_u8).flat_map_with_state(0, |largest, n, emit| {
    ///     if n > *largest {
    ///         *largest = n;
    ///         emit.push(n);
    ///     }
    /// });
    /// # records.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), [1, 2, 3]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn flat_map_with_state<V: Record + Clone, O: Record>(
        &self,
        initial: V,
        work: impl for<'a> Fn(&mut V, T::View<'a>, &mut Emit<'_, O>) + Clone + Send + Sync + 'static,
    ) -> Stream<O> {
        Stream::new(self.stateful("flat_map_with_state", initial, false, work))
    }

    /// Rows from a record and a value that is kept of its key, as with
    /// [`flat_map_with_state`](Self::flat_map_with_state), or a reason why not: the second stream holds what was
    /// refused. The value and the rows stay as `work` left them.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out, bad) = (StreamBuilder::new("doc"), Collect::new(), Collect::new());
    /// # let prices = flow.source("prices", Generator::new(3, |n| [20.0, f64::NAN, 30.0][n as usize]));
    /// let (means, refused): (Stream<f64>, _) = prices.key_by(|_| 0_u8).try_flat_map_with_state(
    ///     (0.0, 0.0),
    ///     |(sum, count), price, emit| {
    ///         if price.is_nan() {
    ///             return Err("no price");
    ///         }
    ///         *sum += price;
    ///         *count += 1.0;
    ///         emit.push(*sum / *count);
    ///         Ok(())
    ///     },
    /// );
    /// # means.sink("means", out.clone());
    /// # refused.sink("refused", bad.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), [20.0, 25.0]);
    /// assert_eq!(bad.take()[0].reason, "no price");
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn try_flat_map_with_state<V: Record + Clone, O: Record, E: fmt::Display>(
        &self,
        initial: V,
        work: impl for<'a> Fn(&mut V, T::View<'a>, &mut Emit<'_, O>) -> std::result::Result<(), E>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> (Stream<O>, Stream<Rejected>)
    where
        for<'a> T::View<'a>: fmt::Debug,
    {
        let port = self.stateful(
            "try_flat_map_with_state",
            initial,
            true,
            move |value: &mut V, view, emit: &mut Emit<'_, O>| {
                if let Err(reason) = work(value, view, emit) {
                    emit.refuse(&view, &reason);
                }
            },
        );
        let rejected = port.side(1);
        (Stream::new(port), Stream::new(rejected))
    }

    fn stateful<V: Record + Clone, O: Record>(
        &self,
        word: &'static str,
        initial: V,
        refuses: bool,
        work: impl for<'a> Fn(&mut V, T::View<'a>, &mut Emit<'_, O>) + Clone + Send + Sync + 'static,
    ) -> Port {
        let keys = Arc::clone(&self.keys);
        let by_key = Partitioning::Hash(Arc::new(RecordHashes(Arc::clone(&self.keys))));
        let migrations = self.migrations.clone();
        let mut node = OperatorNode::new(Name::Word(word), NodeKind::Stateful).keeping::<K, V>(&migrations);
        if refuses {
            node.side_outputs.push("rejected");
        }
        self.stream.port.then::<T>(node, by_key, move |wiring| {
            let operator = Stateful {
                name: wiring.name(),
                keys: Arc::clone(&keys),
                initial: initial.clone(),
                work: work.clone(),
                state: resumed_state(wiring, &migrations)?,
                rows: BatchBuilder::new(wiring.config().batch),
                meter: wiring.meter(),
                next: outputs(wiring, refuses)?,
            };
            Ok(Box::new(Box::new(operator) as Next<T>) as Erased)
        })
    }

    fn rolling<A: Aggregate<T>>(
        &self,
        word: &'static str,
        aggregate: impl FnOnce(&AggregateBuilder<T>) -> A,
    ) -> Stream<KeyedResult<K, A::Output>> {
        let aggregate = aggregate(&AggregateBuilder::new());
        let combined = self.combined(aggregate.clone(), None);
        let migrations = self.migrations.clone();
        let node = OperatorNode::new(Name::Word(word), ROLLING).keeping::<K, A::Accumulator>(&migrations);
        Stream::new(combined.then(node, self.by_key::<A>(), move |wiring| {
            let finish = aggregate.clone();
            let rolling = rolling(wiring, &migrations, move |value| finish.finish(value))?;
            let operator = RollingOperator { update: Merge(aggregate.clone()), rolling };
            Ok(Box::new(Box::new(operator) as Next<Combined<T, K, A>>) as Erased)
        }))
    }

    /// Cuts event time into windows; see [`Window`].
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let readings = flow.source("readings", Generator::new(20, |n| (n as i64 * 1000, n)));
    /// let per_window = readings
    ///     .event_time(|(at, _)| at, Watermarks::bounded(secs(5)))
    ///     .key_by(|(_, n)| n % 2)
    ///     .window(Window::tumbling(secs(10)))
    ///     .aggregate(|a| a.count());
    /// # per_window.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// assert!(out.take().iter().all(|window| window.value == 5));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn window(&self, window: Window) -> WindowedStream<K, T> {
        WindowedStream::new(self.clone(), window)
    }
}

fn reduce_views<T: Record>(
    value: &T,
    other: T::View<'_>,
    reduce: &impl for<'a> Fn(T::View<'a>, T::View<'a>) -> T,
) -> T {
    // Two views of one lifetime: the owned copy of `other` lives as long as the borrow of `value`.
    let other = T::from_view(other);
    reduce(value.view(), other.view())
}

/// Without a window nothing is ever final while records come, so changes are what is sent.
const ROLLING: NodeKind = NodeKind::Aggregate(AggregateKind { mode: OutputMode::Update, windowed: false });

/// State and output of a rolling operator.
fn rolling<K: Key, V: Record + Clone, O: Record>(
    wiring: &mut dyn Wiring,
    migrations: &Migrations,
    finish: impl Fn(&V) -> crate::error::Result<O> + Send + 'static,
) -> crate::error::Result<Rolling<K, V, O>> {
    let state = resumed_state(wiring, migrations)?;
    Ok(Rolling {
        name: wiring.name(),
        mode: wiring.mode(),
        state,
        finish: Box::new(finish),
        rows: BatchBuilder::new(wiring.config().batch),
        next: downstream::<KeyedResult<K, O>>(wiring, 0)?,
        meter: wiring.meter(),
        changed: false,
        ending: None,
    })
}

/// State as the last epoch left it.
fn resumed_state<K: Key, V: Record + Clone>(
    wiring: &mut dyn Wiring,
    migrations: &Migrations,
) -> crate::error::Result<KeyedState<K, V>> {
    let mut state = keyed_state(wiring, migrations)?;
    if let Some(before) = kept::<RollingState>(wiring)? {
        resume_state(&mut state, before.records.iter().map(|record| &record.namespaces[..]), before.same)?;
    }
    Ok(state)
}

/// State within this instance's share of memory.
pub(super) fn keyed_state<K: Key, V: Record + Clone>(
    wiring: &mut dyn Wiring,
    migrations: &Migrations,
) -> crate::error::Result<KeyedState<K, V>> {
    let groups = wiring.config().key_groups;
    let StatePlace { backend, share_bytes, durable } = wiring.state();
    let state = match durable {
        Some(follower) => KeyedState::durable(backend, share_bytes, groups, follower),
        None => KeyedState::new(backend, share_bytes, groups),
    };
    let state = state.migrating(migrations.clone());
    Ok(if wiring.mode() == OutputMode::Update { state.tracking_changes() } else { state })
}
