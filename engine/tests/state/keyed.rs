//! `KeyedState` against a plain map: whatever is evicted, spilled and loaded, nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use headwater::batch::{Key, KeyHash};
use headwater::state::{KeyedState, MemoryBackend, StateBackend};
use proptest::prelude::*;

const GROUPS: u16 = 16;

/// One thing that an operator does with its state.
#[derive(Clone, Debug)]
enum Step {
    Load { namespace: i64, keys: Vec<u16> },
    Add { namespace: i64, keys: Vec<u16>, amount: u64 },
    Remove { namespace: i64, keys: Vec<u16> },
    Drain { namespace: i64, rows_max: usize, late: Vec<u16> },
    Scan { namespace: i64, rows_max: usize },
    Changed,
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let namespace = prop_oneof![-3i64..3, Just(i64::MIN), Just(i64::MAX)];
    let keys = prop::collection::vec(0u16..200, 1..60);
    let step = (namespace, keys, 1u64..100, 1usize..50, 0u8..20).prop_map(
        |(namespace, keys, amount, rows_max, kind)| match kind {
            0..=1 => Step::Load { namespace, keys },
            2..=9 => Step::Add { namespace, keys, amount },
            10 => Step::Remove { namespace, keys },
            11 => Step::Drain { namespace, rows_max, late: keys },
            12..=13 => Step::Scan { namespace, rows_max },
            14 => Step::Changed,
            _ => Step::Maintain,
        },
    );
    prop::collection::vec(step, 1..80)
}

/// A key type under test.
trait TestKey: Key + Ord + Debug {
    fn from_number(number: u16) -> Self;
}

impl TestKey for u64 {
    fn from_number(number: u16) -> Self {
        u64::from(number)
    }
}

impl TestKey for String {
    fn from_number(number: u16) -> Self {
        "key".repeat(usize::from(number % 13)) + &number.to_string()
    }
}

/// The state and what it should be.
struct Both<K: TestKey> {
    state: KeyedState<K, (u64, String)>,
    model: BTreeMap<(i64, K), (u64, String)>,
    changed: BTreeSet<(i64, K)>,
}

impl<K: TestKey> Both<K> {
    fn new(backend: Option<Box<dyn StateBackend>>, share_bytes: usize) -> Self {
        let state = KeyedState::new(backend, share_bytes, GROUPS).tracking_changes();
        Both { state, model: BTreeMap::new(), changed: BTreeSet::new() }
    }

