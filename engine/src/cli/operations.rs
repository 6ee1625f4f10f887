//! The operations on a durable job that only look: they print what it has, take no lock and change nothing.

use std::io::Write;
use std::path::Path;

use clap::Subcommand;

use super::Options;
use super::output::{Output, Table, cell, parse, size};
use super::snapshots;
use crate::batch::Value;
use crate::error::{Error, Result};
use crate::runtime::{EpochReport, Inspection, StateEntry, StateView, Verification};
use crate::time::Epoch;
use crate::topology::Topology;
use crate::wal::{LogEnd, RecordKind};

/// Operations on committed epochs.
#[derive(Clone, Debug, Subcommand)]
pub enum Checkpoints {
    /// All committed epochs that the log holds, and all snapshots and savepoints.
    List,
    /// One of them: records, output, positions of the sources, counts.
    Show {
        /// The number of the epoch, or the name of a savepoint.
        #[arg(value_name = "EPOCH")]
        which: String,
    },
    /// Read the log, the state, snapshots and savepoints and check all of it; exit code 1 when something is
    /// wrong.
    Verify,
}

/// Operations on keyed state.
#[derive(Clone, Debug, Subcommand)]
pub enum State {
    /// Tables with their types, keys and namespaces.
    List,
    /// What one key has.
    Get {
        /// A string as it is, an integer, or the fields of a key of several parts as JSON: '["a",1]'.
        #[arg(allow_hyphen_values = true)]
        key: String,
        /// The operator, if several have state.
        #[arg(long, value_name = "NAME")]
        operator: Option<String>,
        /// The start of a window or slice; all unless given.
        #[arg(long, value_name = "N", allow_hyphen_values = true)]
        namespace: Option<i64>,
    },
    /// All keys, as JSON lines.
    Export {
        /// Only those of this operator.
        #[arg(long, value_name = "NAME")]
        operator: Option<String>,
    },
}

/// The directory of the job.
pub(super) fn directory(options: &Options) -> Result<&Path> {
    let which = "which job? Name the directory of its run with --state DIR";
    options.state.as_deref().ok_or_else(|| Error::Config(which.into()))
}

/// Looks at the job that the options name.
pub(super) fn open(topology: &Topology, options: &Options) -> Result<Inspection> {
    let inspection = Inspection::open(topology, directory(options)?)?;
    if let LogEnd::Damaged { .. } = inspection.log().end() {
        let _ = writeln!(
            anstream::stderr(),
            "the log is damaged, and this is what stands before the damage; `wal verify` says more"
        );
    }
    Ok(inspection)
}

/// `checkpoints`.
pub(super) fn checkpoints(
    what: &Checkpoints,
    topology: &Topology,
    options: &Options,
    json: bool,
) -> Result<()> {
    let inspection = open(topology, options)?;
    let mut out = Output::new(json);
    let done = match what {
        Checkpoints::List => list_epochs(&inspection, &mut out),
        Checkpoints::Show { which } => show(&inspection, which, &mut out),
        Checkpoints::Verify => print_verification(&inspection.verify()?, &mut out),
    };
    out.finish(done)
}

fn show(inspection: &Inspection, which: &str, out: &mut Output) -> Result<()> {
    let epoch = which.parse().map_or(Ok(None), |epoch| inspection.epoch(Epoch(epoch)))?;
    if let Some(report) = epoch {
        return show_epoch(&report, out);
    }
    if snapshots::show(inspection, which, out)? {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the log holds no committed epoch {which}, and no snapshot or savepoint is called so: `checkpoints list` \
         says what there is"
    )))
}

fn list_epochs(inspection: &Inspection, out: &mut Output) -> Result<()> {
    let epochs = inspection.epochs()?;
    if out.json {
        snapshots::list(inspection, out)?;
        return epochs.iter().try_for_each(|epoch| out.line(epoch_json(epoch)));
    }
    let mut table =
        Table::new(&[">epoch", ">generation", ">records", ">bytes", ">state", ">staged", ">records read"]);
    for report in &epochs {
        let of = |kind| report.kinds.iter().find(|one| one.kind == kind).map_or(0, |one| one.bytes);
        let sources = report
            .counts
            .iter()
            .filter(|(name, _)| report.partitions.iter().any(|partition| partition.source == *name));
        let read: u64 = sources.map(|(_, counts)| counts.records_in).sum();
        table.row(vec![
            report.epoch.to_string(),
            report.generation.to_string(),
            report.records().to_string(),
            size(report.bytes()),
            size(of(RecordKind::StateDelta)),
            size(report.sinks.iter().map(|sink| sink.staged_bytes).sum()),
            read.to_string(),
        ]);
    }
    table.print(out)?;
    let from = inspection.log().complete_from();
    if from > Epoch(0) {
        out.line(format_args!("epochs up to {from} are not in the log any more: nothing needs them"))?;
    }
    for sink in epochs.last().iter().flat_map(|last| &last.sinks) {
        out.line(format_args!(
            "`{}`: delivered up to epoch {}, as far as the log knows",
            sink.sink, sink.delivered
        ))?;
    }
    match inspection.state().map(|state| state.store_epoch) {
        // What there is to go back to is below.
        Err(error) => out.line(format_args!("the state cannot be read: {error}"))?,
        Ok(Some(epoch)) => {
            out.line(format_args!("the state store is at epoch {epoch}, the log has the rest"))?
        }
        Ok(None) => out.line("there is no state store yet, the log has everything")?,
    }
    if inspection.is_finished() {
        out.line("the input has ended, and everything is in the last epoch")?;
    }
    snapshots::list(inspection, out)
}

