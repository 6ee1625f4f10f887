//! Puts the instances of a topology together: chains of operators, and channels between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::job::StoreHome;
use super::memory::{StateHome, channel_limits};
use super::plan::Plan;
use super::scout::Scout;
use crate::batch::groups_of;
use crate::channel::{InstanceWaker, RouterLimits};
use crate::config::EngineConfig;
use crate::epoch::{Journal, Restored};
use crate::error::{Error, Result};
use crate::operator::Context;
use crate::operator::output::OnCommit;
use crate::sink::{OutputMode, Subtask};
use crate::stage::{Commits, EpochBoard, Frame, Output, Poison, Roster, StageInstance, Tape};
use crate::state::Follower;
use crate::telemetry::Meter;
use crate::time::{Clock, Epoch};
use crate::topology::{Erased, Graph, Maker, NodeId, NodeKind, StatePlace, Topology, Wiring};

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
    /// Who looks for partitions that are added.
    pub(crate) scouts: Vec<Scout>,
    pub(crate) board: Arc<EpochBoard>,
    /// Counts of the instances of each node, in the order of the topology.
    pub(crate) meters: Meters,
    /// The last epoch of an earlier run.
    pub(crate) before: Epoch,
    /// The earlier run had come to the end of its input.
    pub(crate) had_ended: bool,
    /// What was wrong with the store, and what it went back to.
    pub(crate) restored: Option<String>,
}

/// Counts of the instances of each node.
pub(crate) type Meters = Vec<Vec<Arc<Meter>>>;

/// Where a run begins.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// What instances say about an epoch is kept.
    pub(crate) is_durable: bool,
    /// The last epoch of an earlier run; 0 when there is none.
    pub(crate) epoch: Epoch,
    /// The earlier run had come to the end of its input.
    pub(crate) had_ended: bool,
    /// What that epoch says about each node, by name.
    pub(crate) nodes: HashMap<String, Arc<Restored>>,
    /// What was wrong with the store, and what it went back to.
    pub(crate) restored: Option<String>,
    /// The store that follows the epochs.
    pub(crate) store: Option<Arc<StoreHome>>,
    /// Records at which a closure panics.
    pub(crate) poison: Arc<Poison>,
    /// What stands in for sources and sinks, in a replay.
    pub(crate) tape: Option<Arc<Tape>>,
}

/// Both ends of the channels of an edge that are not yet built into an instance.
#[derive(Default)]
struct Ends {
    senders: Vec<Option<Erased>>,
    receivers: Vec<Option<Erased>>,
}

struct Assembly<'a> {
    topology: &'a str,
    graph: &'a Graph,
    plan: Plan,
    config: &'a EngineConfig,
    clock: Arc<dyn Clock>,
    board: Arc<EpochBoard>,
    /// Names of all instances, `stage[subtask]`.
    labels: Vec<String>,
    wakers: Vec<Vec<InstanceWaker>>,
    ends: Vec<Ends>,
    beginning: &'a Beginning,
    meters: Meters,
    partitions: HashMap<NodeId, Vec<String>>,
    rosters: HashMap<NodeId, Arc<Roster>>,
    state: StateHome,
    // The instance being made.
    stage: usize,
    subtask: usize,
    index: usize,
    node: NodeId,
    outputs: Vec<Arc<Mutex<dyn Output>>>,
    commits: Commits,
    own_meters: Vec<(String, Arc<Meter>)>,
}

