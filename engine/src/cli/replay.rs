//! `wal replay` and `capsule export`: epochs of a job run again, and packed for another machine.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Options;
use super::operations::directory;
use super::output::{Output, size};
use crate::batch::Value;
use crate::error::{Error, Result};
use crate::runtime::{ReplaySummary, ReplayedEpoch, export_capsule, replay};
use crate::topology::Topology;

/// Which epochs.
#[derive(Args, Clone, Copy, Debug)]
pub struct Range {
    /// The first epoch [default: the first that a snapshot, or the whole log, allows].
    #[arg(long, value_name = "EPOCH")]
    pub from: Option<u64>,
    /// The last epoch [default: the last that is committed].
    #[arg(long, value_name = "EPOCH")]
    pub to: Option<u64>,
}

/// Operations on capsules.
#[derive(Clone, Debug, Subcommand)]
pub enum Capsule {
    /// Pack a snapshot, the log and the input of some epochs into a folder; `wal replay --state FOLDER` runs
    /// them again wherever that folder is.
    Export {
        /// The new folder.
        #[arg(value_name = "FOLDER")]
        target: PathBuf,
        /// Which epochs.
        #[command(flatten)]
        range: Range,
    },
}

/// `wal replay`.
pub(super) fn replay_epochs(
    range: Range,
    compare: bool,
    topology: &Topology,
    options: &Options,
    json: bool,
) -> Result<()> {
    let directory = directory(options)?;
    let mut out = Output::new(json);
    let mut different = 0;
    let done = replay(topology, directory, range.from, range.to, &mut |epoch| {
        different += u64::from(!epoch.differences.is_empty());
        print_epoch(epoch, compare, &mut out)
    })
    .and_then(|summary| print_summary(&summary, &mut out));
    out.finish(done)?;
    match different {
        0 => Ok(()),
        _ if !compare => Ok(()),
        1 => Err(Error::failed("an epoch is not as the log has it, see above")),
        count => Err(Error::failed(format!("{count} epochs are not as the log has them, see above"))),
    }
}

fn print_epoch(epoch: &ReplayedEpoch, compare: bool, out: &mut Output) -> Result<()> {
    let number = epoch.epoch;
    if compare && epoch.differences.is_empty() {
        return Ok(());
    }
    if !out.json {
        let (records, rows) = (epoch.records, epoch.rows.len());
        out.line(format_args!("epoch {number}: {records} records read, {rows} rows"))?;
    }
    for row in epoch.rows.iter().filter(|_| !compare) {
        if out.json {
            out.line(Value::record([
                ("epoch", number.into()),
                ("sink", row.sink.as_str().into()),
                ("row", row.row.clone()),
            ]))?;
        } else {
            out.line(format_args!("  {}  {}", row.sink, row.row))?;
        }
    }
    for difference in &epoch.differences {
        if out.json {
            out.line(Value::record([("epoch", number.into()), ("difference", difference.as_str().into())]))?;
        } else {
            out.line(format_args!("  differs: {difference}"))?;
        }
    }
    Ok(())
}

fn print_summary(summary: &ReplaySummary, out: &mut Output) -> Result<()> {
    let ReplaySummary { base, from, to, records, rows, different, ref notes } = *summary;
    if out.json {
        return out.line(Value::record([
            ("base", base.into()),
            ("from", from.into()),
            ("to", to.into()),
            ("records", records.into()),
            ("rows", rows.into()),
            ("different", different.into()),
            ("notes", notes.clone().into()),
        ]));
    }
    for note in notes {
        out.line(format_args!("note: {note}"))?;
    }
    let begun = match base {
        0 => "from the beginning of the job".to_owned(),
        base => format!("from the snapshot of epoch {base}"),
    };
    let compared = match different {
        0 => "state, counts and watermarks are as the log has them".to_owned(),
        1 => "one epoch is not as the log has it".to_owned(),
        count => format!("{count} epochs are not as the log has them"),
    };
    out.line(format_args!(
        "replayed epochs {from} to {to} {begun}: {records} records read, {rows} rows; {compared}"
    ))
}

/// `capsule`.
pub(super) fn capsule(what: &Capsule, topology: &Topology, options: &Options, json: bool) -> Result<()> {
    let Capsule::Export { target, range } = what;
    let made = export_capsule(topology, directory(options)?, range.from, range.to, target)?;
    let mut out = Output::new(json);
    let path = made.path.display();
    let done = if json {
        out.line(Value::record([
            ("path", path.to_string().as_str().into()),
            ("base", made.base.into()),
            ("from", made.from.into()),
            ("to", made.to.into()),
            ("records", made.records.into()),
            ("bytes", made.bytes.into()),
        ]))
    } else {
        out.line(format_args!(
            "capsule `{path}` of epochs {} to {}: {} records behind epoch {}, {}; run them again with wal replay \
             --state {path}",
            made.from,
            made.to,
            made.records,
            made.base,
            size(made.bytes)
        ))
    };
    out.finish(done)
}
