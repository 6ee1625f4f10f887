//! `check_source`: reading again from every position gives exactly the records behind it.

use super::reading::{Count, Given, Reading};
use crate::error::{Error, Result};
use crate::source::Source;

/// How thoroughly [`check_source`] looks, and when a source has nothing more.
#[derive(Clone, Debug)]
pub struct SourceCheck {
    rows_per_poll: usize,
    positions_max: usize,
    records_max: usize,
    idle_polls_max: usize,
    waiting: fn(),
}

impl Default for SourceCheck {
    fn default() -> Self {
        SourceCheck::new()
    }
}

impl SourceCheck {
    /// Polls for 7 records at a time, tries up to 50 positions of each partition, reads up to 10,000 records
    /// of it, and takes a hundred idle polls in a row for the end of a source that says no other.
    #[must_use]
    pub fn new() -> Self {
        SourceCheck {
            rows_per_poll: 7,
            positions_max: 50,
            records_max: 10_000,
            idle_polls_max: 100,
            waiting: || {},
        }
    }

    /// Records per poll; few of them make many positions.
    #[must_use]
    pub fn rows_per_poll(self, rows: usize) -> Self {
        SourceCheck { rows_per_poll: rows.max(1), ..self }
    }

    /// Most positions that are tried in each partition, spread over all.
    #[must_use]
    pub fn positions_max(self, positions: usize) -> Self {
        SourceCheck { positions_max: positions.max(1), ..self }
    }

    /// Reads no more than so many records of each partition, rejected ones included: for sources without end,
    /// and for those whose number of records is known.
    #[must_use]
    pub fn records_max(self, records: usize) -> Self {
        SourceCheck { records_max: records.max(1), ..self }
    }

    /// How many idle polls in a row are the end of a source that does not say so; what is done during each
    /// is for sources that wait for another thread, such as `std::thread::yield_now`.
    #[must_use]
    pub fn idle_polls_max(self, polls: usize, waiting: fn()) -> Self {
        SourceCheck { idle_polls_max: polls.max(1), waiting, ..self }
    }
}

/// What [`check_source`] has tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// Partitions.
    pub partitions: usize,
    /// Records of all partitions.
    pub records: usize,
    /// Rejected records of all partitions.
    pub rejected: usize,
    /// Positions at which a partition was opened and read to its end.
    pub positions: usize,
    /// Readers that were dropped behind a poll, without a word.
    pub crashes: usize,
}

/// Tries out the replay contract of a source, with readers that end at any place. `make` gives the source
/// anew, over an input that is always the same; small is enough, some hundred records.
///
/// 1. partitions: the same names in the same order, each time and from each instance
/// 2. `poll` stops when the output is full
/// 3. a position does not change between polls, and survives being written and read
/// 4. from every position exactly the records behind it, rejected ones too, in batches of any size
/// 5. readers that end behind every poll: their successors go on with the next record
/// 6. `committed` late, and twice: it changes no record, and what is not committed is still there
///
/// ```
/// use headwater::testing::{SourceCheck, check_source};
/// use headwater_connectors::Generator;
///
/// let report = check_source(|| Ok(Generator::new(100, |n| n).partitions(3)), &SourceCheck::new())?;
/// assert_eq!((report.partitions, report.records), (3, 100));
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
/// The promise that is broken, where, and how; or the source gave nothing, so that nothing is shown.
pub fn check_source<S: Source>(make: impl Fn() -> Result<S>, check: &SourceCheck) -> Result<SourceReport> {
    let names = make()?.partitions()?;
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(Error::failed(format!("two partitions have the same name, `{}`", twice.1)));
    }
    let trying = Trying { make: &make, check, names: &names };
    let mut report = SourceReport { partitions: names.len(), ..SourceReport::default() };
    for partition in &names {
        trying.partition(partition, &mut report)?;
    }
    if report.records + report.rejected == 0 {
        return Err(Error::failed("the source gave no record, so nothing was checked: give it an input"));
    }
    Ok(report)
}

struct Trying<'a, M> {
    make: &'a M,
    check: &'a SourceCheck,
    names: &'a [String],
}

