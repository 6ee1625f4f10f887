//! `check_sink`: a sink that loses its process behind every call, and still shows each row once.

use std::fmt;

use super::trial::{Plan, Trial};
use crate::batch::Record;
use crate::error::{Error, Result};
use crate::sink::{Sink, SinkParallelism};

/// The rows that [`check_sink`] writes, and how many.
pub struct SinkCheck<T> {
    row: Box<dyn Fn(u64) -> T>,
    rows: u64,
    trials_max: usize,
}

impl<T> fmt::Debug for SinkCheck<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkCheck").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<T: Record> SinkCheck<T> {
    /// Writes 14 rows; `row` makes row number n, from 0 on, which must be told from all others when it is
    /// read back.
    #[must_use]
    pub fn new(row: impl Fn(u64) -> T + 'static) -> Self {
        SinkCheck { row: Box::new(row), rows: 14, trials_max: usize::MAX }
    }

    /// How many rows are written; an epoch has three to five of them, or none.
    #[must_use]
    pub fn rows(self, rows: u64) -> Self {
        SinkCheck { rows: rows.max(1), ..self }
    }

    /// Tries no more than so many of the crashes, spread over all: for targets that are slow to make.
    #[must_use]
    pub fn trials_max(self, trials: usize) -> Self {
        SinkCheck { trials_max: trials.max(1), ..self }
    }
}

/// What [`check_sink`] has tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Targets that were written from the first row to the last.
    pub trials: usize,
    /// Calls of the sink, behind each of which the target was read.
    pub calls: usize,
}

/// Tries out the promises of a sink: calls it as a durable job does, with a crash behind every single call,
/// and looks at the target after each.
///
/// `make` gives the sink of a trial, over a target of that number that is empty when it is made; `read_back`
/// gives the numbers of the rows that a reader of that target sees now, those of one subtask in the order in
/// which they are seen.
///
/// 1. no row is seen before its epoch is durable
/// 2. a row that was seen stays, and none is seen twice
/// 3. rows of a subtask are seen in the order in which they were written
/// 4. at the end every row is seen, although the process was killed, or its writers were dropped, behind any
///    call of `open`, `write`, `prepare`, `commit`, `recover`, and then again during recovery
/// 5. a commit whose outcome nobody knows is repeated, by the same writer and by another one
/// 6. epochs without rows, an epoch that is prepared before the last was committed, a job that is run again
///    behind its end, and another number of subtasks are nothing special
///
/// The process ends, and not the machine: whether a sink has synced what it calls final cannot be seen here.
///
/// ```
/// use headwater::testing::{SinkCheck, check_sink};
/// use headwater_connectors::CsvSink;
///
/// let folder = tempfile::tempdir()?;
/// let file = |trial: u64| folder.path().join(format!("{trial}.csv"));
/// let check = SinkCheck::new(|n| (n, format!("row {n}"))).rows(5).trials_max(20);
/// let report = check_sink(
///     |trial| Ok(CsvSink::new(file(trial)).header(false)),
///     |trial| {
///         // A reader ignores what is not complete, which is `.part`.
///         let text = std::fs::read_to_string(file(trial)).unwrap_or_default();
///         Ok(text.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect())
///     },
///     &check,
/// )?;
/// assert!(report.trials > 10);
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
/// The promise that is broken, with the calls that led there.
pub fn check_sink<T: Record, K: Sink<T>>(
    make: impl Fn(u64) -> Result<K>,
    read_back: impl Fn(u64) -> Result<Vec<u64>>,
    check: &SinkCheck<T>,
) -> Result<SinkReport> {
    let mut report = SinkReport::default();
    let mut trial = |plan: Plan| {
        let number = report.trials as u64;
        report.trials += 1;
        let sink = make(number)?;
        let read_back = || read_back(number);
        let mut trial = Trial::new(&sink, &*check.row, &read_back, check.rows, plan);
        let calls = trial.run().map_err(|error| error.at(format!("trial {number}")))?;
        report.calls += trial.calls_all;
        Ok::<_, Error>((calls, sink.parallelism()))
    };
    let plan = Plan {
        crash_behind: None,
        crash_again_behind: None,
        is_killed: true,
        is_late: false,
        is_doubled: false,
        subtasks: &[1],
    };
    let (_, parallelism) = trial(plan)?;
    let variants: &[&'static [usize]] = match parallelism {
        SinkParallelism::One => &[&[1]],
        SinkParallelism::PerSubtask => &[&[2], &[2, 1], &[1, 3, 2]],
    };
    let mut plans = Vec::new();
    for (nth, subtasks) in variants.iter().enumerate() {
        for is_late in [false, true] {
            let plan = Plan { is_late, is_doubled: is_late, subtasks, ..plan };
            let (calls, _) = trial(plan)?;
            for crash in 1..=calls {
                // Behind the first calls of the second life it recovers.
                let again = Some(crash % 5).filter(|again| *again > 0);
                let is_killed = (crash + nth) % 2 == 0 || is_late;
                let plan = Plan { crash_behind: Some(crash), crash_again_behind: again, is_killed, ..plan };
                plans.push(plan);
                plans.extend((nth == 0).then_some(Plan { is_killed: !is_killed, ..plan }));
            }
        }
    }
    let left = check.trials_max.saturating_sub(1 + 2 * variants.len()).max(1);
    let step = plans.len().div_ceil(left).max(1);
    for plan in plans.into_iter().step_by(step) {
        trial(plan)?;
    }
    Ok(report)
}
