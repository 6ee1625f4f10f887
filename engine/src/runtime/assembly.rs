//! Puts the instances of a topology together: chains of operators, and channels between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::plan::Plan;
use super::state_home::{StateHome, channel_limits};
use crate::channel::{InstanceWaker, RouterLimits};
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::operator::Context;
use crate::sink::{OutputMode, Subtask};
use crate::stage::{EpochBoard, Frame, Output, StageInstance};
use crate::state::StateBackend;
use crate::telemetry::Meter;
use crate::time::Clock;
use crate::topology::{Erased, Graph, Maker, NodeId, NodeKind, Topology, Wiring};

/// An instance and where it belongs.
pub(crate) struct Slot {
    pub(crate) instance: Box<dyn StageInstance>,
    /// `stage[subtask]`, the name of its actor.
    pub(crate) label: String,
    pub(crate) subtask: Subtask,
}

/// Everything that a driver needs to run a topology once.
pub(crate) struct Assembled {
    pub(crate) slots: Vec<Slot>,
    pub(crate) board: Arc<EpochBoard>,
    /// Counts by node, in the order of the topology.
    pub(crate) meters: Vec<Arc<Meter>>,
}

/// Both ends of the channels of an edge that are not yet built into an instance.
#[derive(Default)]
struct Ends {
    senders: Vec<Option<Erased>>,
    receivers: Vec<Option<Erased>>,
}

struct Assembly<'a> {
    graph: &'a Graph,
    plan: Plan,
    config: &'a EngineConfig,
    clock: Arc<dyn Clock>,
    board: Arc<EpochBoard>,
    wakers: Vec<Vec<InstanceWaker>>,
    ends: Vec<Ends>,
    meters: Vec<Arc<Meter>>,
    partitions: HashMap<NodeId, Vec<String>>,
    state: StateHome,
    // The instance being made.
    stage: usize,
    subtask: usize,
    index: usize,
    node: NodeId,
    outputs: Vec<Arc<Mutex<dyn Output>>>,
}

/// Makes all instances of a topology.
///
/// # Errors
/// The configuration is out of range, a source cannot be found, a sink or the state cannot be opened.
pub(crate) fn assemble(
    topology: &Topology,
    config: &EngineConfig,
    clock: Arc<dyn Clock>,
) -> Result<Assembled> {
    config.validate()?;
    let graph = &topology.graph;
    let mut partitions = HashMap::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if let NodeKind::Source { partitions: discover, .. } = &node.kind {
            partitions.insert(id, discover()?);
        }
    }
    let plan = Plan::new(graph, config, &partitions);
    let count = plan.stages.iter().map(|stage| stage.parallelism).sum();
    let stateful = graph.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Aggregate(_))).count();
    let mut assembly = Assembly {
        graph,
        config,
        clock,
        board: EpochBoard::new(count),
        wakers: plan
            .stages
            .iter()
            .map(|stage| (0..stage.parallelism).map(|_| InstanceWaker::default()).collect())
            .collect(),
        ends: graph.edges.iter().map(|_| Ends::default()).collect(),
        meters: graph.nodes.iter().map(|node| Meter::shared(topology.name(), &node.name)).collect(),
        partitions,
        state: StateHome::new(config, stateful * config.parallelism),
        plan,
        stage: 0,
        subtask: 0,
        index: 0,
        node: 0,
        outputs: Vec::new(),
    };
    assembly.connect();
    let slots = assembly.instances()?;
    Ok(Assembled { slots, board: assembly.board, meters: assembly.meters })
}

