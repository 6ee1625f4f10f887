//! Kafka to Parquet: orders of a topic as files in folders by country and day, and what is in them.
//!
//! Run with: `cargo run --release -p examples --features kafka,parquet --example kafka_to_parquet -- --output
//! out/orders`
//!
//! You will see orders and their sums by country and day, read back from the files. Without `--brokers` the orders
//! are made up. With `--brokers HOST:PORT --topic orders --send 10000 --until-end` made-up orders are first sent
//! to a topic as JSON, and then read from there; without `--until-end` the job goes on until Ctrl-C. With `--state
//! DIR` it goes on behind its last epoch after a crash, and each order is in one file once. DuckDB and others read
//! the files: `select country, sum(cents) from 'out/orders/*/*/*.parquet' group by country`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use examples::complaints;
use headwater::cli;
use headwater::prelude::*;
use headwater_connectors::{Console, Generator, KafkaSink, KafkaSource, ParquetFile, ParquetSink};

/// Writes the orders of a Kafka topic to Parquet files.
#[derive(Parser)]
struct Command {
    /// A folder for the files; built with the feature `object-store`, also `s3://BUCKET/PATH`.
    #[arg(long, value_name = "FOLDER", default_value = "out/orders")]
    output: PathBuf,
    /// Brokers, `host:port` with commas between; without them orders are made up.
    #[arg(long, value_name = "HOSTS", env = "KAFKA_BROKERS")]
    brokers: Option<String>,
    /// The topic with the orders.
    #[arg(long, value_name = "NAME", default_value = "orders")]
    topic: String,
    /// First sends so many made-up orders to the topic, which is made if it is missing.
    #[arg(long, value_name = "N", requires = "brokers")]
    send: Option<u64>,
    /// Ends at what is the end of the topic now.
    #[arg(long)]
    until_end: bool,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

#[derive(Record, Clone, Debug)]
struct Order {
    number: u64,
    country: String,
    cents: u64,
    /// Milliseconds since 1970.
    at: i64,
    coupon: Option<String>,
    items: Vec<u32>,
}

/// What was ordered in a country on a day.
#[derive(Record)]
struct Total {
    country: String,
    day: i64,
    orders: u64,
    cents: u64,
}

/// Orders that are made up, when there is no topic.
const ORDERS: u64 = 20_000;

const DAY_MS: i64 = 86_400_000;

fn order(number: u64) -> Order {
    Order {
        number,
        country: ["FR", "DE", "PT", "CZ"][number as usize * 7 % 4].to_owned(),
        cents: number * 7919 % 10_000,
        at: 20_000 * DAY_MS + number as i64 * 10_000,
        coupon: number.is_multiple_of(9).then(|| format!("SPRING-{}", number % 5)),
        items: (0..number as u32 % 4).collect(),
    }
}

fn write(command: &Command) -> Result<Topology> {
    let flow = StreamBuilder::new("kafka-to-parquet");
    let (orders, rejected) = match &command.brokers {
        Some(brokers) => {
            let topic = KafkaSource::<Order>::json(brokers.as_str(), &command.topic);
            flow.source_or_rejected("orders", if command.until_end { topic.until_end() } else { topic })
        }
        None => flow.source_or_rejected("orders", Generator::new(ORDERS, order)),
    };
    rejected.sink("rejected", complaints());
    let files =
        ParquetSink::new(&command.output).partition_by(&["country"]).partition_by_day("at").timestamp("at");
    orders.sink("files", files);
    flow.build()
}

/// Adds up what the files hold; only the columns that are needed are read.
fn read(output: &Path) -> Result<()> {
    #[derive(Record)]
    struct Paid {
        country: String,
        at: i64,
        cents: u64,
    }
    let flow = StreamBuilder::new("read-back");
    flow.source("files", ParquetFile::<Paid>::read(output))
        .key_by(|paid| (paid.country.to_owned(), paid.at / DAY_MS))
        .aggregate(|a| (a.count(), a.sum(|paid| paid.cents)))
        .output_mode(OutputMode::Append)
        .map(|row| Total {
            country: row.key.0.to_owned(),
            day: row.key.1,
            orders: row.value.0,
            cents: row.value.1,
        })
        .sink("console", Console::table().rows(40).ascending("country").ascending("day"));
    flow.build()?.run(EngineConfig::default()).map(drop)
}

fn main() -> ExitCode {
    cli::main(|| {
        let mut command = Command::parse();
        if let (Some(count), Some(brokers), None) = (command.send, &command.brokers, &command.action) {
            let flow = StreamBuilder::new("send");
            let topic = KafkaSink::<Order>::json(brokers.as_str(), &command.topic).create_topic(4);
            flow.source("orders", Generator::new(count, order)).sink("topic", topic);
            flow.build()?.run(EngineConfig::default())?;
        }
        let summary = cli::act(command.action.take(), write(&command)?, &command.options)?;
        match summary {
            Some(summary) if !summary.stopped => read(&command.output),
            _ => Ok(()),
        }
    })
}
