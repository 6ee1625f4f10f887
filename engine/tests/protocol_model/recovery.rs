//! Crashes, the zombie that a crash may leave, and the steps of recovery.

use super::list::Fold;
use super::log::Entry;
use super::rule::Bug;
use super::state::{Attempt, FILE_SINK, Job, Phase, State, TOKEN_SINK, Zombie};
use super::step::{Protocol, Step, apply};

impl Protocol {
    /// Steps that the outside decides about: crashes, late requests, the zombie.
    pub(crate) fn fault_steps(&self, state: &State, steps: &mut Vec<Step>) {
        if state.outside[TOKEN_SINK].late.is_some() {
            steps.push(Step::LateArrives);
        }
        if let Some(zombie) = state.zombie {
            if !zombie.committed {
                steps.push(Step::ZombieCommit);
            }
            let wanted = (0..2).filter(|sink| zombie.committed && zombie.wants[*sink]);
            steps.extend(wanted.map(Step::ZombieDeliver));
        }
        if state.crashes == self.size.crashes || state.phase == Phase::Down {
            return;
        }
        let length = state.log.tail.len();
        let undone = state.outside[FILE_SINK].renamed.len() > 0;
        for keeps in 0..=length {
            for torn in [false, true] {
                for renames in [false, true] {
                    if (!torn || keeps < length) && (!renames || undone) {
                        steps.push(Step::Crash { keeps, torn, renames });
                    }
                }
            }
        }
        steps.push(Step::Kill);
        if self.size.zombies && state.phase == Phase::Running && self.zombie_of(state).is_some() {
            steps.push(Step::Pause);
        }
    }

    /// What the running job could still do to the outside world if it were taken for dead now.
    fn zombie_of(&self, state: &State) -> Option<Zombie> {
        let job = &state.job;
        let next = job.delivered[0].min(job.delivered[1]) + 1;
        let acked = self.acked(state) >= next;
        let committed = job.committed >= next;
        if !committed && !acked {
            return None;
        }
        let output = state.log.staged(TOKEN_SINK, next)?;
        let wants = job.delivered.map(|epoch| epoch + 1 == next);
        let unknown = job.attempts[TOKEN_SINK] == Attempt::Unknown;
        Some(Zombie { epoch: next, output, committed, wants, unknown, ..Zombie::default() })
    }

    pub(crate) fn take_fault(&self, state: &mut State, step: Step) {
        match step {
            Step::Crash { keeps, torn, renames } => {
                state.log.keep_of_tail(keeps);
                if torn && state.log.torn.is_none() {
                    state.log.torn = Some(state.log.last_commit());
                }
                let outside = &mut state.outside[FILE_SINK];
                if !renames {
                    outside.undo_names().iter().for_each(|file| state.files.push(file));
                    state.files.as_mut_slice().sort_unstable();
                }
                outside.sync_names();
                for file in state.files.as_mut_slice().iter_mut().filter(|file| !file.synced) {
                    (file.output, file.synced) = (Fold::default(), true);
                }
                state.zombie = None;
                self.fall(state);
            }
            // The machine lives: nothing is lost but the job's memory, and nothing becomes durable either.
            Step::Kill => self.fall(state),
            Step::Pause => {
                state.zombie = self.zombie_of(state);
                self.fall(state);
            }
            Step::ZombieCommit => self.zombie_commit(state),
            Step::ZombieDeliver(sink) => self.zombie_deliver(state, sink),
            _ => {}
        }
    }

    fn fall(&self, state: &mut State) {
        state.crashes += 1;
        state.phase = Phase::Down;
        state.job = Job::default();
        state.store.current = state.store.durable;
        // What was appended behind garbage is never found again.
        if self.has(Bug::AppendAfterTorn)
            && let Some(last) = state.log.torn
        {
            state.log.durable.retain(|entry| entry.epoch() <= last);
        }
    }

    fn zombie_commit(&self, state: &mut State) {
        let Some(zombie) = &mut state.zombie else { return };
        zombie.committed = true;
        let commit = Entry::Commit { epoch: zombie.epoch };
        // Before its segment is cut, the append is as good as any: recovery finds the commit. After it, the
        // record lies behind the end that the next segment names, and no reader goes there, now or later.
        if !zombie.cut {
            if state.log.tail.iter().all(|entry| entry != commit) {
                state.log.append(commit);
            }
            state.log.sync();
        } else if self.has(Bug::ZombieAppendAccepted) {
            state.log.durable.push(commit);
            state.log.keep_durable_sorted();
        }
    }

