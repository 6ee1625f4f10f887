//! What the sources of a replay give: read again from where the job stood, or as a log has it.

use std::collections::BTreeMap;

use super::past::Past;
use crate::epoch::decode_record;
use crate::error::{Error, Result};
use crate::stage::{Given, Piece, Reopen, Retell, Tape};
use crate::time::Epoch;
use crate::topology::{NodeKind, Topology};
use crate::wal::{LogReader, RecordKind};

/// Most bytes that are read ahead from a log, before those of the last epoch.
const AHEAD_BYTES: usize = 64 << 20;

/// A partition of a source.
struct Partition {
    source: String,
    name: String,
    /// How many records the job had read when each epoch passed, and whether that was all.
    stood: BTreeMap<u64, (u64, bool)>,
    /// Where it begins, as the log holds it.
    position: Vec<u8>,
    read: u64,
    finished: bool,
    reopen: Reopen,
    opened: Option<Box<dyn Retell>>,
}

/// The input of a replay.
pub(super) struct Inputs<'a> {
    partitions: Vec<Partition>,
    recorded: Recorded<'a>,
    is_packed: bool,
}

/// Takes a piece of a partition of a source, or its end.
pub(super) type Give<'a> = &'a mut dyn FnMut(&str, &str, Option<Piece>) -> Result<()>;

impl<'a> Inputs<'a> {
    /// The input of these epochs; nothing is read yet.
    ///
    /// # Errors
    /// The job had a source that the topology has not.
    pub(super) fn open(topology: &Topology, past: &'a Past) -> Result<Self> {
        let mut partitions = Vec::<Partition>::new();
        let first = past.epochs.values().next().into_iter();
        for (source, name) in first.flat_map(|said| said.positions.keys()) {
            let node = topology.graph.nodes.iter().find(|node| node.name == *source);
            let Some(NodeKind::Source { reopen, .. }) = node.map(|node| &node.kind) else {
                return Err(Error::failed(format!(
                    "the job had a source `{source}`, and this program has none: use the program that ran it"
                )));
            };
            let key = (source.clone(), name.clone());
            let before = past.said_at_base().and_then(|said| said.positions.get(&key));
            let stood = past.epochs.iter().filter_map(|(epoch, said)| {
                let position = said.positions.get(&key)?;
                Some((*epoch, (position.records, position.finished)))
            });
            partitions.push(Partition {
                source: source.clone(),
                name: name.clone(),
                stood: stood.collect(),
                position: before.map_or(Vec::new(), |before| before.position.clone()),
                read: before.map_or(0, |before| before.records),
                finished: before.is_some_and(|before| before.finished),
                reopen: Reopen::clone(reopen),
                opened: None,
            });
        }
        let log = past.packed().unwrap_or(past.log());
        let recorded = Recorded { log, ahead: BTreeMap::new(), ahead_to: 0, last: past.to.0 };
        Ok(Inputs { partitions, recorded, is_packed: past.packed().is_some() })
    }

    /// Puts the records of an epoch on the tape; how many they are.
    ///
    /// # Errors
    /// The input has changed, or cannot be read.
    pub(super) fn feed(&mut self, epoch: u64, tape: &Tape) -> Result<u64> {
        let mut count = 0;
        self.each(epoch, &mut |source, partition, piece| {
            match piece {
                Some(piece) => {
                    count += piece.count;
                    tape.give(source, partition, piece);
                }
                None => tape.end(source, partition),
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// Gives the input of an epoch, piece by piece.
    pub(super) fn each(&mut self, epoch: u64, give: Give<'_>) -> Result<()> {
        for (source, Given { partition: name, piece }) in self.recorded.take(epoch)? {
            let of = |partition: &&mut Partition| partition.source == source && partition.name == name;
            if let Some(partition) = self.partitions.iter_mut().find(of) {
                partition.read += piece.count;
                give(&source, &name, Some(piece))?;
            }
        }
        for partition in &mut self.partitions {
            let Some((records, finished)) = partition.stood.get(&epoch).copied() else { continue };
            while partition.read < records {
                let piece = partition.next(records, self.is_packed)?;
                give(&partition.source, &partition.name, Some(piece))?;
            }
            if partition.read > records {
                return Err(Error::failed(format!(
                    "partition `{}` gave {} records where the job had read {records}: a poll must stop when \
                     its output is full",
                    partition.name, partition.read
                ))
                .at(&partition.source));
            }
            if finished && !partition.finished {
                partition.finished = true;
                partition.opened = None;
                give(&partition.source, &partition.name, None)?;
            }
        }
        Ok(())
    }
}

impl Partition {
    /// Reads again what it gave next, up to so many records in all.
    fn next(&mut self, records: u64, is_packed: bool) -> Result<Piece> {
        if is_packed {
            let reason = format!("the capsule lacks input of its partition `{}`: export it again", self.name);
            return Err(Error::failed(reason).at(&self.source));
        }
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => (self.reopen)(&self.name, &self.position)?,
        };
        let piece = self.opened.insert(opened).next(records - self.read)?;
        self.read += piece.count;
        Ok(piece)
    }
}

/// Input that a log has.
struct Recorded<'a> {
    log: &'a LogReader,
    /// What is read ahead, by epoch, and up to which.
    ahead: BTreeMap<u64, Vec<(String, Given)>>,
    ahead_to: u64,
    /// The last epoch that is asked for.
    last: u64,
}

impl Recorded<'_> {
    /// What the log has of an epoch, by source.
    fn take(&mut self, epoch: u64) -> Result<Vec<(String, Given)>> {
        if epoch > self.ahead_to {
            self.read_ahead(epoch)?;
        }
        Ok(self.ahead.remove(&epoch).unwrap_or_default())
    }

    /// Reads this epoch and as many behind it as there is room for.
    fn read_ahead(&mut self, epoch: u64) -> Result<()> {
        let mut bytes = 0;
        self.ahead_to = self.last;
        self.log.held_records(Epoch(epoch - 1), &mut |record| {
            let of = record.epoch.0;
            if record.kind == RecordKind::Input && of <= self.ahead_to {
                let given: Given = decode_record(record.owner, record.payload)?;
                self.ahead.entry(of).or_default().push((record.owner.to_owned(), given));
                bytes += record.payload.len();
                if bytes > AHEAD_BYTES {
                    self.ahead_to = of;
                }
            }
            Ok(())
        })
    }
}
