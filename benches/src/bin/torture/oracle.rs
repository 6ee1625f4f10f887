//! What the output of a cycle must be, computed in plain loops over the same events.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use headwater::storage::DirectoryStorage;
use headwater::wal::{LogEnd, LogReader};

use super::data::{Event, Shape};
use super::job::{FILES, FOLDERS, chain, is_row, is_sample, output_of, state_of};

/// What the job says about itself at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) epoch: u64,
    pub(crate) read: u64,
    pub(crate) late: u64,
}

/// Most segments of the log that may be left at the end: four for each snapshot, and some.
const SEGMENTS_MAX: usize = 20;
const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// What is wrong, at most so many sentences per check.
const SAID_MAX: usize = 4;

type Rows = Vec<Vec<u64>>;

/// Collects what is wrong.
#[derive(Default)]
struct Verdict {
    violations: Vec<String>,
    counts: HashMap<&'static str, usize>,
}

impl Verdict {
    fn wrong(&mut self, check: &'static str, what: impl std::fmt::Display) {
        let count = self.counts.entry(check).or_default();
        *count += 1;
        if *count <= SAID_MAX {
            self.violations.push(format!("{check}: {what}"));
        }
    }

    fn equal<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
        &mut self,
        check: &'static str,
        expected: &BTreeMap<K, V>,
        found: &BTreeMap<K, V>,
    ) {
        for (key, value) in expected {
            match found.get(key) {
                None => self.wrong(check, format!("{key:?} is missing, it should be {value:?}")),
                Some(other) if other != value => {
                    self.wrong(check, format!("{key:?} is {other:?}, it should be {value:?}"));
                }
                Some(_) => {}
            }
        }
        for key in found.keys().filter(|key| !expected.contains_key(key)) {
            self.wrong(check, format!("{key:?} should not be there"));
        }
    }
}

/// Cells of a file or of all complete files of a folder. Signed numbers keep their bits.
fn rows_of(path: &Path, verdict: &mut Verdict) -> Rows {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        files = entries.collect();
    }
    let mut rows = Vec::new();
    for file in files {
        if file.extension().is_some_and(|extension| extension == "part") {
            verdict.wrong("O6 unfinished file", file.display());
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else {
            verdict.wrong("O1 file", format!("{} cannot be read", file.display()));
            continue;
        };
        for line in text.lines() {
            let cells = line.split(',').map(|cell| {
                cell.parse::<u64>().ok().or_else(|| cell.parse::<i64>().ok().map(i64::cast_unsigned))
            });
            match cells.collect::<Option<Vec<u64>>>() {
                Some(cells) => rows.push(cells),
                None => verdict.wrong("O1 row", format!("{}: `{line}` is no row", file.display())),
            }
        }
    }
    rows
}

fn keyed<const N: usize>(check: &'static str, rows: &Rows, verdict: &mut Verdict) -> BTreeMap<u64, [u64; N]> {
    let mut found = BTreeMap::new();
    for row in rows {
        match (row.first(), row.get(1..).and_then(|rest| rest.try_into().ok())) {
            (Some(key), Some(values)) => {
                if found.insert(*key, values).is_some() {
                    verdict.wrong(check, format!("{key} is there twice"));
                }
            }
            _ => verdict.wrong(check, format!("{row:?} has another number of cells")),
        }
    }
    found
}

/// Everything that can be said about the output of a finished job.
pub(crate) fn check(shape: &Shape, home: &Path, done: Done) -> Vec<String> {
    let mut verdict = Verdict::default();
    let out = output_of(home);
    let events: Vec<Event> = shape.events().collect();
    let read = |name: &str, verdict: &mut Verdict| rows_of(&out.join(name), verdict);

    for (name, file, chosen) in
        [("O1 rows", "rows", is_row as fn(u64) -> bool), ("O1 samples", "samples.csv", is_sample)]
    {
        let chosen = events.iter().filter(|event| chosen(event.id));
        let expected = chosen.map(|event| (event.id, [event.value])).collect();
        let rows = read(file, &mut verdict);
        let found = keyed(name, &rows, &mut verdict);
        verdict.equal(name, &expected, &found);
    }
    let (mut folds, mut counts) = (BTreeMap::<u64, [u64; 2]>::new(), BTreeMap::<u64, [u64; 1]>::new());
    for event in &events {
        let fold = folds.entry(event.key).or_default();
        *fold = [fold[0] + 1, chain(fold[1], event.id)];
        counts.entry(event.key % 1_000).or_default()[0] += 1;
    }
    let rows = read("folds", &mut verdict);
    let found = keyed("O2 folds", &rows, &mut verdict);
    verdict.equal("O2 folds", &folds, &found);
    let rows = read("counts.csv", &mut verdict);
    let found = keyed("O2 counts", &rows, &mut verdict);
    verdict.equal("O2 counts", &counts, &found);
    let (windows, late) = (read("windows", &mut verdict), read("late", &mut verdict));
    check_windows(shape, &events, &windows, &late, &mut verdict);
    if done.read != events.len() as u64 || done.late != late.len() as u64 {
        let (all, late) = (events.len(), late.len());
        verdict.wrong("O8 summary", format!("{done:?} of {all} records, {late} late rows"));
    }
    check_files(home, done, &mut verdict);
    verdict.violations
}

/// Starts of the windows that cover a time.
fn windows_of(shape: &Shape, at: i64) -> Vec<i64> {
    let last = at.div_euclid(shape.slide_ms) * shape.slide_ms;
    let count = shape.window_ms / shape.slide_ms;
    (0..count).rev().map(|index| last - index * shape.slide_ms).collect()
}

