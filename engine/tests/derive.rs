//! What `#[derive(Record)]` writes and refuses, and what a batch of such records withstands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

use headwater::batch::{Batch, BatchBuilder, BatchError, BatchLimits, Either, Key, group_of};
use headwater::prelude::*;
use proptest::prelude::*;

// A build of its own, without `--release`: it would compile RocksDB once more.
#[cfg(not(feature = "rocksdb"))]
#[test]
fn mistakes_are_compile_errors_that_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/derive/*.rs");
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Inner {
    name: String,
    weights: Vec<f64>,
}

/// Every type that a field may have, in more fields than a tuple holds.
#[derive(Record, Clone, Debug, PartialEq)]
struct Everything {
    yes: bool,
    tiny: u8,
    small: u16,
    middle: u32,
    large: u64,
    huge: u128,
    signed_tiny: i8,
    signed_small: i16,
    signed_middle: i32,
    signed_large: i64,
    signed_huge: i128,
    single: f32,
    double: f64,
    text: String,
    maybe: Option<u64>,
    maybe_text: Option<String>,
    numbers: Vec<u16>,
    texts: Vec<String>,
    inner: Inner,
    inners: Vec<Inner>,
    maybe_inner: Option<Inner>,
    pair: (i64, String),
    either: Either<u64, String>,
    nothing: (),
    r#type: u8,
}

/// Fields with other names in text, and a key.
#[derive(Record, Clone, Debug, PartialEq, Eq)]
#[record(key)]
struct Route {
    #[record(rename = "from.station")]
    from: String,
    r#as: u32,
    via: (bool, i64),
}

/// A key of more fields than a tuple holds.
#[derive(Record, Clone, Debug, PartialEq, Eq)]
#[record(key)]
struct Wide {
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: String,
}

fn inner() -> impl Strategy<Value = Inner> {
    (".{0,12}", prop::collection::vec(-1e300..1e300, 0..4))
        .prop_map(|(name, weights)| Inner { name, weights })
}

fn everything() -> impl Strategy<Value = Everything> {
    let unsigned = any::<(bool, u8, u16, u32, u64, u128)>();
    let signed = any::<(i8, i16, i32, i64, i128)>();
    let floats = (-1e30_f32..1e30, -1e300..1e300);
    let texts = (".{0,40}", any::<Option<u64>>(), prop::option::of(".{0,10}"));
    let lists = (any::<Vec<u16>>(), prop::collection::vec(".{0,20}", 0..4));
    let nested = (inner(), prop::collection::vec(inner(), 0..3), prop::option::of(inner()));
    let rest = (any::<(i64, String)>(), any::<std::result::Result<u64, String>>(), any::<u8>());
    (unsigned, signed, floats, texts, lists, nested, rest).prop_map(|parts| {
        let ((yes, tiny, small, middle, large, huge), signed, (single, double), texts, lists, nested, rest) =
            parts;
        let (signed_tiny, signed_small, signed_middle, signed_large, signed_huge) = signed;
        let (text, maybe, maybe_text) = texts;
        let (numbers, texts) = lists;
        let (inner, inners, maybe_inner) = nested;
        let (pair, either, r#type) = rest;
        let either = either.map_or_else(Either::Right, Either::Left);
        Everything {
            yes,
            tiny,
            small,
            middle,
            large,
            huge,
            signed_tiny,
            signed_small,
            signed_middle,
            signed_large,
            signed_huge,
            single,
            double,
            text,
            maybe,
            maybe_text,
            numbers,
            texts,
            inner,
            inners,
            maybe_inner,
            pair,
            either,
            nothing: (),
            r#type,
        }
    })
}

fn batch<T: Record>(rows: &[T]) -> Batch<T> {
    let mut builder = BatchBuilder::new(BatchLimits::default());
    rows.iter().for_each(|row| builder.push(row.view()).unwrap());
    builder.finish().unwrap()
}

fn owned<T: Record>(batch: &Batch<T>) -> Vec<T> {
    batch.iter().map(T::from_view).collect()
}

/// Miri checks the unsafe code behind the batch a thousand times more slowly (`make miri`).
const CASES: u32 = if cfg!(miri) { 2 } else { 300 };

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    #[test]
    fn records_come_out_of_a_batch_as_they_went_in(rows in prop::collection::vec(everything(), 1..20)) {
        for row in &rows {
            prop_assert_eq!(&Everything::from_view(row.view()), row);
        }
        let batch = batch(&rows);
        prop_assert_eq!(&owned(&batch), &rows);
        let read = Batch::<Everything>::from_bytes(batch.bytes()).unwrap();
        prop_assert_eq!(&owned(&read), &rows);
        prop_assert_eq!(read.bytes(), batch.bytes());
    }

    #[test]
    fn a_damaged_batch_is_refused_or_read_but_never_a_panic(
        rows in prop::collection::vec(everything(), 1..6),
        damages in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8, any::<bool>()), 1..30),
    ) {
        let whole = batch(&rows).bytes().to_vec();
        for (at, bit, cut) in damages {
            let mut bytes = whole.clone();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << bit;
            }
            if let Ok(read) = Batch::<Everything>::from_bytes(&bytes) {
                owned(&read);
            }
        }
    }

    #[test]
    fn a_batch_behaves_as_a_vector_of_its_rows(
        count in 1..30_usize,
        steps in prop::collection::vec((0..4_u8, any::<u64>()), 0..8),
    ) {
        let rows: Vec<u64> = (0..count as u64).collect();
        let (mut batch, mut model) = (batch(&rows), rows);
        let mut times: Option<Vec<i64>> = None;
        for (step, seed) in steps {
            let positions = positions(step, seed, model.len());
            match step {
                0 => {
                    let end = positions.first().map_or(0, |first| *first as usize);
                    let start = end - (seed as usize % (end + 1));
                    batch = batch.slice(start..end);
                    model = model[start..end].to_vec();
                    times = times.map(|times| times[start..end].to_vec());
                }
                1 | 2 => {
                    batch = batch.select(&positions);
                    model = positions.iter().map(|at| model[*at as usize]).collect();
                    times = times.map(|times| positions.iter().map(|at| times[*at as usize]).collect());
                }
                _ => {
                    let new: Vec<i64> = (0..model.len()).map(|at| at as i64 * 7 - (seed % 1000) as i64).collect();
                    batch = batch.with_times(new.clone());
                    times = Some(new);
                }
            }
            prop_assert_eq!(owned(&batch), model.clone());
            prop_assert_eq!((batch.len(), batch.is_empty()), (model.len(), model.is_empty()));
            let found = batch.times().map(|times| (0..batch.len()).map(|at| times.at(at)).collect::<Vec<_>>());
            prop_assert_eq!(&found, &times);
            prop_assert_eq!(batch.get(model.len()), None);
            prop_assert_eq!(batch.column(|row| row), model.clone());
        }
    }

    #[test]
    fn equal_keys_have_equal_hashes_and_bytes_and_others_do_not(
        a in any::<(String, u32, (bool, i64))>(),
        b in any::<(String, u32, (bool, i64))>(),
    ) {
        let [a, b] = [a, b].map(|(from, r#as, via)| Route { from, r#as, via });
        let bytes = |route: &Route| {
            let mut bytes = Vec::new();
            Route::write_bytes(route.view(), &mut bytes);
            bytes
        };
        prop_assert_eq!(<Route as Key>::hash(a.clone().view()), <Route as Key>::hash(a.view()));
        prop_assert!(a.matches(a.clone().view()));
        prop_assert_eq!(a == b, a.matches(b.view()));
        let stored = Route::store(a.view());
        prop_assert_eq!(Route::stored_view(&stored), a.view());
        prop_assert_eq!(a == b, Route::stored_matches(&stored, b.view()));
        prop_assert_eq!(a == b, bytes(&a) == bytes(&b));
        prop_assert!(a == b || !bytes(&a).starts_with(&bytes(&b)));
    }
}

/// Some positions in any order, each at most once; all of them in another order for step 2.
fn positions(step: u8, seed: u64, len: usize) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..len as u32).collect();
    positions.sort_by_key(|at| (u64::from(*at) + 1).wrapping_mul(seed | 1).rotate_left(17));
    if step != 2 {
        positions.truncate(seed as usize % (len + 1));
    }
    positions
}

#[test]
fn bytes_of_another_record_type_are_refused() {
    let bytes = batch(&[(1_u64, 2_u64)]).bytes().to_vec();
    for error in [
        Batch::<(u64, i64)>::from_bytes(&bytes).unwrap_err(),
        Batch::<u64>::from_bytes(&bytes).unwrap_err(),
        Batch::<Inner>::from_bytes(&bytes).unwrap_err(),
    ] {
        assert!(matches!(error, BatchError::Schema { .. }), "{error}");
    }
    assert!(Batch::<(u64, u64)>::from_bytes(&bytes).is_ok());
}

#[test]
fn a_cut_into_the_rows_is_refused() {
    let bytes = batch(&[1_u64, 2, 3]).bytes().to_vec();
    // A header of 32 bytes and three rows of 8.
    for end in 0..32 + 24 {
        Batch::<u64>::from_bytes(&bytes[..end]).unwrap_err();
    }
}

#[test]
fn columns_have_the_names_of_the_fields_or_their_new_ones() {
    assert_eq!(Route::schema().columns(), ["from.station", "as", "via._1", "via._2"]);
    assert_eq!(Inner::schema().columns(), ["name", "weights"]);
    assert!(Everything::schema().columns().contains(&"maybe_inner.name".to_owned()));
    assert_eq!(Route::FROM.name(), "from.station");
    assert_eq!(Everything::TYPE.name(), "type");
}

#[test]
fn a_field_reads_its_column() {
    let rows = [("a", 1), ("b", 2)];
    let rows = rows.map(|(from, r#as)| Route { from: from.to_owned(), r#as, via: (true, 3) });
    let batch = batch(&rows);
    assert_eq!(Route::FROM.column(&batch), ["a", "b"]);
    assert_eq!(Route::AS.column(&batch), [1, 2]);
    assert_eq!(batch.iter().map(|route| route.via.1).sum::<i64>(), 6);
}

#[test]
fn a_key_may_have_more_fields_than_a_tuple() {
    let wide = |m: &str| Wide {
        a: 1,
        b: 2,
        c: 3,
        d: 4,
        e: 5,
        f: 6,
        g: 7,
        h: 8,
        i: 9,
        j: 10,
        k: 11,
        l: 12,
        m: m.to_owned(),
    };
    let (one, other) = (wide("one"), wide("other"));
    assert!(one.matches(one.view()) && !one.matches(other.view()));
    assert!(Wide::stored_matches(&Wide::store(one.view()), one.view()));
    assert_ne!(<Wide as Key>::hash(one.view()), <Wide as Key>::hash(other.view()));
}

/// State on disk is found by these numbers: a change here loses every key.
#[test]
fn hashes_and_groups_of_keys_never_change() {
    let route = Route { from: "Ulm".to_owned(), r#as: 7, via: (true, -1) };
    let hashes = [
        <u64 as Key>::hash(7),
        <i32 as Key>::hash(-1),
        <u128 as Key>::hash(7),
        <bool as Key>::hash(true),
        <String as Key>::hash("Ulm"),
        <(u64, String) as Key>::hash((7, "Ulm")),
        <Route as Key>::hash(route.view()),
    ];
    let expected = [
        9_324_454_920_402_081_455,
        5_841_669_975_847_748_627,
        5_175_499_747_093_961_662,
        3_439_722_301_264_460_078,
        14_472_968_812_612_720_274,
        8_113_070_971_680_775_562,
        9_528_378_263_220_864_339,
    ];
    assert_eq!(hashes, expected);
    assert_eq!(hashes.map(|hash| group_of(hash, 128)), [51, 8, 105, 94, 109, 75, 29]);
}

#[test]
fn a_batch_grows_with_its_rows_and_starts_small() {
    let mut builder = BatchBuilder::<(u64, String)>::new(BatchLimits { rows_max: 5_000, bytes_max: 1 << 20 });
    for round in [5_000_u64, 1, 300] {
        for n in 0..round {
            builder.push((n, &"x".repeat(n as usize % 40))).unwrap();
        }
        assert_eq!(builder.is_full(), round == 5_000);
        let batch = builder.finish().unwrap();
        assert_eq!(batch.len() as u64, round);
        assert!(batch.iter().enumerate().all(|(at, (n, text))| n == at as u64 && text.len() == at % 40));
    }
    assert!(builder.finish().is_none());
}

/// A struct with type parameters, each of which is a record.
#[derive(Record, Clone, Debug, PartialEq)]
struct Beside<L, R: Clone> {
    left: L,
    both: Vec<(L, R)>,
    right: Option<R>,
}

#[test]
fn a_generic_struct_is_a_record_of_its_fields() {
    let inner = |name: &str| Inner { name: name.to_owned(), weights: vec![0.5, -1.0] };
    let row =
        Beside { left: "a".to_owned(), both: vec![("b".to_owned(), inner("c"))], right: Some(inner("d")) };
    let batch = batch(std::slice::from_ref(&row));
    let view = batch.iter().next().unwrap();
    assert_eq!((view.left, view.right.unwrap().name), ("a", "d"));
    assert_eq!(Beside::from_view(view), row);
    assert_eq!(view, row.view());
    let schema = Beside::<String, Inner>::schema().to_string();
    assert!(["left", "both", "right"].iter().all(|name| schema.contains(name)), "{schema}");
}