/// Makes all instances of a topology.
///
/// # Errors
/// The configuration is out of range, a source cannot be found, a sink or the state cannot be opened.
pub(crate) fn assemble(
    topology: &Topology,
    config: &EngineConfig,
    clock: Arc<dyn Clock>,
    beginning: &Beginning,
) -> Result<Assembled> {
    config.validate()?;
    let graph = &topology.graph;
    let (mut partitions, mut rosters, mut scouts) = (HashMap::new(), HashMap::new(), Vec::new());
    for (id, node) in graph.nodes.iter().enumerate() {
        if let NodeKind::Source { partitions: discover, discovery_interval, .. } = &node.kind {
            let found = match &beginning.tape {
                Some(tape) => tape.partitions(&node.name),
                None => discover()?,
            };
            if let (Some(interval), None) = (*discovery_interval, &beginning.tape) {
                let roster = Arc::new(Roster::new(found.clone()));
                rosters.insert(id, Arc::clone(&roster));
                scouts.push(Scout {
                    source: node.name.clone(),
                    interval,
                    discover: Arc::clone(discover),
                    roster,
                });
            }
            partitions.insert(id, found);
        }
    }
    let plan = Plan::new(graph, config, &partitions);
    let wakers: Vec<Vec<InstanceWaker>> = plan
        .stages
        .iter()
        .map(|stage| (0..stage.parallelism).map(|_| InstanceWaker::default()).collect())
        .collect();
    let labels: Vec<String> = plan
        .stages
        .iter()
        .flat_map(|stage| {
            (0..stage.parallelism).map(|subtask| format!("{}[{subtask}]", graph.nodes[stage.head].name))
        })
        .collect();
    let mut assembly = Assembly {
        graph,
        config,
        clock,
        beginning,
        board: EpochBoard::new(labels.clone(), wakers.concat(), beginning.epoch),
        labels,
        wakers,
        ends: graph.edges.iter().map(|_| Ends::default()).collect(),
        meters: vec![Vec::new(); graph.nodes.len()],
        partitions,
        rosters,
        state: StateHome::new(config, graph.stateful() * config.parallelism),
        plan,
        stage: 0,
        subtask: 0,
        index: 0,
        node: 0,
        outputs: Vec::new(),
        commits: Vec::new(),
        own_meters: Vec::new(),
        topology: topology.name(),
    };
    assembly.connect();
    let slots = assembly.instances()?;
    let Assembly { board, meters, .. } = assembly;
    let (before, had_ended, restored) = (beginning.epoch, beginning.had_ended, beginning.restored.clone());
    Ok(Assembled { slots, scouts, board, meters, before, had_ended, restored })
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
                self.commits.clear();
                self.own_meters.clear();
                let head = self.plan.stages[stage].head;
                let instance = self.instance(head)?;
                let label = self.labels[self.index].clone();
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
                let context = Context::new(Arc::clone(&self.clock), self.journal());
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

    fn meter(&mut self) -> Arc<Meter> {
        let name = &self.graph.nodes[self.node].name;
        // The first instance goes on from the counts of all instances of an earlier run.
        let is_first = self.meters[self.node].is_empty();
        let before = self.restored().filter(|_| is_first).map(|restored| restored.counts());
        let meter = Meter::shared(self.topology, name, before.unwrap_or_default());
        self.own_meters.push((name.clone(), Arc::clone(&meter)));
        self.meters[self.node].push(Arc::clone(&meter));
        meter
    }

    fn restored(&self) -> Option<Arc<Restored>> {
        let name = &self.graph.nodes[self.node].name;
        // A node that the earlier run did not have is resumed as well: it has nothing.
        (self.beginning.epoch > Epoch(0)).then(|| self.beginning.nodes.get(name).cloned().unwrap_or_default())
    }

    fn poison(&self) -> Arc<Poison> {
        Arc::clone(&self.beginning.poison)
    }

    fn tape(&self) -> Option<Arc<Tape>> {
        self.beginning.tape.clone()
    }

    fn journal(&self) -> Journal {
        let marks = self.beginning.store.as_ref().map(|store| store.marks.clone());
        Journal::new(self.beginning.is_durable, self.subtask, marks.unwrap_or_default())
    }

    fn on_commit(&mut self, on_commit: Arc<Mutex<dyn OnCommit>>) {
        self.commits.push(on_commit);
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

    fn roster(&self) -> Option<Arc<Roster>> {
        self.rosters.get(&self.node).cloned()
    }

    fn state(&mut self) -> StatePlace {
        let (name, share_bytes) = (&self.graph.nodes[self.node].name, self.state.share_bytes());
        let Subtask { index, count } = self.subtask();
        match &self.beginning.store {
            Some(store) => StatePlace {
                backend: Some(store.table(name)),
                share_bytes,
                durable: Some(Follower {
                    owned: groups_of(index, self.config.key_groups, count),
                    asked: Arc::clone(&store.marks.asked),
                    applied: Arc::clone(&store.marks.applied),
                    needed: Arc::clone(&store.marks.needed),
                    // A replay has the epochs that there were: nobody may wait for another one.
                    held_bytes_max: if self.beginning.tape.is_some() {
                        usize::MAX
                    } else {
                        self.state.held_bytes()
                    },
                    is_pressed: Arc::clone(&store.is_pressed),
                }),
            },
            None => StatePlace { backend: self.state.backend(name), share_bytes, durable: None },
        }
    }

    fn combine_bytes(&self) -> usize {
        self.state.combine_bytes()
    }

    fn frame(&mut self) -> Frame {
        Frame {
            outputs: std::mem::take(&mut self.outputs),
            commits: std::mem::take(&mut self.commits),
            meters: std::mem::take(&mut self.own_meters),
            passed: self.beginning.epoch.0,
            committed: self.beginning.epoch.0,
            waker: Arc::clone(&self.wakers[self.stage][self.subtask]),
            board: Arc::clone(&self.board),
            index: self.index,
        }
    }
}
