//! `Tokens`: the compacted topic in which each transaction leaves which epoch it was.
//!
//! A token is written in the transaction of the rows, so it is there if and only if they are. After a crash, or a
//! commit whose outcome nobody knows, it decides.

use std::time::Duration;

use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::{ANSWER, ConsumerClient, KafkaCluster};
use super::topic::ensure_topic;

/// Where tokens are unless said.
pub(super) const TOKEN_TOPIC: &str = "headwater-tokens";

/// Partitions of that topic: jobs that write at the same time seldom share one.
const PARTITIONS: i32 = 16;

/// How long somebody else's transaction may hide what is behind it, in milliseconds.
const OTHERS_MS: u64 = 60_000;

/// How the topic stays small: what is older than a few minutes is one token per subtask.
const TOPIC_SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "600000"),
    ("segment.bytes", "4194304"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// The last rows of a subtask that are in their topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) lineage: u64,
    pub(super) epoch: u64,
    /// Which transaction of the epoch, from 0.
    pub(super) part: u32,
    pub(super) is_last: bool,
}

impl Token {
    /// As text, so that a console consumer shows it.
    pub(super) fn write(&self) -> String {
        let end = if self.is_last { "end" } else { "more" };
        format!("lineage {:016x} epoch {} part {} {end}", self.lineage, self.epoch, self.part)
    }

    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut words = text.split(' ');
        let mut after = |name: &str| (words.next()? == name).then(|| words.next()).flatten();
        let lineage = u64::from_str_radix(after("lineage")?, 16).ok()?;
        let epoch = after("epoch")?.parse().ok()?;
        let part = after("part")?.parse().ok()?;
        let is_last = match words.next()? {
            "end" => true,
            "more" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Token { lineage, epoch, part, is_last })
    }
}

/// The tokens of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    cluster: KafkaCluster,
    pub(super) topic: String,
    partitions: Vec<i32>,
}

impl Tokens {
    /// Makes the topic, unless it is there.
    ///
    /// # Errors
    /// The cluster cannot be reached, or does not let us.
    pub(super) fn open(cluster: KafkaCluster, topic: String) -> Result<Self> {
        let partitions = ensure_topic(&cluster, &topic, PARTITIONS, TOPIC_SETTINGS)?;
        Ok(Tokens { cluster, topic, partitions })
    }

    /// The partition in which the token of a key is.
    pub(super) fn partition(&self, key: &str) -> i32 {
        // FNV-1a: the same for ever, and in no other way special.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let at = hash % self.partitions.len() as u64;
        self.partitions[at as usize]
    }

    /// The newest token of a key. What its transactional id has begun must have come to an end: then what is
    /// not found was never committed.
    ///
    /// # Errors
    /// The cluster cannot be reached.
    pub(super) fn newest(&self, key: &str, partition: i32) -> Result<Option<Token>> {
        let all = self.cluster.consumer(&self.topic, &[("isolation.level", "read_uncommitted")])?;
        let committed = self.cluster.consumer(&self.topic, &[("fetch.wait.max.ms", "10")])?;
        let failed = |error: KafkaError| self.cluster.explain("a token cannot be read", &error, &all.notes);
        let end =
            |client: &ConsumerClient| client.fetch_watermarks(&self.topic, partition, ANSWER).map_err(failed);
        let (low, high) = end(&all)?;
        // Others have tokens here, too: their transactions hide what stands behind them until they end.
        let clock = SystemClock::default();
        while end(&committed)?.1 < high {
            if clock.monotonic_ms() > OTHERS_MS {
                return Err(Error::failed(format!(
                    "a transaction of somebody else has been open in `{}` for {} s",
                    self.topic,
                    OTHERS_MS / 1000
                )));
            }
            committed.poll(Duration::from_millis(20));
        }
        let mut newest = None;
        if low == high {
            return Ok(newest);
        }
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&self.topic, partition, Offset::Offset(low)).map_err(failed)?;
        committed.assign(&place).map_err(failed)?;
        let clock = SystemClock::default();
        loop {
            match committed.poll(Duration::from_millis(100)) {
                Some(Ok(message)) if message.key() == Some(key.as_bytes()) => {
                    let text = message.payload().unwrap_or_default();
                    let token = Token::read(text).ok_or_else(|| {
                        Error::failed(format!(
                            "`{}` holds something that is no token under the key `{key}`: {:?}. Give the sink \
                             another token_topic",
                            self.topic,
                            String::from_utf8_lossy(text)
                        ))
                    })?;
                    newest = Some(token);
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(newest),
                Some(Err(error)) => return Err(failed(error)),
                None if clock.monotonic_ms() < ANSWER.as_millis() as u64 => {}
                None if clock.monotonic_ms() < ANSWER.as_millis() as u64 => {}
                None => {
                    return Err(failed(KafkaError::MessageConsumption(RDKafkaErrorCode::RequestTimedOut)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_as_they_were_written_and_nothing_else_does() {
        let token = Token { lineage: 0xfeed, epoch: 12, part: 3, is_last: true };
        assert_eq!(token.write(), "lineage 000000000000feed epoch 12 part 3 end");
        for token in [token, Token { is_last: false, lineage: u64::MAX, ..token }] {
            assert_eq!(Token::read(token.write().as_bytes()), Some(token));
        }
        for text in ["", "lineage feed epoch 1 part 0", "lineage feed epoch x part 0 end", "\u{ff}"] {
            assert_eq!(Token::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Token::read(format!("{} more", token.write()).as_bytes()), None);
    }
}
