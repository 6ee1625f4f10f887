//! What an operator says about an epoch besides its rows, and how it goes on with what it said before.

use crate::batch::{Key, Record};
use crate::epoch::EntryKind;
use crate::error::Result;
use crate::failpoint;
use crate::operator::Context;
use crate::state::KeyedState;
use crate::time::Epoch;

/// A namespace of keyed state and its number of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, headwater_derive::Record)]
pub(crate) struct NamespaceRows {
    pub(crate) namespace: i64,
    pub(crate) rows: u64,
}

/// The namespaces of keyed state.
pub(crate) fn namespaces<K: Key, V: Record + Clone>(state: &KeyedState<K, V>) -> Vec<NamespaceRows> {
    let rows = state.namespace_rows().into_iter();
    rows.map(|(namespace, rows)| NamespaceRows { namespace, rows }).collect()
}

/// Adds to the journal how keyed state has changed, and how it differs from the store when that is asked for.
///
/// # Errors
/// A value is larger than 2 GiB.
pub(crate) fn keep_state<K: Key, V: Record + Clone>(
    owner: &str,
    state: &mut KeyedState<K, V>,
    epoch: Epoch,
    context: &mut Context,
) -> Result<()> {
    let delta = state.take_delta()?;
    failpoint::pass("keep.delta");
    delta.into_iter().for_each(|delta| context.journal.push(EntryKind::StateDelta, owner, delta));
    if context.journal.is_for_store(epoch) {
        let changes = state.take_store_changes(epoch.0)?;
        failpoint::pass("keep.store");
        changes.into_iter().for_each(|of| context.journal.push(EntryKind::StoreChanges, owner, of));
    }
    Ok(())
}

/// Goes on with the keyed state that an earlier run had. `before` is what its instances said, and `same` that
/// there are as many now.
///
/// # Errors
/// The store cannot be read, or holds values of another type.
pub(crate) fn resume_state<'a, K: Key, V: Record + Clone>(
    state: &mut KeyedState<K, V>,
    before: impl Iterator<Item = &'a [NamespaceRows]>,
    same: bool,
) -> Result<()> {
    if !same {
        return state.resume_by_looking();
    }
    for namespaces in before {
        let rows: Vec<_> = namespaces.iter().map(|of| (of.namespace, of.rows)).collect();
        state.resume(&rows);
    }
    Ok(())
}
