//! `wal`: the epoch log of a job, record by record, and its epochs run again.

use clap::{Subcommand, ValueEnum, builder::PossibleValue};

use super::Options;
use super::operations::open;
use super::output::{Output, size};
use super::replay::{Range, replay_epochs};
use crate::batch::Value;
use crate::error::{Error, Result};
use crate::runtime::Inspection;
use crate::topology::Topology;
use crate::wal::{LogEnd, RecordKind, RecordPlace};

/// Operations on the epoch log.
#[derive(Clone, Debug, Subcommand)]
pub enum Wal {
    /// One line per record.
    Dump {
        /// Only epochs from this one on.
        #[arg(long, value_name = "EPOCH", default_value_t = 0, hide_default_value = true)]
        from: u64,
        /// Only epochs up to this one.
        #[arg(long, value_name = "EPOCH", default_value_t = u64::MAX, hide_default_value = true)]
        to: u64,
        /// Only records of this kind.
        #[arg(long)]
        kind: Option<Kind>,
    },
    /// Check every checksum, and say how the log ends; exit code 1 when it is damaged.
    Verify,
    /// Run committed epochs again with the same input, and print what their sinks would have been given and
    /// what is not as the log has it. Nothing is shown to the world.
    Replay {
        /// Which epochs.
        #[command(flatten)]
        range: Range,
        /// Print only what is not as the log has it; exit code 1 when there is something.
        #[arg(long)]
        compare: bool,
    },
}

/// A kind of records, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub RecordKind);

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Kind; RecordKind::ALL.len()] = {
            let mut all = [Kind(RecordKind::Commit); RecordKind::ALL.len()];
            let mut index = 0;
            while index < all.len() {
                all[index] = Kind(RecordKind::ALL[index]);
                index += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

/// `wal`.
pub(super) fn wal(what: &Wal, topology: &Topology, options: &Options, json: bool) -> Result<()> {
    let mut out = Output::new(json);
    let done = match what {
        Wal::Dump { from, to, kind } => dump(&open(topology, options)?, (*from, *to, *kind), &mut out),
        Wal::Verify => verify_log(&open(topology, options)?, &mut out),
        Wal::Replay { range, compare } => {
            return replay_epochs(*range, *compare, topology, options, json);
        }
    };
    out.finish(done)
}

fn dump(inspection: &Inspection, (from, to, kind): (u64, u64, Option<Kind>), out: &mut Output) -> Result<()> {
    let wide = |place: &RecordPlace<'_>| {
        let record = &place.record;
        let owner = if record.owner.is_empty() { "-" } else { record.owner };
        format!(
            "{:>7}  {:>10}  {:>8}  {:>3}  {:>7}  {:<9}  {:>3}  {:>9}  {:<9}  {owner}",
            place.segment,
            place.offset,
            record.lsn,
            place.generation,
            record.epoch,
            record.kind.name(),
            record.subtask,
            record.payload.len(),
            match (place.committed, place.continued) {
                (true, false) => "yes",
                (true, true) => "yes, part",
                (false, false) => "no",
                (false, true) => "no, part",
            },
        )
    };
    out.say("segment      offset       lsn  gen    epoch  kind       sub      bytes  committed  owner")?;
    inspection.log().records(&mut |place| {
        let record = &place.record;
        let is_of_kind = kind.is_none_or(|kind| kind.0 == record.kind);
        if !is_of_kind || !(from..=to).contains(&record.epoch.0) {
            return Ok(());
        }
        if out.json { out.line(record_json(&place)) } else { out.line(wide(&place)) }
    })
}

fn record_json(place: &RecordPlace<'_>) -> Value {
    let record = &place.record;
    Value::record([
        ("segment", place.segment.into()),
        ("offset", place.offset.into()),
        ("lsn", record.lsn.0.into()),
        ("generation", place.generation.into()),
        ("epoch", record.epoch.0.into()),
        ("kind", record.kind.name().into()),
        ("owner", record.owner.into()),
        ("subtask", u64::from(record.subtask).into()),
        ("bytes", (record.payload.len() as u64).into()),
        ("committed", place.committed.into()),
        ("continued", place.continued.into()),
    ])
}

fn verify_log(inspection: &Inspection, out: &mut Output) -> Result<()> {
    let log = inspection.log();
    let (mut records, mut bytes) = (0_u64, 0_u64);
    log.records(&mut |place| {
        records += 1;
        bytes += place.record.payload.len() as u64;
        Ok(())
    })?;
    let committed = log.committed().map(|epoch| epoch.0);
    let (word, text) = match log.end() {
        LogEnd::Clean => ("clean", "it ends after a whole record".to_owned()),
        LogEnd::Torn { path, offset, bytes, .. } => (
            "torn",
            format!(
                "the last {bytes} bytes, from byte {offset} of `{}` on, are a write that is not complete: a \
                 run that writes now is in the middle of it, and a write that a crash cut short is removed by \
                 the next run",
                path.display()
            ),
        ),
        LogEnd::Damaged { path, offset, lsn, reason } => {
            ("damaged", Error::LogDamaged { path, offset, lsn: lsn.0, reason }.to_string())
        }
    };
    if out.json {
        out.line(Value::record([
            ("end", word.into()),
            ("segments", (log.segments().len() as u64).into()),
            ("records", records.into()),
            ("bytes", bytes.into()),
            ("generation", log.generation().into()),
            ("epoch", committed.into()),
            ("detail", text.as_str().into()),
        ]))?;
    } else {
        let segments = log.segments().len();
        let segments = if segments == 1 { "1 segment".to_owned() } else { format!("{segments} segments") };
        let epoch = committed.map_or("no epoch".to_owned(), |epoch| format!("epoch {epoch}"));
        out.line(format_args!(
            "{records} records in {segments}, {}, {epoch} committed, generation {}",
            size(bytes),
            log.generation()
        ))?;
        out.line(format_args!("{word}: {text}"))?;
    }
    match word {
        "damaged" => Err(Error::failed("the log is damaged, see above")),
        _ => Ok(()),
    }
}
