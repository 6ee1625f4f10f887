//! The plan as text: which node reads which, and where rows cross between instances.

use std::fmt::Write;

use super::{EdgeKind, NodeKind, Topology};

impl Topology {
    /// The topology as an indented tree, one line per node.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_connectors::{Collect, MemorySource};
    ///
    /// let flow = StreamBuilder::new("evens");
    /// flow.source("numbers", MemorySource::new(vec![vec![1_u64, 2, 3]]))
    ///     .filter(|n| n % 2 == 0)
    ///     .sink("kept", Collect::new());
    /// let plan = flow.build()?.describe();
    /// assert_eq!(plan, "evens\nnumbers (source)\n  filter\n    kept (sink)\n");
    /// # Ok::<(), headwater::Error>(())
    /// ```
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("{}\n", self.name());
        for (id, node) in self.graph.nodes.iter().enumerate() {
            if matches!(node.kind, NodeKind::Source { .. }) {
                self.describe_node(id, None, 0, &mut text);
            }
        }
        text
    }

    fn describe_node(
        &self,
        id: usize,
        through: Option<(EdgeKind, Option<&str>)>,
        depth: usize,
        text: &mut String,
    ) {
        let node = &self.graph.nodes[id];
        let role = match &node.kind {
            NodeKind::Source { .. } => " (source)".to_owned(),
            NodeKind::Sink { .. } => " (sink)".to_owned(),
            NodeKind::Aggregate(kind) => format!(" ({})", kind.mode),
            _ => String::new(),
        };
        let edge = match through {
            Some((EdgeKind::Hash, _)) => " <- by key",
            Some((EdgeKind::Broadcast, _)) => " <- to all",
            Some((EdgeKind::Rebalance, _)) => " <- in turn",
            _ => "",
        };
        let port = through.and_then(|(_, port)| port).map(|port| format!("[{port}] ")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:indent$}{port}{}{role}{edge}", "", node.name, indent = depth * 2);
        for edge in self.graph.edges.iter().filter(|edge| edge.from == id) {
            let port = edge.port.checked_sub(1).map(|side| node.side_outputs[side]);
            self.describe_node(edge.to, Some((edge.kind, port)), depth + 1, text);
        }
    }
}
