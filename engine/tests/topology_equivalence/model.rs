//! The naive reference: loops over records, one window at a time.

use std::collections::BTreeMap;
use std::fmt::Debug;

use headwater::prelude::*;

use crate::case::{Case, Event};
use crate::flow::{Results, fold, greater, passes};

/// Records per window start and key.
type Windows<K> = BTreeMap<(i64, K), Vec<Event>>;

/// Every start of a window that covers `at`, by trying all near it.
fn starts(at: i64, size: i64, slide: i64, offset: i64) -> Vec<i64> {
    (at - size + 1..=at).filter(|start| (start - offset).rem_euclid(slide) == 0).collect()
}

/// The shape of windows and how long they wait.
#[derive(Clone, Copy)]
struct Shape {
    size: i64,
    slide: i64,
    offset: i64,
    lateness: i64,
}

/// Windows of all records: right when none is late.
fn all_windows<K: Ord>(events: &[Event], shape: Shape, key: impl Fn(&Event) -> K) -> Windows<K> {
    let mut windows = Windows::new();
    for event in events {
        for start in starts(event.at, shape.size, shape.slide, shape.offset) {
            windows.entry((start, key(event))).or_default().push(event.clone());
        }
    }
    windows
}

/// Record by record: it counts in the windows that are open when it comes, and is late if none is.
fn one_by_one<K: Ord>(
    events: &[Event],
    shape: Shape,
    disorder: i64,
    key: impl Fn(&Event) -> K,
) -> (Windows<K>, Vec<Event>) {
    let (mut windows, mut late) = (Windows::new(), Vec::new());
    let mut newest: Option<i64> = None;
    for event in events {
        let watermark = newest.map_or(i64::MIN, |newest| newest - disorder);
        let mut starts = starts(event.at, shape.size, shape.slide, shape.offset);
        starts.retain(|start| start + shape.size + shape.lateness > watermark);
        if starts.is_empty() {
            late.push(event.clone());
        }
        for start in starts {
            windows.entry((start, key(event))).or_default().push(event.clone());
        }
        newest = newest.max(Some(event.at));
    }
    (windows, late)
}

fn sum(events: &[Event]) -> i64 {
    events.iter().map(|event| event.amount).sum()
}

/// Rows by window and key; a window that is sent twice is a mistake.
fn rows<K: Record + Ord + Clone, V: Record + Clone>(
    rows: &[WindowResult<K, V>],
    size: i64,
) -> BTreeMap<(i64, K), V> {
    let mut map = BTreeMap::new();
    for row in rows {
        assert_eq!(row.window_end - row.window_start, size);
        let before = map.insert((row.window_start, row.key.clone()), row.value.clone());
        assert!(before.is_none(), "window {} was sent twice", row.window_start);
    }
    map
}

fn sorted<T: Ord + Clone>(rows: &[T]) -> Vec<T> {
    let mut rows = rows.to_vec();
    rows.sort();
    rows
}

/// Compares two maps and shows where they differ.
fn assert_same<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    found: BTreeMap<K, V>,
    expected: BTreeMap<K, V>,
) {
    let missing: Vec<_> = expected.iter().filter(|(key, value)| found.get(key) != Some(value)).collect();
    let wrong: Vec<_> = found.iter().filter(|(key, value)| expected.get(key) != Some(value)).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "{what}: expected {missing:?} and found {wrong:?}");
}

/// Holds the results of a run against the reference.
pub(crate) fn check(case: &Case, results: &Results) {
    let kept: Vec<Vec<Event>> = case
        .lines
        .iter()
        .map(|lines| {
            lines.iter().filter_map(|line| event(line)).filter(|event| passes(event.amount)).collect()
        })
        .collect();
    let events: Vec<Event> = kept.concat();
    let refused = case.lines.concat().iter().filter(|line| event(line).is_none()).count();
    assert_eq!(results.refused.len(), refused);
    check_tumbling(case, results, &events);
    check_sliding(case, results, &events);
    check_second(case, results);
    check_union(case, results, &events);
    check_rolling(case, results, &events);
    check_numbered(case, results, &events);
}

fn event(line: &str) -> Option<Event> {
    let mut parts = line.split(';');
    Some(Event {
        at: parts.next()?.parse().ok()?,
        key: parts.next()?.parse().ok()?,
        amount: parts.next()?.parse().ok()?,
        label: parts.next()?.to_owned(),
    })
}

fn check_tumbling(case: &Case, results: &Results, events: &[Event]) {
    let shape = Shape {
        size: case.tumbling_ms,
        slide: case.tumbling_ms,
        offset: case.offset_ms,
        lateness: case.lateness_ms,
    };
    let found = rows(&results.tumbling, shape.size);
    let late = sorted(&results.tumbling_late);
    let (windows, expected_late) = if case.is_ordered() {
        one_by_one(events, shape, case.disorder_ms, |event| event.key)
    } else if !case.has_late {
        (all_windows(events, shape, |event| event.key), Vec::new())
    } else {
        return check_conserved(events, &late, found.values().map(|value| (value.0, value.1)));
    };
    let expected = windows.into_iter().map(|(at, events)| {
        let amounts = events.iter().map(|event| event.amount);
        let (least, greatest) = (amounts.clone().min().unwrap(), amounts.max().unwrap());
        let mean = sum(&events) as f64 / events.len() as f64;
        (at, (events.len() as u64, sum(&events), least, greatest, mean))
    });
    assert_same("tumbling windows", found, expected.collect());
    assert_eq!(late, sorted(&expected_late));
}

