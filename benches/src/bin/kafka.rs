//! What a message costs that comes from Kafka or goes there, in CPU time of the whole process, the threads of
//! its client included.
//!
//! `scripts/services up kafka; eval "$(scripts/services env)"`
//! `cargo run --release -p benches --features kafka --bin kafka`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

use std::path::Path;
use std::process::ExitCode;

use benches::machine::Circumstances;
use benches::meter::{median, process_cpu_ns, verdict};
use clap::Parser;
use headwater::batch::{BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::source::{Poll, Rejected, Source, SourceOutput, SourceReader};
use headwater::time::{Clock, SystemClock};
use headwater_connectors::{Generator, KafkaPosition, KafkaSink, KafkaSource};

/// Measures sources and sinks of Kafka against a real broker.
#[derive(Parser)]
struct Options {
    /// Brokers, `host:port` with commas between.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// Messages of 100 bytes; of 1 KB there are a fifth as many.
    #[arg(long, default_value_t = 1_500_000)]
    messages: u64,
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only this part, for a profiler.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Source,
    Plain,
    Once,
}

/// A message of JSON: 100 bytes with a text of 22.
#[derive(Record, Clone, Debug)]
struct Event {
    id: u64,
    user: u64,
    amount: u64,
    at: i64,
    text: String,
}

fn event(number: u64, text: &str) -> Event {
    let (user, amount) = (number * 7919 % 1_000_003, number * 31 % 100_000);
    Event {
        id: 1_000_000_000 + number,
        user,
        amount,
        at: 1_700_000_000_000 + number as i64,
        text: text.to_owned(),
    }
}

const PARTITIONS: u16 = 4;

/// Bytes of the text in a small and in a large message.
const TEXTS: [(&str, usize, u64); 2] = [("100 B", 14, 1), ("1 KB", 938, 5)];

struct Bench {
    options: Options,
    name: String,
}

impl Bench {
    fn topic(&self, what: &str) -> String {
        format!("{}-{}", self.name, what.replace(' ', "-"))
    }

    fn sink(&self, topic: &str) -> KafkaSink<Event> {
        KafkaSink::json(self.options.brokers.as_str(), topic).create_topic(PARTITIONS)
    }

    /// Writes messages; CPU nanoseconds per message.
    fn write(&self, sink: KafkaSink<Event>, messages: u64, text: &str, state: Option<&Path>) -> Result<f64> {
        let before = process_cpu_ns();
        let (flow, text) = (StreamBuilder::new("write"), text.to_owned());
        flow.source("events", Generator::new(messages, move |number| event(number, &text)))
            .sink("topic", sink);
        let config = EngineConfig::default().parallelism(1).epoch_interval(ms(200));
        let config = if let Some(state) = state { config.state_dir(state) } else { config };
        flow.build()?.run(config)?;
        Ok((process_cpu_ns() - before) as f64 / messages as f64)
    }

    /// Reads a topic to its end into batches; CPU nanoseconds per message, and messages.
    fn read(&self, topic: &str) -> Result<(f64, u64)> {
        let source = KafkaSource::<Event>::json(self.options.brokers.as_str(), topic).until_end();
        let names = source.partitions()?;
        let before = process_cpu_ns();
        let mut readers: Vec<Box<dyn SourceReader<Event, KafkaPosition>>> =
            names.iter().map(|name| source.open(name, None)).collect::<Result<_>>()?;
        let clock = SystemClock::default();
        let mut records = BatchBuilder::<Event>::new(BatchLimits::default());
        let mut rejected = BatchBuilder::<Rejected>::new(BatchLimits::default());
        let (mut watermark, mut count) = (None, 0);
        while !readers.is_empty() {
            let mut idle = true;
            let mut at = 0;
            while at < readers.len() {
                let mut out =
                    SourceOutput::new(&mut records, &mut rejected, &mut watermark, &clock as &dyn Clock);
                let polled = readers[at].poll(&mut out)?;
                if records.is_full() || polled == Poll::Finished {
                    count += records.finish().map_or(0, |batch| batch.len() as u64);
                }
                idle &= polled == Poll::Idle;
                if polled == Poll::Finished {
                    readers.swap_remove(at);
                } else {
                    at += 1;
                }
            }
            if idle {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
        }
        count += records.finish().map_or(0, |batch| batch.len() as u64);
        Ok(((process_cpu_ns() - before) as f64 / count as f64, count))
    }

    fn source(&self) -> Result<bool> {
        println!(
            "| source, JSON into batches | bytes | ns of CPU per message | M messages/s per core | MB/s per core |"
        );
        println!("|---|---|---|---|---|");
        let mut kept = true;
        for (name, text_bytes, part) in TEXTS {
            let topic = self.topic(name);
            let text = "x".repeat(text_bytes);
            let mut line = Vec::new();
            headwater_connectors::format::encode_json_line::<Event>(event(1, &text).view(), &mut line);
            let bytes = line.len() - 1;
            self.write(self.sink(&topic), self.options.messages / part, &text, None)?;
            let mut runs = Vec::new();
            for _ in 0..self.options.runs {
                let (ns, count) = self.read(&topic)?;
                kept &= count == self.options.messages / part;
                runs.push(ns);
            }
            let ns = median(runs);
            let (messages, mb) = (1e3 / ns, bytes as f64 * 1e3 / ns);
            println!("| {name} | {bytes} | {ns:.0} | {messages:.2} | {mb:.0} |");
            let (goal, reached) = if part == 1 { (0.7, messages) } else { (600.0, mb) };
            println!("goal {goal}: {}", verdict(reached, goal, false));
        }
        Ok(kept)
    }

    fn sinks(&self) -> Result<()> {
        let (mut plain, mut once) = (Vec::new(), Vec::new());
        let text = "x".repeat(TEXTS[0].1);
        let home = std::env::temp_dir().join(&self.name);
        for run in 0..self.options.runs {
            if self.options.wants(Part::Plain) {
                let topic = self.topic("plain");
                plain.push(self.write(self.sink(&topic), self.options.messages, &text, None)?);
            }
            if self.options.wants(Part::Once) {
                let topic = self.topic("once");
                let sink = self.sink(&topic).exactly_once(format!("{topic}-{run}"));
                let state = home.join(run.to_string());
                once.push(self.write(sink, self.options.messages, &text, Some(&state))?);
                // Not there if nothing was written.
                let _ = std::fs::remove_dir_all(&home);
            }
        }
        println!("\n| sink, 100 B, generator and JSON included | ns of CPU per message |\n|---|---|");
        for (name, runs) in [("at least once", &plain), ("exactly once, epochs every 200 ms on disk", &once)]
        {
            if !runs.is_empty() {
                println!("| {name} | {:.0} |", median(runs.clone()));
            }
        }
        if plain.is_empty() || once.is_empty() {
            return Ok(());
        }
        let ratio = median(once) / median(plain);
        println!(
            "exactly once costs {ratio:.2} of at least once, at most 1.15: {}",
            verdict(ratio, 1.15, true)
        );
        Ok(())
    }
}

fn main() -> ExitCode {
    let bench = Bench { options: Options::parse(), name: format!("bench-{}", std::process::id()) };
    println!("{}\n", Circumstances::now(Path::new(".")));
    let sources = if bench.options.wants(Part::Source) { bench.source() } else { Ok(true) };
    match sources.and_then(|kept| bench.sinks().map(|()| kept)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("kafka: messages are missing");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("kafka: {error}");
            ExitCode::FAILURE
        }
    }
}
