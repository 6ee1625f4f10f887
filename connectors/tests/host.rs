//! Readings of the host that runs the tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

use headwater::prelude::*;
use headwater::source::{Boundedness, Poll, Source};
use headwater::testing::{ManualClock, poll_source};
use headwater_connectors::HostMetrics;

#[test]
fn a_sample_is_taken_when_it_is_due() {
    let clock = ManualClock::began_at(1_000_000);
    let source = HostMetrics::new().every(ms(100)).samples(2);
    assert_eq!(source.boundedness(), Boundedness::Bounded);
    let mut reader = source.open("host", None).unwrap();
    let mut poll = |now_ms| {
        clock.set(now_ms);
        let (readings, _, poll) = poll_source(reader.as_mut(), &clock, 10_000).unwrap();
        (readings, poll, reader.position())
    };
    assert_eq!(poll(5), (vec![], Poll::Idle, 0));
    assert_eq!(poll(104), (vec![], Poll::Idle, 0));
    let (first, state, position) = poll(105);
    assert_eq!((state, position), (Poll::Idle, 1));
    assert!(first.iter().all(|reading| reading.at == 1_000_105));
    assert!(first.iter().any(|reading| reading.sensor == "cpu/total" && reading.unit == "%"));
    assert!(first.iter().any(|reading| reading.sensor == "mem/used" && reading.value > 0.0));
    assert_eq!(poll(150).1, Poll::Idle);
    let (second, state, position) = poll(900);
    assert_eq!((state, position), (Poll::Finished, 2));
    assert_eq!(second.len(), first.len());
    assert_eq!(poll(2000), (vec![], Poll::Finished, 2));
}

#[test]
fn a_sample_larger_than_the_room_is_given_in_pieces() {
    let clock = ManualClock::default();
    let mut reader = HostMetrics::new().samples(1).open("host", None).unwrap();
    poll_source(reader.as_mut(), &clock, 2).unwrap();
    clock.set(1000);
    let mut sensors = Vec::new();
    loop {
        let (readings, _, poll) = poll_source(reader.as_mut(), &clock, 2).unwrap();
        assert!(readings.len() <= 2);
        sensors.extend(readings.into_iter().map(|reading| reading.sensor));
        match poll {
            Poll::More => {}
            state => break assert_eq!(state, Poll::Finished),
        }
    }
    assert!(sensors.contains(&"mem/total".to_owned()), "{sensors:?}");
}

#[test]
fn without_a_count_there_is_no_end() {
    assert_eq!(HostMetrics::new().boundedness(), Boundedness::Unbounded);
    let mut reader = HostMetrics::new().samples(3).open("host", Some(3)).unwrap();
    let (_, _, poll) = poll_source(reader.as_mut(), &ManualClock::default(), 9).unwrap();
    assert_eq!(poll, Poll::Finished);
}
