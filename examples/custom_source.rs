//! A source of your own that can be read again: binary logs of sensors, one partition per file.
//!
//! Run with: `cargo run --release -p examples --example custom_source -- --logs out/logs`
//!
//! You will see how many readings each sensor has, and their mean. With `--state DIR` the job goes on behind the
//! last entry that counted, whatever ended it. `examples/tests/custom.rs` tries the promise.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use headwater::cli;
use headwater::prelude::*;
use headwater::source::{Poll, Rejected, Source, SourceOutput, SourceReader};
use headwater_connectors::Console;

/// An entry of a log is a number of 8 bytes.
const ENTRY_BYTES: u64 = 8;

#[derive(Record)]
pub(crate) struct Entry {
    sensor: String,
    value: f64,
}

/// All files `NAME.log` of a folder; this only describes, and is opened anew for every run.
pub(crate) struct SensorLogs {
    pub(crate) folder: PathBuf,
}

impl Source for SensorLogs {
    type Record = Entry;
    /// How many entries were read: all that is needed to go on.
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        let files = fs::read_dir(&self.folder).map_err(|error| Error::io(&self.folder, error))?;
        let name = |file: fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".log")?.to_owned());
        // The same order at every start, whatever the file system says.
        Ok(files.flatten().filter_map(name).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn open(&self, sensor: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<Entry, u64>>> {
        let (path, next) = (self.folder.join(format!("{sensor}.log")), position.unwrap_or(0));
        let mut file = File::open(&path).map_err(|error| Error::io(&path, error))?;
        file.seek(SeekFrom::Start(next * ENTRY_BYTES)).map_err(|error| Error::io(&path, error))?;
        Ok(Box::new(LogReader { sensor: sensor.to_owned(), file: BufReader::new(file), next }))
    }
}

struct LogReader {
    sensor: String,
    file: BufReader<File>,
    /// Number of the entry that comes next, from 0.
    next: u64,
}

impl SourceReader<Entry, u64> for LogReader {
    fn poll(&mut self, out: &mut SourceOutput<'_, Entry>) -> Result<Poll> {
        let mut bytes = [0; ENTRY_BYTES as usize];
        while !out.is_full() {
            match self.file.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Poll::Finished),
                Err(error) => return Err(Error::io(&self.sensor, error)),
            }
            let value = f64::from_le_bytes(bytes);
            if value.is_finite() {
                out.push(EntryView { sensor: &self.sensor, value })?;
            } else {
                let (origin, reason) = (self.sensor.clone(), "a reading is a number".to_owned());
                let offset = self.next * ENTRY_BYTES;
                out.reject(&Rejected { origin, line: 0, offset, reason, payload: value.to_string() })?;
            }
            self.next += 1;
        }
        Ok(Poll::More)
    }

    fn position(&self) -> u64 {
        self.next
    }
}

/// Two sensors; each hundredth of their entries is no reading.
pub(crate) fn write_logs(folder: &Path, entries: u64) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let value = |n: u64| if n % 100 == 99 { f64::NAN } else { (n % 8) as f64 / 4.0 };
    let bytes: Vec<u8> = (0..entries).flat_map(|n| value(n).to_le_bytes()).collect();
    ["cellar", "roof"].iter().try_for_each(|name| Ok(fs::write(folder.join(format!("{name}.log")), &bytes)?))
}

/// Reads logs of sensors with a source of its own.
#[derive(Parser)]
struct Command {
    /// The folder of logs, which are made up when it does not exist.
    #[arg(long, value_name = "DIR")]
    logs: PathBuf,
    #[command(flatten)]
    options: cli::Options,
}

fn main() -> ExitCode {
    cli::main(|| {
        let Command { logs, options } = Command::parse();
        if !logs.exists() {
            write_logs(&logs, 1_000)?;
        }
        let flow = StreamBuilder::new("custom-source");
        let entries = flow.source("logs", SensorLogs { folder: logs });
        let values = entries.key_by_field(Entry::SENSOR).aggregate(|a| (a.count(), a.mean(|e| e.value)));
        values.output_mode(OutputMode::Append).sink("console", Console::table().ascending("key"));
        cli::execute(flow.build()?, &options)?;
        Ok(())
    })
}
