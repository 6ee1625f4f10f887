//! Measurements of state, printed.
#![allow(clippy::all, clippy::disallowed_methods, clippy::print_stdout)]
use std::time::Instant;
use headwater::batch::Key;
use headwater::state::*;

fn rng(x: &mut u64) -> u64 { *x ^= *x << 13; *x ^= *x >> 7; *x ^= *x << 17; *x }

fn hot(live: u64, events: usize, track: bool) {
    let mut state = KeyedState::<u64, (u64, u64, u64)>::new(None, 1 << 40, 128);
    if track { state = state.tracking_changes(); }
    let mut x = 88172645463325252;
    let keys: Vec<u64> = (0..events).map(|_| rng(&mut x) % live).collect();
    for k in 0..live { state.entry(0, u64::hash(k), k, || (0, 0, 0)); }
    state.changed(|_, _, _, _| {});
    for round in 0..3 {
        let t = Instant::now();
        for chunk in keys.chunks(1024) {
            let mut h = [0u64; 1024];
            for (i, k) in chunk.iter().enumerate() { h[i] = u64::hash(*k); }
            for (i, k) in chunk.iter().enumerate() {
                let v = state.entry(0, h[i], *k, || (0, 0, 0));
                v.0 += 1; v.1 += k; v.2 = v.2.max(*k);
            }
            let mut n = 0; state.changed(|_, _, _, _| n += 1);
            state.maintain().unwrap();
        }
        if round == 2 { println!("entry live={live} track={track}: {:.1} ns", t.elapsed().as_nanos() as f64 / events as f64); }
    }
}

fn strings(live: u64, events: usize) {
    let mut state = KeyedState::<String, u64>::new(None, 1 << 40, 128);
    let mut x = 88172645463325252;
    let names: Vec<String> = (0..live).map(|k| format!("word-{k}")).collect();
    let keys: Vec<usize> = (0..events).map(|_| (rng(&mut x) % live) as usize).collect();
    for _ in 0..2 {
        let t = Instant::now();
        for k in &keys {
            let n = names[*k].as_str();
            *state.entry(0, String::hash(n), n, || 0) += 1;
        }
        println!("string entry live={live} (hash included): {:.1} ns", t.elapsed().as_nanos() as f64 / events as f64);
    }
}

fn rss() -> usize {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    s.lines().find(|l| l.starts_with("VmRSS")).unwrap().split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

fn spill(keys: u64, share: usize, store_bytes: usize) {
    let store = RocksStore::temporary(store_bytes).unwrap();
    let mut state = KeyedState::<u64, (u64, u64, u64)>::new(Some(Box::new(store.backend("a").unwrap())), share, 128);
    let (mut load, mut entry, mut maintain) = (0, 0, 0);
    let (mut mem_max, mut rss_max) = (0, 0);
    let base = rss();
    for round in 0..2 {
        let start = Instant::now();
        (load, entry, maintain) = (0, 0, 0);
        for s in (0..keys).step_by(1024) {
            let k: Vec<_> = (s..(s + 1024).min(keys)).map(|k| { let k = k.wrapping_mul(0x9E3779B97F4A7C15); (u64::hash(k), k) }).collect();
            let t = Instant::now(); state.load(0, &k).unwrap(); load += t.elapsed().as_nanos();
            let t = Instant::now();
            for (h, k) in k { state.entry(0, h, k, || (0, 0, 0)).0 += 1; }
            entry += t.elapsed().as_nanos();
            let t = Instant::now(); state.maintain().unwrap(); maintain += t.elapsed().as_nanos();
            mem_max = mem_max.max(state.memory_bytes());
            if s % (1024 * 64) == 0 { rss_max = rss_max.max(rss()); }
        }
        let n = keys as u128;
        println!("round {round} keys={keys} share={}M store={}M: wall {:.2} s; ns/key load {} entry {} maintain {}; own max {}M, store {}M, rss max {}M over {}M", share >> 20, store_bytes >> 20,
            start.elapsed().as_secs_f64(), load / n, entry / n, maintain / n, mem_max >> 20, store.memory_bytes() >> 20, rss_max, base);
    }
    let _ = (load, entry, maintain);
    let t = Instant::now();
    let mut drain = state.drain(0).unwrap();
    let mut n = 0u64;
    while drain.next_chunk(&mut state, 1024, |_, _, v| { assert_eq!(v.0, 2); n += 1; }).unwrap() { rss_max = rss_max.max(if n % (1 << 16) == 0 { rss() } else { 0 }); }
    assert_eq!(n, keys);
    println!("drain {n}: {} ns/key, rss max {rss_max}M", t.elapsed().as_nanos() / u128::from(n));
}

#[test]
fn measure() {
    for live in [16_000, 1_000_000] { hot(live, 4_000_000, false); hot(live, 4_000_000, true); }
    strings(16_000, 4_000_000);
    spill(1_000_000, 16 << 20, 32 << 20);
    spill(4_000_000, 32 << 20, 64 << 20);
}
