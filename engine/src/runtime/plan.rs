//! Which nodes share a stage and how many instances a stage has.

use crate::config::EngineConfig;
use crate::sink::SinkParallelism;
use crate::topology::{EdgeKind, Graph, NodeId, NodeKind};

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
    pub(crate) fn new(graph: &Graph, config: &EngineConfig) -> Self {
        let parallelism = |id: NodeId| match graph.nodes[id].kind {
            NodeKind::Sink { parallelism: SinkParallelism::One, .. } => 1,
            _ => config.parallelism,
        };
        let inputs = |id: NodeId| graph.edges.iter().filter(|edge| edge.to == id).count();
        let fused: Vec<bool> = graph
            .edges
            .iter()
            .map(|edge| {
                edge.kind == EdgeKind::Forward
                    && inputs(edge.to) == 1
                    && parallelism(edge.from) == parallelism(edge.to)
            })
            .collect();
        let mut plan = Plan { stages: Vec::new(), stage_of: vec![usize::MAX; graph.nodes.len()], fused };
        for id in 0..graph.nodes.len() {
            let fused_in = graph.edges.iter().zip(&plan.fused).any(|(edge, fused)| edge.to == id && *fused);
            if !fused_in {
                plan.stages.push(Stage { head: id, parallelism: parallelism(id) });
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
