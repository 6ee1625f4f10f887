//! `Stream`: the words that work on any stream.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::keys::{ByClosure, ByField, ByValue};
use super::{Carries, KeyedStream, Name, OperatorNode, Port};
use crate::batch::{BatchBuilder, Field, Key, Record};
use crate::channel::Partitioning;
use crate::epoch::EntryKind;
use crate::error::Result;
use crate::operator::event_time::{EventTime, Watermarks};
use crate::operator::output::SinkOutput;
use crate::operator::refusals::{Outputs, Refusals};
use crate::operator::transform::{Emit, Filter, Inspect, Transform, TryMap};
use crate::operator::{Next, Operator};
use crate::sink::SinkWriter;
use crate::sink::{OutputMode, Sink};
use crate::source::Rejected;
use crate::stage::TapeWriter;
use crate::time::Timestamp;
use crate::topology::{Erased, NodeKind, Wiring, downstream, kept};

/// Records of type `T` on their way. A handle: cheap to clone, to return and to store; using it twice gives
/// both consumers all records.
///
/// Closures take views (`|bid| bid.price > 100`), see [`Record`].
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct Stream<T: Record> {
    pub(super) port: Port,
    _record: Carries<T>,
}

impl<T: Record> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Stream::new(self.port.clone())
    }
}

impl<T: Record> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("node", &self.port.node).field("port", &self.port.port).finish()
    }
}

/// A chain of this operator and everything behind it, type erased.
fn erased<T: Record>(operator: impl Operator<T> + 'static) -> Result<Erased> {
    Ok(Box::new(Box::new(operator) as Next<T>))
}

/// What follows an operator, with a second output for what it refuses or without.
pub(super) fn outputs<O: Record>(wiring: &mut dyn Wiring, refuses: bool) -> Result<Outputs<O>> {
    let next = downstream::<O>(wiring, 0)?;
    let refusals = match refuses {
        true => Some(Refusals {
            name: wiring.name(),
            rows: BatchBuilder::new(wiring.config().batch),
            next: downstream::<Rejected>(wiring, 1)?,
            meter: wiring.meter(),
            before: 0,
        }),
        false => None,
    };
    Ok(Outputs { next, refusals })
}

impl<T: Record> Stream<T> {
    pub(super) fn new(port: Port) -> Self {
        Stream { port, _record: PhantomData }
    }

