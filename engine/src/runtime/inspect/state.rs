//! Keyed state as of the last committed epoch: the store, with the log laid over what it does not have yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::{Inspection, Shown, TRIES_MAX, open_log};
use crate::batch::{GROUPS_DEFAULT, KeyGroup, Value};
use crate::error::{Error, Result};
use crate::runtime::StoreThread;
use crate::runtime::job::log_is_behind;
use crate::state::{Overlay, StateBackend, StateCodec, StateStore, VisitRow, namespace_of};
use crate::time::Epoch;
use crate::topology::Keeps;
use crate::wal::{LogReader, RecordKind};

/// The keyed state of one operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// Name of the operator.
    pub operator: String,
    /// Types of keys and values in words; `None` when this program has no such operator.
    pub types: Option<(String, String)>,
    /// Number of keys, over all namespaces.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Namespaces with their number of keys, ascending: starts of windows or slices, or only 0.
    pub namespaces: Vec<(i64, u64)>,
}

/// One key and what it has.
#[derive(Clone, Debug, PartialEq)]
pub struct StateEntry {
    /// Name of the operator.
    pub operator: String,
    /// Start of the window or slice; 0 where there is none.
    pub namespace: i64,
    /// The key.
    pub key: Value,
    /// The value, as the operator keeps it: of a mean, the sum and the count.
    pub value: Value,
}

/// The keyed state of a job as of one epoch.
pub struct StateView {
    /// The epoch.
    pub epoch: Epoch,
    /// The epoch that the store is at; the log has the rest. `None` when there is no store yet.
    pub store_epoch: Option<Epoch>,
    store: Option<(Arc<dyn StateStore>, BTreeSet<String>)>,
    overlays: HashMap<String, Overlay>,
    nodes: Vec<Shown>,
    groups: KeyGroup,
}

impl fmt::Debug for StateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateView").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Inspection {
    /// The keyed state as of the last committed epoch. Takes memory for what the store does not have yet.
    ///
    /// # Errors
    /// The store or the log cannot be read, or they do not fit each other.
    pub fn state(&self) -> Result<StateView> {
        let mut tries = 0;
        let mut reopened = None;
        loop {
            // The log first: a run that goes on meanwhile brings the store forward, never back.
            match self.state_behind(reopened.as_ref().unwrap_or(&self.log)) {
                Err(_) if tries < TRIES_MAX => tries += 1,
                outcome => return outcome,
            }
            reopened = Some(open_log(&self.storage)?);
        }
    }

    fn state_behind(&self, log: &LogReader) -> Result<StateView> {
        let epoch = log.committed().unwrap_or_default();
        let mut view = StateView {
            epoch,
            store_epoch: None,
            store: None,
            overlays: HashMap::new(),
            nodes: self.nodes.clone(),
            groups: self.note.as_ref().map_or(GROUPS_DEFAULT, |note| note.key_groups),
        };
        if self.operators().is_empty() || epoch == Epoch(0) {
            return Ok(view);
        }
        let mut applied = Epoch(0);
        if let Some((store, tables)) = StoreThread::look(&self.directory)? {
            applied = store.applied()?;
            view.store_epoch = Some(applied);
            view.store = Some((store, tables.into_iter().collect()));
        }
        if applied > epoch {
            return Err(log_is_behind(applied, epoch));
        }
        if applied < epoch {
            log.committed_records(applied, &mut |_, record| match record.kind {
                RecordKind::StateDelta => {
                    view.overlays.entry(record.owner.to_owned()).or_default().push(record.payload)
                }
                _ => Ok(()),
            })?;
        }
        Ok(view)
    }
}

