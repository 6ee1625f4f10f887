//! Finds every mistake of a topology before anything starts, and says the way out of each.

use std::collections::HashMap;

use super::{AggregateKind, Graph, NodeId, NodeKind};
use crate::sink::OutputMode;
use crate::source::Boundedness;

/// One sentence per mistake; empty for a sound topology.
pub(super) fn problems(graph: &Graph) -> Vec<String> {
    let mut problems: Vec<String> = graph.nodes.iter().flat_map(|node| node.problems.clone()).collect();
    if !graph.nodes.iter().any(|node| matches!(node.kind, NodeKind::Source { .. })) {
        problems.push("there is no source; start with `builder.source(name, ..)`".to_owned());
    }
    if !graph.nodes.iter().any(|node| matches!(node.kind, NodeKind::Sink { .. })) {
        problems.push("there is no sink; end a stream with `.sink(name, ..)`".to_owned());
    }
    problems.extend(duplicate_names(graph));
    for id in 0..graph.nodes.len() {
        problems.extend(unread(graph, id));
        match graph.nodes[id].kind {
            NodeKind::Aggregate(kind) => problems.extend(aggregate(graph, id, kind)),
            NodeKind::Stateful => problems.extend(counted_twice(graph, id)),
            _ => {}
        }
        problems.extend(sink(graph, id));
    }
    problems
}

fn duplicate_names(graph: &Graph) -> Vec<String> {
    let mut count: HashMap<&str, usize> = HashMap::new();
    for node in &graph.nodes {
        *count.entry(&node.name).or_default() += 1;
    }
    let mut duplicates: Vec<_> = count.into_iter().filter(|(_, count)| *count > 1).collect();
    duplicates.sort_unstable();
    duplicates
        .into_iter()
        .map(|(name, count)| {
            format!(
                "the name `{name}` is used {count} times; state and metrics hang on names, so give each \
                 source, operator and sink its own"
            )
        })
        .collect()
}

/// A stream that nobody reads does nothing: most often a forgotten `.sink(..)`.
fn unread(graph: &Graph, id: NodeId) -> Option<String> {
    let node = &graph.nodes[id];
    let is_read = graph.edges.iter().any(|edge| edge.from == id && edge.port == 0);
    if is_read || matches!(node.kind, NodeKind::Sink { .. }) {
        return None;
    }
    let mut sides = node.side_outputs.iter().enumerate();
    if sides.any(|(side, _)| graph.edges.iter().any(|edge| edge.from == id && edge.port == side + 1)) {
        return None;
    }
    Some(format!("the stream of `{}` reaches no sink; add `.sink(name, ..)`", node.name))
}

/// All nodes in front of a node, nearest first.
fn upstream(graph: &Graph, id: NodeId) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut open = vec![id];
    while let Some(node) = open.pop() {
        for edge in graph.edges.iter().filter(|edge| edge.to == node) {
            if !found.contains(&edge.from) {
                found.push(edge.from);
                open.push(edge.from);
            }
        }
    }
    found
}

/// True when every path from a source to the node passes a node that gives records an event time.
fn has_event_time(graph: &Graph, id: NodeId) -> bool {
    let inputs: Vec<_> = graph.edges.iter().filter(|edge| edge.to == id).map(|edge| edge.from).collect();
    !inputs.is_empty()
        && inputs.into_iter().all(|from| match graph.nodes[from].kind {
            NodeKind::EventTime => true,
            // The rows of a window carry its last millisecond.
            NodeKind::Aggregate(AggregateKind { windowed: true, .. }) => true,
            // A running result belongs to no point in time.
            NodeKind::Aggregate(AggregateKind { windowed: false, .. }) => false,
            _ => has_event_time(graph, from),
        })
}

fn aggregate(graph: &Graph, id: NodeId, kind: AggregateKind) -> Vec<String> {
    let name = &graph.nodes[id].name;
    let mut problems = Vec::new();
    if kind.windowed && !has_event_time(graph, id) {
        problems.push(format!(
            "the window of `{name}` has no watermark and would never close; say `.event_time(|r| r.time, \
             Watermarks::bounded(secs(5)))` on the stream in front of it"
        ));
    }
    let above = upstream(graph, id);
    let unbounded = above.iter().find(|id| {
        matches!(graph.nodes[**id].kind, NodeKind::Source { boundedness: Boundedness::Unbounded, .. })
    });
    if let Some(source) = unbounded
        && !kind.windowed
        && kind.mode == OutputMode::Append
    {
        problems.push(format!(
            "`{name}` is in output mode append, but its rows are never final: `{}` does not end and there \
             is no window; use `.output_mode(OutputMode::Update)` or a window",
            graph.nodes[*source].name
        ));
    }
    problems.extend(counted_twice(graph, id));
    problems
}

/// What keeps something of every row must not see rows that change.
fn counted_twice(graph: &Graph, id: NodeId) -> Vec<String> {
    let changing = |other: NodeId| match graph.nodes[other].kind {
        NodeKind::Aggregate(AggregateKind { mode, .. }) if mode != OutputMode::Append => Some(format!(
            "`{}` aggregates the rows of `{}`, which is in output mode {mode} and sends a row again when it \
             changes; that would be counted twice; use append there",
            graph.nodes[id].name, graph.nodes[other].name
        )),
        _ => None,
    };
    upstream(graph, id).into_iter().filter_map(changing).collect()
}

fn sink(graph: &Graph, id: NodeId) -> Vec<String> {
    let node = &graph.nodes[id];
    let NodeKind::Sink { accepts, .. } = &node.kind else { return Vec::new() };
    upstream(graph, id)
        .into_iter()
        .filter_map(|other| match graph.nodes[other].kind {
            NodeKind::Aggregate(AggregateKind { mode, .. }) if !accepts(mode) => Some(format!(
                "the sink `{}` cannot take the changing rows of `{}` (output mode {mode}); use \
                 `.output_mode(OutputMode::Append)` there or another sink",
                node.name, graph.nodes[other].name
            )),
            _ => None,
        })
        .collect()
}
