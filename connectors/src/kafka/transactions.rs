//! `Transactions`: an epoch of a subtask becomes one short transaction, with a token of the epoch in it.
//!
//! The rows of an epoch are in the epoch log before its transaction begins, so a transaction lasts as long as
//! sending them takes, whatever the interval of the epochs: nothing is lost by a time-out, and readers of
//! `read_committed` wait for nobody. An epoch that is larger than `PART_BYTES` is several transactions.
//!
//! Who sends the rows of a subtask does so under the transactional id of that subtask, which ends what an earlier
//! process has begun under it and shuts that process out. Then the token says what is in the topic already. So
//! it does not matter which process sends: one that was stopped in the middle of it, and goes on when another has
//! taken its place, finds the token of its epoch, and then loses the job's lock.

use std::collections::HashMap;
use std::time::Duration;

use headwater::time::{Clock, Epoch, SystemClock};
use headwater::{Error, Result};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;

use super::cluster::{ANSWER, KafkaCluster};
use super::producer::ProducerClient;
use super::staged::{Author, NO_TIMESTAMP, Row, Rows};
use super::token::{Token, Tokens};

/// Rows of one transaction, in bytes: sending them takes less than the time-out of a transaction. After a crash an
/// epoch is divided again, so this must never change.
const PART_BYTES: usize = 16 << 20;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Rows between two calls of the client.
const ROWS_PER_SERVE: usize = 1024;

/// Why an attempt failed.
enum Trouble {
    /// It may be better next time.
    Passing(Error),
    /// It stays as it is.
    Lasting(Error),
}

/// Sends epochs to one topic.
pub(super) struct Transactions {
    pub(super) cluster: KafkaCluster,
    pub(super) topic: String,
    /// What the transactional ids begin with.
    pub(super) id: String,
    pub(super) tokens: Tokens,
    pub(super) timeout: Duration,
    pub(super) patience: Duration,
    pub(super) clients: HashMap<u32, Identity>,
}

/// The transactional id of a subtask, which this process has.
pub(super) struct Identity {
    client: ProducerClient,
    key: String,
    /// Where its tokens are, and the newest.
    partition: i32,
    token: Option<Token>,
}

