//! Gives the engine one mistake after the other, and says which tests notice it.
//!
//! `make mutants`. The tests are built once with the feature `failpoints`; a mistake is chosen by an
//! environment variable. Exit code 1 if one goes unnoticed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use benches::machine::Circumstances;
use clap::Parser;
use headwater::failpoint::BUGS;

/// Longest run of one layer in seconds: a job that no longer ends has been noticed, too.
const LIMIT_S: &str = "240";

/// The layers, the fast ones first: name, and the test of the workspace or the program beside this one.
const LAYERS: &[(&str, Layer)] = &[
    ("log and its disk", Layer::Test("wal")),
    ("simulation", Layer::Test("topology_equivalence")),
    ("pending output", Layer::Test("pending")),
    ("threads", Layer::Test("durable")),
    ("kill -9", Layer::Program("torture", &["--kills", "300", "--minutes", "2.5"])),
];

/// What runs a layer.
#[derive(Clone, Copy)]
enum Layer {
    Test(&'static str),
    Program(&'static str, &'static [&'static str]),
}

impl Layer {
    fn command(self) -> Command {
        match self {
            Layer::Test(name) => {
                let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                command.args([
                    "test",
                    "--release",
                    "--workspace",
                    "--features",
                    "failpoints",
                    "--test",
                    name,
                ]);
                command
            }
            Layer::Program(name, arguments) => {
                let beside = std::env::current_exe().map(|program| program.with_file_name(name));
                let mut command = Command::new(beside.unwrap_or_else(|_| name.into()));
                command.args(arguments);
                command
            }
        }
    }
}

/// Shows that every seeded mistake of the engine is noticed by a test.
#[derive(Parser)]
#[command(name = "mutants")]
struct Options {
    /// Only these mistakes [default: all].
    bugs: Vec<String>,
    /// Run all layers, also behind one that has noticed.
    #[arg(long)]
    all_layers: bool,
}

/// How a layer ended.
enum Outcome {
    Passed,
    /// It noticed something: the first line that says what.
    Noticed(String),
}

fn main() -> ExitCode {
    let options = Options::parse();
    println!("{}", Circumstances::now(Path::new(".")));
    let mut unnoticed = 0;
    for (layer, run) in LAYERS {
        if let Outcome::Noticed(line) = with_bug("", *run) {
            println!("without a mistake: {layer} fails: {line}");
            return ExitCode::FAILURE;
        }
    }
    println!("without a mistake: all layers pass\n");
    println!("| mistake | what it is | noticed by | in words |\n|---|---|---|---|");
    let chosen = |name: &str| options.bugs.is_empty() || options.bugs.iter().any(|bug| bug == name);
    let bugs: Vec<_> = BUGS.iter().filter(|(name, _)| chosen(name)).collect();
    for (name, what) in &bugs {
        let mut by = Vec::new();
        let mut words = String::new();
        for (layer, run) in LAYERS {
            if let Outcome::Noticed(line) = with_bug(name, *run) {
                by.push(*layer);
                words = if words.is_empty() { line } else { words };
                if !options.all_layers {
                    break;
                }
            }
        }
        unnoticed += usize::from(by.is_empty());
        let by = if by.is_empty() { "**nothing**".to_owned() } else { by.join(", ") };
        println!("| {name} | {what} | {by} | {words} |");
    }
    println!("\n{} of {} mistakes noticed", bugs.len() - unnoticed, bugs.len());
    if unnoticed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn with_bug(bug: &str, layer: Layer) -> Outcome {
    let wanted = layer.command();
    // What does not end is ended with all that it has started.
    let mut command = Command::new("timeout");
    command.arg(LIMIT_S).arg(wanted.get_program()).args(wanted.get_args()).env("HEADWATER_BUG", bug);
    match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => outcome(child),
        Err(error) => Outcome::Noticed(format!("{command:?} cannot be started: {error}")),
    }
}

/// Reads what a layer says until it ends or says that something is wrong.
fn outcome(mut child: Child) -> Outcome {
    let mut last = String::new();
    let output = child.stdout.take().into_iter();
    for line in output.flat_map(|output| BufReader::new(output).lines().map_while(Result::ok)) {
        let tells = line.ends_with("FAILED") || line.starts_with("VIOLATION");
        last = line;
        if tells {
            // `timeout` passes it on to all that it has started.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            break;
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) if status.code() == Some(124) => Outcome::Noticed("it does not end".to_owned()),
        _ => Outcome::Noticed(last.replace('|', "/").chars().take(110).collect()),
    }
}
