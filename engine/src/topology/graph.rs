//! Nodes and edges, and the typed factories behind them that make operators, channels and instances.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::batch::{Record, Value};
use crate::channel::{
    ChannelLimits, InputGate, InstanceWaker, Partitioning, Receiver, Router, RouterLimits, Sender, bounded,
};
use crate::config::EngineConfig;
use crate::epoch::{EntryKind, Journal, Restored};
use crate::error::{Error, Result};
use crate::operator::fan_out::{FanOut, Unread};
use crate::operator::output::OnCommit;
use crate::operator::{Context, Next};
use crate::sink::{OutputMode, SinkParallelism, Subtask};
use crate::source::Boundedness;
use crate::stage::{Frame, OperatorInstance, Outlet, Output, Poison, Reopen, Roster, StageInstance, Tape};
use crate::state::{Follower, StateBackend, StateCodec};
use crate::telemetry::Meter;
use crate::time::Clock;

/// A typed part whose type the graph does not name: a `Next<T>`, or one end of channels of `T`.
pub(crate) type Erased = Box<dyn Any + Send>;

/// Number of a node in its graph.
pub(crate) type NodeId = usize;

/// Where the keyed state of an instance lives.
pub(crate) struct StatePlace {
    /// Where it goes when it outgrows its share of memory.
    pub(crate) backend: Option<Box<dyn StateBackend>>,
    pub(crate) share_bytes: usize,
    /// It survives: the backend follows the epochs, and nothing else is written to it.
    pub(crate) durable: Option<Follower>,
}

/// What a factory may ask for while an instance is being put together.
pub(crate) trait Wiring {
    fn config(&self) -> &EngineConfig;
    fn clock(&self) -> Arc<dyn Clock>;
    fn subtask(&self) -> Subtask;
    /// Name of the node being made.
    fn name(&self) -> String;
    /// Output mode of the node being made; append unless it is an aggregate.
    fn mode(&self) -> OutputMode;
    /// Counts of the node being made.
    fn meter(&mut self) -> Arc<Meter>;
    /// The consumers of an output port of the node being made.
    fn consumers(&mut self, port: usize) -> Result<Vec<Erased>>;
    /// This subtask's share of the partitions of the source being made.
    fn partitions(&self) -> Vec<String>;
    /// The partitions of the source being made, if there may be more of them while it runs.
    fn roster(&self) -> Option<Arc<Roster>>;
    /// Where the state of the node being made goes when it outgrows its share of memory, and that share.
    fn state(&mut self) -> StatePlace;
    /// What an earlier run left of the node being made; `None` when there was none.
    fn restored(&self) -> Option<Arc<Restored>>;
    /// What the run knows of records at which a closure panics.
    fn poison(&self) -> Arc<Poison>;
    /// What stands in for sources and sinks, if this is a replay.
    fn tape(&self) -> Option<Arc<Tape>>;
    /// The journal of the instance being made.
    fn journal(&self) -> Journal;
    /// Adds what the instance being made is to tell when an epoch is durable.
    fn on_commit(&mut self, on_commit: Arc<Mutex<dyn OnCommit>>);
    /// Most memory for the partial results of the node being made.
    fn combine_bytes(&self) -> usize;
    /// What the instance being made consists of besides its chain.
    fn frame(&mut self) -> Frame;
}

/// Makes a source instance.
pub(crate) type SourceMaker = Arc<dyn Fn(&mut dyn Wiring) -> Result<Box<dyn StageInstance>> + Send + Sync>;

/// Makes an operator with everything fused behind it: a `Next<T>`.
pub(crate) type OperatorMaker = Arc<dyn Fn(&mut dyn Wiring) -> Result<Erased> + Send + Sync>;

/// How instances of a node are made.
#[derive(Clone)]
pub(crate) enum Maker {
    Source(SourceMaker),
    Operator(OperatorMaker),
}

/// Whether an aggregate is per window, and which of its rows it sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AggregateKind {
    pub(crate) mode: OutputMode,
    pub(crate) windowed: bool,
}

/// Finds the names of a source's partitions.
pub(crate) type Discover = Arc<dyn Fn() -> Result<Vec<String>> + Send + Sync>;

/// What a node is, as far as checking and planning need to know.
#[derive(Clone)]
pub(crate) enum NodeKind {
    Source {
        boundedness: Boundedness,
        partitions: Discover,
        /// How often they are asked for again.
        discovery_interval: Option<Duration>,
        reopen: Reopen,
    },
    /// Map, filter and the like.
    Stateless,
    /// Partial aggregates in front of an exchange.
    Combine,
    EventTime,
    Aggregate(AggregateKind),
    /// Rows from a record and the state of its key.
    Stateful,
    Sink {
        parallelism: SinkParallelism,
        accepts: Arc<dyn Fn(OutputMode) -> bool + Send + Sync>,
    },
}

/// A source, operator or sink.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) kind: NodeKind,
    pub(crate) maker: Maker,
    /// Names of the output ports after the first, such as `late`; they may stay unread.
    pub(crate) side_outputs: Vec<&'static str>,
    /// Mistakes that can be seen without the rest of the graph.
    pub(crate) problems: Vec<String>,
    pub(crate) keeps: Keeps,
}

/// How to read what a node keeps from one epoch to the next; made where its types are known.
#[derive(Clone)]
pub(crate) enum Keeps {
    /// Nothing that anybody would ask for.
    Nothing,
    /// A value per key.
    State(StateCodec),
    /// Positions of partitions, as the epoch log holds them.
    Positions(fn(&str, &[u8]) -> Result<Value>),
}

/// How rows find their instance, without the record type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeKind {
    Forward,
    Hash,
    Broadcast,
    Rebalance,
}