impl Transactions {
    /// Brings the rows of an epoch into the topic, unless they are there.
    ///
    /// # Errors
    /// The cluster was away for too long, does not let us, or somebody else uses the id.
    pub(super) fn deliver(&mut self, epoch: Epoch, author: Author, rows: Rows<'_>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let clock = SystemClock::default();
        loop {
            match self.attempt(epoch, author, rows) {
                Ok(()) => return Ok(()),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(error)) => {
                    let waited_ms = clock.monotonic_ms();
                    tracing::warn!(%error, %epoch, waited_ms, "an epoch could not be sent to Kafka");
                    if waited_ms > self.patience.as_millis() as u64 {
                        return Err(Error::failed(format!(
                            "{error} (for {} s; nothing is lost: the rows are in the epoch log, start the job \
                             again when the cluster is back)",
                            waited_ms / 1000
                        )));
                    }
                    // What became of the transaction is not known: the next attempt finds out.
                    std::thread::park_timeout(PAUSE);
                }
            }
        }
    }

    fn attempt(&mut self, epoch: Epoch, author: Author, mut rows: Rows<'_>) -> Result<(), Trouble> {
        let mut identity = match self.clients.remove(&author.subtask) {
            Some(identity) => identity,
            None => self.connect(author.subtask)?,
        };
        let done = match parts_done(identity.token, epoch, author) {
            Some(Done::All) => u32::MAX,
            Some(Done::Parts(parts)) => parts,
            None => return Err(Trouble::Lasting(self.not_ours(&identity))),
        };
        let mut part = 0;
        while !rows.is_empty() && done != u32::MAX {
            let some = rows.cut(PART_BYTES).map_err(Trouble::Lasting)?;
            if part >= done {
                let is_last = rows.is_empty();
                let token = Token { lineage: author.lineage, epoch: epoch.0, part, is_last };
                self.send_part(&identity, some, token)?;
                identity.token = Some(token);
            }
            part += 1;
        }
        self.clients.insert(author.subtask, identity);
        Ok(())
    }

    #[cold]
    fn not_ours(&self, identity: &Identity) -> Error {
        Error::failed(format!(
            "the token of `{}` in the topic `{}` {}: does another job write with exactly_once({:?})? Every sink \
             needs an id of its own. Nothing was written",
            identity.key,
            self.tokens.topic,
            if identity.token.is_some() { "belongs to another job" } else { "is gone" },
            self.id
        ))
    }

    /// Takes the transactional id of a subtask: what another process has begun under it has come to an end.
    fn connect(&self, subtask: u32) -> Result<Identity, Trouble> {
        let key = format!("{}-{subtask}", self.id);
        let timeout_ms = self.timeout.as_millis().to_string();
        let own = [
            ("transactional.id", key.as_str()),
            ("transaction.timeout.ms", timeout_ms.as_str()),
            ("linger.ms", "1"),
        ];
        let client = ProducerClient::new(&self.cluster, &own).map_err(Trouble::Lasting)?;
        let partition = self.tokens.partition(&key);
        let begun = client.producer.init_transactions(ANSWER);
        begun.map_err(|error| self.trouble("the transactional id cannot be taken", &error, &client))?;
        let token = self.tokens.newest(&key, partition).map_err(Trouble::Passing)?;
        Ok(Identity { client, key, partition, token })
    }

    fn send_part(&self, identity: &Identity, mut rows: Rows<'_>, token: Token) -> Result<(), Trouble> {
        let client = &identity.client;
        let failed = |what: &'static str| move |error| self.trouble(what, &error, client);
        client.producer.begin_transaction().map_err(failed("a transaction cannot begin"))?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(Trouble::Lasting)? {
            client.send(&self.topic, row, None).map_err(failed("a row cannot be sent"))?;
            count += 1;
            if count % ROWS_PER_SERVE == 0 {
                client.producer.poll(Duration::ZERO);
            }
        }
        let text = token.write();
        let row = Row { key: Some(identity.key.as_bytes()), value: text.as_bytes(), timestamp: NO_TIMESTAMP };
        client
            .send(&self.tokens.topic, row, Some(identity.partition))
            .map_err(failed("a token cannot be sent"))?;
        client.drain();
        if let Some(said) = client.notes.take_undelivered() {
            // So that readers need not wait for the time-out; whether it works or not, a new client follows.
            let _ = client.producer.abort_transaction(ANSWER);
            return Err(Trouble::Passing(Error::failed(format!(
                "Kafka at {}: {said}",
                self.cluster.brokers()
            ))));
        }
        let clock = SystemClock::default();
        loop {
            match client.producer.commit_transaction(ANSWER) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && clock.monotonic_ms() < self.patience.as_millis() as u64 => {}
                Err(error) => return Err(self.trouble("a transaction cannot be committed", &error, client)),
            }
        }
    }

    fn trouble(&self, what: &str, error: &KafkaError, client: &ProducerClient) -> Trouble {
        use RDKafkaErrorCode as Code;
        let lasting = [
            Code::MessageSizeTooLarge,
            Code::InvalidMessageSize,
            Code::UnknownTopicOrPartition,
            Code::UnknownTopic,
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
            Code::InvalidTransactionTimeout,
        ];
        let said = self.cluster.explain(what, error, &client.notes);
        match error.rdkafka_error_code() {
            Some(code) if lasting.contains(&code) => Trouble::Lasting(said),
            _ => Trouble::Passing(said),
        }
    }
}

/// What of an epoch is in the topic.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    All,
    Parts(u32),
}

/// What a token says about an epoch; `None` when it cannot be the token of this job.
fn parts_done(token: Option<Token>, Epoch(epoch): Epoch, author: Author) -> Option<Done> {
    match token {
        Some(token) if token.lineage == author.lineage => {
            let is_done = token.epoch > epoch || (token.epoch == epoch && token.is_last);
            let parts = if token.epoch == epoch { token.part + 1 } else { 0 };
            Some(if is_done { Done::All } else { Done::Parts(parts) })
        }
        // A job that has begun anew, whatever there was under its id.
        _ => author.is_first.then_some(Done::Parts(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_decides_what_is_to_be_sent() {
        let author = Author { subtask: 0, lineage: 7, is_first: false };
        let token = |epoch, part, is_last| Some(Token { lineage: 7, epoch, part, is_last });
        assert_eq!(parts_done(token(4, 0, true), Epoch(5), author), Some(Done::Parts(0)));
        assert_eq!(parts_done(token(5, 1, false), Epoch(5), author), Some(Done::Parts(2)));
        assert_eq!(parts_done(token(5, 2, true), Epoch(5), author), Some(Done::All));
        assert_eq!(parts_done(token(6, 0, false), Epoch(5), author), Some(Done::All));
        let other = Some(Token { lineage: 8, epoch: 900, part: 0, is_last: true });
        assert_eq!(parts_done(other, Epoch(5), author), None, "another job has the id");
        assert_eq!(parts_done(None, Epoch(5), author), None, "the token is gone");
        let first = Author { is_first: true, ..author };
        assert_eq!(parts_done(other, Epoch(1), first), Some(Done::Parts(0)), "a job begun anew");
    }
}
