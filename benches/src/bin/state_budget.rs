//! Keyed state ten times as large as its budget: does resident memory keep to the budget, and is every
//! key counted?
//!
//! Every key comes `--passes` times, each pass in another order that jumps all over the key space. All
//! records fall into one window, so that all keys are state until the input ends.
//! `cargo run --release -p benches --bin state_budget -- --budget-mib 64`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use benches::machine::Circumstances;
use benches::meter::{process_cpu_ns, resident_bytes, resident_peak_bytes};
use clap::Parser;
use headwater::batch::Key;
use headwater::prelude::*;
use headwater::sink::{Sink, SinkParallelism, SinkWriter, Subtask};
use headwater::state::KeyedState;
use headwater_connectors::Generator;

/// Run a job whose state is larger than its budget, and watch resident memory.
#[derive(Parser)]
#[command(name = "state_budget")]
struct Options {
    /// Memory for keyed state, in MiB.
    #[arg(long, default_value_t = 64)]
    budget_mib: usize,
    /// Size of the state in memory, as a multiple of the budget.
    #[arg(long, default_value_t = 10.0)]
    times: f64,
    /// How often each key comes.
    #[arg(long, default_value_t = 2)]
    passes: u64,
    /// Instances of each stage.
    #[arg(long, default_value_t = 2)]
    parallelism: usize,
    /// Most keys that an instance combines in front of the exchange [default: the engine's].
    #[arg(long)]
    combined_keys: Option<usize>,
    /// Where the state goes [default: a temporary directory].
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Print resident memory all along.
    #[arg(long)]
    watch: bool,
    /// Bytes per key, if known: the run itself is a child process, in which nothing came before.
    #[arg(long, hide = true)]
    bytes_per_key: Option<f64>,
}

#[derive(Record, Clone, Debug)]
struct Payment {
    customer: String,
    cents: u64,
    at: i64,
}

/// Count, sum and maximum of one customer.
type Totals = (u64, u64, u64);

/// What the window keeps per customer: sums are kept wide.
type Accumulator = (u64, u128, u64);

fn customer(number: u64) -> String {
    format!("customer-{number:015}")
}

fn cents(number: u64, pass: u64) -> u64 {
    (number * 31 + pass * 17) % 100_000
}

/// Steps of the passes: primes above any number of keys, so that each pass meets every key once.
const STEPS: [u64; 4] = [2_147_483_647, 1_000_000_007, 4_294_967_291, 998_244_353];

fn payment(index: u64, keys: u64) -> Payment {
    let (pass, place) = (index / keys, index % keys);
    let step = STEPS[pass as usize % STEPS.len()] % keys;
    let number = place * step % keys;
    Payment { customer: customer(number), cents: cents(number, pass), at: 0 }
}

/// Bytes per key by the engine's own accounting: a table without a budget, as full as it gets.
fn bytes_per_key() -> f64 {
    let keys = (1 << 17) / 8 * 7;
    let mut state = KeyedState::<String, Accumulator>::new(None, usize::MAX, 128);
    for number in 0..keys {
        let key = customer(number);
        *state.entry(0, String::hash(&key), &key, Default::default) = (1, 1, 1);
    }
    state.memory_bytes() as f64 / state.len() as f64
}

/// One bit per key, and what went wrong.
#[derive(Debug)]
struct Checked {
    keys: u64,
    passes: u64,
    seen: Vec<AtomicU64>,
    wrong: AtomicU64,
}

impl Checked {
    fn new(keys: u64, passes: u64) -> Self {
        let seen = (0..=keys / 64).map(|_| AtomicU64::new(0)).collect();
        Checked { keys, passes, seen, wrong: AtomicU64::new(0) }
    }

    fn check(&self, key: &str, totals: Totals) {
        let number = key.strip_prefix("customer-").and_then(|number| number.parse().ok());
        let right = number.is_some_and(|number: u64| {
            let all = (0..self.passes).map(|pass| cents(number, pass));
            let expected = (self.passes, all.clone().sum(), all.max().unwrap_or_default());
            let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
            let seen = self.seen.get(word).map(|word| word.fetch_or(bit, Relaxed));
            number < self.keys && totals == expected && seen.is_some_and(|seen| seen & bit == 0)
        });
        if !right && self.wrong.fetch_add(1, Relaxed) == 0 {
            eprintln!("the first wrong row: {key} {totals:?}");
        }
    }