/// From an output port of one node to the input of another.
pub(crate) struct Edge {
    pub(crate) from: NodeId,
    pub(crate) port: usize,
    pub(crate) to: NodeId,
    pub(crate) kind: EdgeKind,
    pub(crate) factory: Arc<dyn EdgeFactory>,
}

/// The nodes and edges of a topology.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
}

impl Graph {
    /// How many nodes have keyed state.
    pub(crate) fn stateful(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| matches!(node.kind, NodeKind::Aggregate(_) | NodeKind::Stateful))
            .count()
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        f.debug_struct("Graph").field("nodes", &names).field("edges", &self.edges.len()).finish()
    }
}

/// One end of the channels of an edge per instance, types erased.
pub(crate) struct Channels {
    /// Per producer: `Vec<Sender<T>>`, one per consumer.
    pub(crate) senders: Vec<Erased>,
    /// Per consumer: `Vec<Receiver<T>>`, one per producer.
    pub(crate) receivers: Vec<Erased>,
}

/// What only the record type of an edge knows how to make.
pub(crate) trait EdgeFactory: Send + Sync {
    fn channels(&self, from: &[InstanceWaker], to: &[InstanceWaker], limits: ChannelLimits) -> Channels;

    /// The end of a chain that sends to `senders` (a `Vec<Sender<T>>`).
    fn outlet(
        &self,
        senders: Erased,
        subtask: usize,
        limits: RouterLimits,
    ) -> Result<(Erased, Arc<Mutex<dyn Output>>)>;

    /// An instance that takes what arrives from `receivers` (a `Vec<Receiver<T>>` per edge) into `chain`.
    fn instance(
        &self,
        receivers: Vec<Erased>,
        chain: Erased,
        context: Context,
        frame: Frame,
    ) -> Result<Box<dyn StageInstance>>;
}

/// An edge whose records are of type `T`.
pub(crate) struct TypedEdge<T: Record> {
    pub(crate) partitioning: Partitioning<T>,
}

impl<T: Record> EdgeFactory for TypedEdge<T> {
    fn channels(&self, from: &[InstanceWaker], to: &[InstanceWaker], limits: ChannelLimits) -> Channels {
        let mut senders: Vec<Vec<Sender<T>>> = from.iter().map(|_| Vec::new()).collect();
        let mut receivers: Vec<Vec<Receiver<T>>> = to.iter().map(|_| Vec::new()).collect();
        for (producer, senders) in from.iter().zip(&mut senders) {
            for (consumer, receivers) in to.iter().zip(&mut receivers) {
                let (sender, receiver) = bounded(limits, Arc::clone(producer), Arc::clone(consumer));
                senders.push(sender);
                receivers.push(receiver);
            }
        }
        let erase_senders = senders.into_iter().map(|ends| Box::new(ends) as Erased);
        let erase_receivers = receivers.into_iter().map(|ends| Box::new(ends) as Erased);
        Channels { senders: erase_senders.collect(), receivers: erase_receivers.collect() }
    }

    fn outlet(
        &self,
        senders: Erased,
        subtask: usize,
        limits: RouterLimits,
    ) -> Result<(Erased, Arc<Mutex<dyn Output>>)> {
        let senders = *reveal::<Vec<Sender<T>>>(senders)?;
        let router = Router::new(senders, self.partitioning.clone(), subtask, limits);
        let (outlet, output) = Outlet::new(router);
        Ok((Box::new(Box::new(outlet) as Next<T>), output))
    }

    fn instance(
        &self,
        receivers: Vec<Erased>,
        chain: Erased,
        context: Context,
        frame: Frame,
    ) -> Result<Box<dyn StageInstance>> {
        let mut all = Vec::new();
        for ends in receivers {
            all.append(&mut *reveal::<Vec<Receiver<T>>>(ends)?);
        }
        let chain = *reveal::<Next<T>>(chain)?;
        Ok(Box::new(OperatorInstance::new(InputGate::new(all), chain, context, frame)))
    }
}

fn reveal<P: 'static>(part: Erased) -> Result<Box<P>> {
    part.downcast().map_err(|_| {
        let expected = std::any::type_name::<P>();
        Error::failed(format!(
            "the topology was put together wrongly: expected `{expected}`; please report this"
        ))
    })
}

/// Everything that reads an output port, as one `Next<T>`.
pub(crate) fn downstream<T: Record>(wiring: &mut dyn Wiring, port: usize) -> Result<Next<T>> {
    let mut consumers = Vec::new();
    for consumer in wiring.consumers(port)? {
        consumers.push(*reveal::<Next<T>>(consumer)?);
    }
    Ok(match consumers.len() {
        0 => Box::new(Unread),
        1 => consumers.remove(0),
        _ => Box::new(FanOut { consumers }),
    })
}

/// What the instances of an operator said about the last epoch of an earlier run.
pub(crate) struct Kept<R> {
    /// What concerns this instance: its own record, or those of all if there are fewer or more now.
    pub(crate) records: Vec<R>,
    /// There are as many instances as there were.
    pub(crate) same: bool,
}

/// What an earlier run kept of the operator being made; `None` when there was none.
///
/// # Errors
/// It was another operator that had this name.
pub(crate) fn kept<R: Record>(wiring: &dyn Wiring) -> Result<Option<Kept<R>>> {
    let Some(restored) = wiring.restored() else { return Ok(None) };
    let Subtask { index, count } = wiring.subtask();
    let records = restored.records(&wiring.name(), EntryKind::Operator, index, count)?;
    Ok(Some(Kept { records, same: restored.subtasks == 0 || restored.subtasks == count }))
}
