//! What went wrong with a server, and how long it is tried again.

use std::fmt::Display;
use std::time::Duration;

use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};

/// The pause before the second attempt; each further one is twice as long.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failure<R> {
    /// The connection is lost, or the server is busy; another attempt may succeed. Nobody may know whether the
    /// transaction was committed.
    Lost(String),
    /// The server has not answered for as long as it may.
    Silent,
    /// The server says no, and would say so again.
    Refused(Box<R>),
    /// So do we.
    Failed(Error),
}

impl<R> From<Error> for Failure<R> {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

/// What a server says when it refuses.
pub(crate) trait Refusal {
    /// Its words, in a line.
    fn describe(&self) -> String;

    /// What can be done about it.
    fn way_out(&self) -> &'static str;
}

/// Ways out that are the same for all servers.
pub(crate) mod way {
    pub(crate) const USER: &str = "give the right user and password in the URL";
    pub(crate) const DATABASE: &str = "create the database, or name another in the URL";
    pub(crate) const GRANT: &str = "grant the user what is missing";
    pub(crate) const UNIQUE: &str = "delete the row that is there, or add `.upsert(&[..])` to the sink, and run \
         the job again: it tries this epoch again";
    pub(crate) const NULL: &str =
        "give the column a value in the record, or ALTER the column to DROP NOT NULL, and run the job again";
    pub(crate) const VALUE: &str =
        "ALTER the column to a type that holds the value, and run the job again: it tries this epoch again";
    pub(crate) const CONSTRAINT: &str =
        "change the constraint or the row that is in its way, and run the job again";
    pub(crate) const OTHER: &str =
        "change the table or the sink, and run the job again: it tries this epoch again";
}

/// How long a lock may be waited for: a writer tries a few times before its patience ends.
pub(crate) fn lock_patience(patience: Duration) -> Duration {
    (patience / 4).clamp(Duration::from_millis(100), Duration::from_secs(30))
}

/// One call that is tried until it is done, or patience ends.
#[derive(Debug)]
pub(crate) struct Attempts {
    clock: SystemClock,
    since_ms: Option<u64>,
    pause: Duration,
    patience: Duration,
    later: &'static str,
}

/// What is true of a sink and of a source whose server was away for too long.
pub(crate) const SINK_LATER: &str =
    "nothing is lost, the next run writes what this one could not; `.patience(..)` makes a sink wait longer";
#[cfg(feature = "postgres")]
pub(crate) const SOURCE_LATER: &str =
    "it reads on behind the last committed epoch; `.patience(..)` makes a source wait longer";

impl Attempts {
    /// `later` is what the next run will do.
    pub(crate) fn new(patience: Duration, later: &'static str) -> Self {
        Attempts { clock: SystemClock::default(), since_ms: None, pause: PAUSE.0, patience, later }
    }

    /// The pause before the next attempt.
    ///
    /// # Errors
    /// There is none: what is refused stays refused, or the server is away for too long. `refused` says what it
    /// means when a server that was connected refuses.
    pub(crate) fn after<R: Refusal>(
        &mut self,
        failure: Failure<R>,
        place: &str,
        was_connected: bool,
        refused: impl FnOnce(&R) -> String,
    ) -> Result<Duration> {
        let cause = match failure {
            Failure::Lost(cause) => cause,
            Failure::Silent => return Err(self.away(place, "it does not answer")),
            Failure::Failed(error) => return Err(error.at(place)),
            Failure::Refused(said) if was_connected => return Err(Error::failed(refused(&said))),
            Failure::Refused(said) => {
                return Err(Error::failed(format!("{place}: {}; {}", said.describe(), said.way_out())));
            }
        };
        let now_ms = self.clock.monotonic_ms();
        let waited_ms = now_ms - *self.since_ms.get_or_insert(now_ms);
        if u128::from(waited_ms) >= self.patience.as_millis() {
            return Err(self.away(place, cause));
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE.1);
        Ok(pause)
    }

    fn away(&self, place: &str, cause: impl Display) -> Error {
        Error::failed(format!(
            "{place} cannot be used for {:?}: {cause}; when it is back, run the job again: {}",
            self.patience, self.later
        ))
    }
}
