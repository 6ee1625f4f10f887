//! A job for the tests of the operations: numbers counted per word and summed per pair, as far as it gets.

use std::process::ExitCode;

use clap::Parser;
use headwater::cli;
use headwater::prelude::*;
use headwater_connectors::{Collect, CsvSink, Generator};

/// Counts numbers by what they are divisible by.
#[derive(Parser)]
struct Command {
    /// How many numbers there are.
    #[arg(long, default_value_t = 10_000)]
    numbers: u64,
    /// How many come per second.
    #[arg(long)]
    rate: Option<f64>,
    /// The number at which the job fails.
    #[arg(long, default_value_t = u64::MAX)]
    fail_at: u64,
    /// A folder for the changes.
    #[arg(long, default_value = "")]
    output: String,
    /// Another name of the topology.
    #[arg(long, default_value = "counting")]
    name: String,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

/// A key with named parts.
#[derive(Record, Clone, PartialEq, Eq)]
#[record(key)]
struct Class {
    word: String,
    rest: u8,
}

fn word(number: u64) -> &'static str {
    if number.is_multiple_of(7) { "seven" } else { "other" }
}

fn main() -> ExitCode {
    cli::main(|| {
        let command = Command::parse();
        let fail_at = command.fail_at;
        let flow = StreamBuilder::new(command.name);
        let numbers = Generator::new(command.numbers, |number| number).partitions(2);
        let numbers = match command.rate {
            Some(rate) => numbers.rate(rate),
            None => numbers,
        };
        let numbers = flow.source("numbers", numbers).inspect(move |number| {
            assert!(number < fail_at, "this is the number at which the job was told to fail");
        });
        let words = numbers.key_by(|number| word(number).to_owned()).count();
        words
            .map(|row| (row.key.to_owned(), row.value))
            .sink("rows", CsvSink::folder(&command.output).changes());
        let class = |number: u64| Class { word: word(number).to_owned(), rest: (number % 3) as u8 };
        let sums = numbers.key_by(class).aggregate(|a| (a.count(), a.mean(|number| number))).name("means");
        sums.sink("means-out", Collect::new());
        // In slices of a second, of which the last ones are open when the job fails.
        let windows = numbers
            .event_time(|number| number as i64, Watermarks::bounded(secs(2)))
            .key_by(|number| number % 5)
            .window(Window::tumbling(secs(1)))
            .aggregate(|a| a.count());
        windows.sink("windows-out", Collect::new());
        cli::act(command.action, flow.build()?, &command.options)?;
        Ok(())
    })
}
