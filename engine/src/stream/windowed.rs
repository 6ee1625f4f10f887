//! `WindowedStream`: aggregates per key and window of event time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::keyed::keyed_state;
use super::{KeyedStream, Name, OperatorNode, Port, Stream};
use crate::batch::{BatchBuilder, Key, Record};
use crate::operator::combine::{Combined, WindowRule};
use crate::operator::window::{WindowAggregate, WindowParts};
use crate::operator::{Next, WindowResult};
use crate::sink::OutputMode;
use crate::time::millis;
use crate::topology::{AggregateKind, Erased, NodeKind, downstream, kept};
use crate::window::{Aggregate, AggregateBuilder, Window};

/// Records grouped by key and window.
#[must_use = "a windowed stream does nothing until something is computed per window"]
#[derive(Clone)]
pub struct WindowedStream<K: Key, T: Record> {
    keyed: KeyedStream<K, T>,
    window: Window,
    lateness_ms: i64,
}

impl<K: Key, T: Record> fmt::Debug for WindowedStream<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowedStream").field("window", &self.window).finish_non_exhaustive()
    }
}

impl<K: Key, T: Record> WindowedStream<K, T> {
    pub(super) fn new(keyed: KeyedStream<K, T>, window: Window) -> Self {
        WindowedStream { keyed, window, lateness_ms: 0 }
    }

    /// Takes records for this long after the watermark has passed the end of their window. In append mode,
    /// where each row is sent once, the row waits as long.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// # let readings = flow.source("readings", Generator::new(20, |n| (n as i64 * 1000, n)));
    /// let patient = readings
    ///     .event_time(|(at, _)| at, Watermarks::bounded(secs(5)))
    ///     .key_by(|(_, n)| n % 2)
    ///     .window(Window::tumbling(secs(10)))
    ///     .allowed_lateness(secs(30))
    ///     .aggregate(|a| a.count());
    /// # patient.sink("out", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        WindowedStream { lateness_ms: millis(lateness), ..self }
    }

    /// Mergeable aggregates per key and window. Late records are counted.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let readings = flow.source("readings", Generator::new(20, |n| (n as i64 * 1000, n)));
    /// let stats = readings
    ///     .event_time(|(at, _)| at, Watermarks::bounded(secs(5)))
    ///     .key_by(|_| 0_u8)
    ///     .window(Window::sliding(secs(10), secs(5)))
    ///     .aggregate(|a| (a.count(), a.min(|(_, n)| n)));
    /// # stats.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// let window = out.take().into_iter().find(|window| window.window_start == 5_000).unwrap();
    /// assert_eq!((window.window_end, window.value), (15_000, (10, 5)));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn aggregate<A: Aggregate<T>>(
        &self,
        aggregate: impl FnOnce(&AggregateBuilder<T>) -> A,
    ) -> Stream<WindowResult<K, A::Output>> {
        self.aggregate_or_late(aggregate).0
    }

    /// Mergeable aggregates per key and window, and the records that came too late as a second stream.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, late) = (StreamBuilder::new("doc"), Collect::new());
    /// // The last record comes when its window has closed.
    /// let times = [0_i64, 1_000, 60_000, 2_000];
    /// let readings = flow.source("readings", Generator::new(4, move |n| times[n as usize]));
    /// let (counts, too_late) = readings
    ///     .event_time(|at| at, Watermarks::bounded(secs(5)))
    ///     .key_by(|_| 0_u8)
    ///     .window(Window::tumbling(secs(10)))
    ///     .aggregate_or_late(|a| a.count());
    /// # counts.sink("out", Collect::new());
    /// too_late.sink("late", late.clone());
    /// flow.build()?.run(EngineConfig::default())?;
    /// assert_eq!(late.take(), [2_000]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn aggregate_or_late<A: Aggregate<T>>(
        &self,
        aggregate: impl FnOnce(&AggregateBuilder<T>) -> A,
    ) -> (Stream<WindowResult<K, A::Output>>, Stream<T>) {
        let aggregate = aggregate(&AggregateBuilder::new());
        let rule = WindowRule { window: self.window, lateness_ms: self.lateness_ms, keep_all: false };
        let combined = self.keyed.combined(aggregate.clone(), Some(rule));
        let kind = NodeKind::Aggregate(AggregateKind { mode: OutputMode::Append, windowed: true });
        let mut node = OperatorNode::new(Name::Word("window"), kind)
            .keeping::<K, A::Accumulator>(&self.keyed.migrations);
        node.side_outputs.push("late");
        node.problems.extend(self.window.problem());
        let (keys, migrations) = (Arc::clone(&self.keyed.keys), self.keyed.migrations.clone());
        let port: Port = combined.then(node, self.keyed.by_key::<A>(), move |wiring| {
            let (mode, limits) = (wiring.mode(), wiring.config().batch);
            let parts = WindowParts {
                name: wiring.name(),
                rule: WindowRule { keep_all: mode == OutputMode::Complete, ..rule },
                mode,
                aggregate: aggregate.clone(),
                keys: Arc::clone(&keys),
                state: keyed_state(wiring, &migrations)?,
                rows: BatchBuilder::new(limits),
                records: BatchBuilder::new(limits),
                next: downstream::<WindowResult<K, A::Output>>(wiring, 0)?,
                late: downstream::<T>(wiring, 1)?,
                meter: wiring.meter(),
            };
            let mut aggregate = WindowAggregate::new(parts);
            if let Some(before) = kept(wiring)? {
                aggregate.resume_from(&before.records, before.same)?;
            }
            Ok(Box::new(Box::new(aggregate) as Next<Combined<T, K, A>>) as Erased)
        });
        let late = port.side(1);
        (Stream::new(port), Stream::new(late))
    }
}
