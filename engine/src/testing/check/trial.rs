//! A sink in the hands of a job that crashes: the calls of the engine, in its order, with its log.

use std::collections::{BTreeMap, VecDeque};

use super::target::Target;
use crate::batch::{BatchBuilder, BatchLimits, Record};
use crate::error::{Error, Result};
use crate::sink::{Cut, Delivery, Sink, SinkWriter, Staged, Subtask};
use crate::time::Epoch;

/// How a life ends and what is peculiar about a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The first life ends behind this call; `None`: it does not.
    pub(super) crash_behind: Option<usize>,
    /// The second one behind this call.
    pub(super) crash_again_behind: Option<usize>,
    /// Nothing of the writers runs any more, as after `kill -9`; else they are dropped.
    pub(super) is_killed: bool,
    /// The next epoch is prepared before one is committed.
    pub(super) is_late: bool,
    /// Each commit is called twice.
    pub(super) is_doubled: bool,
    /// How many subtasks each life has, in turn.
    pub(super) subtasks: &'static [usize],
}

/// What prepared epochs are in the meantime.
struct Prepared {
    epoch: u64,
    staged: Vec<Staged>,
    rows: Vec<(u64, usize)>,
    delivered: Vec<u64>,
}

/// What survives a crash, as the epoch log holds it.
#[derive(Default)]
struct Log {
    epoch: u64,
    /// How many rows of the input are in its epochs.
    rows: u64,
    staged: BTreeMap<(usize, u64), Staged>,
}

pub(super) struct Trial<'a, T: Record> {
    pub(super) sink: &'a dyn Sink<T>,
    pub(super) row: &'a dyn Fn(u64) -> T,
    pub(super) read_back: &'a dyn Fn() -> Result<Vec<u64>>,
    pub(super) rows: u64,
    pub(super) plan: Plan,
    log: Log,
    target: Target,
    life: usize,
    /// Calls of this life.
    calls: usize,
    pub(super) calls_all: usize,
    history: VecDeque<String>,
}

/// What a life is at.
struct Life<T: Record> {
    writers: Vec<Box<dyn SinkWriter<T>>>,
    delivered: Vec<u64>,
    prepared: VecDeque<Prepared>,
    epoch: u64,
    next_row: u64,
}

/// Calls that an error shows.
const HISTORY_MAX: usize = 16;

/// A life was cut short, or the promise was broken.
enum Ended {
    Crashed,
    Failed(Error),
}

type Step<R = ()> = std::result::Result<R, Ended>;

impl<'a, T: Record> Trial<'a, T> {
    pub(super) fn new(
        sink: &'a dyn Sink<T>,
        row: &'a dyn Fn(u64) -> T,
        read_back: &'a dyn Fn() -> Result<Vec<u64>>,
        rows: u64,
        plan: Plan,
    ) -> Self {
        let (log, target, history) = (Log::default(), Target::default(), VecDeque::new());
        Trial { sink, row, read_back, rows, plan, log, target, life: 0, calls: 0, calls_all: 0, history }
    }

    /// Lives until the input has ended, and then once more; gives the calls of the first life.
    pub(super) fn run(&mut self) -> Result<usize> {
        let mut first = None;
        let mut has_ended = false;
        loop {
            self.calls = 0;
            let mut life = Life {
                writers: Vec::new(),
                delivered: Vec::new(),
                prepared: VecDeque::new(),
                epoch: self.log.epoch,
                next_row: self.log.rows,
            };
            let ended = self.live(&mut life);
            first.get_or_insert(self.calls);
            let crashed = match ended {
                Ok(()) => false,
                Err(Ended::Crashed) => true,
                Err(Ended::Failed(error)) => return Err(error),
            };
            if crashed && self.plan.is_killed {
                // What destructors would do does not happen: that is what the trial is about.
                std::mem::forget(life);
                self.say("killed".to_owned());
            } else {
                drop(life);
                self.say("dropped".to_owned());
            }
            self.look()?;
            self.life += 1;
            if !crashed && has_ended {
                break;
            }
            has_ended |= !crashed;
        }
        self.target.end().map_err(|promise| self.broken(&promise))?;
        Ok(first.unwrap_or(0))
    }

