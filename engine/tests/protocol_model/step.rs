//! The running job: each step is one thing that a source, the operator, a sink, the writer or the store does.

use super::list::{Fold, key, record};
use super::log::Entry;
use super::rule::{Bug, Size};
use super::state::{Attempt, FILE_SINK, File, Message, Phase, State, TOKEN_SINK};

/// Records and barriers that a channel holds before its source waits.
const CHANNEL_CAPACITY: usize = 2;

/// What happens to the commit of a sink.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Outcome {
    Known,
    /// Applied, the answer is lost.
    Silent,
    /// Not applied yet, the sender gives up.
    Late,
}

/// One step of the world; numbers are those of a partition or a sink.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Step {
    Emit(usize),
    StartEpoch,
    Inject(usize),
    Locate(usize),
    Take(usize),
    Stage(usize),
    SyncFile,
    AppendCommit,
    Sync,
    Announce(usize),
    Deliver(usize, Outcome),
    LateArrives,
    Resolve,
    SyncDirectory,
    Apply,
    Flush,
    FlushApplied,
    Truncate,
    Finish,
    /// Power loss: so many records of the tail stay, the next is torn or not, unsynced renames stay or not.
    Crash {
        keeps: usize,
        torn: bool,
        renames: bool,
    },
    /// The process ends; what the operating system holds stays.
    Kill,
    /// The process is taken for dead and lives on.
    Pause,
    Recover,
    Restart,
    ZombieCommit,
    ZombieDeliver(usize),
}

/// The protocol at a size, with at most one bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) size: Size,
    pub(crate) bug: Option<Bug>,
}

impl Protocol {
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Records of a partition.
    pub(crate) fn end(&self, partition: usize) -> u8 {
        (self.size.records + u8::from(partition == 0)) / 2
    }

    fn ended(&self, state: &State, partition: usize) -> bool {
        state.job.position[partition] == self.end(partition)
    }

    /// Every output record, once.
    pub(crate) fn everything(&self) -> Fold {
        Fold::before([self.end(0), self.end(1)])
    }

