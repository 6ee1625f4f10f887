//! The input of a torture cycle as a function of its seed, for the job and for the oracle.

use clap::Args;
use headwater::Result;
use headwater::prelude::Record;
use headwater::source::{Poll, Source, SourceOutput, SourceReader};

/// Numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Random {
    pub(crate) fn new(seed: u64, of: u64) -> Self {
        Random(mix(seed ^ mix(of)))
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % end.max(1)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What a cycle computes: the same for all runs of the cycle.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Shape {
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) data_seed: u64,
    #[arg(long, hide = true, default_value_t = 4)]
    pub(crate) partitions: u64,
    /// Records of each partition.
    #[arg(long, hide = true, default_value_t = 20_000)]
    pub(crate) records: u64,
    /// Keys of the folds, per partition: each key comes from one partition, so that order counts.
    #[arg(long, hide = true, default_value_t = 5_000)]
    pub(crate) keys: u64,
    #[arg(long, hide = true, default_value_t = 50)]
    pub(crate) groups: u64,
    #[arg(long, hide = true, default_value_t = 1_000)]
    pub(crate) window_ms: i64,
    #[arg(long, hide = true, default_value_t = 1_000)]
    pub(crate) slide_ms: i64,
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) roll_ms: u64,
    /// Records of a partition per millisecond.
    #[arg(long, hide = true, default_value_t = 20)]
    pub(crate) pace: u64,
}

/// A record of the input.
#[derive(Record, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) key: u64,
    pub(crate) group: u64,
    pub(crate) value: u64,
    /// Nonzero for a record that may come too late: a sum of tokens says which ones are in it.
    pub(crate) token: u64,
    pub(crate) at: i64,
}

/// Records come at most this much behind the newest of their partition, but for those that are to be late.
pub(crate) const DISORDER_MS: i64 = 250;

const STEP_MS: i64 = 2;

impl Shape {
    pub(crate) fn draw(seed: u64, cycle: u64) -> Self {
        let mut random = Random::new(seed, 2 * cycle);
        let (window_ms, slide_ms) = random.one_of(&[(1_000, 1_000), (2_000, 500), (500, 500)]);
        Shape {
            data_seed: random.below(u64::MAX),
            partitions: 1 + random.below(5),
            records: 14_000 + random.below(16_000),
            keys: random.one_of(&[50, 2_000, 6_000]),
            groups: random.one_of(&[10, 50, 400]),
            window_ms,
            slide_ms,
            roll_ms: random.one_of(&[0, 0, 40, 400]),
            pace: random.one_of(&[12, 20]),
        }
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        let Shape { data_seed, partitions, records, keys, groups, window_ms, slide_ms, roll_ms, pace } = self;
        vec![
            format!("--data-seed={data_seed}"),
            format!("--partitions={partitions}"),
            format!("--records={records}"),
            format!("--keys={keys}"),
            format!("--groups={groups}"),
            format!("--window-ms={window_ms}"),
            format!("--slide-ms={slide_ms}"),
            format!("--roll-ms={roll_ms}"),
            format!("--pace={pace}"),
        ]
    }

    /// One partition has more records than the one before it.
    pub(crate) fn records_of(&self, partition: u64) -> u64 {
        self.records + partition * 500
    }

    pub(crate) fn event(&self, partition: u64, index: u64) -> Event {
        let id = partition << 32 | index;
        let random = mix(self.data_seed ^ mix(id));
        let part = |shift: u32| random >> shift & 0xffff;
        let straggles = part(0).is_multiple_of(97);
        let newest = 1_000_000 + index as i64 * STEP_MS;
        let behind = if straggles { 2_000 + part(16) as i64 % 12_000 } else { part(16) as i64 % 200 };
        Event {
            id,
            key: partition * self.keys + (random >> 20) % self.keys,
            group: (random >> 24) % self.groups,
            value: part(48) % 1_000,
            token: if straggles { mix(random) >> 24 | 1 } else { 0 },
            at: newest - behind,
        }
    }

    /// Partition by partition.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> + use<> {
        let shape = *self;
        (0..shape.partitions).flat_map(move |partition| {
            (0..shape.records_of(partition)).map(move |index| shape.event(partition, index))
        })
    }
}

/// The events as a source whose position is an offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events(pub(crate) Shape);

struct Reader {
    shape: Shape,
    partition: u64,
    next: u64,
    /// Where and when this reader began, for its pace.
    began: u64,
    began_ms: Option<u64>,
}

impl Source for Events {
    type Record = Event;
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        Ok((0..self.0.partitions).map(|partition| partition.to_string()).collect())
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<Event, u64>>> {
        let partition = partition.parse().map_err(headwater::Error::failed)?;
        let next = position.unwrap_or(0);
        Ok(Box::new(Reader { shape: self.0, partition, next, began: next, began_ms: None }))
    }
}

impl SourceReader<Event, u64> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, Event>) -> Result<Poll> {
        let now_ms = out.clock().monotonic_ms();
        let began_ms = *self.began_ms.get_or_insert(now_ms);
        let end = self.shape.records_of(self.partition);
        let allowed = self.began + (1 + now_ms.saturating_sub(began_ms)) * self.shape.pace;
        // Less than a batch, so that an epoch may find one half filled.
        let due = allowed.min(self.next + 1 + mix(self.next) % 60);
        while self.next < end.min(due) && !out.is_full() {
            out.push(self.shape.event(self.partition, self.next).view())?;
            self.next += 1;
        }
        Ok(if self.next == end {
            Poll::Finished
        } else if self.next < allowed {
            Poll::More
        } else {
            Poll::Idle
        })
    }

    fn position(&self) -> u64 {
        self.next
    }
}
