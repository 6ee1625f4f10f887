//! One run of the job, in a process of its own: what loading and using its state costs, and its memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use benches::meter::{process_cpu_ns, resident_bytes, resident_peak_bytes};
use headwater::batch::Key;
use headwater::prelude::*;
use headwater::runtime::RunningTopology;
use headwater::sink::{Sink, SinkParallelism, SinkWriter, Subtask};
use headwater::state::KeyedState;

use super::data::{Accumulator, Checked, Data, Gates, Payment, Payments, Totals, customer};
use super::{Part, say};

/// Bytes per key by the engine's own accounting: a table without a budget, as full as it gets.
pub(crate) fn bytes_per_key() -> f64 {
    let keys = (1 << 17) / 8 * 7;
    let mut state = KeyedState::<String, Accumulator>::new(None, usize::MAX, 128);
    for number in 0..keys {
        let key = customer(number);
        *state.entry(0, String::hash(&key), &key, Default::default) = (1, 1, 1);
    }
    state.memory_bytes() as f64 / state.len() as f64
}

/// What the sink knows of a run.
struct Seen {
    checked: Checked,
    /// CPU time of the process when the first row came: all records have been counted by then.
    first_row_ns: AtomicU64,
}

/// Looks at every row and keeps none.
struct Check(Arc<Seen>);

impl Sink<WindowResult<String, Totals>> for Check {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<WindowResult<String, Totals>>>> {
        Ok(Box::new(Check(Arc::clone(&self.0))))
    }
}

impl SinkWriter<WindowResult<String, Totals>> for Check {
    fn write(&mut self, batch: &Batch<WindowResult<String, Totals>>) -> Result<()> {
        if self.0.first_row_ns.load(Relaxed) == 0 {
            self.0.first_row_ns.store(process_cpu_ns(), Relaxed);
        }
        batch.for_each(|_, row| self.0.checked.check(row.key, row.value));
        Ok(())
    }
}

/// A job that is being measured.
pub(crate) struct Measured {
    data: Arc<Data>,
    pub(crate) gates: Arc<Gates>,
    seen: Arc<Seen>,
    part: Part,
}

impl Measured {
    pub(crate) fn new(part: &Part, holds: &[u64]) -> Self {
        let data = Data::draw(part.keys, part.records, part.zipf);
        let seen = Seen { checked: Checked::new(&data), first_row_ns: AtomicU64::new(0) };
        let gates = Arc::new(Gates::new(holds));
        Measured { data: Arc::new(data), gates, seen: Arc::new(seen), part: part.clone() }
    }

    pub(crate) fn topology(&self) -> Result<Topology> {
        let (data, gates) = (Arc::clone(&self.data), Arc::clone(&self.gates));
        let source = Payments { data, gates, partitions: self.part.parallelism as u64 };
        let flow = StreamBuilder::new("large_state");
        flow.source("payments", source)
            .event_time(|payment| payment.at, Watermarks::bounded(secs(1)))
            .key_by_field(Payment::CUSTOMER)
            .window(Window::tumbling(secs(10)))
            .aggregate(|a| (a.count(), a.sum(|payment| payment.cents), a.max(|payment| payment.cents)))
            .sink("check", Check(Arc::clone(&self.seen)));
        flow.build()
    }

    pub(crate) fn start(&self) -> Result<RunningTopology> {
        let part = &self.part;
        let mut config = EngineConfig::default().parallelism(part.parallelism);
        config = config.state_bytes_max(part.budget_mib << 20);
        config = match (&part.state, &part.spill) {
            (Some(state), _) => config.state_dir(state).epoch_interval(ms(part.epoch_ms)),
            (None, Some(spill)) => config.spill_dir(spill),
            (None, None) => config,
        };
        self.topology()?.start(config)
    }

    pub(crate) fn is_right(&self) -> bool {
        self.seen.checked.is_right()
    }
}

/// Waits until `running` has read so many records.
pub(crate) fn wait_for_records(running: &RunningTopology, records: u64) -> Result<()> {
    while running.report().records_read() < records {
        if running.wait_for(Duration::from_millis(20)) {
            return Err(Error::failed("the job ended before its input"));
        }
    }
    Ok(())
}

/// Waits until the process does next to nothing: what flushes and compacts has caught up.
pub(crate) fn wait_for_quiet(wait: impl Fn(Duration)) {
    let mut quiet = 0;
    while quiet < 3 {
        let before = process_cpu_ns();
        wait(Duration::from_millis(500));
        quiet = if process_cpu_ns() - before <= 50_000_000 { quiet + 1 } else { 0 };
    }
}

/// Loads all keys, then reads the other records; says what each took. The first half of those warms up.
pub(crate) fn run(part: &Part) -> Result<()> {
    let warm = part.keys + part.records / 2;
    let measured = Measured::new(part, &[part.keys, warm]);
    let (base, before) = (resident_bytes(), process_cpu_ns());
    let running = measured.start()?;
    wait_for_records(&running, part.keys)?;
    wait_for_quiet(std::thread::sleep);
    let loaded = process_cpu_ns();
    measured.gates.open(part.keys);
    wait_for_records(&running, warm)?;
    wait_for_quiet(std::thread::sleep);
    let warmed = process_cpu_ns();
    measured.gates.open(warm);
    running.wait()?;
    let used = measured.seen.first_row_ns.load(Relaxed);
    say("load_us", (loaded - before) as f64 / 1e3 / part.keys as f64);
    say("use_us", used.saturating_sub(warmed) as f64 / 1e3 / (part.records - part.records / 2) as f64);
    say("warm_us", (warmed - loaded) as f64 / 1e3 / (part.records / 2) as f64);
    say("drain_us", (process_cpu_ns() - used) as f64 / 1e3 / part.keys as f64);
    say("base_bytes", base as f64);
    say("peak_bytes", resident_peak_bytes().saturating_sub(base) as f64);
    say("right", f64::from(measured.is_right()));
    Ok(())
}

/// The store below a job's directory.
pub(crate) fn store_of(state: &std::path::Path) -> PathBuf {
    state.join("state")
}
