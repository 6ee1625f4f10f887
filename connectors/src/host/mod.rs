//! `HostMetrics`: what this machine is doing, as a stream of readings.
//!
//! 1. `sample`: one look at processors, memory, disks and network

mod sample;

use std::collections::VecDeque;
use std::time::Duration;

use headwater::Result;
use headwater::prelude::Record;
use headwater::source::{Boundedness, Poll, Source, SourceOutput, SourceReader};

use self::sample::Sampler;

/// The shortest time between two samples: reading the counters themselves must stay cheap.
const EVERY_MS_MIN: u64 = 10;

/// One value that a sensor of this host had.
///
/// Sensors: `cpu/total` and `cpu/0` and so on (percent), `mem/used`, `mem/available` and `mem/total`
/// (bytes), `disk/NAME/used` (percent), `disk/NAME/read` and `disk/NAME/write` (bytes per second),
/// `net/NAME/rx` and `net/NAME/tx` (bytes received and sent per second), `load/1`, `load/5` and
/// `load/15` (processes). Interfaces that only reach this host itself are under `loopback/` instead of
/// `net/`.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct HostReading {
    /// What was measured.
    pub sensor: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How much.
    pub value: f64,
    /// The unit of the value: `%`, `B`, `B/s`; empty for a plain number.
    pub unit: String,
}

/// Samples this host's processors, memory, disks, network interfaces and load.
///
/// Bytes per second are a mean since the last sample, so the first comes one interval after the
/// start. Processor usage is measured anew at most every 200 ms; more frequent samples repeat it.
///
/// The present cannot be replayed: a sample whose epoch was not complete when a run failed is lost.
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::HostMetrics;
///
/// let readings = HostMetrics::new().every(ms(250)).samples(40);
/// ```
#[derive(Clone, Debug)]
pub struct HostMetrics {
    every: Duration,
    samples: Option<u64>,
}

impl HostMetrics {
    /// A sample per second, without end.
    #[must_use]
    pub fn new() -> Self {
        HostMetrics { every: Duration::from_secs(1), samples: None }
    }

    /// Takes a sample this often (1 s); not more often than every 10 ms.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        HostMetrics { every, ..self }
    }

    /// Ends after this many samples.
    #[must_use]
    pub fn samples(self, count: u64) -> Self {
        HostMetrics { samples: Some(count), ..self }
    }
}

impl Default for HostMetrics {
    fn default() -> Self {
        HostMetrics::new()
    }
}

impl Source for HostMetrics {
    type Record = HostReading;
    /// How many samples have been taken.
    type Position = u64;

    fn boundedness(&self) -> Boundedness {
        if self.samples.is_some() { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(vec!["host".to_owned()])
    }

    fn open(&self, _: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<HostReading, u64>>> {
        let every_ms = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
        Ok(Box::new(Reader {
            sampler: Sampler::new()?,
            every_ms: every_ms.max(EVERY_MS_MIN),
            samples_left: self.samples.map(|count| count.saturating_sub(position.unwrap_or(0))),
            samples_taken: position.unwrap_or(0),
            sampled_at_ms: None,
            pending: VecDeque::new(),
        }))
    }
}

struct Reader {
    sampler: Sampler,
    every_ms: u64,
    samples_left: Option<u64>,
    samples_taken: u64,
    /// When the last sample was taken, by the monotonic clock.
    sampled_at_ms: Option<u64>,
    /// Readings of the last sample that found no room yet.
    pending: VecDeque<HostReading>,
}

impl SourceReader<HostReading, u64> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, HostReading>) -> Result<Poll> {
        let (now_ms, wall_ms) = (out.clock().monotonic_ms(), out.clock().wall_ms());
        if self.pending.is_empty() {
            if self.samples_left == Some(0) {
                return Ok(Poll::Finished);
            }
            if !self.sample(now_ms, wall_ms) {
                return Ok(Poll::Idle);
            }
        }
        while !out.is_full() {
            let Some(reading) = self.pending.pop_front() else { break };
            out.push(reading.view())?;
        }
        let finished = self.pending.is_empty() && self.samples_left == Some(0);
        Ok(match finished {
            true => Poll::Finished,
            false if self.pending.is_empty() => Poll::Idle,
            false => Poll::More,
        })
    }

    fn position(&self) -> u64 {
        self.samples_taken
    }
}

impl Reader {
    /// Takes a sample if one is due, and says whether it was.
    fn sample(&mut self, now_ms: u64, wall_ms: i64) -> bool {
        let Some(sampled_at_ms) = self.sampled_at_ms else {
            self.sampler.refresh();
            self.sampled_at_ms = Some(now_ms);
            return false;
        };
        let passed_ms = now_ms.saturating_sub(sampled_at_ms);
        if passed_ms < self.every_ms {
            return false;
        }
        self.sampler.refresh();
        self.sampled_at_ms = Some(now_ms);
        self.pending.extend(self.sampler.readings(wall_ms, passed_ms));
        self.samples_taken += 1;
        self.samples_left = self.samples_left.map(|left| left - 1);
        true
    }
}
