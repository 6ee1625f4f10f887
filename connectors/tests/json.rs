//! JSON lines: what is accepted, what is refused and why, with serde_json as the oracle.
#![allow(clippy::expect_used, reason = "a test fails where it stands")]

use bumpalo::Bump;
use headwater::prelude::*;
use headwater_connectors::format::{JsonKeys, decode_json_line, encode_json_line};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Record, Clone, Debug, PartialEq)]
struct Place {
    city: String,
    zip: Option<u32>,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Order {
    id: u64,
    delta: i64,
    amount: f64,
    weight: f32,
    large: i128,
    paid: bool,
    name: String,
    note: Option<String>,
    place: Place,
    other: Option<Place>,
    tags: Vec<String>,
    places: Vec<Place>,
}

fn decode<T: Record>(text: &str, keys: &mut JsonKeys) -> Result<T, String> {
    let arena = Bump::new();
    decode_json_line::<T>(text, &arena, keys).map(T::from_view).map_err(|error| error.to_string())
}

fn decode_once<T: Record>(text: &str) -> Result<T, String> {
    decode(text, &mut JsonKeys::default())
}

fn encode<T: Record>(record: &T) -> String {
    let mut line = Vec::new();
    encode_json_line::<T>(record.view(), &mut line);
    String::from_utf8(line).expect("UTF-8")
}

fn place_value(place: &Place) -> Value {
    json!({"city": place.city, "zip": place.zip})
}

fn members(order: &Order) -> Vec<(&'static str, Value)> {
    vec![
        ("id", json!(order.id)),
        ("delta", json!(order.delta)),
        ("amount", json!(order.amount)),
        ("weight", json!(order.weight)),
        ("large", serde_json::from_str(&order.large.to_string()).expect("a number")),
        ("paid", json!(order.paid)),
        ("name", json!(order.name)),
        ("note", json!(order.note)),
        ("place", place_value(&order.place)),
        ("other", order.other.as_ref().map_or(Value::Null, place_value)),
        ("tags", json!(order.tags)),
        ("places", Value::Array(order.places.iter().map(place_value).collect())),
    ]
}

prop_compose! {
    fn place()(city in ".{0,12}", zip in any::<Option<u32>>()) -> Place {
        Place { city, zip }
    }
}

prop_compose! {
    fn order()(
        numbers in (any::<u64>(), any::<i64>(), any::<i64>(), any::<bool>()),
        amount in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        weight in any::<f32>().prop_filter("finite", |value| value.is_finite()),
        texts in ("[\\PC\"\\\\\n\t\u{1}]{0,20}", proptest::option::of(".{0,9}")),
        (place, other) in (place(), proptest::option::of(place())),
        tags in proptest::collection::vec(".{0,5}", 0..4),
        places in proptest::collection::vec(place(), 0..3),
    ) -> Order {
        Order {
            id: numbers.0,
            delta: numbers.1,
            amount,
            weight,
            large: i128::from(numbers.2),
            paid: numbers.3,
            name: texts.0,
            note: texts.1,
            place,
            other,
            tags,
            places,
        }
    }
}

/// The way a producer writes objects.
#[derive(Clone, Debug)]
struct Manner {
    order: Vec<usize>,
    spaces: [&'static str; 4],
    unknown: Option<(usize, &'static str)>,
    ascii: bool,
    leave_null_out: bool,
}

fn manner() -> impl Strategy<Value = Manner> {
    let space = prop_oneof![Just(""), Just(" "), Just("  "), Just("\t")];
    let unknown = prop_oneof![
        Just(r#""x":[1,{"y":[]}, "}]\"",-2.5e-3]"#),
        Just(r#""\u0078\n": {"a" : {"b":[true,false,null]}, "id": 3}"#),
        Just(r#""":0"#),
    ];
    (
        Just((0..12).collect::<Vec<_>>()).prop_shuffle(),
        any::<bool>(),
        [space.clone(), space.clone(), space.clone(), space],
        proptest::option::of((0..12usize, unknown)),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(mut order, sorted, spaces, unknown, ascii, leave_null_out)| {
            if sorted {
                order.sort_unstable();
            }
            Manner { order, spaces, unknown, ascii, leave_null_out }
        })
}

fn written(order: &Order, manner: &Manner) -> String {
    let members = members(order);
    let [before_key, before_colon, before_value, before_comma] = manner.spaces;
    let mut parts = Vec::new();
    for (place, index) in manner.order.iter().enumerate() {
        if let Some((at, unknown)) = manner.unknown
            && at == place
        {
            parts.push(format!("{before_key}{unknown}{before_comma}"));
        }
        let (name, value) = &members[*index];
        if manner.leave_null_out && value.is_null() {
            continue;
        }
        let value = value.to_string();
        parts.push(format!("{before_key}\"{name}\"{before_colon}:{before_value}{value}{before_comma}"));
    }
    let text = format!("{before_key}{{{}}}{before_comma}", parts.join(","));
    if !manner.ascii {
        return text;
    }
    let mut units = [0; 2];
    text.chars().fold(String::new(), |mut out, character| {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                out += &format!("\\u{unit:04x}");
            }
        }
        out
    })
}

proptest! {
    #[test]
    fn any_manner_of_writing_gives_the_same_record(
        rows in proptest::collection::vec((order(), 0..3usize), 1..8),
        manners in proptest::collection::vec(manner(), 3),
    ) {
        // One memory for all rows: a wrong prediction must never show.
        let mut keys = JsonKeys::default();
        for (order, index) in rows {
            let text = written(&order, &manners[index]);
            serde_json::from_str::<Value>(&text).expect("the test writes JSON");
            prop_assert_eq!(decode::<Order>(&text, &mut keys), Ok(order), "{}", text);
        }
    }

    #[test]
    fn encoded_records_mean_the_same_to_others_and_to_us(order in order()) {
        let line = encode(&order);
        prop_assert_eq!(line.as_str().matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).expect("JSON");
        for (name, expected) in members(&order) {
            if name == "weight" || name == "large" {
                continue; // serde_json's value widens them
            }
            prop_assert_eq!(&value[name], &expected, "{}", name);
        }
        prop_assert_eq!(decode_once::<Order>(line.trim_end()), Ok(order));
    }

    #[test]
    fn what_is_not_json_to_others_is_not_json_to_us(
        order in order(),
        manner in manner(),
        cuts in proptest::collection::vec(
            (any::<prop::sample::Index>(), "[\\[\\]{},:\"0-9eE.+tfn\\\\ -]?"),
            1..3,
        ),
    ) {
        let mut text = written(&order, &manner);
        for (index, replacement) in cuts {
            let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
            let at = *index.get(&places);
            let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
            text.replace_range(at..end, &replacement);
        }
        let ours = decode_once::<Order>(&text);
        if serde_json::from_str::<Value>(&text).is_err() && !text.contains("\\u") {
            // serde_json refuses numbers that only look too large for it; ours reads them by type.
            let out_of_range = serde_json::from_str::<Value>(&text).unwrap_err().to_string();
            prop_assume!(!out_of_range.contains("out of range"));
            prop_assert!(ours.is_err(), "accepted {}", text);
        }
    }

    #[test]
    fn floats_are_read_as_the_standard_library_reads_them(
        sign in "-?",
        whole in "(0|[1-9][0-9]{0,17})",
        fraction in "(\\.[0-9]{1,18})?",
        exponent in "([eE][+-]?[0-9]{1,2})?",
    ) {
        let number = format!("{sign}{whole}{fraction}{exponent}");
        let expected: f64 = number.parse().expect("a number");
        prop_assert_eq!(decode_once::<f64>(&number).map(f64::to_bits), Ok(expected.to_bits()), "{}", number);
        let expected: f32 = number.parse().expect("a number");
        if expected.is_finite() {
            prop_assert_eq!(decode_once::<f32>(&number).map(f32::to_bits), Ok(expected.to_bits()));
        }
    }

    #[test]
    fn integers_of_every_length_are_read(
        value in any::<u128>(),
        shift in 0..128u32,
        negative in any::<bool>(),
    ) {
        let value = value >> shift;
        let text = value.to_string();
        prop_assert_eq!(decode_once::<u128>(&text), Ok(value));
        prop_assert_eq!(decode_once::<u64>(&text).ok(), u64::try_from(value).ok());
        prop_assert_eq!(decode_once::<u16>(&text).ok(), u16::try_from(value).ok());
        let text = if negative { format!("-{text}") } else { text };
        prop_assert_eq!(decode_once::<i128>(&text).ok(), text.parse::<i128>().ok());
        prop_assert_eq!(decode_once::<i64>(&text).ok(), text.parse::<i64>().ok());
        prop_assert_eq!(decode_once::<i8>(&text).ok(), text.parse::<i8>().ok());
    }
}

#[track_caller]
fn refused<T: Record + std::fmt::Debug>(text: &str, reason: &str) {
    let error = decode_once::<T>(text).expect_err("must be refused");
    assert!(error.contains(reason), "`{text}` was refused with `{error}`, not `{reason}`");
}

#[test]
fn integers_may_be_written_as_floats_if_they_are_whole() {
    for (text, value) in [("5.0", 5), ("1e3", 1000), ("1.20e1", 12), ("100E-2", 1), ("-0", 0), ("0e99", 0)] {
        assert_eq!(decode_once::<u64>(text), Ok(value), "{text}");
        assert_eq!(decode_once::<i64>(text), Ok(value as i64), "{text}");
    }
    assert_eq!(decode_once::<i64>("-2.50e1"), Ok(-25));
    refused::<u64>("5.5", "5.5 is not a whole number, as u64 needs");
    refused::<u64>("1e-1", "1e-1 is not a whole number");
    refused::<u64>("-5", "-5 does not fit u64");
    refused::<u64>("18446744073709551616", "18446744073709551616 does not fit u64");
    refused::<u64>("1e400", "1e400 does not fit u64");
    refused::<i64>("-9223372036854775809", "-9223372036854775809 does not fit i64");
    refused::<u8>("256", "256 does not fit u8");
    refused::<f64>("1e999", "1e999 does not fit f64");
    assert_eq!(decode_once::<i64>("-9223372036854775808"), Ok(i64::MIN));
    assert_eq!(decode_once::<f64>("-0.0").map(f64::to_bits), Ok((-0.0f64).to_bits()));
}

#[test]
fn numbers_that_json_does_not_know_are_refused() {
    for text in ["01", "+1", ".5", "1.", "1e", "0x10", "NaN", "Infinity", "--1", "1_000", "-"] {
        assert!(decode_once::<f64>(text).is_err(), "{text}");
        assert!(decode_once::<u64>(text).is_err(), "{text}");
        assert!(decode_once::<i64>(text).is_err(), "{text}");
    }
}

#[test]
fn strings_are_unescaped_or_refused() {
    let good = r#""\" \\ \/ \b\f\n\r\t A \u00e9 \ud83d\ude00 é😀""#;
    let expected = "\" \\ / \u{8}\u{c}\n\r\t A é 😀 é😀".to_owned();
    assert_eq!(decode_once::<String>(good), Ok(expected));
    refused::<String>(r#""\ud83d""#, "half of a surrogate pair");
    refused::<String>(r#""\ud83dx""#, "half of a surrogate pair");
    refused::<String>(r#""\ude00\ud83d""#, "half of a surrogate pair");
    refused::<String>(r#""\x41""#, "unknown escape");
    refused::<String>(r#""\u00g0""#, "four hexadecimal digits");
    refused::<String>("\"a\u{1}b\"", "control character 0x01");
    refused::<String>("\"a\tb\"", "control character 0x09");
    refused::<String>("\"abc", "ends inside a string");
    refused::<String>("\"abc\\", "ends inside a string");
    refused::<String>("12", "expected a string at column 1, found the number 12");
    refused::<String>("null", "expected a string at column 1, found null");
}

#[test]
fn objects_with_mistakes_are_refused_with_the_place() {
    refused::<Place>("", "expected an object at column 1, found the end");
    refused::<Place>("7", "expected an object at column 1, found the number 7");
    refused::<Place>(r#"{"city":"a""#, "expected `,` or `}` at column 12, found the end");
    refused::<Place>(r#"{"city":"a",}"#, "expected a key at column 13, found `}`");
    refused::<Place>(r#"{"city":"a" "zip":1}"#, "expected `,` or `}` at column 13, found a string");
    refused::<Place>(r#"{"city" "a"}"#, "expected `:` at column 9");
    refused::<Place>(r#"{"city":"a"} x"#, "expected nothing more at column 14, found `x`");
    refused::<Place>(r#"{"city":"a"}{"city":"a"}"#, "expected nothing more");
    refused::<Place>(r#"{,"city":"a"}"#, "expected a key at column 2");
    refused::<Place>(r#"{"zip":1}"#, "field `city`: is missing");
    refused::<Place>(r#"{"city":"a","zip":-1}"#, "field `zip`: -1 does not fit");
    refused::<Place>(r#"{"city":"a","other":[1,]}"#, "expected a value");
    refused::<Place>(r#"{"city":"a","other":tru}"#, "expected a value");
    refused::<Place>(r#"{"city":"a","other":01}"#, "expected `,` or `}`");
    refused::<Vec<Place>>(r#"[{"city":"a"},{"city":5}]"#, "field `city`: expected a string");
    refused::<Vec<u64>>("[1,]", "expected a number at column 4, found `]`");
    refused::<Vec<u64>>("[1 2]", "expected `,` or `]` at column 4");
    refused::<bool>("yes", "expected true or false");
}

#[test]
fn of_equal_keys_the_last_counts() {
    let text = r#"{"city":"first","zip":1,"city":"last"}"#;
    assert_eq!(decode_once::<Place>(text), Ok(Place { city: "last".into(), zip: Some(1) }));
}

#[test]
fn keys_may_have_escapes() {
    let text = r#"{"c\u0069ty":"a","z\u0069p":2}"#;
    assert_eq!(decode_once::<Place>(text), Ok(Place { city: "a".into(), zip: Some(2) }));
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let deep = |depth: usize| format!(r#"{{"city":"a","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(decode_once::<Place>(&deep(100)).is_ok());
    refused::<Place>(&deep(1000), "nested deeper than 128");
    refused::<Place>(&format!(r#"{{"x":{}"#, r#"{"a":["#.repeat(1_000_000)), "nested deeper than 128");
}

#[test]
fn numbers_that_json_lacks_are_written_as_null() {
    assert_eq!(encode(&(f64::NAN, f64::INFINITY, 1.0f64)), "{\"_1\":null,\"_2\":null,\"_3\":1.0}\n");
}
