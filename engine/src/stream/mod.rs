//! What can be said about a stream: the words of a topology, family by family.
//!
//! 1. `builder`: `StreamBuilder`: sources in, `build()` out
//! 2. `words`: [`Stream`]: map, filter, flat_map, event_time, key_by, union, sink
//! 3. `keyed`: [`KeyedStream`]: count, reduce, fold, aggregate, window
//! 4. `windowed`: [`WindowedStream`]: aggregate, allowed lateness, output mode
//! 5. `keys`: how keys are read from batches

mod builder;
mod keyed;
mod keys;
mod windowed;
mod words;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

pub use self::builder::StreamBuilder;
pub use self::keyed::KeyedStream;
pub use self::windowed::WindowedStream;
pub use self::words::Stream;

use crate::batch::{Key, Record};
use crate::channel::Partitioning;
use crate::state::{Migrations, StateCodec};
use crate::topology::{
    Edge, EdgeKind, Erased, Graph, Keeps, Maker, Node, NodeId, NodeKind, TypedEdge, Wiring,
};

/// The graph that a builder and its streams write together.
pub(crate) type SharedGraph = Rc<RefCell<Graph>>;

/// One output port of one node: what every handle is made of. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Port {
    graph: SharedGraph,
    node: NodeId,
    port: usize,
}

impl Port {
    /// Adds a node and returns its first output port.
    fn add(graph: &SharedGraph, node: Node) -> Port {
        let mut nodes = graph.borrow_mut();
        nodes.nodes.push(node);
        Port { graph: Rc::clone(graph), node: nodes.nodes.len() - 1, port: 0 }
    }

    /// Another output port of the same node.
    fn side(&self, port: usize) -> Port {
        Port { port, ..self.clone() }
    }

    /// Lets `to` read this port.
    fn connect<T: Record>(&self, to: &Port, partitioning: Partitioning<T>) {
        let kind = match partitioning {
            Partitioning::Forward => EdgeKind::Forward,
            Partitioning::Hash(_) => EdgeKind::Hash,
            Partitioning::Broadcast => EdgeKind::Broadcast,
            Partitioning::Rebalance => EdgeKind::Rebalance,
        };
        let factory = std::sync::Arc::new(TypedEdge { partitioning });
        let edge = Edge { from: self.node, port: self.port, to: to.node, kind, factory };
        self.graph.borrow_mut().edges.push(edge);
    }

    /// Adds an operator that reads this port.
    fn then<T: Record>(
        &self,
        operator: OperatorNode,
        partitioning: Partitioning<T>,
        make: impl Fn(&mut dyn Wiring) -> crate::error::Result<Erased> + Send + Sync + 'static,
    ) -> Port {
        let OperatorNode { name, kind, side_outputs, problems, keeps } = operator;
        let name = name.into_name(&self.graph);
        let maker = Maker::Operator(std::sync::Arc::new(make));
        let port = Port::add(&self.graph, Node { name, kind, maker, side_outputs, problems, keeps });
        self.connect(&port, partitioning);
        port
    }

    fn rename(&self, name: &str) {
        name.clone_into(&mut self.graph.borrow_mut().nodes[self.node].name);
    }
}

/// A node to be added: its word, or a name that the user gave.
struct OperatorNode {
    name: Name,
    kind: NodeKind,
    side_outputs: Vec<&'static str>,
    problems: Vec<String>,
    keeps: Keeps,
}

impl OperatorNode {
    fn new(name: Name, kind: NodeKind) -> Self {
        OperatorNode { name, kind, side_outputs: Vec::new(), problems: Vec::new(), keeps: Keeps::Nothing }
    }

    /// It has a value of `V` per key of `K`.
    fn keeping<K: Key, V: Record>(mut self, migrations: &Migrations) -> Self {
        let codec = StateCodec::of::<K, V>(migrations.clone());
        self.problems.extend(codec.problems());
        OperatorNode { keeps: Keeps::State(codec), ..self }
    }
}

enum Name {
    /// The word itself; numbered when it is taken.
    Word(&'static str),
    Given(String),
}

impl Name {
    fn into_name(self, graph: &SharedGraph) -> String {
        let word = match self {
            Name::Word(word) => word,
            Name::Given(name) => return name,
        };
        let graph = graph.borrow();
        let taken = |name: &str| graph.nodes.iter().any(|node| node.name == name);
        if !taken(word) {
            return word.to_owned();
        }
        let mut number = 2;
        while taken(&format!("{word}-{number}")) {
            number += 1;
        }
        format!("{word}-{number}")
    }
}

/// The record type that a handle carries without holding one.
type Carries<T> = PhantomData<fn() -> T>;
