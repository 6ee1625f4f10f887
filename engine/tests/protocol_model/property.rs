//! What must hold in every state, and what must happen in some.

use stateright::{Model, Property};

use super::list::{Fold, record};
use super::log::Entry;
use super::state::{Attempt, Message, Phase, State, TOKEN_SINK};
use super::step::{Protocol, Step};

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        match state.phase {
            Phase::Finished => return,
            Phase::Running => {
                self.data_steps(state, steps);
                self.log_steps(state, steps);
                self.sink_steps(state, steps);
            }
            phase => {
                self.recovery_steps(state, steps);
                if phase == Phase::Recommit {
                    self.sink_steps(state, steps);
                }
            }
        }
        self.fault_steps(state, steps);
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        match step {
            Step::Recover => self.recover(&mut state),
            Step::Restart => self.restart(&mut state),
            Step::Crash { .. } | Step::Kill | Step::Pause | Step::ZombieCommit | Step::ZombieDeliver(_) => {
                self.take_fault(&mut state, step);
            }
            step => self.take(&mut state, step),
        }
        watch(before, &mut state, step);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = always();
        if self.bug.is_none() {
            properties.extend(sometimes());
        }
        properties
    }
}

/// Notes what only the comparison of two states shows.
fn watch(before: &State, after: &mut State, step: Step) {
    let power_loss = matches!(step, Step::Crash { .. });
    for sink in 0..2 {
        let ((kept, token), (kept_after, token_after)) =
            (before.outside[sink].kept(), after.outside[sink].kept());
        after.broken.retracted |= !kept_after.includes(kept);
        // A rename whose directory is not synced is the one thing that may vanish, and only with the power.
        after.broken.retracted |=
            !power_loss && !after.outside[sink].seen.includes(before.outside[sink].seen);
        after.broken.went_back |= token_after < token;
    }
    let finished = after.phase == Phase::Finished;
    after.broken.went_back |= !finished && after.log.last_commit() < before.log.last_commit();
}

/// True if no record appears twice.
fn without_duplicate(seen: Fold) -> bool {
    (0..8).all(|record| seen.count(record) <= 1)
}

/// True if the records of each partition are there from the first on.
fn without_gap(seen: Fold) -> bool {
    (0..2).all(|partition| {
        let there = |index| seen.count(record(partition, index)) > 0;
        (1..4).all(|index| there(index - 1) || !there(index))
    })
}

/// The records that the operator has taken, judged by what the sources have sent and the channels hold.
fn taken(state: &State) -> Fold {
    let mut taken = Fold::before(state.job.position);
    for message in state.job.channels.iter().flat_map(|channel| channel.as_slice()) {
        if let Message::Record(record) = message {
            let mut one = Fold::default();
            one.add(*record);
            taken.remove_all(one);
        }
    }
    taken
}

fn always() -> Vec<Property<Protocol>> {
    vec![
        Property::always("no reader sees a duplicate", |_, state: &State| {
            state.outside.iter().all(|outside| without_duplicate(outside.seen))
        }),
        Property::always("no reader sees a gap", |_, state: &State| {
            state.outside.iter().all(|outside| without_gap(outside.seen))
        }),
        Property::always("readers at the same epoch see the same", |_, state: &State| {
            let [first, second] = &state.outside;
            first.token != second.token || first.seen == second.seen
        }),
        Property::always("what was visible stays", |_, state: &State| !state.broken.retracted),
        Property::always("the state is the fold of the records before the cut", |_, state: &State| {
            let operator = &state.job.operator;
            let taken = taken(state);
            state.phase != Phase::Running || operator.values == taken && operator.blob == taken.total()
        }),
        Property::always("what was acknowledged is not read again", |_, state: &State| {
            let read = state.job.position.iter().zip(&state.acknowledged);
            state.phase != Phase::Running || read.into_iter().all(|(read, acknowledged)| read >= acknowledged)
        }),
        Property::always("epochs do not go back", |_, state: &State| !state.broken.went_back),
        Property::always("a zombie changes nothing visible", |_, state: &State| !state.broken.zombie_shown),
        Property::always("the end has everything once", |protocol: &Protocol, state: &State| {
            let mut steps = Vec::new();
            protocol.actions(state, &mut steps);
            let everything = protocol.everything();
            let complete = state.outside.iter().all(|outside| outside.kept().0 == everything);
            !steps.is_empty() || state.phase == Phase::Finished && complete
        }),
    ]
}

/// Against vacuity: the interesting things do happen.
fn sometimes() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("a job finishes after all its crashes", |protocol: &Protocol, state: &State| {
            state.phase == Phase::Finished && state.crashes == protocol.size.crashes
        }),
        Property::sometimes("recovery commits a pending epoch", |_, state: &State| {
            state.phase == Phase::Recommit && state.job.delivered[0] < state.job.committed
        }),
        Property::sometimes("recovery finds several epochs pending", |_, state: &State| {
            state.phase == Phase::Recommit && state.job.delivered[1] + 1 < state.job.committed
        }),
        Property::sometimes("a zombie is rejected", |_, state: &State| {
            state.zombie.is_some_and(|zombie| zombie.rejected)
        }),
        Property::sometimes("the store is two epochs behind", |_, state: &State| {
            state.job.committed >= state.store.current.applied + 2
        }),
        Property::sometimes("two epochs are in flight", |_, state: &State| {
            state.job.started >= state.job.committed + 2
        }),
        Property::sometimes("an unknown outcome was a success", |_, state: &State| {
            let unknown = state.job.attempts[TOKEN_SINK] == Attempt::Unknown;
            unknown && state.outside[TOKEN_SINK].token > state.job.delivered[TOKEN_SINK]
        }),
        Property::sometimes("an unknown outcome was a failure", |_, state: &State| {
            let unknown = state.job.attempts[TOKEN_SINK] == Attempt::Unknown;
            unknown && state.outside[TOKEN_SINK].token == state.job.delivered[TOKEN_SINK]
        }),
        Property::sometimes("the log was truncated", |_, state: &State| state.log.first_epoch() > 1),
        Property::sometimes("a half-written record is found", |_, state: &State| {
            state.phase == Phase::Read && state.log.torn.is_some()
        }),
        Property::sometimes("an empty epoch is committed", |_, state: &State| {
            let last = state.log.last_commit();
            last > 0
                && state.log.durable.iter().any(|entry| {
                    matches!(entry, Entry::Staged { epoch, output, .. }
                        if epoch == last && output == Fold::default())
                })
        }),
        Property::sometimes("an epoch waits for the other input", |_, state: &State| {
            let operator = &state.job.operator;
            operator.blocked[0] && matches!(state.job.channels[0].iter().next(), Some(Message::Record(_)))
        }),
    ]
}

/// Names of what must happen in some run.
pub(crate) fn events() -> Vec<&'static str> {
    sometimes().iter().map(|property| property.name).collect()
}