    fn live(&mut self, life: &mut Life<T>) -> Step {
        let count = self.plan.subtasks[self.life % self.plan.subtasks.len()];
        for index in 0..count {
            let opened = self.sink.open(Subtask { index, count });
            let what = format!("open({index} of {count})");
            life.writers.push(self.returned(what, "a target that is in use must open again", opened)?);
            life.delivered.push(0);
        }
        if self.log.epoch > 0 {
            self.recover(life, count)?;
        }
        loop {
            let is_last = self.epoch(life)?;
            while let Some(prepared) =
                life.prepared.pop_front_if(|of| is_last || !self.plan.is_late || of.epoch < life.epoch)
            {
                self.commit(life, &prepared)?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn recover(&mut self, life: &mut Life<T>, count: usize) -> Step {
        for (index, writer) in life.writers.iter_mut().enumerate() {
            let of = self.log.staged.iter().filter(|((subtask, _), _)| subtask % count == index);
            let mut epochs: Vec<_> = of.map(|((_, epoch), staged)| (Epoch(*epoch), staged.clone())).collect();
            epochs.sort_by_key(|(epoch, _)| *epoch);
            if epochs.last().is_none_or(|(epoch, _)| epoch.0 < self.log.epoch) {
                epochs.push((Epoch(self.log.epoch), Staged::nothing()));
            }
            let numbers: Vec<_> = epochs.iter().map(|(epoch, _)| epoch.0).collect();
            let recovered = writer.recover(epochs);
            let promise = "`recover` shows what was committed, from what `prepare` returned";
            let delivery = self.returned(format!("recover({index}, {numbers:?})"), promise, recovered)?;
            if delivery == Delivery::Final {
                life.delivered[index] = self.log.epoch;
            }
        }
        Ok(())
    }

    /// Writes and prepares one epoch and makes it durable; true when it is the last.
    fn epoch(&mut self, life: &mut Life<T>) -> Step<bool> {
        let count = life.writers.len();
        life.epoch += 1;
        // Each life cuts its epochs elsewhere; every third is empty.
        let size = if life.epoch % 3 == 2 { 0 } else { 3 + (life.epoch + self.life as u64) % 3 };
        let end = (life.next_row + size).min(self.rows);
        let mut rows = Vec::new();
        for (index, writer) in life.writers.iter_mut().enumerate() {
            let own: Vec<u64> = (life.next_row..end).filter(|n| *n as usize % count == index).collect();
            for batch in own.chunks(2) {
                let mut builder = BatchBuilder::new(BatchLimits::default());
                for n in batch {
                    builder.push((self.row)(*n).view()).map_err(|error| Ended::Failed(error.into()))?;
                    rows.push((*n, index));
                }
                if let Some(batch_rows) = builder.finish() {
                    let written = writer.write(&batch_rows);
                    self.returned(format!("write({index}, rows {batch:?})"), "rows are taken", written)?;
                }
            }
        }
        let is_last = end == self.rows;
        let cut = Cut { epoch: Epoch(life.epoch), is_last, now_ms: life.epoch * 1_000 };
        let delivered = life.delivered.clone();
        let mut staged = Vec::new();
        for (index, writer) in life.writers.iter_mut().enumerate() {
            let prepared = writer.prepare(cut);
            let promise = "every epoch is prepared, also one without rows";
            staged.push(self.returned(
                format!("prepare({index}, epoch {})", life.epoch),
                promise,
                prepared,
            )?);
        }
        life.next_row = end;
        let prepared = Prepared { epoch: life.epoch, staged, rows, delivered };
        self.make_durable(&prepared, end);
        life.prepared.push_back(prepared);
        self.boundary(format!("epoch {} is durable", life.epoch))?;
        Ok(is_last)
    }

    fn make_durable(&mut self, prepared: &Prepared, rows: u64) {
        let count = prepared.staged.len();
        self.log.epoch = prepared.epoch;
        self.log.rows = rows;
        for (index, staged) in prepared.staged.iter().enumerate() {
            self.log.staged.insert((index, prepared.epoch), staged.clone());
        }
        self.log.staged.retain(|(subtask, epoch), _| {
            *epoch == prepared.epoch || *epoch > prepared.delivered[subtask % count]
        });
        for (row, index) in &prepared.rows {
            self.target.commit(*row, prepared.epoch, (self.life, *index));
        }
    }

    fn commit(&mut self, life: &mut Life<T>, prepared: &Prepared) -> Step {
        for (index, staged) in prepared.staged.iter().enumerate() {
            for time in 0..1 + usize::from(self.plan.is_doubled) {
                let committed = life.writers[index].commit(Epoch(prepared.epoch), staged);
                let again = if time > 0 { ", again" } else { "" };
                let promise = "`commit` shows a durable epoch, and may be called again for the same";
                let what = format!("commit({index}, epoch {}{again})", prepared.epoch);
                if self.returned(what, promise, committed)? == Delivery::Final {
                    life.delivered[index] = prepared.epoch;
                }
            }
        }
        Ok(())
    }

    /// A call has returned.
    fn returned<R>(&mut self, what: String, promise: &str, result: Result<R>) -> Step<R> {
        match result {
            Ok(value) => self.boundary(what).map(|()| value),
            Err(error) => {
                self.say(what);
                Err(Ended::Failed(self.broken(&format!("{promise}: it failed: {error}"))))
            }
        }
    }

    /// Between two calls somebody looks, and the process may end.
    fn boundary(&mut self, what: String) -> Step {
        self.calls += 1;
        self.calls_all += 1;
        self.say(what);
        self.look().map_err(Ended::Failed)?;
        let crash = [self.plan.crash_behind, self.plan.crash_again_behind].get(self.life).copied().flatten();
        if crash == Some(self.calls) { Err(Ended::Crashed) } else { Ok(()) }
    }

    fn look(&mut self) -> Result<()> {
        let rows = (self.read_back)()
            .map_err(|error| self.broken(&format!("the target must be readable at any time: {error}")))?;
        self.target.look(&rows).map_err(|promise| self.broken(&promise))
    }

    fn say(&mut self, what: String) {
        self.history.push_back(what);
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
    }

    fn broken(&self, promise: &str) -> Error {
        let calls: Vec<_> = self.history.iter().map(String::as_str).collect();
        let last = calls.last().copied().unwrap_or("nothing");
        Error::failed(format!("{promise}; behind `{last}`, the last of these calls: {}", calls.join(", ")))
    }
}
