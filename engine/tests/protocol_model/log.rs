//! The epoch log: what a sync has made durable, and behind it the tail that a power loss may cut anywhere.

use super::list::{Fold, List};

/// One record of the log.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Where a source stood when it put the barrier into its channel.
    Positions { epoch: u8, partition: u8, position: u8 },
    /// Absolute values of the keys that the epoch changed, and the operator's own blob.
    Delta { epoch: u8, keys: u8, values: Fold, blob: u8 },
    /// A sink has the epoch's output ready: inline for the first sink, as a synced file for the second.
    Staged { epoch: u8, sink: u8, output: Fold },
    /// Once this is synced, the epoch exists.
    Commit { epoch: u8 },
    /// A sink has shown the epoch. Nothing relies on it.
    Delivered { epoch: u8, sink: u8 },
}

impl Default for Entry {
    fn default() -> Self {
        Self::Commit { epoch: 0 }
    }
}

impl Entry {
    pub(crate) fn epoch(self) -> u8 {
        match self {
            Self::Positions { epoch, .. }
            | Self::Delta { epoch, .. }
            | Self::Staged { epoch, .. }
            | Self::Commit { epoch }
            | Self::Delivered { epoch, .. } => epoch,
        }
    }

    /// Epoch, kind and who wrote it: at most one record has them all, unless a rule is broken.
    fn place(self) -> (u8, u8, u8) {
        match self {
            Self::Positions { epoch, partition, .. } => (epoch, 0, partition),
            Self::Delta { epoch, .. } => (epoch, 1, 0),
            Self::Staged { epoch, sink, .. } => (epoch, 2, sink),
            Self::Commit { epoch } => (epoch, 3, 0),
            Self::Delivered { epoch, sink } => (epoch, 4, sink),
        }
    }
}

/// The log of one job over all its generations.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Log {
    /// Synced, in canonical order: only the tail knows the order of appends, because only there it matters.
    pub(crate) durable: List<Entry, 56>,
    /// Appended and not yet synced, in order.
    pub(crate) tail: List<Entry, 24>,
    /// A half-written record follows the last commit, which had this epoch.
    pub(crate) torn: Option<u8>,
    /// The highest synced `Delivered` per sink.
    pub(crate) hints: [u8; 2],
}

impl Log {
    fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.durable.iter().chain(self.tail.iter())
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.tail.push(entry);
    }

    /// Makes the first `count` records of the tail durable and drops the others.
    pub(crate) fn keep_of_tail(&mut self, count: usize) {
        for entry in self.tail.iter().take(count) {
            match entry {
                Entry::Delivered { epoch, sink } => {
                    let hint = &mut self.hints[usize::from(sink)];
                    *hint = epoch.max(*hint);
                }
                entry => self.durable.push(entry),
            }
        }
        self.tail = List::default();
        self.keep_durable_sorted();
    }

    /// Stable: of two records with one place the older stays first, as a scan meets it.
    pub(crate) fn keep_durable_sorted(&mut self) {
        self.durable.as_mut_slice().sort_by_key(|entry| entry.place());
    }

    pub(crate) fn sync(&mut self) {
        self.keep_of_tail(self.tail.len());
    }

    /// The newest epoch that a reader of the synced log finds committed; 0 if there is none.
    pub(crate) fn last_commit(&self) -> u8 {
        let commits = self.durable.iter().filter(|entry| matches!(entry, Entry::Commit { .. }));
        commits.map(Entry::epoch).max().unwrap_or(0)
    }

    /// The same, for a reader that takes what the page cache holds for synced.
    pub(crate) fn last_commit_read(&self) -> u8 {
        let commits = self.tail.iter().filter(|entry| matches!(entry, Entry::Commit { .. }));
        commits.map(Entry::epoch).max().unwrap_or(0).max(self.last_commit())
    }

    /// The position of a partition at the newest epoch up to `upto` that has one.
    pub(crate) fn position(&self, partition: usize, upto: u8) -> u8 {
        let found = self.entries().filter_map(|entry| match entry {
            Entry::Positions { epoch, partition: of, position } if usize::from(of) == partition => {
                Some((epoch, position))
            }
            _ => None,
        });
        let mut found: Vec<(u8, u8)> = found.filter(|(epoch, _)| *epoch <= upto).collect();
        // Only a broken protocol has two of one epoch: then the first is taken, as a scan would.
        found.reverse();
        found.into_iter().max_by_key(|(epoch, _)| *epoch).map_or(0, |(_, position)| position)
    }

    /// What a sink staged for an epoch.
    pub(crate) fn staged(&self, sink: usize, epoch: u8) -> Option<Fold> {
        self.entries().find_map(|entry| match entry {
            Entry::Staged { epoch: of, sink: by, output } if of == epoch && usize::from(by) == sink => {
                Some(output)
            }
            _ => None,
        })
    }

    /// Changed keys, their values and the blob.
    pub(crate) fn delta(&self, epoch: u8) -> Option<(u8, Fold, u8)> {
        self.entries().find_map(|entry| match entry {
            Entry::Delta { epoch: of, keys, values, blob } if of == epoch => Some((keys, values, blob)),
            _ => None,
        })
    }

    /// The lowest epoch in the synced log.
    pub(crate) fn first_epoch(&self) -> u8 {
        self.durable.iter().map(Entry::epoch).min().unwrap_or(0)
    }

    pub(crate) fn truncate_below(&mut self, epoch: u8) {
        self.durable.retain(|entry| entry.epoch() >= epoch);
    }

    /// Forgets what follows the last commit: the next generation writes a new segment from there.
    pub(crate) fn cut(&mut self, last: u8) {
        self.durable.retain(|entry| entry.epoch() <= last);
        self.tail.retain(|entry| entry.epoch() <= last);
    }
}
