//! Sources without a world outside: generators, rates, throttled sources and memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use headwater::batch::{BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::sink::{Sink, Subtask};
use headwater::source::{Boundedness, Poll, Source, SourceReader};
use headwater::testing::{ManualClock, commit_epoch, poll_source};
use headwater_connectors::{Collect, Generator, MemorySource, Rate, SourceExt};

/// Polls `reader` until it has nothing more for now.
fn drain<T: Record, P: Record>(
    reader: &mut dyn SourceReader<T, P>,
    clock: &ManualClock,
    room: usize,
) -> (Vec<T>, Poll) {
    let mut records = Vec::new();
    loop {
        let (some, rejected, poll) = poll_source(reader, clock, room).unwrap();
        assert!(some.len() <= room && rejected.is_empty());
        records.extend(some);
        if poll != Poll::More {
            return (records, poll);
        }
    }
}

/// Everything that a bounded source gives from a position, partition by partition.
fn all<S: Source>(source: &S, positions: &[Option<S::Position>], room: usize) -> Vec<Vec<S::Record>>
where
    S::Position: Clone,
{
    let names = source.partitions().unwrap();
    let readers = names.iter().zip(positions).map(|(name, position)| {
        let mut reader = source.open(name, position.clone()).unwrap();
        let (records, poll) = drain(reader.as_mut(), &ManualClock::default(), room);
        assert_eq!(poll, Poll::Finished);
        records
    });
    readers.collect()
}

#[test]
fn a_range_is_spread_over_partitions() {
    let source = Generator::range(10..17).partitions(3);
    assert_eq!(source.boundedness(), Boundedness::Bounded);
    assert_eq!(all(&source, &[None; 3], 2), [vec![10, 13, 16], vec![11, 14], vec![12, 15]]);
    assert_eq!(all(&source, &[Some(2), Some(2), Some(0)], 9), [vec![16], vec![], vec![12, 15]]);
    assert_eq!(all(&Generator::range(0..1).partitions(3), &[None; 3], 9), [vec![0], vec![], vec![]]);
}

#[test]
fn a_generated_record_is_a_function_of_its_number() {
    let source = Generator::new(100, |n| (n, format!("word {}", n % 7)));
    let whole = all(&source, &[None], 16).remove(0);
    assert_eq!(whole.len(), 100);
    for position in [0, 1, 50, 99, 100] {
        let rest = all(&source, &[Some(position)], 16).remove(0);
        assert_eq!(rest, whole[position as usize..]);
    }
}

#[test]
fn an_endless_generator_is_unbounded() {
    let source = Generator::endless(|n| n).partitions(2);
    assert_eq!(source.boundedness(), Boundedness::Unbounded);
    let mut reader = source.open("1", Some(1 << 40)).unwrap();
    let (records, _, poll) = poll_source(reader.as_mut(), &ManualClock::default(), 3).unwrap();
    assert_eq!((records[0], poll), ((1 << 41) + 1, Poll::More));
    assert!(source.open("2", None).is_err());
}

#[test]
fn a_rate_holds_records_back_until_they_are_due() {
    let clock = ManualClock::default();
    let mut reader = Generator::range(0..1000).rate(1000.0).open("0", None).unwrap();
    assert_eq!(drain(reader.as_mut(), &clock, 64), (vec![0], Poll::Idle));
    assert_eq!(drain(reader.as_mut(), &clock, 64), (vec![], Poll::Idle));
    clock.set(3);
    assert_eq!(drain(reader.as_mut(), &clock, 64), (vec![1, 2, 3], Poll::Idle));
    let mut given = 4;
    for now_ms in (4..2000).step_by(9) {
        clock.set(now_ms);
        given += drain(reader.as_mut(), &clock, 64).0.len();
        assert!(given as u64 <= now_ms + 1);
        assert!(given as u64 >= (now_ms + 1).min(1000));
    }
    assert_eq!(given, 1000);
    assert_eq!(drain(reader.as_mut(), &clock, 64).1, Poll::Finished);
    assert!(Generator::range(0..9).rate(0.0).open("0", None).is_err());
}

#[test]
fn rate_gives_the_time_at_which_each_value_was_due() {
    let clock = ManualClock::began_at(1_000_000);
    let source = Rate::per_second(3).count(5);
    let mut reader = source.open("all", None).unwrap();
    assert_eq!(drain(reader.as_mut(), &clock, 64), (vec![(1_000_000, 0)], Poll::Idle));
    clock.set(700);
    let two = vec![(1_000_333, 1), (1_000_666, 2)];
    assert_eq!(drain(reader.as_mut(), &clock, 64), (two, Poll::Idle));
    let position = reader.position();
    clock.set(9_000);
    let rest = (vec![(1_001_000, 3), (1_001_333, 4)], Poll::Finished);
    assert_eq!(drain(reader.as_mut(), &clock, 1), rest);
    let mut again = source.open("all", Some(position)).unwrap();
    assert_eq!(drain(again.as_mut(), &clock, 64), rest, "replayed with the same times");
    assert!(Rate::per_second(0).open("all", None).is_err());
}

#[test]
fn memory_is_read_from_any_position() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let source = MemorySource::new(vec![words("to be or"), vec![], words("not")]);
    assert_eq!(all(&source, &[None; 3], 2), [words("to be or"), vec![], words("not")]);
    assert_eq!(all(&source, &[Some(1), Some(9), Some(1)], 2), [words("be or"), vec![], vec![]]);
    assert_eq!(all(&MemorySource::from(vec![1_u8, 2]), &[None], 9), [vec![1, 2]]);
}

#[test]
fn collected_rows_appear_when_their_epoch_is_complete() {
    let sink = Collect::<u64>::new();
    let rows = sink.clone();
    let open = || sink.open(Subtask { index: 0, count: 1 }).unwrap();
    let mut builder = BatchBuilder::<u64>::new(BatchLimits::default());
    builder.push(7).unwrap();
    let batch = builder.finish().unwrap();
    let mut failed = open();
    failed.write(&batch).unwrap();
    drop(failed);
    let mut writer = open();
    writer.write(&batch).unwrap();
    assert!(rows.lock().is_empty());
    commit_epoch(&mut *writer, 1, false).unwrap();
    assert_eq!(*rows.lock(), [7]);
    writer.write(&batch).unwrap();
    commit_epoch(&mut *writer, 99, true).unwrap();
    assert_eq!(rows.take(), [7, 7]);
    assert!(rows.take().is_empty());
}

#[test]
fn any_source_can_be_slowed_down() {
    let clock = ManualClock::default();
    let source = MemorySource::new(vec![(0..40_u64).collect(), (40..80).collect()]).rate(1000.0);
    let mut reader = source.open("1", Some(10)).unwrap();
    assert_eq!(drain(reader.as_mut(), &clock, 64), (vec![50], Poll::Idle));
    clock.set(6);
    assert_eq!(drain(reader.as_mut(), &clock, 2), (vec![51, 52, 53], Poll::Idle), "half of the rate");
    assert_eq!(reader.position(), 14);
    clock.set(58);
    let (rest, poll) = drain(reader.as_mut(), &clock, 64);
    assert_eq!((rest, poll), ((54..80).collect(), Poll::Finished));
    assert!(MemorySource::from(vec![1_u8]).rate(-1.0).open("0", None).is_err());
}