    /// Gives the operator that this stream comes from another name than its word.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// flow.source("numbers", Generator::new(9, |n| n))
    ///     .filter(|n| n % 2 == 0)
    ///     .name("evens")
    ///     .sink("out", Collect::new());
    /// assert!(flow.build()?.describe().contains("evens"));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn name(self, name: &str) -> Self {
        self.port.rename(name);
        self
    }

    /// Which rows of the aggregate that this stream comes from are sent, and when; see [`OutputMode`].
    /// Windows are in append mode unless said otherwise, running results in update mode.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(9, |n| n));
    /// // The input ends, so there is a final result.
    /// let final_counts = numbers.key_by(|_| 0_u8).count().output_mode(OutputMode::Append);
    /// # final_counts.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// assert_eq!(out.take().len(), 1);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn output_mode(self, mode: OutputMode) -> Self {
        let mut graph = self.port.graph.borrow_mut();
        let node = &mut graph.nodes[self.port.node];
        match &mut node.kind {
            NodeKind::Aggregate(kind) => kind.mode = mode,
            _ => node.problems.push(format!(
                "output mode {mode} is set on `{}`, which is no aggregate; say `.output_mode(..)` right \
                 behind `count`, `reduce`, `fold` or `aggregate`",
                node.name
            )),
        }
        drop(graph);
        self
    }

    fn stateless<O: Record>(
        &self,
        word: &'static str,
        make: impl Fn(&mut dyn Wiring) -> Result<Erased> + Send + Sync + 'static,
    ) -> Stream<O> {
        let node = OperatorNode::new(Name::Word(word), NodeKind::Stateless);
        Stream::new(self.port.then::<T>(node, Partitioning::Forward, make))
    }

    fn transform<O: Record, F>(&self, word: &'static str, work: F) -> Stream<O>
    where
        F: for<'a> Fn(T::View<'a>, &mut Emit<'_, O>) + Clone + Send + Sync + 'static,
    {
        self.stateless(word, move |wiring| {
            let next = downstream::<O>(wiring, 0)?;
            let rows = BatchBuilder::new(wiring.config().batch);
            erased::<T>(Transform::new(wiring.name(), work.clone(), rows, next))
        })
    }

    /// One record for each record.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(3, |n| n));
    /// let labels = numbers.map(|n| format!("no. {n}"));
    /// # labels.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), ["no. 0", "no. 1", "no. 2"]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn map<O: Record>(
        &self,
        work: impl for<'a> Fn(T::View<'a>) -> O + Clone + Send + Sync + 'static,
    ) -> Stream<O> {
        self.transform("map", move |view, emit: &mut Emit<'_, O>| emit.push(work(view).view()))
    }

    /// The records for which `predicate` holds. Costs no copy.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(5, |n| n));
    /// let odd = numbers.filter(|n| n % 2 == 1);
    /// # odd.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), [1, 3]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn filter(
        &self,
        predicate: impl for<'a> Fn(T::View<'a>) -> bool + Clone + Send + Sync + 'static,
    ) -> Stream<T> {
        self.stateless("filter", move |wiring| {
            let next = downstream::<T>(wiring, 0)?;
            erased::<T>(Filter { predicate: predicate.clone(), positions: Vec::new(), next })
        })
    }

    /// Any number of records for each record, from anything that can be iterated.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(4, |n| n));
    /// let repeated = numbers.flat_map(|n| vec![n; n as usize]);
    /// # repeated.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), [1, 2, 2, 3, 3, 3]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn flat_map<I>(
        &self,
        work: impl for<'a> Fn(T::View<'a>) -> I + Clone + Send + Sync + 'static,
    ) -> Stream<I::Item>
    where
        I: IntoIterator<Item: Record>,
    {
        self.transform("flat_map", move |view, emit: &mut Emit<'_, I::Item>| {
            work(view).into_iter().for_each(|record| emit.push(record.view()));
        })
    }

    /// Any number of records for each record, written as borrowed views: words of a line cost no allocation.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let lines = flow.source("lines", Generator::new(1, |_| "to be or".to_owned()));
    /// let words = lines.flat_map_into::<String>(|line, words| {
    ///     line.split_whitespace().for_each(|word| words.push(word));
    /// });
    /// # words.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), ["to", "be", "or"]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn flat_map_into<O: Record>(
        &self,
        work: impl for<'a> Fn(T::View<'a>, &mut Emit<'_, O>) + Clone + Send + Sync + 'static,
    ) -> Stream<O> {
        self.transform("flat_map", work)
    }

    /// One record for each record, or a reason why not: the second stream holds what was refused.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out, bad) = (StreamBuilder::new("doc"), Collect::new(), Collect::new());
    /// # let texts = flow.source("texts", Generator::new(2, |n| ["12", "x"][n as usize].to_owned()));
    /// let (numbers, refused) = texts.try_map(|text| text.parse::<u64>());
    /// # numbers.sink("out", out.clone());
    /// # refused.sink("refused", bad.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// assert_eq!(out.take(), [12]);
    /// assert_eq!(bad.take()[0].reason, "invalid digit found in string");
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn try_map<O: Record, E: fmt::Display>(
        &self,
        work: impl for<'a> Fn(T::View<'a>) -> Result<O, E> + Clone + Send + Sync + 'static,
    ) -> (Stream<O>, Stream<Rejected>)
    where
        for<'a> T::View<'a>: fmt::Debug,
    {
        let mut node = OperatorNode::new(Name::Word("try_map"), NodeKind::Stateless);
        node.side_outputs.push("rejected");
        let port = self.port.then::<T>(node, Partitioning::Forward, move |wiring| {
            erased::<T>(TryMap {
                work: work.clone(),
                rows: BatchBuilder::new(wiring.config().batch),
                next: outputs(wiring, true)?,
                meter: wiring.meter(),
                _record: PhantomData,
            })
        });
        let rejected = port.side(1);
        (Stream::new(port), Stream::new(rejected))
    }

    /// Looks at every record and passes it on.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// # let numbers = flow.source("numbers", Generator::new(5, |n| n));
    /// let same = numbers.inspect(|n| assert!(n < 5));
    /// # same.sink("out", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn inspect(&self, look: impl for<'a> Fn(T::View<'a>) + Clone + Send + Sync + 'static) -> Stream<T> {
        self.stateless("inspect", move |wiring| {
            let next = downstream::<T>(wiring, 0)?;
            erased::<T>(Inspect { look: look.clone(), next })
        })
    }

    /// Says where the event time of a record stands (milliseconds since 1970, UTC) and how far behind the
    /// newest a record may come. Say it right behind the source: watermarks are then kept per partition.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// # let readings = flow.source("readings", Generator::new(9, |n| (n as i64 * 1000, n)));
    /// let timed = readings.event_time(|(at, _)| at, Watermarks::bounded(secs(5)));
    /// # timed.sink("out", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn event_time(
        &self,
        read: impl for<'a> Fn(T::View<'a>) -> Timestamp + Send + Sync + 'static,
        watermarks: Watermarks,
    ) -> Stream<T> {
        let reader = Arc::new(read);
        let node = OperatorNode::new(Name::Word("event_time"), NodeKind::EventTime);
        Stream::new(self.port.then::<T>(node, Partitioning::Forward, move |wiring| {
            let next = downstream::<T>(wiring, 0)?;
            let (name, meter) = (wiring.name(), wiring.meter());
            let mut event_time =
                EventTime::new(name.clone(), Arc::clone(&reader) as _, watermarks, meter, next);
            if let (Some(mut own), Some(restored)) = (kept(wiring)?, wiring.restored()) {
                let all = restored.records(&name, EntryKind::Operator, 0, 0)?;
                event_time.resume_from(all, own.records.pop().filter(|_| own.same));
            }
            erased::<T>(event_time)
        }))
    }

    /// Both streams as one, in any order.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// let low = flow.source("low", Generator::new(2, |n| n));
    /// let high = flow.source("high", Generator::new(2, |n| n + 100));
    /// low.union(&high).sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// let mut all = out.take();
    /// all.sort();
    /// assert_eq!(all, [0, 1, 100, 101]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn union(&self, other: &Stream<T>) -> Stream<T> {
        let united =
            self.stateless::<T>("union", |wiring| Ok(Box::new(downstream::<T>(wiring, 0)?) as Erased));
        other.port.connect::<T>(&united.port, Partitioning::Forward);
        united
    }

    /// Spreads batches evenly over the instances of the next stage.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// # let numbers = flow.source("numbers", Generator::new(9, |n| n));
    /// let spread = numbers.rebalance().map(|n| n * n);
    /// # spread.sink("out", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn rebalance(&self) -> Stream<T> {
        self.exchanged("rebalance", Partitioning::Rebalance)
    }

    /// Gives every record to every instance of the next stage.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(2, |n| n));
    /// let copies = numbers.broadcast();
    /// # copies.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default().parallelism(3))?;
    /// assert_eq!(out.take().len(), 2 * 3);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn broadcast(&self) -> Stream<T> {
        self.exchanged("broadcast", Partitioning::Broadcast)
    }

    fn exchanged(&self, word: &'static str, partitioning: Partitioning<T>) -> Stream<T> {
        let node = OperatorNode::new(Name::Word(word), NodeKind::Stateless);
        Stream::new(
            self.port
                .then::<T>(node, partitioning, |wiring| Ok(Box::new(downstream::<T>(wiring, 0)?) as Erased)),
        )
    }

    /// Groups records by a key that a closure gives. The key must own its data; for a string field without
    /// an allocation per record see [`key_by_field`](Self::key_by_field).
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let (flow, out) = (StreamBuilder::new("doc"), Collect::new());
    /// # let numbers = flow.source("numbers", Generator::new(10, |n| n));
    /// let counts = numbers.key_by(|n| n % 2).count().output_mode(OutputMode::Append);
    /// # counts.sink("out", out.clone());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// assert!(out.take().iter().all(|count| count.value == 5));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn key_by<K: Key>(
        &self,
        key: impl for<'a> Fn(T::View<'a>) -> K + Send + Sync + 'static,
    ) -> KeyedStream<K, T> {
        KeyedStream::new(self.clone(), Arc::new(ByClosure(key)))
    }

    /// Groups records by one of their fields; the derive makes a constant for each (`Bid::CHANNEL`).
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # #[derive(Record)]
    /// # struct Bid { channel: String, price: u64 }
    /// # let flow = StreamBuilder::new("doc");
    /// # let bids = flow.source("bids", Generator::new(2, |n| Bid { channel: "web".into(), price: n }));
    /// let counts = bids.key_by_field(Bid::CHANNEL).count();
    /// # counts.sink("out", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn key_by_field<K: Key>(&self, field: Field<T, K>) -> KeyedStream<K, T> {
        KeyedStream::new(self.clone(), Arc::new(ByField(field)))
    }

    /// Groups equal records.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// # let words = flow.source("words", Generator::new(2, |_| "word".to_owned()));
    /// let counts = words.key_by_value().count();
    /// # counts.sink("out", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn key_by_value(&self) -> KeyedStream<T, T>
    where
        T: Key,
    {
        KeyedStream::new(self.clone(), Arc::new(ByValue))
    }

    /// Sends the records to a sink.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// let out = Collect::new();
    /// flow.source("numbers", Generator::new(3, |n| n)).sink("out", out.clone());
    /// flow.build()?.run(EngineConfig::default())?;
    /// assert_eq!(out.take(), [0, 1, 2]);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn sink(&self, name: impl Into<String>, sink: impl Sink<T>) {
        let name = name.into();
        let sink = Arc::new(sink);
        let (parallelism, accepting) = (sink.parallelism(), Arc::clone(&sink));
        let kind = NodeKind::Sink { parallelism, accepts: Arc::new(move |mode| accepting.accepts(mode)) };
        let node = OperatorNode::new(Name::Given(name.clone()), kind);
        self.port.then::<T>(node, Partitioning::Forward, move |wiring| {
            let subtask = wiring.subtask();
            let writer = match wiring.tape() {
                Some(tape) => {
                    Box::new(TapeWriter::new(&name, subtask.index, &tape)) as Box<dyn SinkWriter<T>>
                }
                None => sink.open(subtask).map_err(|error| error.at(name.clone()))?,
            };
            let (meter, restored) = (wiring.meter(), wiring.restored());
            let restored = restored.as_deref().map(|restored| (restored, subtask.index, subtask.count));
            let (output, on_commit) = SinkOutput::new(name.clone(), writer, meter, restored)?;
            wiring.on_commit(on_commit);
            erased::<T>(output)
        });
    }
}
