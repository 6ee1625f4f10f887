//! Exactly once, tried out: a job is killed with `kill -9` again and again, and every row is there once.
//!
//! Run with: `cargo run --release -p examples --features kafka,postgres --example exactly_once`
//!
//! You will see how often the job was killed, and that no total is missing, doubled or wrong. With
//! `--brokers HOST:PORT` it reads one Kafka topic and writes another; without, files. With `--table` it writes
//! the same totals to a table of the PostgreSQL that POSTGRES_URL names, too, which `psql` then counts.
//! `--between COMMAND` runs a command behind every fourth kill, such as one that kills the broker.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::Duration;
use std::{env, fs, thread};

use clap::Parser;
use headwater::prelude::*;
use headwater_connectors::{
    Collect, Generator, JsonLines, JsonLinesSink, KafkaSink, KafkaSource, PostgresSink, SourceExt, TextFile,
};

/// Kills a job again and again, and counts its output.
#[derive(Parser, Clone)]
struct Options {
    /// Brokers, `host:port` with commas between; without them, files.
    #[arg(long, value_name = "HOSTS", env = "KAFKA_BROKERS")]
    brokers: Option<String>,
    /// Also writes a table of the PostgreSQL that the variable POSTGRES_URL names.
    #[arg(long)]
    table: bool,
    /// How often the job is killed.
    #[arg(long, value_name = "N", default_value_t = 10)]
    kills: u64,
    /// Payments that it reads.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    payments: u64,
    /// Payments that each of its readers takes in a second, so that it does not end too soon.
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    rate: f64,
    /// Longest life of the job in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 1_500)]
    life_ms: u64,
    /// Which moments are taken.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Seconds after which the brokers end a transaction that nobody goes on with.
    #[arg(long, value_name = "S", default_value_t = 15)]
    transaction_timeout: u64,
    /// A command for the shell, behind every fourth kill.
    #[arg(long, value_name = "COMMAND")]
    between: Option<String>,
    /// A folder for state and files; a new one unless given.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The job itself.
    #[arg(long, hide = true)]
    job: bool,
}

#[derive(Record, Clone, Debug)]
struct Payment {
    customer: String,
    cents: u64,
    at: i64,
}

/// What a customer paid in a second.
#[derive(Record, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Total {
    second: i64,
    customer: String,
    count: u64,
    cents: u64,
}

fn payment(number: u64) -> Payment {
    let customer = format!("customer {}", number * 7919 % 23);
    Payment { customer, cents: number * 31 % 10_000, at: number as i64 * 2 }
}

/// Where things are.
struct Places {
    input: String,
    output: String,
    state: PathBuf,
}

fn places(home: &Path) -> Places {
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    Places { input: format!("{name}-payments"), output: format!("{name}-totals"), state: home.join("state") }
}

/// The payments, and how each topic or file is divided into seconds.
fn job(options: &Options, home: &Path) -> Result<()> {
    let Places { input, output, state } = places(home);
    let flow = StreamBuilder::new("exactly-once");
    let payments = match &options.brokers {
        Some(brokers) => {
            let topic = KafkaSource::<Payment>::json(brokers.as_str(), input).until_end();
            flow.source("payments", topic.rate(options.rate))
        }
        None => flow.source("payments", JsonLines::<Payment>::new(home.join(input)).rate(options.rate)),
    };
    let totals = payments
        .event_time(|payment| payment.at, Watermarks::bounded(secs(5)))
        .key_by_field(Payment::CUSTOMER)
        .window(Window::tumbling(secs(1)))
        .aggregate(|a| (a.count(), a.sum(|payment| payment.cents)))
        .map(|row| Total {
            second: row.window_start / 1000,
            customer: row.key.to_owned(),
            count: row.value.0,
            cents: row.value.1,
        });
    match &options.brokers {
        Some(brokers) => {
            let topic = KafkaSink::<Total>::json(brokers.as_str(), &output)
                .key(|total, key| key.extend_from_slice(total.customer.as_bytes()))
                .transaction_timeout(Duration::from_secs(options.transaction_timeout))
                .exactly_once(&output);
            totals.sink("totals", topic)
        }
        None => totals.sink("totals", JsonLinesSink::folder(home.join(&output))),
    };
    if options.table {
        // Rows are added, so that a doubled one would be seen.
        let table = PostgresSink::from_env("POSTGRES_URL", &output).create_table().exactly_once(&output);
        totals.sink("table", table);
    }
    let config = EngineConfig::default().parallelism(2).state_dir(state).epoch_interval(ms(50));
    flow.build()?.run(config).map(drop)
}

/// Writes all payments.
fn fill(options: &Options, home: &Path) -> Result<()> {
    let Places { input, output, .. } = places(home);
    let flow = StreamBuilder::new("payments");
    let payments = flow.source("payments", Generator::new(options.payments, payment));
    match &options.brokers {
        Some(brokers) => {
            let topic = KafkaSink::<Payment>::json(brokers.as_str(), input)
                .key(|payment, key| key.extend_from_slice(payment.customer.as_bytes()));
            payments.sink("topic", topic.create_topic(4));
            // The other topic is made here, too: the job finds it.
            let (made, none) =
                (KafkaSink::<Total>::json(brokers.as_str(), output), Generator::new(0, |_| nothing()));
            flow.source("none", none).sink("totals", made.create_topic(4));
        }
        None => {
            payments.sink("file", JsonLinesSink::new(home.join(input)));
        }
    }
    flow.build()?.run(EngineConfig::default()).map(drop)
}

