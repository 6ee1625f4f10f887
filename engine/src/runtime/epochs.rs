//! Which epoch is next, which is complete, which is the last: the rules, whoever drives them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::job::StoreHome;
use crate::epoch::Entry;
use crate::stage::EpochBoard;
use crate::time::{Clock, Epoch};

/// Most epochs on their way through the topology; a slow sink delays the next, and memory stays bounded.
const IN_FLIGHT_MAX: u64 = 2;

/// An epoch that takes longer is something to know about, in milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// An epoch that all instances have passed, on its way to the log.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) epoch: Epoch,
    pub(crate) entries: Vec<Entry>,
    /// The input has ended, and nothing is left to do.
    pub(crate) is_last: bool,
    /// When all had passed it, in milliseconds since 1970.
    pub(crate) wall_ms: i64,
}

/// The epochs of one attempt.
#[derive(Debug)]
pub(crate) struct Epochs {
    board: Arc<EpochBoard>,
    requested: u64,
    /// The newest that was handed out for the log.
    handed: u64,
    committed: u64,
    /// When the newest epochs were asked for, in milliseconds of the monotonic clock.
    begun: VecDeque<(u64, u64)>,
    /// The epoch behind the end of all input.
    last: Option<u64>,
    halting: bool,
    /// The epoch at which the run ends early.
    halt: Option<u64>,
    /// The store that follows the epochs of a durable job.
    store: Option<Arc<StoreHome>>,
}

impl Epochs {
    /// Epochs behind `before`, the last one of an earlier run.
    pub(crate) fn new(board: Arc<EpochBoard>, Epoch(before): Epoch, store: Option<Arc<StoreHome>>) -> Self {
        Epochs {
            board,
            requested: before,
            handed: before,
            committed: before,
            begun: VecDeque::new(),
            last: None,
            halting: false,
            halt: None,
            store,
        }
    }

    /// The newest epoch that is durable.
    pub(crate) fn committed_epoch(&self) -> Epoch {
        Epoch(self.committed)
    }

    /// Ends the run with the next epoch, to go on another time.
    pub(crate) fn halt(&mut self) {
        self.halting = true;
    }

    /// Starts the next epoch, if one may start now, at `now_ms` of the monotonic clock. Behind the end of the
    /// input there is exactly one more.
    pub(crate) fn start(&mut self, now_ms: u64) -> Option<Epoch> {
        if self.last.is_some() || self.halt.is_some() {
            return None;
        }
        let ended = self.board.all_ended();
        let hurry = ended || self.halting;
        if !hurry && self.requested >= self.committed + IN_FLIGHT_MAX {
            return None;
        }
        self.requested += 1;
        if ended {
            self.last = Some(self.requested);
        } else if self.halting {
            self.halt = Some(self.requested);
        }
        if let Some(store) = &self.store {
            store.ask(Epoch(self.requested), now_ms);
        }
        self.begun.push_back((self.requested, now_ms));
        self.board.request(Epoch(self.requested));
        Some(Epoch(self.requested))
    }

    /// True when there is no reason to wait for the interval: the input has ended, the run is to halt, or
    /// sources wait for the store.
    pub(crate) fn is_urgent(&self) -> bool {
        let is_awaited = || self.store.as_ref().is_some_and(|store| store.is_awaited());
        self.last.is_none() && self.halt.is_none() && (self.halting || self.board.all_ended() || is_awaited())
    }

    /// What the oldest epoch waits for, if it has waited for long at `now_ms`. Nothing can be given up: what is
    /// behind it waits for the same.
    pub(crate) fn waiting(&self, now_ms: u64) -> Option<String> {
        let (epoch, begun_ms) = *self.begun.front()?;
        let waited_ms = now_ms.saturating_sub(begun_ms);
        if waited_ms < PATIENCE_MS {
            return None;
        }
        let behind: Vec<_> = self.board.behind(Epoch(epoch)).map(|label| format!("`{label}`")).collect();
        let reason = if behind.is_empty() {
            "the log or a sink has not taken it yet".to_owned()
        } else {
            format!("{} not reached its end yet", are(&behind))
        };
        Some(format!("epoch {epoch} has been under way for {} s: {reason}", waited_ms / 1000))
    }

    /// The next epoch that all instances have passed and that was not handed out yet, at the time by `clock`.
    pub(crate) fn complete(&mut self, clock: &dyn Clock) -> Option<Complete> {
        if self.board.complete().0 <= self.handed {
            return None;
        }
        self.handed += 1;
        let epoch = Epoch(self.handed);
        Some(Complete {
            epoch,
            entries: self.board.take_entries(epoch),
            is_last: self.last == Some(self.handed),
            wall_ms: clock.wall_ms(),
        })
    }

    /// The epoch is durable: sinks may show it; behind the last one, instances end.
    pub(crate) fn commit(&mut self, epoch: Epoch) {
        self.committed = epoch.0;
        self.begun.retain(|(begun, _)| *begun > epoch.0);
        let is_over = self.last == Some(epoch.0) || self.halt == Some(epoch.0);
        self.board.commit(epoch, is_over);
    }
}

/// The first few names, with their verb.
fn are(names: &[String]) -> String {
    const NAMES_MAX: usize = 4;
    let shown = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        1 => format!("{shown} has"),
        count if count <= NAMES_MAX => format!("{shown} have"),
        count => format!("{shown} and {} more have", count - NAMES_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::InstanceWaker;

    #[test]
    fn an_old_epoch_says_which_instances_it_waits_for() {
        let labels = ["clicks[0]", "window[0]", "window[1]"].map(str::to_owned).to_vec();
        let board = EpochBoard::new(labels, vec![InstanceWaker::default(); 3], Epoch(6));
        let mut epochs = Epochs::new(Arc::clone(&board), Epoch(6), None);
        assert_eq!(epochs.start(1_000), Some(Epoch(7)));
        assert_eq!(epochs.start(3_000), Some(Epoch(8)));
        board.pass(0, 7, Vec::new());
        assert_eq!(epochs.waiting(5_999), None, "it may take its time");
        let said = epochs.waiting(6_000).unwrap();
        assert_eq!(
            said,
            "epoch 7 has been under way for 5 s: `window[0]`, `window[1]` have not reached its end yet"
        );
        board.pass(1, 7, Vec::new());
        assert!(epochs.waiting(9_999).unwrap().contains("for 8 s: `window[1]` has not"));
        board.pass(2, 7, Vec::new());
        assert!(epochs.waiting(9_999).unwrap().ends_with("the log or a sink has not taken it yet"));
        epochs.commit(Epoch(7));
        assert_eq!(epochs.waiting(7_999), None, "epoch 8 is younger");
        assert!(epochs.waiting(8_000).unwrap().starts_with("epoch 8 "));
    }
}