    /// Steps from the sources to the last ack.
    pub(crate) fn data_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let job = &state.job;
        for partition in 0..2 {
            let room = job.channels[partition].len() < CHANNEL_CAPACITY;
            if !self.ended(state, partition) && room {
                steps.push(Step::Emit(partition));
            }
            let silent = self.has(Bug::EndedSourceSilent) && self.ended(state, partition);
            if job.injected[partition] < job.started && job.channels[partition].len() < 4 && !silent {
                steps.push(Step::Inject(partition));
            }
            if job.located[partition] < job.injected[partition] {
                steps.push(Step::Locate(partition));
            }
            if self.may_take(state, partition) {
                steps.push(Step::Take(partition));
            }
        }
        let all_ended = self.ended(state, 0) && self.ended(state, 1);
        let in_flight = job.started - job.committed.min(job.started);
        if in_flight < self.size.in_flight && job.last == 0 && (job.fresh || all_ended) {
            steps.push(Step::StartEpoch);
        }
        steps.extend((0..2).filter(|sink| job.staged[*sink] < job.operator.aligned).map(Step::Stage));
        if state.files.iter().any(|file| !file.synced) {
            steps.push(Step::SyncFile);
        }
    }

    fn may_take(&self, state: &State, partition: usize) -> bool {
        let (job, operator) = (&state.job, &state.job.operator);
        let room = job.closed.len() < usize::from(self.size.in_flight);
        match job.channels[partition].iter().next() {
            None => false,
            Some(Message::Record(_)) => !operator.blocked[partition] || self.has(Bug::NoAlignment),
            Some(Message::Barrier(_)) => !operator.blocked[partition] && room,
        }
    }

    /// Steps of the log's writer, the store and the coordinator's end.
    pub(crate) fn log_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let (job, store) = (&state.job, &state.store);
        if self.acked(state) > job.committing {
            steps.push(Step::AppendCommit);
        }
        if job.committed < job.committing {
            steps.push(Step::Sync);
        }
        if store.current.applied < self.applicable(state) {
            steps.push(Step::Apply);
        }
        if store.durable != store.current {
            steps.push(Step::Flush);
            if self.has(Bug::AppliedApart) {
                steps.push(Step::FlushApplied);
            }
        }
        if state.log.last_commit() > 0 && state.log.first_epoch() < self.floor(state) {
            steps.push(Step::Truncate);
        }
        let enough =
            self.has(Bug::FinishBeforeDelivery) || job.delivered.iter().all(|epoch| *epoch >= job.last);
        if job.last > 0 && job.committed >= job.last && enough {
            steps.push(Step::Finish);
        }
    }

    /// The newest epoch that every actor has acked.
    pub(crate) fn acked(&self, state: &State) -> u8 {
        let job = &state.job;
        let first = job.located[0].min(job.located[1]).min(job.operator.aligned).min(job.staged[TOKEN_SINK]);
        if self.has(Bug::CommitWithoutAllAcks) { first } else { first.min(job.staged[FILE_SINK]) }
    }

    /// The newest epoch that the store may see.
    fn applicable(&self, state: &State) -> u8 {
        let uncommitted = self.has(Bug::UncommittedInStore) && state.phase == Phase::Running;
        if uncommitted { state.job.operator.aligned } else { state.job.committed }
    }

    /// Epochs below this one are needed by nobody. The last commit itself always stays: positions and blob.
    fn floor(&self, state: &State) -> u8 {
        let (durable, current) = (state.store.durable.applied, state.store.current.applied);
        let applied = if self.has(Bug::TruncateUnapplied) { current } else { durable };
        let delivered = state.job.delivered[0].min(state.job.delivered[1]);
        if self.has(Bug::TruncateUndelivered) {
            applied
        } else {
            applied.min(delivered) + u8::from(self.has(Bug::TruncateLast))
        }
    }

    /// Steps that show committed epochs, during recovery and after it.
    pub(crate) fn sink_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let job = &state.job;
        let early = self.has(Bug::CommitBeforeSync) && state.phase == Phase::Running;
        let upto = if early { job.committing } else { job.committed };
        for sink in 0..2 {
            if job.delivered[sink] >= upto || job.attempts[sink] != Attempt::Idle {
                continue;
            }
            if self.has(Bug::DeliveredTrusted) && job.hinted[sink] == job.delivered[sink] {
                steps.push(Step::Announce(sink));
                continue;
            }
            steps.push(Step::Deliver(sink, Outcome::Known));
            if sink == TOKEN_SINK && state.unknowns < self.size.unknowns {
                steps.push(Step::Deliver(sink, Outcome::Silent));
                steps.push(Step::Deliver(sink, Outcome::Late));
            }
        }
        if job.attempts[TOKEN_SINK] == Attempt::Unknown {
            steps.push(Step::Resolve);
        }
        if state.outside[FILE_SINK].renamed.len() > 0 {
            steps.push(Step::SyncDirectory);
        }
    }

    /// Takes one of the steps above.
    pub(crate) fn take(&self, state: &mut State, step: Step) {
        match step {
            Step::Emit(partition) => emit(state, partition),
            Step::StartEpoch => {
                let all_ended = self.ended(state, 0) && self.ended(state, 1);
                let job = &mut state.job;
                job.started += 1;
                job.fresh = false;
                job.last = if all_ended { job.started } else { 0 };
            }
            Step::Inject(partition) => {
                let job = &mut state.job;
                job.injected[partition] += 1;
                job.channels[partition].push(Message::Barrier(job.injected[partition]));
                if !self.has(Bug::LatePosition) {
                    locate(state, partition);
                }
            }
            Step::Locate(partition) => locate(state, partition),
            Step::Take(partition) => self.take_message(state, partition),
            Step::Stage(sink) => self.stage(state, sink),
            Step::SyncFile => state.files.as_mut_slice().iter_mut().for_each(|file| file.synced = true),
            Step::AppendCommit => {
                state.job.committing += 1;
                state.log.append(Entry::Commit { epoch: state.job.committing });
                if self.has(Bug::AcknowledgedUnsynced) {
                    self.acknowledge(state);
                }
            }
            Step::Sync => {
                state.log.sync();
                state.job.committed = state.job.committing;
                self.acknowledge(state);
            }
            Step::Apply => apply(state, self.applicable(state)),
            Step::Flush => state.store.durable = state.store.current,
            Step::FlushApplied => state.store.durable.applied = state.store.current.applied,
            Step::Truncate => state.log.truncate_below(self.floor(state)),
            // Nothing but what the readers see matters any more.
            Step::Finish => {
                let (outside, broken, crashes) = (state.outside, state.broken, state.crashes);
                *state = State { phase: Phase::Finished, crashes, outside, broken, ..State::default() };
            }
            step => self.take_outside(state, step),
        }
    }

    fn take_outside(&self, state: &mut State, step: Step) {
        match step {
            Step::Announce(sink) => {
                state.job.hinted[sink] += 1;
                state.log.append(Entry::Delivered { epoch: state.job.hinted[sink], sink: sink as u8 });
            }
            Step::Deliver(TOKEN_SINK, outcome) => self.deliver_by_token(state, outcome),
            Step::Deliver(..) => self.deliver_file(state),
            Step::LateArrives => {
                if let Some((epoch, output)) = state.outside[TOKEN_SINK].late.take() {
                    state.outside[TOKEN_SINK].show(epoch, output);
                }
            }
            Step::Resolve => self.resolve(state),
            Step::SyncDirectory => {
                let newest = state.outside[FILE_SINK].sync_names();
                if let (Attempt::Renamed, Some(epoch)) = (state.job.attempts[FILE_SINK], newest) {
                    state.job.attempts[FILE_SINK] = Attempt::Idle;
                    self.delivered(state, FILE_SINK, epoch);
                }
            }
            _ => {}
        }
    }

    /// Senders are answered as early as it is allowed; later is no worse, because they keep more.
    fn acknowledge(&self, state: &mut State) {
        for partition in 0..2 {
            let position = if self.has(Bug::AcknowledgedAsRead) {
                state.job.position[partition]
            } else {
                state.log.position(partition, state.job.committing)
            };
            let acknowledged = &mut state.acknowledged[partition];
            *acknowledged = position.max(*acknowledged);
        }
    }

    fn take_message(&self, state: &mut State, partition: usize) {
        let (job, log) = (&mut state.job, &mut state.log);
        let operator = &mut job.operator;
        match job.channels[partition].take_first() {
            Some(Message::Record(record)) => {
                operator.values.add(record);
                operator.output.add(record);
                operator.blob += 1;
                operator.changed |= key(record);
            }
            Some(Message::Barrier(epoch)) => {
                operator.blocked[partition] = true;
                if operator.blocked == [true; 2] {
                    operator.blocked = [false; 2];
                    operator.aligned = epoch;
                    let (keys, values) = (operator.changed, operator.values.of_keys(operator.changed));
                    let blob = if self.has(Bug::BlobMissing) { 0 } else { operator.blob };
                    log.append(Entry::Delta { epoch, keys, values, blob });
                    job.closed.push((epoch, operator.output));
                    operator.changed = 0;
                    operator.output = Fold::default();
                }
            }
            None => {}
        }
    }

    fn stage(&self, state: &mut State, sink: usize) {
        let job = &mut state.job;
        job.staged[sink] += 1;
        let epoch = job.staged[sink];
        let closed = job.closed.iter().find(|(of, _)| *of == epoch);
        let output = closed.map_or(Fold::default(), |(_, output)| output);
        state.log.append(Entry::Staged { epoch, sink: sink as u8, output });
        // An epoch without output has no file.
        if sink == FILE_SINK && output != Fold::default() {
            let synced = !self.has(Bug::AckBeforeFileSync);
            let mut file = File { epoch, output, synced };
            let stale = state.files.iter().find(|file| file.epoch == epoch);
            if let (true, Some(stale)) = (self.has(Bug::StaleStagedFile), stale) {
                file.output.add_all(stale.output);
            }
            state.files.retain(|file| file.epoch != epoch);
            state.files.push(file);
            state.files.as_mut_slice().sort_unstable();
        }
        let staged = job.staged[0].min(job.staged[1]);
        job.closed.retain(|(epoch, _)| epoch > staged);
    }

    /// The epoch that a sink commits next.
    fn next_of(&self, state: &State, sink: usize) -> u8 {
        if self.has(Bug::NewestFirst) { state.job.committed } else { state.job.delivered[sink] + 1 }
    }

    fn deliver_by_token(&self, state: &mut State, outcome: Outcome) {
        let epoch = self.next_of(state, TOKEN_SINK);
        let output = state.log.staged(TOKEN_SINK, epoch).unwrap_or_default();
        let outside = &mut state.outside[TOKEN_SINK];
        match outcome {
            Outcome::Known | Outcome::Silent => outside.show(epoch, output),
            Outcome::Late => outside.late = Some((epoch, output)),
        }
        if outcome == Outcome::Known {
            self.delivered(state, TOKEN_SINK, epoch);
        } else {
            state.unknowns += 1;
            state.job.attempts[TOKEN_SINK] = Attempt::Unknown;
        }
    }

    /// Decides about a commit without an answer: shut the old request out first, then read the token.
    fn resolve(&self, state: &mut State) {
        let epoch = self.next_of(state, TOKEN_SINK);
        state.job.attempts[TOKEN_SINK] = Attempt::Idle;
        if !self.has(Bug::ReadWithoutFence) {
            state.outside[TOKEN_SINK].late = None;
        }
        let shown = match self.bug {
            Some(Bug::UnknownIsFailure) => false,
            Some(Bug::UnknownIsSuccess) => true,
            _ => state.outside[TOKEN_SINK].token >= epoch,
        };
        if shown {
            self.delivered(state, TOKEN_SINK, epoch);
        }
    }

    fn deliver_file(&self, state: &mut State) {
        let epoch = self.next_of(state, FILE_SINK);
        // The log says what is to be shown: a file that it does not name is garbage of an aborted attempt.
        let named = state.log.staged(FILE_SINK, epoch).is_some();
        let found = state.files.iter().find(|file| named && file.epoch == epoch);
        state.files.retain(|file| file.epoch != epoch);
        let Some(file) = found else {
            // It has its name already, or the epoch is empty.
            self.delivered(state, FILE_SINK, epoch);
            return;
        };
        state.outside[FILE_SINK].renamed.push(file);
        state.outside[FILE_SINK].show(epoch, file.output);
        if self.has(Bug::DeliveredBeforeDirectorySync) {
            self.delivered(state, FILE_SINK, epoch);
        } else {
            state.job.attempts[FILE_SINK] = Attempt::Renamed;
        }
    }

    fn delivered(&self, state: &mut State, sink: usize, epoch: u8) {
        state.job.delivered[sink] = epoch;
        if !self.has(Bug::DeliveredTrusted) && self.size.hints {
            state.log.append(Entry::Delivered { epoch, sink: sink as u8 });
        }
    }
}

fn emit(state: &mut State, partition: usize) {
    let job = &mut state.job;
    job.channels[partition].push(Message::Record(record(partition, job.position[partition])));
    job.position[partition] += 1;
    job.fresh = true;
}

fn locate(state: &mut State, partition: usize) {
    let job = &mut state.job;
    job.located[partition] += 1;
    let (epoch, position) = (job.located[partition], job.position[partition]);
    state.log.append(Entry::Positions { epoch, partition: partition as u8, position });
}

/// Brings the store to an epoch: the deltas of all epochs between, in order, in one write.
pub(crate) fn apply(state: &mut State, upto: u8) {
    let view = &mut state.store.current;
    for epoch in view.applied + 1..=upto {
        if let Some((keys, values, _)) = state.log.delta(epoch) {
            view.values = view.values.of_keys(3 & !keys);
            view.values.add_all(values);
        }
    }
    view.applied = view.applied.max(upto);
}
