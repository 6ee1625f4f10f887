//! `Topology`: what was said, fixed: an immutable value that every driver can run, any number of times.
//!
//! 1. `graph`: nodes, edges and the factories behind them
//! 2. `validate`: every mistake, found in `build()`
//! 3. `describe`: the plan as text

mod describe;
mod graph;
mod validate;

pub(crate) use self::graph::{
    AggregateKind, Discover, Edge, EdgeKind, Erased, Graph, Keeps, Maker, Node, NodeId, NodeKind, StatePlace,
    TypedEdge, Wiring, downstream, kept,
};

use crate::error::{Error, Result};

/// A checked stream program, ready to run.
///
/// Built by [`StreamBuilder::build`](crate::stream::StreamBuilder::build).
#[derive(Debug)]
pub struct Topology {
    name: String,
    pub(crate) graph: Graph,
}

impl Topology {
    pub(crate) fn new(name: String, graph: Graph) -> Result<Self> {
        let problems = validate::problems(&graph);
        if !problems.is_empty() {
            return Err(Error::Topology { topology: name, problems });
        }
        Ok(Topology { name, graph })
    }

    /// Name of the topology.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
