//! Word count into a database: PostgreSQL where there is one, else a SQLite file.
//!
//! Run with: `cargo run --release -p examples --features postgres,sqlite --example postgres_sink`
//!
//! You will see the ten most frequent words of a novel, and the table `word_counts` has them all: in the database
//! that POSTGRES_URL names (`scripts/services up postgres; eval "$(scripts/services env)"` gives one), or in a
//! file. With `--state DIR` each change of a count is written exactly once, whatever ends the job; run it
//! again after a `kill -9`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::{bundled, complaints, count_words};
use headwater::cli;
use headwater::prelude::*;
use headwater_connectors::{Console, PostgresSink, SqliteSink, TextFile};

/// Counts the words of text files into a table.
#[derive(Parser)]
struct Command {
    /// A text file, a folder or a glob; a bundled novel unless given.
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// The SQLite file where POSTGRES_URL is not set.
    #[arg(long, value_name = "FILE", default_value = "out/words.sqlite")]
    output: PathBuf,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

fn main() -> ExitCode {
    cli::main(|| {
        let Command { input, output, options, action } = Command::parse();
        let flow = StreamBuilder::new("words-to-database");
        let book = TextFile::new(input.unwrap_or(bundled("pride-and-prejudice.txt")));
        let (lines, rejected) = flow.source_or_rejected("lines", book);
        rejected.sink("rejected", complaints());

        let words = lines.flat_map(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
        let table = Console::table().descending("count").ascending("word");
        count_words(&words, OutputMode::Append).sink("console", table.rows(10));

        // A row replaces the one with its word. Without a state directory each run begins anew, and tokens of
        // an earlier run would be in its way.
        let changes = count_words(&words, OutputMode::Update);
        let is_durable = options.state.is_some();
        if std::env::var_os("POSTGRES_URL").is_some() {
            let sink = PostgresSink::from_env("POSTGRES_URL", "word_counts").upsert(&["word"]).create_table();
            changes.sink("table", if is_durable { sink.exactly_once("words") } else { sink });
        } else {
            let sink = SqliteSink::new(output, "word_counts").upsert(&["word"]).create_table();
            changes.sink("table", if is_durable { sink.exactly_once("words") } else { sink });
        }
        cli::act(action, flow.build()?, &options)?;
        Ok(())
    })
}