pub(super) fn show_epoch(report: &EpochReport, out: &mut Output) -> Result<()> {
    if out.json {
        return out.line(epoch_json(report));
    }
    let end = if report.is_last { ", the last: the input has ended" } else { "" };
    // A snapshot does not say which run it was.
    let by = match report.generation {
        0 => String::new(),
        generation => format!(", committed by generation {generation}"),
    };
    out.line(format_args!("epoch {}{by}{end}\n", report.epoch))?;
    let mut kinds = Table::new(&["kind", ">records", ">bytes"]);
    for kind in &report.kinds {
        kinds.row(vec![kind.kind.name().to_owned(), kind.records.to_string(), size(kind.bytes)]);
    }
    kinds.print(out)?;
    if !report.sinks.is_empty() {
        let mut sinks = Table::new(&["sink", ">staged", "delivered"]);
        for sink in &report.sinks {
            let delivered = if sink.delivered >= report.epoch {
                "yes".to_owned()
            } else {
                format!("up to epoch {}, as far as the log knows", sink.delivered)
            };
            sinks.row(vec![sink.sink.clone(), size(sink.staged_bytes), delivered]);
        }
        out.line("")?;
        sinks.print(out)?;
    }
    if !report.partitions.is_empty() {
        let mut partitions = Table::new(&["source", "partition", "", "position"]);
        for partition in &report.partitions {
            let position = match &partition.position {
                Some(position) => cell(position),
                None if partition.finished => "at the end".to_owned(),
                None if partition.position_bytes == 0 => "at the beginning".to_owned(),
                None => size(partition.position_bytes),
            };
            let state = if partition.finished { "finished" } else { "open" };
            let (source, name) = (partition.source.clone(), partition.partition.clone());
            partitions.row(vec![source, name, state.to_owned(), position]);
        }
        out.line("")?;
        partitions.print(out)?;
    }
    let mut counts = Table::new(&["node", ">in", ">out", ">late", ">rejected"]);
    for (name, of) in &report.counts {
        let numbers = [of.records_in, of.records_out, of.late, of.rejected].map(|count| count.to_string());
        counts.row([vec![name.clone()], numbers.to_vec()].concat());
    }
    out.line("")?;
    counts.print(out)
}

pub(super) fn epoch_json(report: &EpochReport) -> Value {
    let kinds = report.kinds.iter().map(|kind| {
        let (name, records) = (kind.kind.name(), kind.records);
        Value::record([("kind", name.into()), ("records", records.into()), ("bytes", kind.bytes.into())])
    });
    let sinks = report.sinks.iter().map(|sink| {
        Value::record([
            ("sink", sink.sink.as_str().into()),
            ("staged_bytes", sink.staged_bytes.into()),
            ("delivered_up_to", sink.delivered.into()),
        ])
    });
    let partitions = report.partitions.iter().map(|partition| {
        Value::record([
            ("source", partition.source.as_str().into()),
            ("partition", partition.partition.as_str().into()),
            ("finished", partition.finished.into()),
            ("position", partition.position.clone().into()),
            ("position_bytes", partition.position_bytes.into()),
        ])
    });
    let counts = report.counts.iter().map(|(name, counts)| {
        Value::record([
            ("node", name.as_str().into()),
            ("in", counts.records_in.into()),
            ("out", counts.records_out.into()),
            ("late", counts.late.into()),
            ("rejected", counts.rejected.into()),
        ])
    });
    Value::record([
        ("epoch", report.epoch.into()),
        ("generation", report.generation.into()),
        ("is_last", report.is_last.into()),
        ("kinds", kinds.collect::<Vec<_>>().into()),
        ("sinks", sinks.collect::<Vec<_>>().into()),
        ("partitions", partitions.collect::<Vec<_>>().into()),
        ("counts", counts.collect::<Vec<_>>().into()),
    ])
}

