//! `Router`: one output to many instances: forward, hash by key group, broadcast, rebalance.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::batch::{Batch, BatchBuilder, BatchLimits, KeyGroup, KeyHash, Record, group_of, subtask_of};
use crate::channel::{Refused, Sender};
use crate::error::{Error, Result};
use crate::message::Message;
use crate::time::{Epoch, Watermark};

/// Gives the key hash of every row of a batch: one call per batch.
pub(crate) trait KeyExtractor<T: Record>: Send + Sync {
    /// Appends the stable key hash of each row, in order.
    fn hashes(&self, batch: &Batch<T>, hashes: &mut Vec<KeyHash>);
}

/// Which instance of the next stage a row goes to.
pub(crate) enum Partitioning<T: Record> {
    /// The instance with the same number; all rows of a subtask stay together.
    Forward,
    /// The instance that owns the row's key group.
    Hash(Arc<dyn KeyExtractor<T>>),
    /// Every instance.
    Broadcast,
    /// The next instance in turn, batch by batch.
    Rebalance,
}

impl<T: Record> Clone for Partitioning<T> {
    fn clone(&self) -> Self {
        match self {
            Partitioning::Forward => Partitioning::Forward,
            Partitioning::Hash(extractor) => Partitioning::Hash(Arc::clone(extractor)),
            Partitioning::Broadcast => Partitioning::Broadcast,
            Partitioning::Rebalance => Partitioning::Rebalance,
        }
    }
}

impl<T: Record> fmt::Debug for Partitioning<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Partitioning::Forward => "forward",
            Partitioning::Hash(_) => "hash",
            Partitioning::Broadcast => "broadcast",
            Partitioning::Rebalance => "rebalance",
        })
    }
}

/// How a router gathers small pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouterLimits {
    pub(crate) batch: BatchLimits,
    /// Longest that gathered rows wait while there is other work; without work they do not wait.
    pub(crate) age_max_ms: u64,
    pub(crate) groups: KeyGroup,
}

#[derive(Debug)]
struct Target<T: Record> {
    sender: Sender<T>,
    /// What did not fit the channel yet. While it is not empty the instance takes no input, so it holds
    /// at most what one input gives.
    pending: VecDeque<Message<T>>,
    /// Pieces of batches too small to travel alone.
    gathered: BatchBuilder<T>,
    gathered_since_ms: u64,
    /// Follows the gathered rows.
    watermark: Option<Watermark>,
}

/// The sending side of a stage instance on one edge.
#[derive(Debug)]
pub(crate) struct Router<T: Record> {
    targets: Vec<Target<T>>,
    partitioning: Partitioning<T>,
    limits: RouterLimits,
    next: usize,
    hashes: Vec<KeyHash>,
    positions: Vec<Vec<u32>>,
}

impl<T: Record> Router<T> {
    pub(crate) fn new(
        senders: Vec<Sender<T>>,
        partitioning: Partitioning<T>,
        subtask: usize,
        limits: RouterLimits,
    ) -> Self {
        let count = senders.len();
        let targets = senders
            .into_iter()
            .map(|sender| Target {
                sender,
                pending: VecDeque::new(),
                gathered: BatchBuilder::new(limits.batch),
                gathered_since_ms: 0,
                watermark: None,
            })
            .collect();
        Router {
            targets,
            partitioning,
            limits,
            next: subtask,
            hashes: Vec::new(),
            positions: vec![Vec::new(); count],
        }
    }

    /// Splits a batch among the targets.
    pub(crate) fn push(&mut self, batch: Batch<T>, now_ms: u64) -> Result<()> {
        let count = self.targets.len();
        match &self.partitioning {
            Partitioning::Forward => self.give(self.next % count, batch, now_ms),
            Partitioning::Rebalance => {
                self.next = (self.next + 1) % count;
                self.give(self.next, batch, now_ms)
            }
            Partitioning::Broadcast => {
                (0..count).try_for_each(|target| self.give(target, batch.clone(), now_ms))
            }
            Partitioning::Hash(_) if count == 1 => self.give(0, batch, now_ms),
            Partitioning::Hash(extractor) => {
                self.hashes.clear();
                extractor.hashes(&batch, &mut self.hashes);
                self.positions.iter_mut().for_each(Vec::clear);
                for (position, hash) in self.hashes.iter().enumerate() {
                    let target = subtask_of(group_of(*hash, self.limits.groups), self.limits.groups, count);
                    self.positions[target].push(position as u32);
                }
                for target in 0..count {
                    let positions = std::mem::take(&mut self.positions[target]);
                    if positions.len() == batch.len() {
                        self.give(target, batch.clone(), now_ms)?;
                    } else if !positions.is_empty() {
                        self.give(target, batch.select(&positions), now_ms)?;
                    }
                    self.positions[target] = positions;
                }
                Ok(())
            }
        }
    }