/// Whether a straggler is late depends on how far the other partitions were. But each is in the late stream
/// or in the last of its windows, once, and the tokens say which.
fn check_windows(shape: &Shape, events: &[Event], windows: &Rows, late: &Rows, verdict: &mut Verdict) {
    let mut sure = BTreeMap::<(i64, u64), (u64, u64)>::new();
    let mut stragglers = BTreeMap::<(i64, u64), Vec<Event>>::new();
    for event in events {
        for start in windows_of(shape, event.at) {
            if event.token == 0 {
                let window = sure.entry((start, event.group)).or_default();
                *window = (window.0 + 1, window.1 + event.value);
            } else {
                stragglers.entry((start, event.group)).or_default().push(*event);
            }
        }
    }
    let mut placed = HashMap::<u64, Vec<i64>>::new();
    let mut found = HashSet::new();
    for row in windows {
        let &[start, group, count, sum, tokens] = row.as_slice() else {
            verdict.wrong("O1 windows", format!("{row:?} has another number of cells"));
            continue;
        };
        let at = (start.cast_signed(), group);
        if !found.insert(at) {
            verdict.wrong("O1 windows", format!("{at:?} is there twice"));
        }
        let (mut base_count, mut base_sum) = sure.get(&at).copied().unwrap_or_default();
        let candidates = stragglers.get(&at).map_or(&[][..], Vec::as_slice);
        let Some(inside) = subset(candidates, tokens) else {
            verdict.wrong("O1 windows", format!("{at:?} has tokens that no records have"));
            continue;
        };
        for event in inside {
            (base_count, base_sum) = (base_count + 1, base_sum + event.value);
            placed.entry(event.id).or_default().push(at.0);
        }
        if (count, sum) != (base_count, base_sum) {
            verdict.wrong(
                "O1 windows",
                format!("{at:?} is {count} records, sum {sum}; it should be {base_count}, {base_sum}"),
            );
        }
    }
    for at in sure.keys().filter(|at| !found.contains(at)) {
        verdict.wrong("O1 windows", format!("{at:?} is missing"));
    }
    let late_rows = keyed::<1>("O1 late", late, verdict);
    let known: HashSet<u64> = events.iter().filter(|event| event.token != 0).map(|event| event.id).collect();
    for id in late_rows.keys().filter(|id| !known.contains(id)) {
        verdict.wrong("O1 late", format!("{id} came in time"));
    }
    for event in events.iter().filter(|event| event.token != 0) {
        let mut inside = placed.remove(&event.id).unwrap_or_default();
        inside.sort_unstable();
        let (all, is_late) = (windows_of(shape, event.at), late_rows.contains_key(&event.id));
        if is_late != inside.is_empty() || !all.ends_with(&inside) {
            let id = event.id;
            verdict.wrong("O1 late", format!("{id} is in {inside:?} of {all:?}, late: {is_late}"));
        }
    }
}

/// The records whose tokens have this sum.
fn subset(candidates: &[Event], tokens: u64) -> Option<Vec<Event>> {
    match candidates.split_first() {
        None => (tokens == 0).then(Vec::new),
        _ if tokens == 0 => Some(Vec::new()),
        Some((first, rest)) => tokens
            .checked_sub(first.token)
            .and_then(|left| subset(rest, left))
            .map(|mut inside| {
                inside.push(*first);
                inside
            })
            .or_else(|| subset(rest, tokens)),
    }
}

/// Files that nobody needs, and what the log says.
fn check_files(home: &Path, done: Done, verdict: &mut Verdict) {
    let out = output_of(home);
    let known = |name: &str| FOLDERS.contains(&name) || FILES.contains(&name);
    for entry in fs::read_dir(&out).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known(&name) {
            verdict.wrong("O6 orphan", entry.path().display());
        }
    }
    let log = fs::read_dir(state_of(home).join("wal")).into_iter().flatten().flatten();
    let sizes: Vec<u64> = log.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).collect();
    let bytes: u64 = sizes.iter().sum();
    // Small segments may be many.
    let (small, large): (Vec<u64>, Vec<u64>) = sizes.iter().partition(|bytes| **bytes < SEGMENT_BYTES_MAX);
    if large.len() > SEGMENTS_MAX || small.iter().sum::<u64>() > SEGMENT_BYTES_MAX {
        verdict.wrong("O6 segments", format!("{} are left of the log, {bytes} bytes", sizes.len()));
    }
    match log_epoch(home, true) {
        Ok(Some(epoch)) if epoch == done.epoch => {}
        Ok(epoch) => {
            verdict.wrong("O4 epoch", format!("the log ends at {epoch:?}, the job at {}", done.epoch))
        }
        Err(error) => verdict.wrong("O7 log", error),
    }
}

/// The last epoch in the log; nothing when there is no log yet. With `thorough` every record is read.
pub(crate) fn log_epoch(home: &Path, thorough: bool) -> Result<Option<u64>, String> {
    if !state_of(home).join("wal").is_dir() {
        return Ok(None);
    }
    let reader =
        LogReader::open(Arc::new(DirectoryStorage::new(state_of(home)))).map_err(|e| e.to_string())?;
    if let LogEnd::Damaged { path, offset, reason, .. } = reader.end() {
        return Err(format!("{} is damaged at {offset}: {reason}", path.display()));
    }
    if thorough {
        let mut before = 0;
        let mut order = Ok(());
        let read = reader.records(&mut |place| {
            if place.record.lsn.0 <= before {
                order = Err(format!("record {} follows {before}", place.record.lsn));
            }
            before = place.record.lsn.0;
            Ok(())
        });
        read.map_err(|error| error.to_string())?;
        order?;
    }
    Ok(reader.committed().map(|epoch| epoch.0))
}
