//! Snapshots and savepoints on the command line: made, listed and shown.

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;

use super::Options;
use super::operations::{directory, epoch_json, show_epoch};
use super::output::{Output, Table, size};
use crate::batch::Value;
use crate::error::{Error, Result};
use crate::runtime::{Inspection, SnapshotReport, create_savepoint};
use crate::topology::Topology;

/// Operations on savepoints.
#[derive(Clone, Debug, Subcommand)]
pub enum Savepoint {
    /// Make one in `DIR/savepoints/NAME`, also while the job is running; it stays until you remove it. Another
    /// job begins with it by `--from`.
    Create {
        /// Its name [default: savepoint-1, savepoint-2 and so on].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Most seconds to wait for a job that is running.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
}

/// `savepoint`.
pub(super) fn savepoint(what: &Savepoint, topology: &Topology, options: &Options, json: bool) -> Result<()> {
    let directory = directory(options)?;
    let Savepoint::Create { name, wait } = what;
    let path = create_savepoint(topology, directory, name.as_deref(), Duration::from_secs(*wait))?;
    let named = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let (made, _) = Inspection::open(topology, directory)?
        .snapshot(&named)?
        .ok_or_else(|| Error::failed(format!("`{}` has been removed again", path.display())))?;
    let mut out = Output::new(json);
    let done = if json {
        out.line(json_of(&made))
    } else {
        out.line(format_args!(
            "savepoint `{named}` of epoch {}: {} in {} files; begin a job with --from {} --state NEW-DIR",
            made.epoch,
            size(made.bytes),
            made.files,
            path.display()
        ))
    };
    out.finish(done)
}

/// The snapshots and savepoints of a job, for `checkpoints list`.
pub(super) fn list(inspection: &Inspection, out: &mut Output) -> Result<()> {
    let all = inspection.snapshots()?;
    if out.json {
        return all.iter().try_for_each(|one| out.line(json_of(one)));
    }
    if all.is_empty() {
        return out.line("there are no snapshots yet");
    }
    let mut table = Table::new(&["", "name", ">epoch", ">files", ">bytes", "manifest"]);
    for one in &all {
        table.row(vec![
            kind_of(one).to_owned(),
            one.savepoint.clone().unwrap_or_default(),
            one.epoch.to_string(),
            one.files.to_string(),
            size(one.bytes),
            one.problem.clone().unwrap_or_else(|| "good".to_owned()),
        ]);
    }
    out.line("")?;
    table.print(out)
}

/// What the epoch of a snapshot says, for `checkpoints show`; false when there is none of this name.
pub(super) fn show(inspection: &Inspection, name: &str, out: &mut Output) -> Result<bool> {
    let Some((report, epoch)) = inspection.snapshot(name)? else { return Ok(false) };
    if out.json {
        out.line(Value::record([
            ("of", kind_of(&report).into()),
            ("name", report.savepoint.as_deref().into()),
            ("files", report.files.into()),
            ("bytes", report.bytes.into()),
            ("path", path_of(&report.path)),
            ("says", epoch_json(&epoch)),
        ]))?;
    } else {
        let (kind, path) = (kind_of(&report), report.path.display());
        out.line(format_args!("{kind} `{path}`, {} in {} files", size(report.bytes), report.files))?;
        show_epoch(&epoch, out)?;
    }
    Ok(true)
}

fn kind_of(report: &SnapshotReport) -> &'static str {
    if report.savepoint.is_some() { "savepoint" } else { "snapshot" }
}

fn path_of(path: &Path) -> Value {
    path.display().to_string().as_str().into()
}

fn json_of(report: &SnapshotReport) -> Value {
    Value::record([
        ("of", kind_of(report).into()),
        ("name", report.savepoint.as_deref().into()),
        ("epoch", report.epoch.into()),
        ("is_last", report.is_last.into()),
        ("files", report.files.into()),
        ("bytes", report.bytes.into()),
        ("path", path_of(&report.path)),
        ("problem", report.problem.as_deref().into()),
    ])
}
