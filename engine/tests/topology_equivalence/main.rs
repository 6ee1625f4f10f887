//! One topology, unchanged, under threads, `TestDriver` and `Simulation`: equal results for 1,000 seeds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers stand outside of test functions"
)]

mod case;
mod flow;
mod hesitant;
mod model;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use headwater::testing::CrashReport;

use self::case::Case;

/// Every n-th seed also runs on threads.
const THREADS_EVERY: u64 = 20;

/// Every n-th seed is simulated twice.
const TWICE_EVERY: u64 = 10;

/// Most crashes of one seed.
const CRASHES_MAX: u64 = 8;

/// The first or second half of the seeds: 1,000, or `HEADWATER_SEEDS` for a longer search.
fn seeds(half: u64) -> Range<u64> {
    let seeds = std::env::var("HEADWATER_SEEDS").map_or(1000, |seeds| seeds.parse().unwrap());
    seeds / 2 * half..seeds / 2 * (half + 1)
}

/// Seeds that failed once, as `TEST SEED`; they come before all others.
const KEPT: &str = include_str!("seeds.txt");

/// The kept seeds of a test, as part of its first half.
fn kept(test: &str, half: u64) -> impl Iterator<Item = u64> {
    let lines = KEPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seeds = lines.filter_map(move |line| {
        let (of, seed) = line.split_once(' ').expect("a line of seeds.txt is `TEST SEED`");
        assert!(["crashes", "drivers"].contains(&of), "`{of}` is no test of seeds.txt");
        let seed = seed.parse().expect("a seed is a number");
        (of == test).then_some(seed)
    });
    seeds.filter(move |_| half == 0).collect::<Vec<_>>().into_iter()
}

/// Tries a seed after the other; one that fails is told, with the line that keeps it.
fn try_seeds(test: &str, half: u64, mut check: impl FnMut(&Case)) {
    for seed in kept(test, half).chain(seeds(half)) {
        let case = Case::new(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&case))) {
            eprintln!("seed {seed}: parallelism {}, {:#?}", case.config.parallelism, Brief(&case));
            eprintln!("keep it: add the line `{test} {seed}` to engine/tests/topology_equivalence/seeds.txt");
            resume_unwind(panic);
        }
    }
}

/// A case without its records.
struct Brief<'a>(&'a Case);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case { lines, others, has_late, disorder_ms, lateness_ms, config, .. } = self.0;
        f.debug_struct("Case")
            .field("lines", &lines.iter().map(Vec::len).collect::<Vec<_>>())
            .field("others", &others.iter().map(Vec::len).collect::<Vec<_>>())
            .field("has_late", has_late)
            .field("disorder_ms", disorder_ms)
            .field("lateness_ms", lateness_ms)
            .field("windows", &(self.0.tumbling_ms, self.0.offset_ms, self.0.size_ms, self.0.slide_ms))
            .field("config", config)
            .finish()
    }
}

fn check_seed(case: &Case) {
    let (simulated, trace) = flow::simulated(case);
    model::check(case, &simulated);
    model::check(case, &flow::driven(case));
    if case.seed.is_multiple_of(THREADS_EVERY) {
        model::check(case, &flow::on_threads(case));
    }
    if case.seed.is_multiple_of(TWICE_EVERY) {
        let (again, trace_again) = flow::simulated(case);
        assert_eq!(trace, trace_again, "the same seed took another way");
        assert!(simulated == again, "the same seed gave other rows, or in another order");
    }
}

#[test]
fn all_drivers_agree_with_loops_over_the_records_first_half() {
    try_seeds("drivers", 0, check_seed);
}

#[test]
fn all_drivers_agree_with_loops_over_the_records_second_half() {
    try_seeds("drivers", 1, check_seed);
}

/// Every sink is exactly-once: after any number of crashes and faults the rows are those of loops over the
/// records.
fn check_crashes(half: u64) {
    let mut total = CrashReport::default();
    try_seeds("crashes", half, |case| {
        let (results, report) = flow::crashed(case, CRASHES_MAX);
        model::check(case, &results);
        if case.seed.is_multiple_of(TWICE_EVERY) {
            let (again, report_again) = flow::crashed(case, CRASHES_MAX);
            assert_eq!(report, report_again, "the same seed took another way");
            assert!(results == again, "the same seed gave other rows, or in another order");
        }
        add(&mut total, &report);
    });
    eprintln!("{total:?}");
    let CrashReport { crashes_in_recovery, power_losses, resumed, store_epochs, .. } = total;
    let CrashReport { disks_full, io_errors, syncs_lost, store_errors, stalls, errors, .. } = total;
    let seen = [crashes_in_recovery, power_losses, resumed, store_epochs];
    let faults = [disks_full, io_errors, syncs_lost, store_errors, stalls, errors];
    assert!(seen.iter().chain(&faults).all(|count| *count > 0), "something never happened: {total:?}");
}

fn add(total: &mut CrashReport, report: &CrashReport) {
    total.crashes += report.crashes;
    total.crashes_in_recovery += report.crashes_in_recovery;
    total.power_losses += report.power_losses;
    total.resumed += report.resumed;
    total.steps += report.steps;
    total.epochs += report.epochs;
    total.store_epochs += report.store_epochs;
    total.disks_full += report.disks_full;
    total.io_errors += report.io_errors;
    total.syncs_lost += report.syncs_lost;
    total.store_errors += report.store_errors;
    total.stalls += report.stalls;
    total.errors += report.errors;
}

#[test]
fn every_row_counts_once_whatever_crashes() {
    check_crashes(0);
}

#[test]
fn every_row_counts_once_whatever_crashes_second_half() {
    check_crashes(1);
}

#[cfg(feature = "rocksdb")]
#[test]
fn state_that_outgrows_its_memory_gives_the_same_results() {
    for seed in 0..2 {
        let state_dir =
            std::env::temp_dir().join(format!("headwater-spilling-{}-{seed}", std::process::id()));
        let case = Case::spilling(seed, state_dir.clone());
        model::check(&case, &flow::simulated(&case).0);
        assert!(state_dir.exists(), "seed {seed}: nothing was spilled");
        std::fs::remove_dir_all(&state_dir).unwrap();
        model::check(&case, &flow::on_threads(&case));
        std::fs::remove_dir_all(&state_dir).unwrap();
    }
}

#[test]
fn the_cases_cover_what_they_are_meant_to() {
    let cases: Vec<Case> = (0..1000).map(Case::new).collect();
    let count = |which: &dyn Fn(&Case) -> bool| cases.iter().filter(|case| which(case)).count();
    assert!(count(&|case| case.has_late && case.is_ordered() && case.config.parallelism > 1) >= 100);
    assert!(count(&|case| case.has_late && !case.is_ordered()) >= 200);
    assert!(count(&|case| !case.has_late && case.config.parallelism == 4) >= 100);
    assert!(count(&|case| case.size_ms % case.slide_ms != 0) >= 300);
    assert!(count(&|case| case.seed.is_multiple_of(THREADS_EVERY) && case.has_late) >= 10);
}
