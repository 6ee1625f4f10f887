//! Which nodes share a stage and how many instances a stage has.

use std::collections::HashMap;

use crate::config::EngineConfig;
use crate::sink::{OutputMode, SinkParallelism};
use crate::topology::{AggregateKind, EdgeKind, Graph, NodeId, NodeKind};

/// A chain of nodes that run in the same instances, named by the node in front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) head: NodeId,
    pub(crate) parallelism: usize,
}

/// The stages of a topology.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) stages: Vec<Stage>,
    /// Stage of each node.
    pub(crate) stage_of: Vec<usize>,
    /// For each edge: both ends run in the same instance, and a row passes by a call.
    pub(crate) fused: Vec<bool>,
}

impl Plan {
    /// `partitions` is the number of partitions of each source: an instance without one would only hold
    /// the watermark back until it has said that it has nothing.
    pub(crate) fn new(
        graph: &Graph,
        config: &EngineConfig,
        partitions: &HashMap<NodeId, Vec<String>>,
    ) -> Self {
        let mut parallelism: Vec<usize> = Vec::new();
        let inputs = |id: NodeId| graph.edges.iter().filter(move |edge| edge.to == id);
        for (id, node) in graph.nodes.iter().enumerate() {
            let mut all = inputs(id);
            let only = all.next().filter(|_| all.next().is_none());
            parallelism.push(match (&node.kind, only) {
                (NodeKind::Source { .. }, _) => {
                    partitions.get(&id).map_or(1, Vec::len).clamp(1, config.parallelism)
                }
                (NodeKind::Sink { parallelism: SinkParallelism::One, .. }, _) => 1,
                // The whole result goes out when any of it has changed, and only one instance can know that.
                (NodeKind::Aggregate(AggregateKind { mode: OutputMode::Complete, .. }), _) => 1,
                // Inputs are said before what reads them, so theirs is known.
                (_, Some(edge)) if edge.kind == EdgeKind::Forward => parallelism[edge.from],
                _ => config.parallelism,
            });
        }
        let fused: Vec<bool> = graph
            .edges
            .iter()
            .map(|edge| {
                edge.kind == EdgeKind::Forward
                    && inputs(edge.to).count() == 1
                    && parallelism[edge.from] == parallelism[edge.to]
            })
            .collect();
        let mut plan = Plan { stages: Vec::new(), stage_of: vec![usize::MAX; graph.nodes.len()], fused };
        for (id, parallelism) in parallelism.into_iter().enumerate() {
            let fused_in = graph.edges.iter().zip(&plan.fused).any(|(edge, fused)| edge.to == id && *fused);
            if !fused_in {
                plan.stages.push(Stage { head: id, parallelism });
                plan.mark(graph, id, plan.stages.len() - 1);
            }
        }
        plan
    }

    fn mark(&mut self, graph: &Graph, id: NodeId, stage: usize) {
        self.stage_of[id] = stage;
        for (index, edge) in graph.edges.iter().enumerate() {
            if edge.from == id && self.fused[index] {
                self.mark(graph, edge.to, stage);
            }
        }
    }
}