impl<S: Source, M: Fn() -> Result<S>> Trying<'_, M> {
    fn source(&self) -> Result<S> {
        let source = (self.make)()?;
        for _ in 0..2 {
            let names = source.partitions()?;
            if names != self.names {
                return Err(Error::failed(format!(
                    "partitions must have the same names in the same order at every start: {:?}, then {names:?}",
                    self.names
                )));
            }
        }
        Ok(source)
    }

    fn partition(&self, partition: &str, report: &mut SourceReport) -> Result<()> {
        let mut reading = Reading::open(&self.source()?, partition, None)?;
        let mut marks = vec![Count::default()];
        self.read(&mut reading, self.check.records_max, self.check.rows_per_poll, |given| {
            marks.push(given.count());
        })?;
        let (all, is_cut) = (reading.given, !reading.is_finished && marks.len() > 1);
        let is_cut = is_cut && all.len() >= self.check.records_max;
        report.records += all.records.len();
        report.rejected += all.rejected.len();
        let step = marks.len().div_ceil(self.check.positions_max);
        for (nth, mark) in marks.iter().step_by(step).enumerate() {
            self.from(partition, *mark, nth, &all, is_cut)?;
            report.positions += 1;
            report.crashes += 1;
        }
        report.crashes += self.crash_behind_every_poll(partition, &all, is_cut)?;
        Ok(())
    }

    /// Reads until so many records have come, or no more come; tells `behind_poll` of each poll.
    fn read(
        &self,
        reading: &mut Reading<'_, S>,
        records: usize,
        rows_max: usize,
        mut behind_poll: impl FnMut(&Given),
    ) -> Result<()> {
        let mut idle = 0;
        while !reading.is_finished && reading.given.len() < records && idle < self.check.idle_polls_max {
            if reading.poll(rows_max)? {
                idle = 0;
                reading.position()?;
                behind_poll(&reading.given);
            } else {
                idle += 1;
                (self.check.waiting)();
                // As epochs do: a reader may wait to be told before it says that it has finished.
                let position = reading.position()?;
                reading.commit(&position)?;
            }
        }
        Ok(())
    }

    /// Reads up to a position and beyond, is told that the position is committed, and ends; then another
    /// reader goes on from it.
    fn from(&self, partition: &str, mark: Count, nth: usize, all: &Given, is_cut: bool) -> Result<()> {
        let source = self.source()?;
        let mut first = Reading::open(&source, partition, None)?;
        self.read(&mut first, mark.records + mark.rejected, self.check.rows_per_poll, |_| {})?;
        let (position, from) = (first.position()?, first.given.count());
        if !first.is_finished {
            for _ in 0..1 + nth % 3 {
                first.poll(self.check.rows_per_poll)?;
            }
            first.commit(&position)?;
            first.commit(&position)?;
        }
        if let Some(differs) = all.differs(Count::default(), &first.given, true) {
            let what = "read a second time from the beginning";
            return Err(first.broken(format!("the same input must give the same records: {what}, {differs}")));
        }
        drop(first);
        let mut second = Reading::open(&source, partition, Some(&position))?;
        // Records must not depend on where batches are cut.
        let rows_max = [1, 1_000, self.check.rows_per_poll + 1][nth % 3];
        let rest = all.len().saturating_sub(from.records + from.rejected);
        self.read(&mut second, rest, rows_max, |_| {})?;
        if !second.is_finished && !is_cut {
            second.poll(rows_max)?;
        }
        match all.differs(from, &second.given, is_cut) {
            None => Ok(()),
            Some(differs) => Err(second.broken(format!(
                "a reader must give exactly what follows its position: opened at the position {}, {differs}",
                from.behind()
            ))),
        }
    }

    /// Each reader ends behind its first poll.
    fn crash_behind_every_poll(&self, partition: &str, all: &Given, is_cut: bool) -> Result<usize> {
        let source = self.source()?;
        let (mut given, mut position, mut crashes, mut idle) = (Given::default(), None::<Vec<u8>>, 0, 0);
        while given.len() < all.len() && idle < self.check.idle_polls_max {
            let mut reading = Reading::open(&source, partition, position.as_deref())?;
            let mut polls = 0;
            // A source that has to connect first gives nothing in its first polls.
            while !reading.poll(self.check.rows_per_poll)? && polls < self.check.idle_polls_max {
                if reading.is_finished {
                    break;
                }
                polls += 1;
                (self.check.waiting)();
            }
            idle = if reading.given.len() > 0 { 0 } else { self.check.idle_polls_max };
            let from = given.count();
            if let Some(differs) = all.differs(from, &reading.given, true) {
                return Err(reading.broken(format!(
                    "a reader that ends behind a poll has a successor at its position: {}, {differs}",
                    from.behind()
                )));
            }
            position = Some(reading.position()?);
            given.append(std::mem::take(&mut reading.given));
            crashes += 1;
        }
        let missing = all.differs(Count::default(), &given, is_cut);
        missing.map_or(Ok(crashes), |differs| {
            let what = "readers that end behind every poll must give everything";
            Err(Error::failed(format!("{what}: {differs}")).at(partition))
        })
    }
}