fn nothing() -> Total {
    Total { second: 0, customer: String::new(), count: 0, cents: 0 }
}

/// What a reader sees who knows nothing of the job.
fn totals(options: &Options, home: &Path) -> Result<Vec<String>> {
    let output = places(home).output;
    let (flow, rows) = (StreamBuilder::new("read"), Collect::new());
    match &options.brokers {
        Some(brokers) => {
            let topic = KafkaSource::text(brokers.as_str(), output).until_end();
            flow.source("totals", topic).sink("rows", rows.clone());
        }
        None => {
            // What is not complete is called `.part`, and is nobody's business.
            let files = home.join(output).join("*.jsonl");
            flow.source("totals", TextFile::new(files)).sink("rows", rows.clone());
        }
    }
    flow.build()?.run(EngineConfig::default())?;
    Ok(rows.take())
}

/// What `psql` sees in the table.
fn table_totals(home: &Path) -> Result<Vec<String>> {
    let url = env::var("POSTGRES_URL").map_err(|_| Error::failed("--table needs POSTGRES_URL"))?;
    let row =
        r#"format('{"second":%s,"customer":"%s","count":%s,"cents":%s}', second, customer, count, cents)"#;
    let select = format!("SELECT {row} FROM \"{}\"", places(home).output);
    let told = Command::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", &select, &url])
        .output()?;
    if !told.status.success() {
        return Err(Error::failed(format!("psql: {}", String::from_utf8_lossy(&told.stderr).trim())));
    }
    Ok(String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect())
}

/// Compares what is in a place with what must be there; true if that is the same.
fn compare(place: &str, mut found: Vec<String>, expected: &[String]) -> bool {
    found.sort();
    let doubled = found.windows(2).filter(|pair| pair[0] == pair[1]).count();
    found.dedup();
    let missing = expected.iter().filter(|line| found.binary_search(line).is_err()).count();
    let wrong = found.iter().filter(|line| expected.binary_search(line).is_err()).count();
    println!("{place}: {missing} missing, {doubled} doubled, {wrong} wrong");
    missing + doubled + wrong == 0
}

/// What there must be: `{"second":..,"customer":..,"count":..,"cents":..}`, each once.
fn expected(options: &Options) -> Vec<String> {
    let mut totals: BTreeMap<(i64, String), (u64, u64)> = BTreeMap::new();
    for Payment { customer, cents, at } in (0..options.payments).map(payment) {
        let total = totals.entry((at / 1000, customer)).or_default();
        *total = (total.0 + 1, total.1 + cents);
    }
    let line = |((second, customer), (count, cents)): ((i64, String), (u64, u64))| {
        format!("{{\"second\":{second},\"customer\":\"{customer}\",\"count\":{count},\"cents\":{cents}}}")
    };
    let mut lines: Vec<_> = totals.into_iter().map(line).collect();
    lines.sort();
    lines
}

fn start(home: &Path) -> Result<Child> {
    let program = env::current_exe()?;
    Ok(Command::new(program).args(env::args_os().skip(1)).arg("--job").arg("--home").arg(home).spawn()?)
}

fn kill_again_and_again(options: &Options, home: &Path) -> Result<(u64, u64)> {
    let (mut kills, mut commands, mut random) = (0, 0, options.seed);
    while kills < options.kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = start(home)?;
        thread::park_timeout(Duration::from_millis((random >> 33) % options.life_ms.max(1)));
        // It may have come to its end: then there is nothing left to kill.
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        if let Some(status) = ended {
            if status.success() {
                break;
            }
            eprintln!("the job ended with {status} and is started again");
        }
        kills += u64::from(ended.is_none());
        if let Some(command) = options.between.as_ref().filter(|_| kills % 4 == 3) {
            commands += 1;
            Command::new("sh").args(["-c", command]).status()?;
        }
    }
    // Undisturbed, to the end; a failure is one more start.
    for _ in 0..10 {
        if start(home)?.wait()?.success() {
            return Ok((kills, commands));
        }
    }
    Err(Error::failed("the job does not come to its end"))
}

fn run(options: &Options) -> Result<bool> {
    let own = env::temp_dir().join(format!("exactly-once-{}", std::process::id()));
    let home = options.home.clone().unwrap_or(own);
    if options.job {
        return job(options, &home).map(|()| true);
    }
    fs::create_dir_all(&home)?;
    fill(options, &home)?;
    let (kills, commands) = kill_again_and_again(options, &home)?;
    let expected = expected(options);
    println!("{} payments, {} totals expected", options.payments, expected.len());
    let place = if options.brokers.is_some() { "topic" } else { "folder" };
    let mut is_right = compare(place, totals(options, &home)?, &expected);
    if options.table {
        is_right &= compare("table", table_totals(&home)?, &expected);
    }
    eprintln!("killed {kills} times, {commands} commands in between");
    if options.home.is_none() {
        fs::remove_dir_all(&home)?;
    }
    Ok(is_right)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("exactly_once: {error}");
            ExitCode::FAILURE
        }
    }
}
