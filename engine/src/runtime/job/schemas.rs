//! The schemas of the state that a job keeps: every commit names them, and a program that cannot read one of
//! them is stopped before it begins.

use crate::batch::hash_bytes;
use crate::error::{Error, Result};
use crate::topology::{Keeps, Topology};

/// A schema in which the state of an operator was ever written.
#[derive(Clone, Debug, PartialEq, Eq, headwater_derive::Record)]
pub(crate) struct StateSchema {
    pub(crate) operator: String,
    /// The fields of key and value in a line.
    pub(crate) fields: String,
}

impl StateSchema {
    /// As [`Schema::hash`](crate::batch::Schema::hash) gives it.
    fn hash(&self) -> u64 {
        hash_bytes(self.fields.as_bytes())
    }
}

/// The schemas in which the operators of a topology write state.
pub(crate) fn schemas_of(topology: &Topology) -> Vec<StateSchema> {
    let kept = topology.graph.nodes.iter().filter_map(|node| match &node.keeps {
        Keeps::State(codec) => {
            Some(StateSchema { operator: node.name.clone(), fields: codec.schema().to_string() })
        }
        _ => None,
    });
    kept.collect()
}

/// Why a topology cannot read what an earlier program wrote; operators that it does not have are left out.
pub(crate) fn unreadable(topology: &Topology, written: &StateSchema) -> Option<String> {
    let node = topology.graph.nodes.iter().find(|node| node.name == written.operator)?;
    let StateSchema { operator, fields } = written;
    match &node.keeps {
        Keeps::State(codec) if codec.reads(written.hash()) => None,
        Keeps::State(codec) => Some(format!(
            "the state of `{operator}` was written as {fields}, and this program keeps {}: give the type its \
             former fields back, say with `migrate_state` how the old type becomes the new one, or give the \
             operator a new name to start from empty state",
            codec.schema()
        )),
        _ => Some(format!(
            "`{operator}` had state ({fields}), and in this program it has none: give the name back to the \
             operator that had it"
        )),
    }
}

/// The schemas that state of this topology may have from now on: those before, and its own.
///
/// # Errors
/// The topology cannot read one of those before.
pub(super) fn go_on(topology: &Topology, before: &[StateSchema]) -> Result<Vec<StateSchema>> {
    if let Some(reason) = before.iter().find_map(|written| unreadable(topology, written)) {
        return Err(Error::failed(reason));
    }
    let mut all = schemas_of(topology);
    let known =
        |written: &&StateSchema| topology.graph.nodes.iter().any(|node| node.name == written.operator);
    for written in before.iter().filter(known) {
        if !all.contains(written) {
            all.push(written.clone());
        }
    }
    Ok(all)
}
