//! Power loss at every call, by every policy, again during recovery, and in any run that can be drawn.

use headwater::storage::{CrashPolicy, Fault, FaultKind, MemoryStorage};
use headwater::wal::LogLimits;
use proptest::prelude::*;

use super::model::{Model, Step, open, run, script, segments, small};

/// Lets the machine stop before this call.
fn stop_at(storage: &MemoryStorage, call: u64) {
    storage.fail(Fault { call, forever: true, kind: FaultKind::Broken });
}

/// The storage and the model when the script stopped before a call; `None` when it ended before.
fn stopped(call: u64, limits: &LogLimits) -> Option<(MemoryStorage, Model)> {
    let (storage, mut model) = (MemoryStorage::new(), Model::default());
    stop_at(&storage, call);
    run(&storage, limits, &mut model, &script()).is_err().then_some((storage, model))
}

fn settle_and_go_on(storage: &MemoryStorage, limits: &LogLimits, mut model: Model) {
    run(storage, limits, &mut model, &script()).unwrap();
    run(storage, limits, &mut model, &[]).unwrap();
}

#[test]
fn a_power_loss_at_any_call_loses_no_commit_and_invents_none() {
    let archive = LogLimits { archive: true, ..small() };
    let mut cases = 0;
    for limits in [small(), archive] {
        let mut call = 0;
        while let Some((storage, model)) = stopped(call, &limits) {
            for policy in CrashPolicy::ALL {
                for seed in 0..4 {
                    settle_and_go_on(&storage.crash(policy, seed), &limits, model.clone());
                    cases += 1;
                }
            }
            settle_and_go_on(&storage.fork(), &limits, model);
            cases += 1;
            call += 1;
        }
        println!("{call} call boundaries, {cases} cases so far");
        assert!(call > 80, "the script makes {call} calls");
    }
}

#[test]
fn a_second_and_a_third_power_loss_during_recovery_lose_nothing() {
    let limits = small();
    let (mut call, mut cases) = (0, 0);
    while let Some((storage, model)) = stopped(call, &limits) {
        for policy in CrashPolicy::ALL {
            let first = storage.crash(policy, call);
            for second_call in 0.. {
                let again = first.fork();
                stop_at(&again, second_call);
                let mut later = model.clone();
                let done = run(&again, &limits, &mut later, &[]).is_ok();
                for second in CrashPolicy::ALL {
                    let crashed = again.crash(second, second_call);
                    let third = crashed.fork();
                    stop_at(&third, (second_call * 7 + call) % 20);
                    let mut last = later.clone();
                    let _ = run(&third, &limits, &mut last, &script());
                    run(&third.crash(second, call), &limits, &mut last, &[Step::Commit]).unwrap();
                    run(&crashed, &limits, &mut later.clone(), &[Step::Commit]).unwrap();
                    cases += 2;
                }
                if done {
                    break;
                }
            }
        }
        call += 1;
    }
    println!("{call} call boundaries, {cases} cases");
}

#[test]
fn a_kill_and_then_a_power_loss_lose_nothing_that_the_second_run_saw() {
    // The kill leaves pages in memory that no sync covered. The second run acts on what it sees there.
    let (limits, mut call) = (small(), 0);
    while let Some((storage, model)) = stopped(call, &limits) {
        let killed = storage.fork();
        let mut seen = model;
        run(&killed, &limits, &mut seen, &[]).unwrap();
        for policy in CrashPolicy::ALL {
            run(&killed.crash(policy, call), &limits, &mut seen.clone(), &[Step::Commit]).unwrap();
        }
        call += 1;
    }
}

#[test]
fn two_kills_and_then_a_power_loss_lose_nothing_that_the_third_run_saw() {
    // Also the copies that the second run made, and their header, may be in memory only.
    let (limits, mut call, mut cases) = (small(), 0, 0);
    while let Some((storage, model)) = stopped(call, &limits) {
        for second_call in 0.. {
            let again = storage.fork();
            stop_at(&again, second_call);
            let mut seen = model.clone();
            let done = run(&again, &limits, &mut seen, &[]).is_ok();
            let third = again.fork();
            run(&third, &limits, &mut seen, &[]).unwrap();
            for policy in CrashPolicy::ALL {
                run(&third.crash(policy, second_call), &limits, &mut seen.clone(), &[Step::Commit]).unwrap();
                cases += 1;
            }
            if done {
                break;
            }
        }
        call += 1;
    }
    println!("{call} call boundaries, {cases} cases");
}

#[test]
fn restarts_without_a_commit_keep_the_log_small() {
    let (storage, limits) = (MemoryStorage::new(), small());
    let mut model = Model::default();
    run(&storage, &limits, &mut model, &[Step::Append { ahead: false, bytes: 9 }, Step::Commit]).unwrap();
    let before = storage.used_bytes();
    (0..20).for_each(|_| run(&storage, &limits, &mut model, &[]).unwrap());
    assert!(storage.used_bytes() - before < 20 * 200, "{} bytes more", storage.used_bytes() - before);
    run(&storage, &limits, &mut model, &[Step::Commit, Step::Truncate { kept: 0 }]).unwrap();
    assert_eq!(segments(&storage).len(), 1);
    assert_eq!(open(&storage, &limits).unwrap().1.generation(), 23);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<bool>(), 0..400_usize).prop_map(|(ahead, bytes)| Step::Append { ahead, bytes }),
        3 => Just(Step::Commit),
        1 => Just(Step::Flush),
        1 => Just(Step::Sync),
        1 => Just(Step::Deliver),
        1 => (0..3_u64).prop_map(|kept| Step::Truncate { kept }),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_run_reads_back_what_the_model_holds(
        rounds in prop::collection::vec((steps(), 0..150_u64, 0..6_usize, any::<u64>()), 1..6),
        segment_bytes in 200..3000_u64,
        record_bytes_max in 48..600_usize,
        buffer_bytes in 0..2000_usize,
    ) {
        let limits = LogLimits { segment_bytes, record_bytes_max, buffer_bytes, ..LogLimits::default() };
        let (mut storage, mut model) = (MemoryStorage::new(), Model::default());
        for (steps, call, policy, seed) in rounds {
            stop_at(&storage, call);
            let _ = run(&storage, &limits, &mut model, &steps);
            storage = match CrashPolicy::ALL.get(policy) {
                Some(policy) => storage.crash(*policy, seed),
                None => storage.fork(),
            };
        }
        run(&storage, &limits, &mut model, &[Step::Commit]).unwrap();
        run(&storage, &limits, &mut model, &[]).unwrap();
    }
}
