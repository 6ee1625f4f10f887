//! Word count over a socket: the first program of every streaming engine.
//!
//! Run with: `cargo run --release -p examples --example socket_word_count`
//!
//! The program opens a socket, types a few lines into it itself and prints how often each word occurred.
//! To type yourself, start `nc -lk 9999` in one terminal and in another this program with
//! `-- --connect localhost:9999`: after each line you will see the counts that it changed, until Ctrl-C.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use examples::{complaints, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater_connectors::{Console, SocketLines};

/// Counts the words that come from a socket.
#[derive(Parser)]
struct Command {
    /// Where to read, such as localhost:9999; unless given, the program opens a socket itself.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "input")]
    connect: Option<String>,
    /// A text file whose lines are typed into the socket; a few well-known lines unless given.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// A file for the final counts, when the socket was closed: CSV without a header.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

/// A tongue twister that belongs to nobody.
const LINES: &[u8] = b"if a woodchuck could chuck wood
how much wood would a woodchuck chuck
as much wood as a woodchuck could chuck
if a woodchuck could chuck wood
";

#[derive(Record)]
struct WordCount {
    word: String,
    count: u64,
}

/// Opens a socket on this computer, and types into it as soon as somebody connects.
fn type_into_socket(text: Vec<u8>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || -> io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        socket.write_all(&text)
    });
    Ok(address)
}

/// Rows as soon as counts change, or once at the end: the output mode says which.
fn count(words: &Stream<String>, mode: OutputMode) -> Stream<WordCount> {
    let counts = words.key_by_value().count().output_mode(mode);
    counts.map(|row| WordCount { word: row.key.to_owned(), count: row.value })
}

fn main() -> ExitCode {
    cli::main(|| {
        let Command { connect, input, output, options, action } = Command::parse();
        let (address, mode) = match (connect, input) {
            (Some(address), _) => (address, OutputMode::Update),
            (None, Some(path)) => {
                let text = fs::read(&path).map_err(|error| Error::io(&path, error))?;
                (type_into_socket(text)?, OutputMode::Append)
            }
            (None, None) => (type_into_socket(LINES.to_vec())?, OutputMode::Append),
        };
        let flow = StreamBuilder::new("socket-word-count");
        let (lines, rejected) =
            flow.source_or_rejected("lines", SocketLines::connect(address).until_closed());
        rejected.sink("rejected", complaints());
        let words = lines.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        count(&words, mode).sink("console", Console::table().descending("count").ascending("word"));
        if let Some(output) = output {
            count(&words, OutputMode::Append).sink("file", rows_to(&output, &options).header(false));
        }
        cli::act(action, flow.build()?, &options)?;
        Ok(())
    })
}
