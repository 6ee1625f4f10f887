//! One seeded case: random records in random partitions, window shapes, and limits of the run.

use headwater::prelude::*;

/// What the topology under test works on.
#[derive(Record, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) at: i64,
    pub(crate) key: u32,
    pub(crate) amount: i64,
    pub(crate) label: String,
}

/// Random numbers from a seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Everything that a run depends on.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    /// Lines of text per partition, some of which are no event.
    pub(crate) lines: Vec<Vec<String>>,
    /// Events of a second source, per partition.
    pub(crate) others: Vec<Vec<Event>>,
    /// Some records come later than `disorder_ms` allows.
    pub(crate) has_late: bool,
    pub(crate) disorder_ms: i64,
    pub(crate) lateness_ms: i64,
    pub(crate) tumbling_ms: i64,
    pub(crate) offset_ms: i64,
    pub(crate) size_ms: i64,
    pub(crate) slide_ms: i64,
    pub(crate) config: EngineConfig,
}

impl Case {
    pub(crate) fn new(seed: u64) -> Case {
        let random = &mut Random::new(seed);
        let has_late = random.chance(2);
        let disorder_ms = random.pick(&[0, 1, 5, 40, 300]);
        let partitions = random.pick(&[1, 1, 2, 3, 4]);
        let lines = (0..partitions)
            .map(|_| {
                let events = partition(random, disorder_ms, has_late);
                lines_of(random, &events)
            })
            .collect();
        let others = (0..random.below(3)).map(|_| partition(random, disorder_ms, has_late)).collect();
        let size_ms = random.pick(&[1, 7, 10, 60, 250]);
        Case {
            seed,
            lines,
            others,
            has_late,
            disorder_ms,
            lateness_ms: random.pick(&[0, 0, 3, 50]),
            tumbling_ms: random.pick(&[1, 10, 33, 100, 1000]),
            offset_ms: random.pick(&[0, 0, 3, 1001]),
            size_ms,
            // Often one that does not divide the size.
            slide_ms: (random.below(size_ms as u64) as i64 + 1).max(size_ms / 20),
            config: config(random),
        }
    }

    /// A case whose state outgrows its memory: many keys, long windows, the smallest share.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn spilling(seed: u64, spill_dir: std::path::PathBuf) -> Case {
        let case = Case::new(seed);
        let random = &mut Random::new(seed ^ 0x5b11);
        let has_late = random.chance(2);
        let mut events = || -> Vec<Event> {
            let mut newest = 0;
            let event = |_| {
                let behind = random.below(if has_late { 5_000 } else { case.disorder_ms as u64 + 1 });
                newest += random.below(3) as i64;
                let label = format!("a label that is not kept inline {}", random.below(900));
                let (key, amount) = (random.below(6_000) as u32, random.below(2_000) as i64 - 1_000);
                Event { at: newest - behind as i64, key, amount, label }
            };
            (0..5_000).map(event).collect()
        };
        let others = vec![events()];
        let lines = case.lines.iter().map(|_| events()).collect::<Vec<_>>();
        let lines = lines.iter().map(|events| lines_of(random, events)).collect();
        let mut config = case.config.clone();
        config.state_bytes_max = 1 << 20;
        config.spill_dir = Some(spill_dir);
        config.batch.rows_max = config.batch.rows_max.max(64);
        let (size_ms, slide_ms, tumbling_ms) = (1_000, 350, 1_500);
        Case { lines, others, has_late, size_ms, slide_ms, tumbling_ms, config, ..case }
    }

    /// Which records are late depends on the records alone, not on how partitions interleave.
    pub(crate) fn is_ordered(&self) -> bool {
        self.lines.len() == 1
    }
}

/// Records whose time goes on, within the disorder of the newest unless they are late.
fn partition(random: &mut Random, disorder_ms: i64, has_late: bool) -> Vec<Event> {
    let count = random.pick(&[0, 1, 10, 100, 250]);
    let keys = random.pick(&[1, 2, 20, 500]);
    let step_ms = random.pick(&[1, 4, 30]);
    let mut newest = -(random.below(500) as i64);
    (0..count)
        .map(|_| {
            if random.chance(60) {
                // A gap of days.
                newest += 86_400_000 * random.below(3) as i64;
            }
            let at = match random.below(10) {
                0 if has_late => newest - disorder_ms - random.below(400) as i64,
                0..4 => newest - random.below(disorder_ms as u64 + 1) as i64,
                _ => newest + random.below(step_ms) as i64,
            };
            newest = newest.max(at);
            let amount = random.below(2_000) as i64 - 1_000;
            let label = format!("label-{}", random.below(5)).repeat(1 + random.below(2) as usize);
            Event { at, key: random.below(keys) as u32, amount, label }
        })
        .collect()
}

fn lines_of(random: &mut Random, events: &[Event]) -> Vec<String> {
    let mut lines = Vec::new();
    for event in events {
        if random.chance(20) {
            lines.push("no event at all".to_owned());
        }
        lines.push(format!("{};{};{};{}", event.at, event.key, event.amount, event.label));
    }
    lines
}

fn config(random: &mut Random) -> EngineConfig {
    let mut config = EngineConfig::default().parallelism(random.below(4) as usize + 1);
    config.batch.rows_max = random.pick(&[1, 2, 3, 8, 20, 64, 1024]);
    config.batch.bytes_max = random.pick(&[1, 300, 256 << 10, 256 << 10]);
    config.batch_age_max_ms = random.below(4);
    config.channel.messages_max = random.pick(&[1, 1, 2, 5, 64]);
    config.channel.rows_max = random.pick(&[1, 3, 64, 16 << 10]);
    config.channel.bytes_max = random.pick(&[1, 1000, 4 << 20]);
    config.combined_keys_max = random.pick(&[1, 2, 30, 1 << 17]);
    config.state_bytes_max = random.pick(&[1 << 20, 512 << 20]);
    config.epoch_interval_ms = random.pick(&[1, 5, 200]);
    config.key_groups = random.pick(&[4, 7, 128]);
    config
}
