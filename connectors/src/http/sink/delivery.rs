//! `Delivery`: one request until it is taken or refused, or nobody waits any longer.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::time::Duration;

use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};
use ureq::Agent;
use ureq::http::header::{LOCATION, RETRY_AFTER};
use ureq::http::{HeaderName, HeaderValue, StatusCode};

/// The pause before the second attempt, and the longest; each is twice as long as the one before.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How much of an answer is read.
const ANSWER_BYTES_MAX: u64 = 2 << 10;
/// How much of it is shown in an error.
const SHOWN_CHARS_MAX: usize = 300;

/// A receiver, and how to speak with it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) agent: Agent,
    /// Where requests go. May be a secret, and is not shown.
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: &'static str,
    pub(super) patience: Duration,
    pub(super) clock: SystemClock,
}

/// A URL of which only the host is shown: paths and queries of webhooks are passwords.
#[derive(Clone)]
pub(super) struct Url {
    pub(super) whole: String,
    pub(super) shown: String,
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A receiver says no, and would say so again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) answer: String,
}

/// How an attempt ended.
enum Attempt {
    Taken,
    Refused(Refusal),
    /// Another one may succeed, after this time if the receiver has said one.
    Later {
        cause: String,
        after: Option<Duration>,
    },
}

impl Delivery {
    /// Sends a request until it is taken or refused.
    ///
    /// # Errors
    /// The receiver is away for longer than anybody waits.
    pub(super) fn deliver(&self, key: &str, body: &[u8]) -> Result<Option<Refusal>> {
        let (mut since_ms, mut pause, mut attempts) = (None, PAUSE.0, 0_u64);
        loop {
            attempts += 1;
            let (cause, after) = match self.attempt(key, body) {
                Attempt::Taken => return Ok(None),
                Attempt::Refused(refusal) => return Ok(Some(refusal)),
                Attempt::Later { cause, after } => (cause, after),
            };
            let now_ms = self.clock.monotonic_ms();
            let waited = Duration::from_millis(now_ms - *since_ms.get_or_insert(now_ms));
            let Some(left) = self.patience.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(self.away(attempts, &cause));
            };
            self.wait(after.unwrap_or_else(|| jittered(pause)).min(left));
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn away(&self, attempts: u64, cause: &str) -> Error {
        Error::failed(format!(
            "{} has not taken a request for {:?} ({attempts} attempts): {cause}; when it is back, run the job again: \
             nothing is lost, the next run sends what this one could not, under the same keys; a sink with more \
             `.patience(..)` waits longer",
            self.url.shown, self.patience
        ))
    }

    fn attempt(&self, key: &str, body: &[u8]) -> Attempt {
        let mut request = self.agent.post(self.url.whole.as_str()).content_type(self.content);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = match request.header("Idempotency-Key", key).send(body) {
            Ok(response) => response,
            // Broken, slow or away: nobody knows whether the request was taken.
            Err(error) => return Attempt::Later { cause: describe(&error), after: None },
        };
        let mut answer = Vec::new();
        // The status says what counts; what follows is for people.
        let _ = response.body_mut().as_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        let (status, headers) = (response.status(), response.headers());
        if status.is_success() {
            return Attempt::Taken;
        }
        let mut answer = String::from_utf8_lossy(&answer).trim().to_owned();
        if is_passing(status) {
            let after = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            let cause = format!("it answers {}", show(status.as_u16(), &answer));
            return Attempt::Later { cause, after: after.map(Duration::from_secs) };
        }
        if status.is_redirection() && headers.contains_key(LOCATION) {
            answer = "it is elsewhere, and a POST is not sent on: give the sink the new URL".to_owned();
        }
        Attempt::Refused(Refusal { status: status.as_u16(), answer })
    }

    fn wait(&self, time: Duration) {
        let end_ms = self.clock.monotonic_ms() + time.as_millis() as u64;
        loop {
            let now_ms = self.clock.monotonic_ms();
            if now_ms >= end_ms {
                return;
            }
            // Whoever unparks the thread for something else does not end the pause.
            std::thread::park_timeout(Duration::from_millis(end_ms - now_ms));
        }
    }

    /// # Errors
    /// Always: what a refusal means where nobody keeps refused requests.
    pub(super) fn refused(&self, key: &str, rows: u32, refusal: &Refusal) -> Error {
        let said = show(refusal.status, &refusal.answer);
        let rows = if rows == 1 { "a row".to_owned() } else { format!("a request of {rows} rows") };
        Error::failed(format!(
            "{} refuses {rows} (Idempotency-Key {key}) with {said}; mend the receiver, and run the job again: it \
             sends this request again; or add `.dead_letters(FILE)` to the sink, which keeps what is refused and \
             goes on",
            self.url.shown
        ))
    }
}

/// Whether the same request may be taken later: the receiver is busy, slow, or is taking it at this moment.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
}

fn show(status: u16, answer: &str) -> String {
    let shown: String =
        answer.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.is_empty() { format!("{status}") } else { format!("{status}: {shown}") }
}

/// What went wrong, without the URL.
fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "its URL cannot be used".to_owned(),
        error => error.to_string(),
    }
}

/// Between half of a pause and all of it, so that many senders do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(pause) % 512;
    pause / 2 + pause / 1_024 * random as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_between_half_and_all_of_it() {
        for _ in 0..100 {
            let pause = jittered(PAUSE.0);
            assert!(PAUSE.0 / 2 <= pause && pause <= PAUSE.0, "{pause:?}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_and_has_one_line() {
        assert_eq!(show(404, ""), "404");
        assert_eq!(show(422, "no\nsuch\trow"), "422: no such row");
        assert_eq!(show(500, &"ü".repeat(1_000)).chars().count(), 5 + SHOWN_CHARS_MAX);
    }
}
