//! Word count: the lines of a book, its words, how often each occurs.
//!
//! Run with: `cargo run --release -p examples --example word_count`
//!
//! You will see the twenty most frequent words of a novel, in small letters. With `--output words.csv`
//! every word is written to a file as well, exactly as it stands in the text: one line `word,count` each,
//! in no particular order.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::{bundled, complaints, count_words, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater_connectors::{Console, TextFile};

/// Counts the words of text files.
#[derive(Parser)]
struct Command {
    /// A text file, a folder or a glob; a bundled novel unless given.
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// A file for the counts of all words, as they are written in the text: CSV without a header.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many words are printed.
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

fn main() -> ExitCode {
    cli::main(|| {
        let Command { input, output, rows, options, action } = Command::parse();
        let flow = StreamBuilder::new("word-count");
        let book = TextFile::new(input.unwrap_or(bundled("pride-and-prejudice.txt")));
        let (lines, rejected) = flow.source_or_rejected("lines", book);
        rejected.sink("rejected", complaints());

        let words = lines
            .flat_map(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
            .name("words in small letters");
        let table = Console::table().descending("count").ascending("word");
        count_words(&words, OutputMode::Append).sink("console", table.rows(rows));

        if let Some(output) = output {
            let words = lines.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            count_words(&words, OutputMode::Append).sink("file", rows_to(&output, &options).header(false));
        }
        cli::act(action, flow.build()?, &options)?;
        Ok(())
    })
}
