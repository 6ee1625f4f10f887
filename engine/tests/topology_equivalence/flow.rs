//! The topology under test, written once, and the three drivers that run it unchanged.

use headwater::prelude::*;
use headwater::source::Rejected;
use headwater::testing::{CrashReport, Ledger, Simulation, TestDriver, Trace};
use headwater_connectors::{Collect, MemorySource};

use crate::case::{Case, Event, EventView};
use crate::hesitant::Hesitant;

pub(crate) type Stats = (u64, i64, i64, i64, f64);

/// What came out of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Results {
    pub(crate) tumbling: Vec<WindowResult<u32, Stats>>,
    pub(crate) tumbling_late: Vec<Event>,
    pub(crate) sliding: Vec<WindowResult<String, (u64, i64)>>,
    pub(crate) sliding_late: Vec<Event>,
    /// Windows over the rows of `tumbling`.
    pub(crate) second: Vec<WindowResult<bool, u64>>,
    pub(crate) second_late: Vec<WindowResult<u32, Stats>>,
    pub(crate) counts: Vec<KeyedResult<u32, u64>>,
    pub(crate) changes: Vec<KeyedResult<u32, u64>>,
    pub(crate) whole: Vec<KeyedResult<u32, u64>>,
    pub(crate) greatest: Vec<KeyedResult<u32, Event>>,
    pub(crate) folded: Vec<KeyedResult<u32, (u64, u64)>>,
    /// Key, number of the record within its key, and what `fold` makes of the records so far.
    pub(crate) numbered: Vec<(u32, u64, (u64, u64))>,
    /// Windows over the rows of `numbered`.
    pub(crate) behind_state: Vec<WindowResult<u32, u64>>,
    pub(crate) united: Vec<WindowResult<u32, (u64, i64)>>,
    pub(crate) united_late: Vec<Event>,
    pub(crate) refused: Vec<Rejected>,
}

/// Runs the topology on threads.
pub(crate) fn on_threads(case: &Case) -> Results {
    let flow = StreamBuilder::new("threads");
    let take = topology(&flow, case, Outside::No);
    flow.build().unwrap().run(case.config.clone()).unwrap();
    take()
}

/// Runs the topology in a simulation.
pub(crate) fn simulated(case: &Case) -> (Results, Trace) {
    let flow = StreamBuilder::new("simulation");
    let take = topology(&flow, case, Outside::No);
    let simulation = Simulation::new(case.seed).steps_max(5_000_000);
    let trace = simulation.run(&flow.build().unwrap(), &case.config).unwrap();
    (take(), trace)
}

/// Runs the topology in a simulation in which the machine loses power up to `crashes` times.
pub(crate) fn crashed(case: &Case, crashes: u64) -> (Results, CrashReport) {
    let flow = StreamBuilder::new("crashes");
    let take = topology(&flow, case, Outside::Yes);
    let simulation = Simulation::new(case.seed).steps_max(5_000_000);
    let report = simulation.run_with_crashes(&flow.build().unwrap(), &case.config, crashes).unwrap();
    (take(), report)
}

/// Runs the topology in a test driver.
pub(crate) fn driven(case: &Case) -> Results {
    let driver = TestDriver::with_config(case.config.clone());
    let take = topology(driver.builder(), case, Outside::No);
    let mut run = driver.start().unwrap();
    run.settle().unwrap();
    assert!(run.is_finished(), "the run has settled before its end");
    take()
}

/// Reads `at;key;amount;label`.
fn parse(line: &str) -> std::result::Result<Event, &'static str> {
    let mut parts = line.split(';');
    let mut part = || parts.next().ok_or("too few parts");
    let number = |_| "not a number";
    Ok(Event {
        at: part()?.parse().map_err(number)?,
        key: part()?.parse().map_err(number)?,
        amount: part()?.parse().map_err(number)?,
        label: part()?.to_owned(),
    })
}

/// True for the records that pass the filter.
pub(crate) fn passes(amount: i64) -> bool {
    amount % 7 != 0
}

/// The greater of two records in an order without ties.
pub(crate) fn greater(a: EventView<'_>, b: EventView<'_>) -> Event {
    let rank = |event: EventView<'_>| (event.amount, Event::from_view(event));
    Event::from_view(if rank(b) > rank(a) { b } else { a })
}

/// One number that does not depend on the order of the records, and one that does.
pub(crate) fn fold(value: &mut (u64, u64), event: EventView<'_>) {
    let part = (event.amount as u64).wrapping_mul(0x9e37_79b9).wrapping_add(event.at as u64);
    value.0 = value.0.wrapping_add(part);
    value.1 = value.1.wrapping_mul(31).wrapping_add(part);
}

