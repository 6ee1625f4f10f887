//! Word count over a socket: the first program of every streaming engine.
//!
//! Run with: `cargo run --release -p examples --example socket_word_count`
//!
//! The program opens a socket, types a few lines into it itself and prints how often each word occurred.
//! To type yourself, start `nc -lk 9999` in one terminal and in another this program with
//! `-- --connect localhost:9999`: after each line you will see the counts that it changed, until Ctrl-C.
//!
//! With `--framed` the lines are numbered and acknowledged when they can no longer be lost, so that with a
//! state directory each counts exactly once, whatever happens to the program.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use examples::{complaints, count_words, rows_to};
use headwater::cli;
use headwater::prelude::*;
use headwater::source::Rejected;
use headwater_connectors::{Console, FramedClient, FramedSocket, SocketLines};

/// Counts the words that come from a socket.
#[derive(Parser)]
struct Command {
    /// Where to read, such as localhost:9999; unless given, the program opens a socket itself.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["input", "framed"])]
    connect: Option<String>,
    /// Use a framed socket. With an address, listen there for clients until Ctrl-C.
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1)]
    framed: Option<Option<String>>,
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

/// Opens a framed socket on this computer, and sends lines to it that have to arrive.
fn send_frames(text: Vec<u8>) -> Result<FramedSocket<String>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || -> Result<u64> {
        // Its own id in every run: it has other lines to send than the client of the run before.
        let mut client = FramedClient::connect(address, format!("typist {}", std::process::id()))?;
        text.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| client.send(line).map(drop))?;
        client.end()
    });
    Ok(FramedSocket::lines("").on(listener).until_ended(1))
}

/// Where the lines come from, and whether they end.
fn lines(flow: &StreamBuilder, command: &Command) -> Result<(Stream<String>, Stream<Rejected>, OutputMode)> {
    let text = || match &command.input {
        Some(path) => fs::read(path).map_err(|error| Error::io(path, error)),
        None => Ok(LINES.to_vec()),
    };
    let ((lines, rejected), mode) = match (&command.framed, &command.connect) {
        (Some(Some(address)), _) => {
            (flow.source_or_rejected("lines", FramedSocket::lines(address)), OutputMode::Update)
        }
        (Some(None), _) => (flow.source_or_rejected("lines", send_frames(text()?)?), OutputMode::Append),
        (None, Some(address)) => {
            let socket = SocketLines::connect(address).until_closed();
            (flow.source_or_rejected("lines", socket), OutputMode::Update)
        }
        (None, None) => {
            let socket = SocketLines::connect(type_into_socket(text()?)?).until_closed();
            (flow.source_or_rejected("lines", socket), OutputMode::Append)
        }
    };
    Ok((lines, rejected, mode))
}

fn main() -> ExitCode {
    cli::main(|| {
        let command = Command::parse();
        let flow = StreamBuilder::new("socket-word-count");
        let (lines, rejected, mode) = lines(&flow, &command)?;
        let Command { output, options, action, .. } = command;
        rejected.sink("rejected", complaints());
        let words = lines.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        count_words(&words, mode).sink("console", Console::table().descending("count").ascending("word"));
        if let Some(output) = output {
            count_words(&words, OutputMode::Append).sink("file", rows_to(&output, &options).header(false));
        }
        cli::act(action, flow.build()?, &options)?;
        Ok(())
    })
}
