//! Arbitrary text as a command line: a configuration that is checked, or an error that is said.
#![allow(dead_code, reason = "each user takes its part")]

use clap::Parser;
use headwater::cli::{Action, Options};

/// A program as those of the examples.
#[derive(Parser, Debug)]
struct Program {
    /// Most records per second.
    #[arg(long)]
    rate: Option<f64>,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    action: Option<Action>,
}

/// One argument per line.
pub(crate) fn options_bytes(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Program::try_parse_from(std::iter::once("program").chain(text.lines())) {
        Ok(program) => {
            let config = program.options.config();
            match config.validate() {
                Ok(()) => assert!(config.parallelism > 0 && config.epoch_interval_ms > 0),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            assert_eq!(config.state_dir, program.options.state);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