    fn give(&mut self, target: usize, batch: Batch<T>, now_ms: u64) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let limits = self.limits;
        let target = &mut self.targets[target];
        // A piece pins the whole block it points into, and a message costs about a microsecond: below an
        // eighth of a full batch, copying the rows (about 20 ns each) is cheaper.
        if batch.len() * 8 >= limits.batch.rows_max || batch.bytes_share() * 4 >= limits.batch.bytes_max {
            target.release();
            target.pending.push_back(Message::Batch(batch));
        } else {
            // A record behind the watermark that waits here must not overtake it: it may be late.
            let overtakes = matches!((target.watermark, batch.times()), (Some(Watermark::At(reached)), Some(times))
                if (0..batch.len()).any(|position| times.at(position) < reached));
            if overtakes || target.gathered.is_timed() != batch.times().is_some() {
                target.release();
            }
            if target.gathered.is_empty() {
                target.gathered_since_ms = now_ms;
            }
            gather(&mut target.gathered, &batch)?;
            let old = now_ms.saturating_sub(target.gathered_since_ms) >= limits.age_max_ms;
            if target.gathered.is_full() || old {
                target.release();
            }
        }
        target.send()
    }

    /// Tells all targets how far event time has come.
    pub(crate) fn watermark(&mut self, watermark: Watermark, now_ms: u64) -> Result<()> {
        for target in &mut self.targets {
            target.watermark = Some(watermark);
            let old = now_ms.saturating_sub(target.gathered_since_ms) >= self.limits.age_max_ms;
            if target.gathered.is_empty() || old || watermark == Watermark::END {
                target.release();
            }
            target.send()?;
        }
        Ok(())
    }

    /// Sends the barrier of an epoch to all targets, behind everything before it.
    pub(crate) fn barrier(&mut self, epoch: Epoch) -> Result<()> {
        self.close_with(|| Message::Barrier(epoch))
    }

    /// Ends the stream on all targets.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.close_with(|| Message::EndOfStream)
    }

    fn close_with(&mut self, message: impl Fn() -> Message<T>) -> Result<()> {
        for target in &mut self.targets {
            target.release();
            target.pending.push_back(message());
            target.send()?;
        }
        Ok(())
    }

    /// Sends gathered rows; called when there is nothing else to do.
    pub(crate) fn release(&mut self) -> Result<()> {
        for target in &mut self.targets {
            target.release();
            target.send()?;
        }
        Ok(())
    }

    /// Tries to send what did not fit; true when nothing is left over.
    pub(crate) fn flush(&mut self) -> Result<bool> {
        let mut clear = true;
        for target in &mut self.targets {
            target.send()?;
            clear &= target.pending.is_empty();
        }
        Ok(clear)
    }

    /// True when rows or a watermark wait to be gathered with more.
    pub(crate) fn is_gathering(&self) -> bool {
        self.targets.iter().any(|target| !target.gathered.is_empty() || target.watermark.is_some())
    }
}

impl<T: Record> Target<T> {
    /// Moves the gathered rows, then the watermark behind them, to the queue.
    fn release(&mut self) {
        if let Some(batch) = self.gathered.finish() {
            self.pending.push_back(Message::Batch(batch));
        }
        if let Some(watermark) = self.watermark.take() {
            // A newer watermark makes one that is still waiting needless.
            if let Some(Message::Watermark(last)) = self.pending.back_mut() {
                *last = watermark;
            } else {
                self.pending.push_back(Message::Watermark(watermark));
            }
        }
    }

    fn send(&mut self) -> Result<()> {
        while let Some(message) = self.pending.pop_front() {
            match self.sender.try_send(message) {
                Ok(()) => {}
                Err(Refused::Full(message)) => {
                    self.pending.push_front(message);
                    return Ok(());
                }
                Err(Refused::Disconnected) => return Err(Error::failed("the stage behind it stopped")),
            }
        }
        Ok(())
    }
}

fn gather<T: Record>(gathered: &mut BatchBuilder<T>, batch: &Batch<T>) -> Result<()> {
    let times = batch.times();
    for (position, view) in batch.iter().enumerate() {
        match times {
            Some(times) => gathered.push_at(view, times.at(position))?,
            None => gathered.push(view)?,
        }
    }
    Ok(())
}
