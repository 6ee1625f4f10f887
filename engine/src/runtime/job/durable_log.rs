//! `DurableLog`: what makes an epoch of a job durable: its entries and one sync, then the store, then copies.

use super::copies::{CopyOrder, CopyThread};
use super::log_thread::Durable;
use super::manifest::{Manifest, NodeNote};
use super::snapshots::{Purpose, Snapshots};
use super::store_thread::StoreThread;
use super::{CommitNote, kind_of};
use crate::epoch::{Entry, EntryKind, delivered, encode_record};
use crate::error::Result;
use crate::failpoint;
use crate::runtime::epochs::Complete;
use crate::time::Epoch;
use crate::wal::EpochLog;

/// Segments of the log after which a snapshot is due whatever the time, so that the log may be cut off.
const SNAPSHOT_SEGMENTS: u64 = 16;

/// The same for a job that is started, for each snapshot that it has: every run begins a segment.
const STARTED_SEGMENTS: u64 = 4;

/// The log of a job, and the store that follows it.
pub(crate) struct DurableLog {
    store: StoreThread,
    /// Ends behind the store's thread, which may still have work for it.
    copies: Option<CopyThread>,
    pub(super) note: CommitNote,
    /// There is keyed state for the store to follow.
    has_state: bool,
    /// The segment of the log with which a snapshot is due, whatever the time.
    full_at: u64,
    /// A savepoint that is asked for.
    asked: Option<String>,
    /// The last to be closed: it has the lock of the directory.
    log: EpochLog,
}

impl DurableLog {
    pub(super) fn new(
        log: EpochLog,
        store: StoreThread,
        snapshots: Option<Snapshots>,
        note: CommitNote,
        has_state: bool,
    ) -> Result<Self> {
        let mut full_at = u64::MAX;
        if let Some(snapshots) = snapshots.as_ref().filter(|_| has_state) {
            snapshots.retain()?;
            if snapshots.are_kept() {
                // A job that never runs long enough for a snapshot would keep its whole log.
                let spare = (STARTED_SEGMENTS * (1 + snapshots.epochs()?.len() as u64))
                    .saturating_sub(log.segments());
                full_at = log.segment() + spare;
            }
        }
        let copies = snapshots.map(CopyThread::start).transpose()?;
        Ok(DurableLog { log, store, copies, note, has_state, full_at, asked: None })
    }

    /// The copies that are to be made of this epoch.
    fn order(&mut self, epoch: Epoch, entries: &[Entry]) -> Option<CopyOrder> {
        let copies = &self.copies.as_ref()?.copies;
        if copies.is_busy() || (self.has_state && !self.store.is_asked(epoch)) {
            return None;
        }
        let snapshot = (self.has_state && self.store.takes_snapshot()).then_some(Purpose::Snapshot);
        let savepoint = self.asked.take().map(Purpose::Savepoint);
        let purposes: Vec<_> = snapshot.into_iter().chain(savepoint).collect();
        if purposes.is_empty() {
            return None;
        }
        if self.full_at < u64::MAX {
            self.full_at = self.log.segment() + SNAPSHOT_SEGMENTS;
        }
        let nodes = entries.iter().filter(|entry| entry.kind.is_for_next_run()).map(|entry| NodeNote {
            kind: kind_of(entry.kind),
            owner: entry.owner.clone(),
            subtask: entry.subtask,
            epoch: epoch.0,
            payload: entry.payload.to_vec(),
        });
        let manifest = Manifest {
            job: self.log.job(),
            epoch,
            note: self.note.clone(),
            has_store: self.has_state,
            files: Vec::new(),
            nodes: nodes.collect(),
        };
        Some(copies.order(purposes, manifest))
    }

    /// Cuts the log off behind what is spare and what no snapshot needs.
    fn give_space_back(&mut self, spare: u64) -> Result<()> {
        let Some(CopyThread { copies, .. }) = &self.copies else {
            return self.log.truncate_before(Epoch(spare)).map(drop);
        };
        if copies.needs_log() {
            return Ok(());
        }
        let floor = if self.has_state { copies.snapshots.floor() } else { u64::MAX };
        self.log.truncate_before(Epoch(spare.min(floor))).map(drop)
    }

    /// Whether somebody wants a copy of the next epoch that can be copied.
    fn look_for_orders(&mut self) {
        let Some(CopyThread { copies, .. }) = &self.copies else { return };
        if copies.is_busy() {
            return;
        }
        if self.asked.is_none() {
            self.asked = copies.requests.pending();
        }
        if self.asked.is_some() {
            self.store.home().press();
        }
        if self.log.segment() >= self.full_at {
            self.store.home().want_snapshot();
        }
    }
}

impl Durable for DurableLog {
    /// All entries of the epoch, its commit, and one sync; then the store follows in its own time.
    fn commit(&mut self, complete: Complete) -> Result<Epoch> {
        let Complete { epoch, entries, is_last, wall_ms } = complete;
        let mut shown = epoch.0;
        let mut changes = Vec::new();
        (self.note.finished, self.note.wall_ms) = (is_last, wall_ms);
        let mut order = self.order(epoch, &entries);
        for entry in entries {
            if entry.kind == EntryKind::StoreChanges {
                changes.push((entry.owner, entry.payload.into_bytes()));
                continue;
            }
            if entry.kind == EntryKind::Staged {
                shown = shown.min(delivered(entry.payload.parts()[0]));
            }
            let (kind, parts) = (kind_of(entry.kind), entry.payload.parts());
            self.log.append_parts(epoch, kind, &entry.owner, entry.subtask, parts)?;
            failpoint::pass("log.append");
        }
        failpoint::pass("log.appended");
        if is_last {
            failpoint::pass("epoch.last");
        }
        if failpoint::bug("store-first") {
            self.store.committed(epoch, std::mem::take(&mut changes), order.take())?;
        }
        let note = encode_record(&self.note)?;
        self.log.commit(epoch, &note)?;
        match order {
            Some(order) if !self.has_state => order.carry_out(None),
            order if !failpoint::bug("store-first") => self.store.committed(epoch, changes, order)?,
            _ => {}
        }
        failpoint::pass("store.handed");
        // Needed are the last epoch, output that is not delivered, and what the store has not on its disk.
        let stored = self.store.durable()?;
        let needs_store = self.has_state && !failpoint::bug("truncated-unstored");
        let stored = if needs_store { stored.0 } else { epoch.0 };
        let spare = stored.min(shown).min(epoch.0.saturating_sub(1));
        self.give_space_back(spare)?;
        self.look_for_orders();
        Ok(epoch)
    }
}
