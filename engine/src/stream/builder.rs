//! `StreamBuilder`: sources in, a checked `Topology` out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::{Port, SharedGraph, Stream};
use crate::batch::{Record, Value};
use crate::epoch::{EntryKind, decode_record};
use crate::error::Result;
use crate::operator::Context;
use crate::source::{Rejected, Source};
use crate::stage::{
    PartitionPosition, Positions, SourceInstance, SourceParts, StageInstance, TapeSource, reopen,
};
use crate::topology::{Graph, Keeps, Maker, Node, NodeKind, Topology, Wiring, downstream};

/// Where a stream program begins.
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::{Collect, MemorySource};
///
/// let flow = StreamBuilder::new("doubled");
/// let doubled = Collect::new();
/// flow.source("numbers", MemorySource::new(vec![vec![1_u64, 2, 3]]))
///     .map(|n| n * 2)
///     .sink("doubled", doubled.clone());
/// flow.build()?.run(EngineConfig::default())?;
/// assert_eq!(doubled.take(), [2, 4, 6]);
/// # Ok::<(), headwater::Error>(())
/// ```
pub struct StreamBuilder {
    name: String,
    graph: SharedGraph,
}

impl fmt::Debug for StreamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBuilder").field("name", &self.name).field("graph", &self.graph).finish()
    }
}

impl StreamBuilder {
    /// A program without sources; `name` is its name in reports.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        StreamBuilder { name: name.into(), graph: Rc::new(RefCell::new(Graph::default())) }
    }

    /// Adds a source. Records that it cannot understand are counted as rejected.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// let squares = flow.source("squares", Generator::new(10, |n| n * n));
    /// # squares.sink("out", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn source<S: Source>(&self, name: impl Into<String>, source: S) -> Stream<S::Record> {
        self.source_or_rejected(name, source).0
    }

    /// Adds a source, and gives the records that it cannot understand as a second stream.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # use headwater_connectors::{Collect, Generator};
    /// # let flow = StreamBuilder::new("doc");
    /// let (good, bad) = flow.source_or_rejected("squares", Generator::new(10, |n| n * n));
    /// good.sink("out", Collect::new());
    /// bad.map(|r| r.reason.to_owned()).sink("reasons", Collect::new());
    /// # flow.build()?.run(EngineConfig::default())?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn source_or_rejected<S: Source>(
        &self,
        name: impl Into<String>,
        source: S,
    ) -> (Stream<S::Record>, Stream<Rejected>) {
        let name = name.into();
        let source = Arc::new(source);
        let (label, found) = (name.clone(), Arc::clone(&source));
        let kind = NodeKind::Source {
            boundedness: source.boundedness(),
            partitions: Arc::new(move || found.partitions().map_err(|error| error.at(label.clone()))),
            discovery_interval: source.discovery_interval(),
            reopen: reopen(&name, &source),
        };
        let label = name.clone();
        let maker = Maker::Source(Arc::new(move |wiring| match wiring.tape() {
            Some(tape) => instance(wiring, &label, &Arc::new(TapeSource::<S::Record>::new(&label, &tape))),
            None => instance(wiring, &label, &source),
        }));
        let keeps = Keeps::Positions(|name, bytes| {
            let position: S::Position = decode_record(name, bytes)?;
            Ok(Value::of::<S::Position>(position.view()))
        });
        let (side_outputs, problems) = (vec!["rejected"], Vec::new());
        let node = Node { name, kind, maker, side_outputs, problems, keeps };
        let port = Port::add(&self.graph, node);
        let rejected = port.side(1);
        (Stream::new(port), Stream::new(rejected))
    }

    /// Checks the program and fixes it.
    ///
    /// # Errors
    /// All mistakes that can be found without running, each with its way out: a stream without a sink, a
    /// name used twice, a window without a watermark, output modes that do not fit.
    pub fn build(self) -> Result<Topology> {
        // Handles that are still alive keep the empty graph.
        Topology::new(self.name, self.graph.take())
    }
}

/// The instance that reads a source.
fn instance<S: Source>(
    wiring: &mut dyn Wiring,
    name: &str,
    source: &Arc<S>,
) -> Result<Box<dyn StageInstance>> {
    let chain = downstream(wiring, 0)?;
    let rejected = downstream(wiring, 1)?;
    let parts = SourceParts {
        name: name.to_owned(),
        source: Arc::clone(source),
        context: Context::of_source(wiring.clock(), wiring.partitions(), wiring.journal()),
        positions: positions(wiring, name)?,
        chain,
        rejected,
        limits: wiring.config().batch,
        age_max_ms: wiring.config().batch_age_max_ms,
        meter: wiring.meter(),
        subtask: wiring.subtask(),
        roster: wiring.roster(),
        place: format!("{name}[{}]", wiring.subtask().index),
        poison: wiring.poison(),
        is_recorded: wiring.config().record_input && !source.is_replayable(),
        frame: wiring.frame(),
    };
    Ok(Box::new(SourceInstance::new(parts)))
}

/// Where an earlier run left the partitions of the source being made.
fn positions(wiring: &dyn Wiring, name: &str) -> Result<Option<HashMap<String, PartitionPosition>>> {
    let Some(restored) = wiring.restored() else { return Ok(None) };
    // Those of all instances: a partition may have moved to another one.
    let instances = restored.records::<Positions>(name, EntryKind::Positions, 0, 0)?;
    if instances.is_empty() {
        // The earlier run did not have this source: it begins.
        return Ok(None);
    }
    let all = instances.into_iter().flat_map(|positions| positions.partitions);
    Ok(Some(all.map(|partition| (partition.partition.clone(), partition)).collect()))
}