    fn count(&self) -> u64 {
        self.seen.iter().map(|word| u64::from(word.load(Relaxed).count_ones())).sum()
    }
}

/// Looks at every row and keeps none.
struct Check(Arc<Checked>);

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
        batch.for_each(|_, row| self.0.check(row.key, row.value));
        Ok(())
    }
}

fn topology(options: &Options, checked: &Arc<Checked>) -> Result<Topology> {
    let keys = checked.keys;
    let flow = StreamBuilder::new("state_budget");
    let source = Generator::new(keys * options.passes, move |index| payment(index, keys));
    flow.source("payments", source.partitions(options.parallelism as u64))
        .event_time(|payment| payment.at, Watermarks::bounded(secs(1)))
        .key_by_field(Payment::CUSTOMER)
        .window(Window::tumbling(secs(10)))
        .aggregate(|a| (a.count(), a.sum(|payment| payment.cents), a.max(|payment| payment.cents)))
        .sink("check", Check(Arc::clone(checked)));
    flow.build()
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn measure(options: &Options, bytes_per_key: f64) -> Result<bool> {
    let budget = options.budget_mib << 20;
    let keys = (budget as f64 * options.times / bytes_per_key).ceil() as u64;
    let checked = Arc::new(Checked::new(keys, options.passes));
    let mut config = EngineConfig::default().parallelism(options.parallelism).state_bytes_max(budget);
    config.spill_dir.clone_from(&options.state_dir);
    config.combined_keys_max = options.combined_keys.unwrap_or(config.combined_keys_max);
    let topology = topology(options, &checked)?;

    let (base, base_cpu) = (resident_bytes(), process_cpu_ns());
    let running = topology.start(config)?;
    while !running.wait_for(Duration::from_millis(200)) {
        if options.watch {
            let (read, now) = (running.report().records_read(), resident_bytes());
            eprintln!("{read:>12} read {:>8.1} MiB resident over base", mib(now.saturating_sub(base)));
        }
    }
    let summary = running.wait()?;
    let cpu = process_cpu_ns() - base_cpu;
    let peak = resident_peak_bytes().saturating_sub(base);

    let (limit, events) = (budget / 5 * 6, keys * options.passes);
    let (right, kept) = (checked.wrong.load(Relaxed) == 0 && checked.count() == keys, peak <= limit);
    println!("keys                {keys:>10}, each {} times: {events} records", options.passes);
    println!("budget              {:>10.1} MiB", mib(budget));
    println!(
        "state if in memory  {:>10.1} MiB ({bytes_per_key:.1} bytes per key, {:.1} times the budget)",
        bytes_per_key * keys as f64 / f64::from(1 << 20),
        bytes_per_key * keys as f64 / budget as f64
    );
    println!("process before      {:>10.1} MiB resident", mib(base));
    println!("peak resident       {:>10.1} MiB above that", mib(peak));
    println!("budget + 20 %       {:>10.1} MiB: {}", mib(limit), if kept { "kept" } else { "EXCEEDED" });
    println!("CPU                 {:>10.2} us per record", cpu as f64 / 1e3 / events as f64);
    println!(
        "result              {:>10} keys, {} wrong rows, {} rows of {} records, {} late: {}",
        checked.count(),
        checked.wrong.load(Relaxed),
        summary.rows_written(),
        summary.records_read(),
        summary.late(),
        if right { "right" } else { "WRONG" }
    );
    Ok(right && kept)
}

/// Runs this program again with the same arguments and what it needs to know.
fn in_child() -> std::io::Result<ExitCode> {
    println!("{}\n", Circumstances::now(Path::new(".")));
    let mut child = Command::new(std::env::current_exe()?);
    child.args(std::env::args_os().skip(1)).arg(format!("--bytes-per-key={}", bytes_per_key()));
    Ok(if child.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.bytes_per_key {
        None => in_child().map_err(|error| Error::failed(error.to_string())),
        Some(bytes_per_key) => measure(&options, bytes_per_key)
            .map(|kept| if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("state_budget: {error}");
        ExitCode::FAILURE
    })
}