/// Key, number of the record within its key, and what `fold` makes of the records so far.
fn number((number, value): &mut (u64, (u64, u64)), event: EventView<'_>) -> (u32, u64, (u64, u64)) {
    *number += 1;
    fold(value, event);
    (event.key, *number, *value)
}

/// Where the rows go: into the run's own memory, or out of reach of its crashes.
#[derive(Clone, Copy)]
enum Outside {
    No,
    Yes,
}

fn collected<T: Record>(stream: &Stream<T>, name: &str, outside: Outside) -> Box<dyn FnOnce() -> Vec<T>> {
    match outside {
        Outside::No => {
            let rows = Collect::new();
            stream.sink(name, rows.clone());
            Box::new(move || rows.take())
        }
        Outside::Yes => {
            let rows = Ledger::new();
            stream.sink(name, rows.clone());
            Box::new(move || rows.take().unwrap())
        }
    }
}

/// Says the topology; gives what takes its results after the run.
fn topology(flow: &StreamBuilder, case: &Case, outside: Outside) -> impl FnOnce() -> Results + use<> {
    let watermarks = Watermarks::bounded(ms(case.disorder_ms as u64));
    let tumbling = Window::tumbling(ms(case.tumbling_ms as u64)).offset(ms(case.offset_ms as u64));
    let sliding = Window::sliding(ms(case.size_ms as u64), ms(case.slide_ms as u64));
    let coarse = Window::tumbling(ms(3 * case.tumbling_ms as u64)).offset(ms(case.offset_ms as u64));
    let lateness = ms(case.lateness_ms as u64);

    let (parsed, refused) = flow.source("lines", Hesitant::new(case.lines.clone())).try_map(parse);
    let events = parsed.filter(|event| passes(event.amount)).event_time(|event| event.at, watermarks);
    let by_key = events.key_by(|event| event.key);
    let (per_window, late) = by_key.window(tumbling).allowed_lateness(lateness).aggregate_or_late(|a| {
        (a.count(), a.sum(|e| e.amount), a.min(|e| e.amount), a.max(|e| e.amount), a.mean(|e| e.amount))
    });
    let (overlapping, overlapping_late) = events
        .key_by_field(Event::LABEL)
        .window(sliding)
        .aggregate_or_late(|a| (a.count(), a.sum(|e| e.amount)));
    let (second, second_late) = per_window
        .key_by(|window| window.key % 2 == 0)
        .window(coarse)
        .aggregate_or_late(|a| a.sum(|window| window.value.0));
    let numbered = by_key.map_with_state((0, (0, 0)), number);
    let behind_state = numbered.key_by(|row| row.0).window(tumbling).aggregate(|a| a.count());
    let others = flow
        .source("others", MemorySource::new(case.others.clone()))
        .event_time(|event| event.at, watermarks)
        .rebalance()
        .inspect(|_| {});
    let (united, united_late) = events
        .union(&others)
        .key_by(|event| event.key)
        .window(tumbling)
        .aggregate_or_late(|a| (a.count(), a.sum(|e| e.amount)));

    let tumbling = collected(&per_window, "tumbling", outside);
    let tumbling_late = collected(&late, "tumbling-late", outside);
    let sliding = collected(&overlapping, "sliding", outside);
    let sliding_late = collected(&overlapping_late, "sliding-late", outside);
    let second = collected(&second, "second", outside);
    let second_late = collected(&second_late, "second-late", outside);
    let counts = collected(&by_key.count().output_mode(OutputMode::Append), "counts", outside);
    let changes = collected(&by_key.count(), "changes", outside);
    let whole = collected(&by_key.count().output_mode(OutputMode::Complete), "whole", outside);
    let greatest = collected(&by_key.reduce(greater).output_mode(OutputMode::Append), "greatest", outside);
    let folded = collected(&by_key.fold((0, 0), fold).output_mode(OutputMode::Append), "folded", outside);
    let numbered = collected(&numbered, "numbered", outside);
    let behind_state = collected(&behind_state, "behind-state", outside);
    let united = collected(&united, "united", outside);
    let united_late = collected(&united_late, "united-late", outside);
    let refused = collected(&refused, "refused", outside);
    move || Results {
        tumbling: tumbling(),
        tumbling_late: tumbling_late(),
        sliding: sliding(),
        sliding_late: sliding_late(),
        second: second(),
        second_late: second_late(),
        counts: counts(),
        changes: changes(),
        whole: whole(),
        greatest: greatest(),
        folded: folded(),
        numbered: numbered(),
        behind_state: behind_state(),
        united: united(),
        united_late: united_late(),
        refused: refused(),
    }
}