    fn zombie_deliver(&self, state: &mut State, sink: usize) {
        let Some(zombie) = &mut state.zombie else { return };
        let (epoch, mut output) = (zombie.epoch, zombie.output);
        if sink == TOKEN_SINK && (zombie.unknown || zombie.fenced[sink]) {
            // It has no answer, or a refusal, so it shuts older requests out and reads the token. Who finds the
            // generation of another there stops; comparing epochs only would let it take the sink back.
            let refused = zombie.fenced[sink] && !self.has(Bug::ZombieFencesBack);
            zombie.rejected |= refused;
            zombie.wants[sink] = !refused && state.outside[sink].token < epoch;
            (zombie.unknown, zombie.fenced[sink]) = (false, refused);
            if !refused {
                state.outside[sink].late = None;
            }
            return;
        }
        zombie.wants[sink] = false;
        if zombie.fenced[sink] {
            zombie.rejected = true;
            return;
        }
        if sink == FILE_SINK {
            let Some(file) = state.files.iter().find(|file| file.epoch == epoch) else { return };
            state.files.retain(|file| file.epoch != epoch);
            output = file.output;
            state.outside[sink].renamed.push(file);
        }
        state.broken.zombie_shown |= zombie.cut;
        state.outside[sink].show(epoch, output);
    }

    /// Steps of recovery, one after the other; a crash starts them anew.
    pub(crate) fn recovery_steps(&self, state: &State, steps: &mut Vec<Step>) {
        if state.phase != Phase::Recommit {
            steps.push(Step::Recover);
        } else if state.job.delivered.iter().all(|epoch| *epoch >= state.job.committed) {
            steps.push(Step::Restart);
        }
    }

    pub(crate) fn recover(&self, state: &mut State) {
        let late = self.has(Bug::FenceAfterRead);
        match state.phase {
            Phase::Down => {}
            Phase::Fence(sink) => self.fence(state, sink),
            Phase::Read => self.read(state),
            _ => apply(state, state.job.committed),
        }
        state.phase = match state.phase {
            Phase::Down if late => Phase::Read,
            Phase::Down => Phase::Fence(TOKEN_SINK),
            Phase::Fence(TOKEN_SINK) => Phase::Fence(FILE_SINK),
            Phase::Fence(_) if late => Phase::Replay,
            Phase::Fence(_) => Phase::Read,
            Phase::Read if late => Phase::Fence(TOKEN_SINK),
            Phase::Read => Phase::Replay,
            _ => Phase::Recommit,
        };
    }

    fn fence(&self, state: &mut State, sink: usize) {
        if self.has(Bug::NoFence) {
            return;
        }
        state.outside[sink].late = None;
        if let Some(zombie) = &mut state.zombie {
            zombie.fenced[sink] = true;
        }
    }

    fn read(&self, state: &mut State) {
        // A killed process leaves appends and renames that no sync has reached: what is trusted is synced first.
        let last = if self.has(Bug::TailTrustedUnsynced) {
            state.log.last_commit_read()
        } else {
            state.log.sync();
            state.log.last_commit()
        };
        if !self.has(Bug::NameTrustedUnsynced) {
            state.outside[FILE_SINK].sync_names();
        }
        if !self.has(Bug::StaleRecords) {
            state.log.cut(last);
        }
        if !self.has(Bug::AppendAfterTorn) {
            state.log.torn = None;
        }
        if !self.has(Bug::StaleStagedFile) {
            let log = state.log;
            state.files.retain(|file| log.staged(FILE_SINK, file.epoch).is_some());
        }
        if let Some(zombie) = &mut state.zombie {
            zombie.cut = true;
        }
        let hints = state.log.hints;
        let job = &mut state.job;
        (job.committing, job.committed) = (last, last);
        let first = state.log.first_epoch();
        for (sink, outside) in state.outside.iter().enumerate() {
            job.delivered[sink] = match self.bug {
                Some(Bug::NoRecommit) => last,
                Some(Bug::RecommitBlindly) => outside.token.min(first.saturating_sub(1)),
                Some(Bug::RecommitLastOnly) => outside.token.max(last.saturating_sub(1)),
                Some(Bug::DeliveredTrusted) => hints[sink],
                _ => outside.token,
            };
        }
        job.hinted = job.delivered;
        // From here on nobody asks for the old hints.
        state.log.hints = job.delivered;
    }

    /// The job starts where the last commit has left it.
    pub(crate) fn restart(&self, state: &mut State) {
        let last = state.job.committed;
        let mut job = Job { committing: last, committed: last, started: last, ..Job::default() };
        (job.delivered, job.hinted) = (state.job.delivered, state.job.hinted);
        job.injected = [last; 2];
        job.located = [last; 2];
        job.staged = [last; 2];
        job.position = [state.log.position(0, last), state.log.position(1, last)];
        job.operator.aligned = last;
        job.operator.values = state.store.current.values;
        job.operator.blob = state.log.delta(last).map_or(0, |(_, _, blob)| blob);
        state.job = job;
        state.phase = Phase::Running;
    }
}
