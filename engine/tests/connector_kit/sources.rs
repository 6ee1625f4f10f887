//! A source with every mistake that one can make.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use headwater::prelude::*;
use headwater::source::{Poll, Rejected, Source, SourceOutput, SourceReader};
use headwater::testing::{SourceCheck, SourceReport, check_source};

use super::complains;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    ShufflesPartitions,
    NamesTwice,
    IgnoresPosition,
    PositionTooEarly,
    PositionTooLate,
    PositionForgetsRejected,
    PositionIsCut,
    PositionMoves,
    IsNeverFull,
    DependsOnBatches,
    CannotOpenAtTheEnd,
    CommittedTwiceFails,
    AcknowledgesWhatWasRead,
    GivesNothing,
}

const COUNT: u64 = 100;

/// Numbers; every tenth is rejected. What was acknowledged is gone.
struct Toy {
    mistake: Mistake,
    starts: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<[u64; 2]>>,
}

struct ToyReader {
    mistake: Mistake,
    partition: usize,
    next: u64,
    polls: u64,
    looks: AtomicU64,
    told: Option<u64>,
    acknowledged: Arc<Mutex<[u64; 2]>>,
}

impl Source for Toy {
    type Record = u64;
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        let mut names = vec!["a".to_owned(), "b".to_owned()];
        match self.mistake {
            Mistake::ShufflesPartitions if self.starts.fetch_add(1, SeqCst) % 4 == 3 => names.reverse(),
            Mistake::NamesTwice => names[1] = "a".to_owned(),
            _ => {}
        }
        Ok(names)
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<u64, u64>>> {
        if self.mistake == Mistake::CannotOpenAtTheEnd && position == Some(COUNT) {
            return Err(Error::failed("there is nothing at 100"));
        }
        let position = position.filter(|_| self.mistake != Mistake::IgnoresPosition);
        Ok(Box::new(ToyReader {
            mistake: self.mistake,
            partition: usize::from(partition == "b"),
            next: position.unwrap_or(0),
            polls: 0,
            looks: AtomicU64::new(0),
            told: None,
            acknowledged: Arc::clone(&self.acknowledged),
        }))
    }
}

impl SourceReader<u64, u64> for ToyReader {
    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Poll> {
        self.polls += 1;
        self.next = self.next.max(self.acknowledged.lock().unwrap()[self.partition]);
        let end = if self.mistake == Mistake::GivesNothing { 0 } else { COUNT };
        while self.next < end {
            if out.is_full() && self.mistake != Mistake::IsNeverFull {
                return Ok(Poll::More);
            }
            self.next += 1;
            if self.next.is_multiple_of(10) {
                let reason = "a tenth".to_owned();
                let (origin, payload) = ("toy".to_owned(), self.next.to_string());
                out.reject(&Rejected { origin, line: self.next, offset: 0, reason, payload })?;
                continue;
            }
            let batch = if self.mistake == Mistake::DependsOnBatches { 1_000 * self.polls } else { 0 };
            out.push(self.next + batch)?;
        }
        Ok(Poll::Finished)
    }

    fn position(&self) -> u64 {
        match self.mistake {
            Mistake::PositionTooEarly => self.next.saturating_sub(1),
            Mistake::PositionTooLate => self.next + 1,
            Mistake::PositionForgetsRejected if self.next.is_multiple_of(10) => self.next.saturating_sub(1),
            Mistake::PositionIsCut => self.next % 64,
            Mistake::PositionMoves => self.next + self.looks.fetch_add(1, SeqCst) % 2,
            _ => self.next,
        }
    }

    fn committed(&mut self, position: &u64) -> Result<()> {
        if self.mistake == Mistake::CommittedTwiceFails && self.told == Some(*position) {
            return Err(Error::failed("this was committed already"));
        }
        self.told = Some(*position);
        if self.mistake == Mistake::AcknowledgesWhatWasRead {
            let acknowledged = &mut self.acknowledged.lock().unwrap()[self.partition];
            *acknowledged = self.next.max(*acknowledged);
        }
        Ok(())
    }
}

fn check(mistake: Mistake) -> Result<SourceReport> {
    let starts = Arc::new(AtomicU64::new(0));
    let make = || Ok(Toy { mistake, starts: Arc::clone(&starts), acknowledged: Arc::default() });
    check_source(make, &SourceCheck::new().positions_max(20))
}

#[test]
fn a_source_without_a_mistake_passes() {
    let report = check(Mistake::None).unwrap();
    assert_eq!((report.partitions, report.records, report.rejected), (2, 180, 20));
    assert!(report.positions >= 14 && report.crashes > 30, "{report:?}");
}

#[test]
fn every_mistake_of_a_source_is_found_and_named() {
    for (mistake, words) in [
        (Mistake::ShufflesPartitions, &["same names in the same order", "[\"b\", \"a\"]"][..]),
        (Mistake::NamesTwice, &["two partitions have the same name, `a`"]),
        (Mistake::IgnoresPosition, &["opened at the position behind record", "gives another record"]),
        (Mistake::PositionTooEarly, &["exactly what follows its position", "again"]),
        (Mistake::PositionTooLate, &["exactly what follows its position", "it leaves out 1 records"]),
        (Mistake::PositionForgetsRejected, &["it gives rejected record", "again"]),
        (Mistake::PositionIsCut, &["exactly what follows its position", "another record"]),
        (Mistake::PositionMoves, &["`position` must be the same until the next `poll`"]),
        (Mistake::IsNeverFull, &["`poll` must return when the output is full", "`SourceOutput::is_full`"]),
        (Mistake::DependsOnBatches, &["exactly what follows its position", "another record"]),
        (Mistake::CannotOpenAtTheEnd, &["must open at a position that it has given", "nothing at 100"]),
        (Mistake::CommittedTwiceFails, &["again for the same position", "committed already"]),
        (Mistake::AcknowledgesWhatWasRead, &["exactly what follows its position", "it leaves out"]),
        (Mistake::GivesNothing, &["nothing was checked"]),
    ] {
        complains(&format!("{mistake:?}"), check(mistake), words);
    }
}