fn print_verification(found: &Verification, out: &mut Output) -> Result<()> {
    if out.json {
        out.line(Value::record([
            ("ok", found.problems.is_empty().into()),
            ("epoch", found.epoch.0.into()),
            ("epochs", found.epochs.into()),
            ("records", found.records.into()),
            ("bytes", found.bytes.into()),
            ("store_epoch", found.store_epoch.map(|epoch| epoch.0).into()),
            ("rows", found.rows.into()),
            ("snapshots", found.snapshots.into()),
            ("notes", found.notes.clone().into()),
            ("problems", found.problems.clone().into()),
        ]))?;
    } else {
        let bytes = size(found.bytes);
        out.line(format_args!("log    {} epochs, {} records, {bytes}", found.epochs, found.records))?;
        let store =
            found.store_epoch.map_or("no store yet".to_owned(), |epoch| format!("store at epoch {epoch}"));
        out.line(format_args!("state  {} keys as of epoch {}, {store}", found.rows, found.epoch))?;
        if found.snapshots > 0 {
            out.line(format_args!("copies {} snapshots and savepoints, every byte", found.snapshots))?;
        }
        for note in &found.notes {
            out.line(format_args!("note   {note}"))?;
        }
        for problem in &found.problems {
            out.line(format_args!("wrong  {problem}"))?;
        }
        if found.problems.is_empty() {
            out.line("everything was read and decoded: nothing is wrong")?;
        }
    }
    match found.problems.len() {
        0 => Ok(()),
        1 => Err(Error::failed("something is wrong, see above")),
        count => Err(Error::failed(format!("{count} things are wrong, see above"))),
    }
}

/// `state`.
pub(super) fn state(what: &State, topology: &Topology, options: &Options, json: bool) -> Result<()> {
    let inspection = open(topology, options)?;
    let view = inspection.state()?;
    let mut out = Output::new(json);
    let done = match what {
        State::List => list_tables(&view, &mut out),
        State::Get { key, operator, namespace } => {
            let operator = one_operator(&inspection, operator.as_deref())?;
            get_key(&inspection, &view, (operator, key, *namespace), &mut out)
        }
        State::Export { operator } => {
            let all = match operator {
                Some(operator) => vec![operator.as_str()],
                None => inspection.operators(),
            };
            all.into_iter()
                .try_for_each(|operator| view.each(operator, None, &mut |entry| out.line(entry_json(&entry))))
        }
    };
    out.finish(done)
}

fn list_tables(view: &StateView, out: &mut Output) -> Result<()> {
    let tables = view.tables()?;
    if out.json {
        return tables.iter().try_for_each(|table| {
            let (key, value) = table.types.clone().unzip();
            let namespaces = table.namespaces.iter().map(|(namespace, rows)| {
                Value::record([("namespace", Value::Signed((*namespace).into())), ("rows", (*rows).into())])
            });
            out.line(Value::record([
                ("operator", table.operator.as_str().into()),
                ("key", key.into()),
                ("value", value.into()),
                ("rows", table.rows.into()),
                ("bytes", table.bytes.into()),
                ("namespaces", namespaces.collect::<Vec<_>>().into()),
                ("epoch", view.epoch.0.into()),
            ]))
        });
    }
    let mut text = Table::new(&["operator", "key", "value", ">keys", ">bytes", "namespaces"]);
    for table in &tables {
        let (key, value) = table.types.clone().unwrap_or(("not of this program".to_owned(), String::new()));
        let namespaces = match &table.namespaces[..] {
            [] => "none".to_owned(),
            [(only, _)] => only.to_string(),
            [(first, _), .., (last, _)] => format!("{}: {first} to {last}", table.namespaces.len()),
        };
        let (operator, rows) = (table.operator.clone(), table.rows.to_string());
        text.row(vec![operator, key, value, rows, size(table.bytes), namespaces]);
    }
    text.print(out)?;
    out.line(format_args!("as of epoch {}", view.epoch))
}

fn one_operator<'a>(inspection: &'a Inspection, named: Option<&'a str>) -> Result<&'a str> {
    match (named, &inspection.operators()[..]) {
        (Some(operator), _) => Ok(operator),
        (None, [only]) => Ok(only),
        (None, []) => Err(Error::Config("this topology keeps no state".into())),
        (None, several) => Err(Error::Config(format!(
            "several operators have state, say which with --operator: `{}`",
            several.join("`, `")
        ))),
    }
}

fn get_key(
    inspection: &Inspection,
    view: &StateView,
    (operator, text, namespace): (&str, &str, Option<i64>),
    out: &mut Output,
) -> Result<()> {
    let key = if inspection.has_text_keys(operator) {
        Value::from(text)
    } else {
        // What is no JSON is a string; the operator says what it wants instead.
        parse(text).unwrap_or(Value::from(text))
    };
    let found = view.get(operator, &key, namespace)?;
    if found.is_empty() {
        let epoch = view.epoch;
        return Err(Error::failed(format!("{text} has nothing in `{operator}` as of epoch {epoch}")));
    }
    if out.json {
        return found.iter().try_for_each(|entry| out.line(entry_json(entry)));
    }
    let mut table = Table::new(&["operator", ">namespace", "key", "value"]);
    for entry in &found {
        let (key, value) = (cell(&entry.key), cell(&entry.value));
        table.row(vec![entry.operator.clone(), entry.namespace.to_string(), key, value]);
    }
    table.print(out)?;
    out.line(format_args!("as of epoch {}", view.epoch))
}

fn entry_json(entry: &StateEntry) -> Value {
    Value::record([
        ("operator", entry.operator.as_str().into()),
        ("namespace", Value::Signed(entry.namespace.into())),
        ("key", entry.key.clone()),
        ("value", entry.value.clone()),
    ])
}
