//! What the example programs share: flags, reading files by their names, and a made-up sensor network.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater::cli::Options;
use headwater::prelude::*;
use headwater::runtime::Summary;
use headwater::source::{Rejected, Source};
use headwater_connectors::format::InputFormat;
use headwater_connectors::{
    Collect, Console, CsvFile, CsvSink, JsonLines, JsonLinesSink, SourceExt, TextFile,
};

use self::sensors::Reading;

pub mod sensors;

/// How often a word occurs.
#[derive(Record, Debug)]
pub struct WordCount {
    /// The word.
    pub word: String,
    /// How often it occurred so far.
    pub count: u64,
}

/// How often each word occurs: rows as soon as counts change, or once at the end; the output mode says which.
pub fn count_words(words: &Stream<String>, mode: OutputMode) -> Stream<WordCount> {
    let counts = words.key_by_value().count().output_mode(mode);
    counts.map(|row| WordCount { word: row.key.to_owned(), count: row.value })
}

/// A file of the bundled data, wherever the example was started.
#[must_use]
pub fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// The format that the names of all files at a path agree on.
///
/// # Errors
/// There is no such file, or the names say different things or nothing.
pub fn format_of(path: &Path) -> Result<InputFormat> {
    let files = TextFile::new(path).partitions()?;
    let mut formats = files.iter().map(|file| InputFormat::from_path(file).ok_or(file));
    let first = match formats.next() {
        Some(Ok(format)) => format,
        Some(Err(file)) => return Err(unknown(file)),
        None => return Err(Error::failed(format!("{}: there is no file", path.display()))),
    };
    for format in formats {
        match format {
            Ok(format) if format == first => {}
            Ok(_) => {
                let what = "files of different formats; name those of one format with a glob";
                return Err(Error::failed(format!("{}: {what}", path.display())));
            }
            Err(file) => return Err(unknown(file)),
        }
    }
    Ok(first)
}

fn unknown(file: &str) -> Error {
    Error::failed(format!(
        "{file}: its name does not tell the format; name it .json, .jsonl, .csv, .tsv or .txt (also with .gz or .zst)"
    ))
}

/// Readings from CSV files with a header or from JSON lines, and the lines that are none.
///
/// # Errors
/// There is no such file, or it is of another format.
pub fn readings_of(
    flow: &StreamBuilder,
    path: &Path,
    rate: Option<f64>,
) -> Result<(Stream<Reading>, Stream<Rejected>)> {
    match format_of(path)? {
        InputFormat::JsonLines => Ok(limited(flow, JsonLines::<Reading>::new(path), rate)),
        InputFormat::Csv { delimiter } => {
            Ok(limited(flow, CsvFile::<Reading>::new(path).delimiter(delimiter), rate))
        }
        _ => Err(Error::failed(format!("{}: readings are CSV or JSON lines, not text", path.display()))),
    }
}

fn limited<S: Source>(
    flow: &StreamBuilder,
    source: S,
    rate: Option<f64>,
) -> (Stream<S::Record>, Stream<Rejected>) {
    match rate.filter(|rate| *rate != 0.0) {
        Some(rate) => flow.source_or_rejected("readings", source.rate(rate)),
        None => flow.source_or_rejected("readings", source),
    }
}

/// Adds up, as part of the topology, how many readings the rows stand for: the sum survives what the job does.
pub fn added_up<T: Record>(
    rows: &Stream<T>,
    readings: impl for<'a> Fn(T::View<'a>) -> u64 + Clone + Send + Sync + 'static,
) -> Collect<KeyedResult<u8, u64>> {
    let account = Collect::new();
    let sum = rows.key_by(|_| 0_u8).aggregate(|a| a.sum(readings));
    sum.output_mode(OutputMode::Append).name("account").sink("account-sum", account.clone());
    account
}

/// Everything that was read must have gone somewhere. `made` is how many there must be, if that is known.
///
/// # Errors
/// It does not add up.
pub fn account(summary: &Summary, made: Option<u64>, added_up: &Collect<KeyedResult<u8, u64>>) -> Result<()> {
    let (read, late, rejected) = (summary.records_read(), summary.late(), summary.rejected());
    let rows = added_up.take();
    if rows.is_empty() && summary.had_ended {
        return say(format_args!("{read} readings were accounted for when the job ended"));
    }
    if rows.is_empty() && summary.stopped {
        return say(format_args!(
            "{read} readings so far; they are accounted for when the job has come to its end"
        ));
    }
    let aggregated = rows.first().map_or(0, |row| row.value);
    say(format_args!("{read} readings = {aggregated} aggregated + {late} late + {rejected} rejected"))?;
    let made_by = if made.is_some() { "made" } else { "counted by the source" };
    let made = made.unwrap_or(read);
    if made == read && made == aggregated + late + rejected {
        return say(format_args!("checked: {made} were {made_by}, none is missing, none counted twice"));
    }
    Err(Error::failed(format!("{made} readings were {made_by}, which does not add up: this is a defect")))
}

/// Where rejected records go when nobody asked for a file: the first ones of an epoch to standard error.
#[must_use]
pub fn complaints() -> Console {
    Console::json().rows(5).to(std::io::stderr())
}

/// A time as people write it: `500ms`, `20s`, `2m`, `1h`.
///
/// # Errors
/// The text is something else, or no time at all.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number and its unit, such as 500ms, 20s, 2m or 1h".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| format!("`{digits}` is not a whole number"))?;
    match count.checked_mul(unit_ms) {
        Some(time) if time > 0 => Ok(ms(time)),
        _ => Err("this must be more than nothing, and less than for ever".to_owned()),
    }
}

/// Where the rows of an example go: to the file `output`, or, with a state directory, to files in the folder
/// `output`, which are exactly-once.
#[must_use]
pub fn rows_to(output: &Path, options: &Options) -> CsvSink {
    match options.state {
        Some(_) => CsvSink::folder(output),
        None => CsvSink::new(output),
    }
}

/// Where what is set aside goes: `out/stats.csv` and `late` give `out/stats.late.jsonl`; with a state
/// directory, `out` and `late` give the folder `out/late`.
#[must_use]
pub fn aside_to(output: &Path, name: &str, options: &Options) -> JsonLinesSink {
    match options.state {
        Some(_) => JsonLinesSink::folder(output.join(name)),
        None => JsonLinesSink::new(output.with_extension(format!("{name}.jsonl"))),
    }
}

/// A number with two decimals.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Writes a line to standard output, where the results are.
///
/// # Errors
/// Nobody reads it any more.
pub fn say(line: impl fmt::Display) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
