//! Word count over Kafka: the lines of a topic, its words, how often each occurs.
//!
//! Run with: `cargo run --release -p examples --features kafka --example kafka_word_count`
//!
//! You will see the most frequent words of a novel. Without `--brokers` its lines come from the file. With
//! `--brokers HOST:PORT --topic lines --send FILE --until-end --output words.csv` the lines of a file are first
//! sent to a topic, and then counted from there: one line `word,count` for each word. Without `--until-end`
//! counts are shown as they change, until Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::{bundled, complaints, count_words, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater::source::Rejected;
use headwater_connectors::{Console, KafkaSink, KafkaSource, TextFile};

/// Counts the words of a Kafka topic.
#[derive(Parser)]
struct Command {
    /// Brokers, `host:port` with commas between; without them a bundled novel is read from its file.
    #[arg(long, value_name = "HOSTS", env = "KAFKA_BROKERS")]
    brokers: Option<String>,
    /// The topic with the lines.
    #[arg(long, value_name = "NAME", default_value = "lines")]
    topic: String,
    /// First sends the lines of this file to the topic, which is made if it is missing.
    #[arg(long, value_name = "FILE", requires = "brokers")]
    send: Option<PathBuf>,
    /// Ends at what is the end of the topic now.
    #[arg(long)]
    until_end: bool,
    /// A file for the counts of all words: CSV without a header.
    #[arg(long, value_name = "FILE", requires = "until_end")]
    output: Option<PathBuf>,
    /// How many words are printed.
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

/// Sends every line of a file to a topic.
fn send(file: PathBuf, brokers: &str, topic: &str) -> Result<()> {
    let flow = StreamBuilder::new("send");
    let lines =
        KafkaSink::<String>::with(brokers, topic, |line, value| value.extend_from_slice(line.as_bytes()));
    flow.source("file", TextFile::new(file)).sink("topic", lines.create_topic(4));
    flow.build()?.run(EngineConfig::default()).map(drop)
}

fn lines(flow: &StreamBuilder, command: &Command) -> (Stream<String>, Stream<Rejected>) {
    let Some(brokers) = &command.brokers else {
        return flow.source_or_rejected("lines", TextFile::new(bundled("pride-and-prejudice.txt")));
    };
    let topic = KafkaSource::text(brokers.as_str(), &command.topic);
    flow.source_or_rejected("lines", if command.until_end { topic.until_end() } else { topic })
}

fn main() -> ExitCode {
    cli::main(|| {
        let command = Command::parse();
        if let (Some(file), Some(brokers), None) = (&command.send, &command.brokers, &command.action) {
            send(file.clone(), brokers, &command.topic)?;
        }
        let ends = command.until_end || command.brokers.is_none();
        let mode = if ends { OutputMode::Append } else { OutputMode::Update };
        let flow = StreamBuilder::new("kafka-word-count");
        let (lines, rejected) = lines(&flow, &command);
        rejected.sink("rejected", complaints());
        let words = lines.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let table = Console::table().descending("count").ascending("word");
        count_words(&words, mode).sink("console", table.rows(command.rows));
        if let Some(output) = &command.output {
            count_words(&words, mode).sink("file", rows_to(output, &command.options).header(false));
        }
        cli::act(command.action, flow.build()?, &command.options)?;
        Ok(())
    })
}
