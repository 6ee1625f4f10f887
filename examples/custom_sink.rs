//! A two-phase sink of your own: a file per epoch, which is there as a whole or not at all.
//!
//! Run with: `cargo run --release -p examples --example custom_sink -- --output out/squares`
//!
//! You will see how many rows are in the files, and that none is missing or doubled. With `--state DIR` that stays
//! true when the job is killed and started again. `examples/tests/custom.rs` tries the promise with a crash behind
//! every call.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use headwater::cli;
use headwater::prelude::*;
use headwater::sink::{Cut, Delivery, Sink, SinkParallelism, SinkWriter, Staged, Subtask};
use headwater::time::Epoch;
use headwater_connectors::Generator;

/// Writes numbers to `EPOCH-SUBTASK.txt` of a folder. Readers ignore `.part`, which nobody has promised to keep.
pub(crate) struct EpochFiles {
    pub(crate) folder: PathBuf,
}

impl Sink<u64> for EpochFiles {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<u64>>> {
        fs::create_dir_all(&self.folder).map_err(|error| Error::io(&self.folder, error))?;
        Ok(Box::new(EpochWriter { folder: self.folder.clone(), subtask: subtask.index, text: String::new() }))
    }
}

struct EpochWriter {
    folder: PathBuf,
    subtask: usize,
    text: String,
}

impl SinkWriter<u64> for EpochWriter {
    /// Takes rows; nobody may see them yet.
    fn write(&mut self, batch: &Batch<u64>) -> Result<()> {
        batch.iter().for_each(|number| self.text += &format!("{number}\n"));
        Ok(())
    }

    /// Phase one, before the epoch is durable: puts the rows where they survive, and says where that is. A crash
    /// behind this may still take the epoch back; then another epoch of its number overwrites the file.
    fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        if self.text.is_empty() {
            return Ok(Staged::nothing());
        }
        let name = format!("{:06}-{}", cut.epoch.0, self.subtask);
        let path = self.folder.join(format!("{name}.part"));
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(self.text.as_bytes())?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| Error::io(&path, error))?;
        self.text.clear();
        Ok(Staged::bytes(name.into_bytes()))
    }

    /// Phase two, when the epoch is durable: shows it. May be called again for the same epoch, also by another
    /// process that knows nothing but `staged`, and changes nothing then.
    fn commit(&mut self, _: Epoch, staged: &Staged) -> Result<Delivery> {
        if staged.is_nothing() {
            return Ok(Delivery::Final);
        }
        let name = String::from_utf8_lossy(staged.as_bytes());
        let (part, shown) =
            (self.folder.join(format!("{name}.part")), self.folder.join(format!("{name}.txt")));
        // One step of the file system: the whole file is there, or nothing of it.
        let show = if shown.exists() { Ok(()) } else { fs::rename(&part, &shown) };
        show.and_then(|()| File::open(&self.folder)?.sync_all()).map_err(|error| Error::io(&shown, error))?;
        Ok(Delivery::Final)
    }
}

/// The numbers that a reader of the folder sees, file by file.
pub(crate) fn read(folder: &Path) -> Result<Vec<u64>> {
    let Ok(files) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let text = paths.iter().map(fs::read_to_string).collect::<Result<String, _>>()?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Writes numbers with a sink of its own.
#[derive(Parser)]
struct Command {
    /// The folder of files; a new one, unless the job goes on.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    options: cli::Options,
}

fn main() -> ExitCode {
    cli::main(|| {
        let Command { output, options } = Command::parse();
        let flow = StreamBuilder::new("custom-sink");
        flow.source("numbers", Generator::new(100_000, |n| n))
            .sink("files", EpochFiles { folder: output.clone() });
        cli::execute(flow.build()?, &options)?;
        let rows = read(&output)?;
        let different: BTreeSet<_> = rows.iter().collect();
        println!("{} rows, {} of them different", rows.len(), different.len());
        Ok(())
    })
}
