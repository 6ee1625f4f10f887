//! Flowers over Kafka: rows of CSV from a topic, and what is measured of each species.
//!
//! Run with: `cargo run --release -p examples --features kafka --example kafka_iris`
//!
//! You will see how many flowers there are of each species, and the means of their measures. Without
//! `--brokers` the flowers come from a bundled file. With `--brokers HOST:PORT --topic iris --send FILE
//! --until-end` the rows of a file are first sent to a topic, and then read from there. Without `--until-end`
//! the table is shown again as flowers come, until Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::{bundled, complaints, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater::source::Rejected;
use headwater_connectors::{Console, CsvFile, KafkaSink, KafkaSource};

/// Measures the flowers of a Kafka topic.
#[derive(Parser)]
struct Command {
    /// Brokers, `host:port` with commas between; without them the bundled file is read.
    #[arg(long, value_name = "HOSTS", env = "KAFKA_BROKERS")]
    brokers: Option<String>,
    /// The topic with the flowers: CSV without a header.
    #[arg(long, value_name = "NAME", default_value = "iris")]
    topic: String,
    /// First sends the rows of this file, which has a header, to the topic, which is made if it is missing.
    #[arg(long, value_name = "FILE", requires = "brokers")]
    send: Option<PathBuf>,
    /// Ends at what is the end of the topic now.
    #[arg(long)]
    until_end: bool,
    /// A file for the table: CSV with a header.
    #[arg(long, value_name = "FILE", requires = "until_end")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

/// A flower: lengths and widths in centimetres.
#[derive(Record, Clone, Debug)]
struct Flower {
    sepal_length: f64,
    sepal_width: f64,
    petal_length: f64,
    petal_width: f64,
    species: String,
}

/// The means of a species, in centimetres.
#[derive(Record, Debug)]
struct Species {
    species: String,
    flowers: u64,
    sepal_length: f64,
    sepal_width: f64,
    petal_length: f64,
    petal_width: f64,
}

/// Rows as soon as flowers come, or once at the end: the output mode says which.
fn measure(flowers: &Stream<Flower>, mode: OutputMode) -> Stream<Species> {
    flowers
        .key_by_field(Flower::SPECIES)
        .aggregate(|a| {
            let sepals = (a.mean(|flower| flower.sepal_length), a.mean(|flower| flower.sepal_width));
            let petals = (a.mean(|flower| flower.petal_length), a.mean(|flower| flower.petal_width));
            (a.count(), sepals.0, sepals.1, petals.0, petals.1)
        })
        .output_mode(mode)
        .map(|row| {
            let hundredths = |mean: f64| (mean * 100.0).round() / 100.0;
            let (flowers, sepal_length, sepal_width, petal_length, petal_width) = row.value;
            Species {
                species: row.key.to_owned(),
                flowers,
                sepal_length: hundredths(sepal_length),
                sepal_width: hundredths(sepal_width),
                petal_length: hundredths(petal_length),
                petal_width: hundredths(petal_width),
            }
        })
}

/// Sends every row of a file to a topic; flowers of a species stay in order.
fn send(file: PathBuf, brokers: &str, topic: &str) -> Result<()> {
    let flow = StreamBuilder::new("send");
    let rows = KafkaSink::<Flower>::csv(brokers, topic)
        .key(|flower, key| key.extend_from_slice(flower.species.as_bytes()))
        .create_topic(3);
    flow.source("file", CsvFile::<Flower>::new(file)).sink("topic", rows);
    flow.build()?.run(EngineConfig::default()).map(drop)
}

fn flowers(flow: &StreamBuilder, command: &Command) -> (Stream<Flower>, Stream<Rejected>) {
    let Some(brokers) = &command.brokers else {
        return flow.source_or_rejected("flowers", CsvFile::new(bundled("iris.csv")));
    };
    let topic = KafkaSource::csv(brokers.as_str(), &command.topic);
    flow.source_or_rejected("flowers", if command.until_end { topic.until_end() } else { topic })
}

fn main() -> ExitCode {
    cli::main(|| {
        let command = Command::parse();
        if let (Some(file), Some(brokers), None) = (&command.send, &command.brokers, &command.action) {
            send(file.clone(), brokers, &command.topic)?;
        }
        let ends = command.until_end || command.brokers.is_none();
        let mode = if ends { OutputMode::Append } else { OutputMode::Complete };
        let flow = StreamBuilder::new("kafka-iris");
        let (flowers, rejected) = flowers(&flow, &command);
        rejected.sink("rejected", complaints());
        measure(&flowers, mode).sink("console", Console::table().ascending("species"));
        if let Some(output) = &command.output {
            measure(&flowers, mode).sink("file", rows_to(output, &command.options));
        }
        cli::act(command.action, flow.build()?, &command.options)?;
        Ok(())
    })
}