impl Assembly<'_> {
    /// Makes the channels of every edge that crosses instances.
    fn connect(&mut self) {
        let edges = self.graph.edges.iter().zip(&self.plan.fused).filter(|(_, fused)| !**fused);
        let instances = |node: NodeId| self.wakers[self.plan.stage_of[node]].len();
        let count = edges.map(|(edge, _)| instances(edge.from) * instances(edge.to)).sum();
        let limits = channel_limits(self.config, count);
        for (index, edge) in self.graph.edges.iter().enumerate() {
            if self.plan.fused[index] {
                continue;
            }
            let from = &self.wakers[self.plan.stage_of[edge.from]];
            let to = &self.wakers[self.plan.stage_of[edge.to]];
            let channels = edge.factory.channels(from, to, limits);
            self.ends[index] = Ends {
                senders: channels.senders.into_iter().map(Some).collect(),
                receivers: channels.receivers.into_iter().map(Some).collect(),
            };
        }
    }

    fn instances(&mut self) -> Result<Vec<Slot>> {
        let mut slots = Vec::new();
        for stage in 0..self.plan.stages.len() {
            for subtask in 0..self.plan.stages[stage].parallelism {
                self.stage = stage;
                self.subtask = subtask;
                self.index = slots.len();
                self.outputs.clear();
                let head = self.plan.stages[stage].head;
                let instance = self.instance(head)?;
                let label = format!("{}[{subtask}]", self.graph.nodes[head].name);
                slots.push(Slot { instance, label, subtask: self.subtask() });
            }
        }
        Ok(slots)
    }

    fn instance(&mut self, head: NodeId) -> Result<Box<dyn StageInstance>> {
        self.node = head;
        let graph = self.graph;
        match &graph.nodes[head].maker {
            Maker::Source(make) => make(self),
            Maker::Operator(make) => {
                let chain = make(self)?;
                let inputs: Vec<usize> =
                    (0..graph.edges.len()).filter(|edge| graph.edges[*edge].to == head).collect();
                let mut receivers = Vec::new();
                for edge in &inputs {
                    receivers.extend(self.ends[*edge].receivers[self.subtask].take());
                }
                let factory = inputs
                    .first()
                    .map(|edge| &graph.edges[*edge].factory)
                    .ok_or_else(|| Error::failed("an operator without an input"))?;
                let context = Context::new(Arc::clone(&self.clock));
                factory.instance(receivers, chain, context, self.frame())
            }
        }
    }
}

impl Wiring for Assembly<'_> {
    fn config(&self) -> &EngineConfig {
        self.config
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn subtask(&self) -> Subtask {
        Subtask { index: self.subtask, count: self.plan.stages[self.stage].parallelism }
    }

    fn name(&self) -> String {
        self.graph.nodes[self.node].name.clone()
    }

    fn mode(&self) -> OutputMode {
        match self.graph.nodes[self.node].kind {
            NodeKind::Aggregate(kind) => kind.mode,
            _ => OutputMode::Append,
        }
    }

    fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meters[self.node])
    }

    fn consumers(&mut self, port: usize) -> Result<Vec<Erased>> {
        let (node, graph) = (self.node, self.graph);
        let mut consumers = Vec::new();
        for (index, edge) in graph.edges.iter().enumerate() {
            if edge.from != node || edge.port != port {
                continue;
            }
            if self.plan.fused[index] {
                if let Maker::Operator(make) = &graph.nodes[edge.to].maker {
                    self.node = edge.to;
                    consumers.push(make(self)?);
                    self.node = node;
                }
                continue;
            }
            let Some(senders) = self.ends[index].senders[self.subtask].take() else { continue };
            let limits = RouterLimits {
                batch: self.config.batch,
                age_max_ms: self.config.batch_age_max_ms,
                groups: self.config.key_groups,
            };
            let (chain, output) = edge.factory.outlet(senders, self.subtask, limits)?;
            self.outputs.push(output);
            consumers.push(chain);
        }
        Ok(consumers)
    }

    fn partitions(&self) -> Vec<String> {
        let Subtask { index, count } = self.subtask();
        let all = self.partitions.get(&self.node).map_or(&[][..], Vec::as_slice);
        all.iter().skip(index).step_by(count).cloned().collect()
    }

    fn state(&mut self) -> Result<(Option<Box<dyn StateBackend>>, usize)> {
        let backend = self.state.backend(&self.graph.nodes[self.node].name);
        Ok((backend, self.state.share_bytes()))
    }

    fn combine_bytes(&self) -> usize {
        self.state.combine_bytes()
    }

    fn frame(&mut self) -> Frame {
        Frame {
            outputs: std::mem::take(&mut self.outputs),
            waker: Arc::clone(&self.wakers[self.stage][self.subtask]),
            board: Arc::clone(&self.board),
            index: self.index,
        }
    }
}