fn check_sliding(case: &Case, results: &Results, events: &[Event]) {
    let shape = Shape { size: case.size_ms, slide: case.slide_ms, offset: 0, lateness: 0 };
    let label = |event: &Event| event.label.clone();
    let (windows, late) = if case.is_ordered() {
        one_by_one(events, shape, case.disorder_ms, label)
    } else if !case.has_late {
        (all_windows(events, shape, label), Vec::new())
    } else {
        return;
    };
    let expected = windows.into_iter().map(|(at, events)| (at, (events.len() as u64, sum(&events))));
    assert_same("sliding windows", rows(&results.sliding, shape.size), expected.collect());
    assert_eq!(sorted(&results.sliding_late), sorted(&late));
}

/// Windows over windows: no row of the first is ever late for the second.
fn check_second(case: &Case, results: &Results) {
    let size = 3 * case.tumbling_ms;
    let mut expected = BTreeMap::new();
    for window in &results.tumbling {
        let start = starts(window.window_end - 1, size, size, case.offset_ms)[0];
        *expected.entry((start, window.key % 2 == 0)).or_insert(0) += window.value.0;
    }
    assert_eq!(results.second_late, []);
    assert_same("windows over windows", rows(&results.second, size), expected);
}

fn check_union(case: &Case, results: &Results, events: &[Event]) {
    let all = [events, &case.others.concat()].concat();
    let size = case.tumbling_ms;
    let found = rows(&results.united, size);
    check_conserved(&all, &results.united_late, found.values().copied());
    if !case.has_late {
        let shape = Shape { size, slide: size, offset: case.offset_ms, lateness: 0 };
        let windows = all_windows(&all, shape, |event| event.key);
        let expected = windows.into_iter().map(|(at, events)| (at, (events.len() as u64, sum(&events))));
        assert_same("united windows", found, expected.collect());
        assert_eq!(results.united_late, []);
    }
}

/// Each record is in exactly one window or late.
fn check_conserved(events: &[Event], late: &[Event], windows: impl Iterator<Item = (u64, i64)>) {
    let (counts, sums): (Vec<u64>, Vec<i64>) = windows.unzip();
    assert_eq!(counts.iter().sum::<u64>() + late.len() as u64, events.len() as u64);
    assert_eq!(sums.iter().sum::<i64>() + sum(late), sum(events));
}

fn check_rolling(case: &Case, results: &Results, events: &[Event]) {
    let mut by_key: BTreeMap<u32, Vec<&Event>> = BTreeMap::new();
    events.iter().for_each(|event| by_key.entry(event.key).or_default().push(event));
    let expected: Vec<(u32, u64)> = by_key.iter().map(|(key, events)| (*key, events.len() as u64)).collect();
    let pairs =
        |rows: &[KeyedResult<u32, u64>]| rows.iter().map(|row| (row.key, row.value)).collect::<Vec<_>>();
    assert_eq!(sorted(&pairs(&results.counts)), expected);
    for rows in [&results.changes, &results.whole] {
        let mut newest = BTreeMap::new();
        for (key, value) in pairs(rows) {
            let before = newest.insert(key, value).unwrap_or(0);
            assert!(before <= value, "the count of {key} went back from {before} to {value}");
        }
        assert_eq!(newest.into_iter().collect::<Vec<_>>(), expected);
    }
    assert_eq!((results.greatest.len(), results.folded.len()), (by_key.len(), by_key.len()));
    for row in &results.greatest {
        let all = by_key[&row.key].iter().map(|event| (*event).clone());
        assert_eq!(Some(&row.value), all.reduce(|a, b| greater(a.view(), b.view())).as_ref());
    }
    for row in &results.folded {
        let mut expected = (0, 0);
        by_key[&row.key].iter().for_each(|event| fold(&mut expected, event.view()));
        assert_eq!(row.value.0, expected.0);
        // The records of one partition arrive in their order, whatever the parallelism.
        if case.lines.len() == 1 {
            assert_eq!(row.value.1, expected.1);
        }
    }
}

/// Each record of a key has its number, and what was kept in front of it.
fn check_numbered(case: &Case, results: &Results, events: &[Event]) {
    let mut expected = Vec::new();
    let mut values: BTreeMap<u32, (u64, (u64, u64))> = BTreeMap::new();
    for event in events {
        let (number, value) = values.entry(event.key).or_default();
        *number += 1;
        fold(value, event.view());
        expected.push((event.key, *number, *value));
    }
    let found = sorted(&results.numbered);
    // The records of one partition arrive in their order, whatever the parallelism.
    if case.lines.len() == 1 {
        assert_eq!(found, sorted(&expected));
    }
    let numbers = |rows: &[(u32, u64, _)]| rows.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>();
    assert_eq!(numbers(&found), numbers(&sorted(&expected)));
    for (key, (number, value)) in &values {
        let last = found.iter().find(|row| (row.0, row.1) == (*key, *number));
        assert_eq!(last.map(|row| row.2.0), Some(value.0), "the last value of {key}");
    }
    if !case.has_late {
        let size = case.tumbling_ms;
        let shape = Shape { size, slide: size, offset: case.offset_ms, lateness: 0 };
        let windows = all_windows(events, shape, |event| event.key);
        let expected = windows.into_iter().map(|(at, events)| (at, events.len() as u64));
        assert_same("windows behind state", rows(&results.behind_state, size), expected.collect());
    }
}