    fn load(&mut self, namespace: i64, keys: &[K]) {
        let hashed: Vec<(KeyHash, K::View<'_>)> =
            keys.iter().map(|key| (K::hash(key.view()), key.view())).collect();
        self.state.load(namespace, &hashed).unwrap();
        for (key, (hash, view)) in keys.iter().zip(&hashed) {
            let expected = self.model.get(&(namespace, key.clone()));
            assert_eq!(self.state.get(namespace, *hash, *view), expected, "{namespace} {key:?}");
        }
    }

    fn add(&mut self, namespace: i64, keys: &[K], amount: u64) {
        self.load(namespace, keys);
        for key in keys {
            let hash = K::hash(key.view());
            let value = self.state.entry(namespace, hash, key.view(), || (0, String::new()));
            value.0 += amount;
            value.1 = format!("{}", value.0);
            self.model.insert((namespace, key.clone()), value.clone());
            self.changed.insert((namespace, key.clone()));
        }
    }

    fn remove(&mut self, namespace: i64, keys: &[K]) {
        self.load(namespace, keys);
        for key in keys {
            let removed = self.state.remove(namespace, K::hash(key.view()), key.view());
            assert_eq!(removed, self.model.remove(&(namespace, key.clone())));
            self.changed.remove(&(namespace, key.clone()));
        }
    }

    fn expected(&self, namespace: i64) -> BTreeMap<K, (u64, String)> {
        let of_namespace = self.model.iter().filter(|((of, _), _)| *of == namespace);
        of_namespace.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn drain(&mut self, namespace: i64, rows_max: usize, late: &[K]) {
        let expected = self.expected(namespace);
        self.model.retain(|(of, _), _| *of != namespace);
        self.changed.retain(|(of, _)| *of != namespace);
        let mut drain = self.state.drain(namespace).unwrap();
        let mut drained = BTreeMap::new();
        let mut first = true;
        loop {
            let before = drained.len();
            let more = drain
                .next_chunk(&mut self.state, rows_max, |hash, key, value| {
                    let key = K::from_view(K::stored_view(key));
                    assert_eq!(hash, K::hash(key.view()));
                    assert!(drained.insert(key, value).is_none(), "a key came twice");
                })
                .unwrap();
            assert!(drained.len() - before <= rows_max);
            if std::mem::take(&mut first) {
                // The namespace may come back to life while its former entries are still leaving.
                self.add(namespace, late, 1);
                self.report_changed();
                self.state.maintain().unwrap();
            }
            if !more {
                break;
            }
        }
        assert_eq!(drained, expected);
    }

    fn scan(&mut self, namespace: i64, rows_max: usize) {
        let mut scan = self.state.scan(namespace).unwrap();
        let mut scanned = BTreeMap::new();
        loop {
            let before = scanned.len();
            let more = scan
                .next_chunk(&mut self.state, rows_max, |_, key: &K::Stored, value: &(u64, String)| {
                    let key = K::from_view(K::stored_view(key));
                    assert!(scanned.insert(key, value.clone()).is_none(), "a key came twice");
                })
                .unwrap();
            assert!(scanned.len() - before <= rows_max);
            if !more {
                break;
            }
        }
        assert_eq!(scanned, self.expected(namespace));
    }

    fn report_changed(&mut self) {
        let mut reported = BTreeSet::new();
        let model = &self.model;
        self.state.changed(|namespace, _, key, value| {
            let key = K::from_view(K::stored_view(key));
            assert_eq!(Some(value), model.get(&(namespace, key.clone())));
            assert!(reported.insert((namespace, key.clone())), "a change was reported twice");
        });
        assert_eq!(reported, std::mem::take(&mut self.changed));
    }

    fn run(&mut self, steps: &[Step]) {
        let keys = |numbers: &[u16]| numbers.iter().map(|n| K::from_number(*n)).collect::<Vec<_>>();
        for step in steps {
            match step {
                Step::Load { namespace, keys: numbers } => self.load(*namespace, &keys(numbers)),
                Step::Add { namespace, keys: numbers, amount } => {
                    self.add(*namespace, &keys(numbers), *amount);
                }
                Step::Remove { namespace, keys: numbers } => self.remove(*namespace, &keys(numbers)),
                Step::Drain { namespace, rows_max, late } => {
                    self.drain(*namespace, *rows_max, &keys(late));
                }
                Step::Scan { namespace, rows_max } => self.scan(*namespace, *rows_max),
                Step::Changed => self.report_changed(),
                Step::Maintain => self.state.maintain().unwrap(),
            }
            self.check_contents();
        }
        let namespaces: Vec<i64> = self.state.namespaces().collect();
        for namespace in namespaces {
            self.drain(namespace, 7, &[]);
        }
        assert!(self.state.is_empty() && self.model.is_empty());
    }

    fn check_contents(&self) {
        let namespaces: BTreeSet<i64> = self.model.keys().map(|(namespace, _)| *namespace).collect();
        assert!(self.state.namespaces().eq(namespaces.iter().copied()));
        assert_eq!(self.state.first_namespace(), namespaces.first().copied());
        assert_eq!(self.state.len(), self.model.len());
        assert_eq!(self.state.is_empty(), self.model.is_empty());
    }
}

fn memory() -> Option<Box<dyn StateBackend>> {
    Some(Box::new(MemoryBackend::new("counts")))
}

fn cases(cases: u32) -> ProptestConfig {
    // A regression becomes a test of its own, with a name.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn integer_keys_survive_a_tiny_share(steps in steps(), share_bytes in 0usize..20_000) {
        Both::<u64>::new(memory(), share_bytes).run(&steps);
    }

    #[test]
    fn string_keys_survive_a_tiny_share(steps in steps(), share_bytes in 0usize..40_000) {
        Both::<String>::new(memory(), share_bytes).run(&steps);
    }

    #[test]
    fn without_a_store_nothing_is_lost_over_the_share(steps in steps()) {
        Both::<String>::new(None, 0).run(&steps);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn integer_keys_survive_in_rocksdb(steps in steps(), share_bytes in 0usize..20_000) {
        let store = headwater::state::RocksStore::temporary(8 << 20).unwrap();
        Both::<u64>::new(Some(Box::new(store.backend("counts").unwrap())), share_bytes).run(&steps);
    }

    #[test]
    fn string_keys_survive_in_rocksdb(steps in steps(), share_bytes in 0usize..40_000) {
        let store = headwater::state::RocksStore::temporary(8 << 20).unwrap();
        Both::<String>::new(Some(Box::new(store.backend("counts").unwrap())), share_bytes).run(&steps);
    }
}

/// Large enough for a table to be divided, and for its pieces to grow, to let go and to be given up.
fn large_tables<K: TestKey>(backend: Option<Box<dyn StateBackend>>, share_bytes: usize) {
    let keys = |range: std::ops::Range<u16>| range.map(K::from_number).collect::<Vec<_>>();
    let mut both = Both::<K>::new(backend, share_bytes);
    for round in 0..3 {
        for (namespace, start) in (0..20).map(|batch| (i64::from(batch % 4 / 3), batch * 1000)) {
            both.add(namespace, &keys(start..start + 1000), u64::from(start) + round);
            both.report_changed();
            both.state.maintain().unwrap();
        }
        both.remove(0, &keys(500..6500));
        both.remove(1, &keys(500..600));
        both.scan(0, 777);
        both.check_contents();
    }
    both.drain(0, 777, &keys(300..9300));
    both.scan(0, 5000);
    both.drain(1, 5000, &[]);
    both.run(&[]);
}

#[test]
fn large_tables_survive_any_share() {
    for share_bytes in [0, 100_000, 400_000, 1 << 20, 2 << 20, usize::MAX] {
        large_tables::<u64>(memory(), share_bytes);
        large_tables::<String>(memory(), share_bytes);
    }
    large_tables::<String>(None, 0);
}

/// Adds one to `count` keys in batches of 1000, as an operator would.
fn fill(state: &mut KeyedState<u64, u64>, count: u64, mut after_batch: impl FnMut(&KeyedState<u64, u64>)) {
    for start in (0..count).step_by(1000) {
        let keys: Vec<_> = (start..start + 1000).map(|key| (u64::hash(key), key)).collect();
        state.load(0, &keys).unwrap();
        for (hash, key) in keys {
            *state.entry(0, hash, key, || 0) += 1;
        }
        state.maintain().unwrap();
        after_batch(state);
    }
}

#[test]
fn a_million_keys_stay_within_a_small_share() {
    let share_bytes = 4 << 20;
    let mut state = KeyedState::<u64, u64>::new(memory(), share_bytes, 128);
    for round in 1..=2 {
        fill(&mut state, 1_000_000, |state| {
            assert!(state.memory_bytes() <= share_bytes, "{} bytes", state.memory_bytes());
            assert!(!state.over_budget());
        });
        assert_eq!(state.len(), 1_000_000, "round {round}");
    }
    let mut drain = state.drain(0).unwrap();
    let (mut rows, mut sum) = (0, 0);
    while drain
        .next_chunk(&mut state, 1000, |_, key, count| {
            rows += 1;
            sum += key;
            assert_eq!(count, 2);
        })
        .unwrap()
    {}
    assert_eq!((rows, sum), (1_000_000, 499_999_500_000));
    assert!(state.is_empty());
}

#[test]
fn memory_stays_within_the_share_through_growth_and_drain() {
    let share_bytes = 2 << 20;
    let mut state = KeyedState::<String, (u64, String)>::new(memory(), share_bytes, 128);
    let key = |number: u64| format!("a key that does not fit the table {number:020}");
    for namespace in 0..4 {
        for batch in 0..40 {
            let keys: Vec<String> = (batch * 500..batch * 500 + 1000).map(key).collect();
            let hashed: Vec<_> = keys.iter().map(|key| (String::hash(key), key.as_str())).collect();
            state.load(namespace, &hashed).unwrap();
            for (hash, key) in hashed {
                let value = state.entry(namespace, hash, key, || (0, "on the heap, too".repeat(3)));
                value.0 += 1;
            }
            state.maintain().unwrap();
            assert!(!state.over_budget(), "{} bytes", state.memory_bytes());
        }
        if namespace % 2 == 1 {
            let (mut drain, mut rows, mut sum) = (state.drain(namespace - 1).unwrap(), 0, 0);
            let add = |_, _: &_, value: (u64, String)| (rows, sum) = (rows + 1, sum + value.0);
            let mut add = add;
            while drain.next_chunk(&mut state, 1000, &mut add).unwrap() {
                assert!(state.memory_bytes() <= share_bytes);
            }
            assert_eq!((rows, sum), (20_500, 40_000));
        }
    }
    assert_eq!(state.len(), 2 * 20_500);
}

#[test]
fn without_a_store_the_state_grows_and_says_so() {
    let mut state = KeyedState::<u64, u64>::new(None, 1 << 20, 128);
    fill(&mut state, 10_000, |state| assert!(!state.over_budget()));
    fill(&mut state, 100_000, |_| {});
    assert!(state.over_budget());
    assert_eq!(state.len(), 100_000);
}

#[test]
fn values_on_the_heap_count() {
    let mut state = KeyedState::<u64, String>::new(memory(), 1 << 20, 128);
    for key in 0..10_000 {
        state.entry(0, u64::hash(key), key, || "x".repeat(1000));
        if key % 100 == 0 {
            state.maintain().unwrap();
            assert!(state.memory_bytes() <= 1 << 20);
        }
    }
    assert_eq!(state.len(), 10_000);
}

#[test]
fn an_unreported_change_stays_in_memory() {
    let mut state = KeyedState::<u64, u64>::new(memory(), 0, 128).tracking_changes();
    *state.entry(0, u64::hash(1), 1, || 0) += 1;
    state.maintain().unwrap();
    assert_eq!(state.get(0, u64::hash(1), 1), Some(&1));
    let mut reported = Vec::new();
    state.changed(|namespace, _, key, value| reported.push((namespace, *key, *value)));
    assert_eq!(reported, [(0, 1, 1)]);
    state.maintain().unwrap();
    assert_eq!(state.get(0, u64::hash(1), 1), None);
    assert_eq!(state.len(), 1);
}

#[test]
fn memory_is_given_back_after_a_burst() {
    let share_bytes = 1 << 20;
    let mut state = KeyedState::<String, u64>::new(memory(), share_bytes, 128);
    for key in 0..100_000 {
        let key = format!("a key of some length {key}");
        state.entry(0, String::hash(&key), &key, || 0);
    }
    assert!(state.over_budget());
    state.maintain().unwrap();
    assert!(!state.over_budget(), "{} bytes", state.memory_bytes());
    assert_eq!(state.len(), 100_000);
}