impl StateView {
    /// All tables, by name. Reads every row.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn tables(&self) -> Result<Vec<TableReport>> {
        let mut names: BTreeSet<&str> = self.overlays.keys().map(String::as_str).collect();
        names.extend(self.store.iter().flat_map(|(_, tables)| tables).map(String::as_str));
        let known = |node: &&Shown| matches!(node.keeps, Keeps::State(_));
        names.extend(self.nodes.iter().filter(known).map(|node| node.name.as_str()));
        let mut reports = Vec::new();
        for operator in names {
            let (mut rows, mut bytes, mut namespaces) = (0, 0, BTreeMap::<i64, u64>::new());
            self.raw(operator, &[], &mut |key, value| {
                rows += 1;
                bytes += (key.len() + value.len()) as u64;
                *namespaces.entry(namespace_of(key)).or_default() += 1;
                Ok(())
            })?;
            let types = self.codec(operator).ok().map(|codec| (codec.key_type(), codec.value_type()));
            if types.is_some() || rows > 0 {
                let (operator, namespaces) = (operator.to_owned(), namespaces.into_iter().collect());
                reports.push(TableReport { operator, types, rows, bytes, namespaces });
            }
        }
        Ok(reports)
    }

    /// What a key has: in one namespace, or in all that have it.
    ///
    /// # Errors
    /// There is no such operator, the key is of another type, or the store cannot be read.
    pub fn get(&self, operator: &str, key: &Value, namespace: Option<i64>) -> Result<Vec<StateEntry>> {
        let codec = self.codec(operator)?;
        let state_key = codec.state_key(key, namespace.unwrap_or(0), self.groups).map_err(|error| {
            let wanted = codec.key_type();
            Error::Config(format!("{key} is no key of `{operator}`, whose keys are {wanted}: {error}"))
        })?;
        let (group, own) = (&state_key[..2], &state_key[10..]);
        let mut found = Vec::new();
        let prefix = if namespace.is_some() { &state_key } else { group };
        self.raw(operator, prefix, &mut |row, value| {
            if row.get(10..) == Some(own) {
                found.push(entry(operator, &codec, row, value)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Visits every key of an operator, of one namespace or of all. The order is that of the store: by key
    /// group, then by namespace, then by the bytes of the key.
    ///
    /// # Errors
    /// There is no such operator, the store cannot be read, or `visit` failed.
    pub fn each(
        &self,
        operator: &str,
        namespace: Option<i64>,
        visit: &mut dyn FnMut(StateEntry) -> Result<()>,
    ) -> Result<()> {
        let codec = self.codec(operator)?;
        self.raw(operator, &[], &mut |key, value| {
            if namespace.is_some_and(|wanted| wanted != namespace_of(key)) {
                return Ok(());
            }
            visit(entry(operator, &codec, key, value)?)
        })
    }

    /// Visits every row as it is stored, and what is wrong with it.
    pub(super) fn check(&self, operator: &str, visit: &mut dyn FnMut(Result<()>)) -> Result<()> {
        let codec = self.codec(operator)?;
        self.raw(operator, &[], &mut |key, value| {
            visit(entry(operator, &codec, key, value).and_then(|entry| {
                let expected = codec.state_key(&entry.key, entry.namespace, self.groups);
                match expected {
                    Ok(expected) if expected == key => Ok(()),
                    _ => Err(Error::failed(format!(
                        "a value of `{operator}` stands under another key than its own, {}: restore a snapshot \
                         of the state directory, or start over with --no-resume",
                        entry.key
                    ))),
                }
            }));
            Ok(())
        })
    }

    fn codec(&self, operator: &str) -> Result<StateCodec> {
        match self.nodes.iter().find(|node| node.name == operator).map(|node| &node.keeps) {
            Some(Keeps::State(codec)) => Ok(codec.clone()),
            _ => {
                let all = self.nodes.iter().filter(|node| matches!(node.keeps, Keeps::State(_)));
                let all: Vec<_> = all.map(|node| format!("`{}`", node.name)).collect();
                Err(Error::Config(if all.is_empty() {
                    "this topology keeps no state".to_owned()
                } else {
                    format!("no operator `{operator}` has state; there is {}", all.join(", "))
                }))
            }
        }
    }

    fn raw(&self, operator: &str, prefix: &[u8], visit: VisitRow<'_>) -> Result<()> {
        let mut table: Option<Box<dyn StateBackend>> = match &self.store {
            Some((store, tables)) if tables.contains(operator) => Some(store.table(operator)?),
            _ => None,
        };
        let empty = Overlay::default();
        let overlay = self.overlays.get(operator).unwrap_or(&empty);
        overlay.scan(table.as_deref_mut().map(|table| table as &mut dyn StateBackend), prefix, visit)
    }
}

fn entry(operator: &str, codec: &StateCodec, state_key: &[u8], bytes: &[u8]) -> Result<StateEntry> {
    let (key, value) = codec.entry(operator, bytes)?;
    Ok(StateEntry { operator: operator.to_owned(), namespace: namespace_of(state_key), key, value })
}
