//! Protobuf: every record is read as it was written, whatever the schemas differ in; what does not fit is named.

use bumpalo::Bump;
use headwater::batch::Record;
use headwater::prelude::*;
use headwater_connectors::format::{ProtobufReader, ProtobufSchema, ProtobufWriter};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::records::{All, Place, any_all, any_place};

pub(crate) fn write<T: Record>(schema: &ProtobufSchema, record: &T) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut writer = ProtobufWriter::<T>::new(schema).map_err(|error| error.to_string())?;
    writer.write(record.view(), &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

pub(crate) fn read<T: Record>(schema: &ProtobufSchema, bytes: &[u8]) -> Result<T, String> {
    let arena = Bump::new();
    let mut reader = ProtobufReader::<T>::new(schema).map_err(|error| error.to_string())?;
    reader.read(bytes, &arena).map(T::from_view).map_err(|error| error.to_string())
}

fn there_and_back<T: Record>(record: &T) -> T {
    let schema = ProtobufSchema::of::<T>().unwrap();
    read(&schema, &write(&schema, record).unwrap()).unwrap()
}

fn schema(text: &str) -> ProtobufSchema {
    ProtobufSchema::parse(&format!("syntax = \"proto3\";\n{text}"), "M").unwrap()
}

/// The fields of [`All`] with other numbers and encodings, between others.
const OTHER: &str = r#"
// A comment { with braces }
import "google/protobuf/timestamp.proto";
option java_package = "a.b";
message M {
  option (some.option) = { a: 1 b: [2, 3] };
  reserved 900 to 910, 999;
  message Inner { optional fixed32 zip = 2000; string city = 15; map<int32, Inner> more = 16; }
  enum Never { option allow_alias = true; NO = 0; NONE = 0; }
  google.protobuf.Timestamp seen = 501;
  repeated Inner places = 1; /* and
  another */ bytes bytes = 2;
  oneof some { bool perhaps_flag = 300; sfixed64 perhaps_number = 301; string perhaps_text = 302; }
  optional bytes perhaps_bytes = 303 [deprecated = true];
  Numbers numbers = 536870911;
  string text = 400;
  M.Inner place = 401;
  .M.Inner perhaps_place = 402;
  repeated bool flags = 3 [packed = false];
  repeated sint32 numbers_list = 4;
  repeated double ratios = 5;
  repeated string words = 6;
  repeated bytes blobs = 7;
  map<string, uint32> pairs = 8;
}
message Numbers {
  bool flag = 1; fixed32 a = 2; uint64 b = 3; int64 c = 4; fixed64 d = 5;
  sint32 e = 6; sint64 f = 7; sfixed32 g = 8; sfixed64 h = 9; double x = 10; double y = 0xb;
}
service S { rpc Call (M) returns (stream M) { option (x) = "}"; } }
"#;

/// As [`All`], but `x` is wider there.
#[derive(Record, Clone, Debug, PartialEq)]
struct Ratio {
    x: f64,
}

proptest! {
    #[test]
    fn every_record_is_read_as_it_was_written(all in any_all()) {
        prop_assert_eq!(&there_and_back(&all), &all);
        let pair = (all.words.clone(), all.place.clone());
        prop_assert_eq!(there_and_back(&pair), pair);
    }

    #[test]
    fn numbers_encodings_and_fields_of_others_do_not_matter(mut all in any_all(), which in 0..4) {
        // Of a `oneof`, one has a value.
        if which != 0 { all.perhaps_flag = None }
        if which != 1 { all.perhaps_number = None }
        if which != 2 { all.perhaps_text = None }
        // A key stands once in a map for others, for us as often as it is written.
        let schema = schema(OTHER);
        let bytes = write(&schema, &all).unwrap();
        #[derive(Record, Clone, Debug, PartialEq)]
        struct Some {
            words: Vec<String>,
            missing: Option<u64>,
            numbers: Ratio,
            perhaps_number: Option<i64>,
            pairs: Vec<(String, i64)>,
            places: Vec<Place>,
            perhaps_place: Option<Place>,
            numbers_list: Vec<i64>,
            flags: Vec<bool>,
            blobs: Vec<Vec<u8>>,
        }
        let expected = Some {
            words: all.words,
            missing: None,
            numbers: Ratio { x: all.numbers.x.into() },
            perhaps_number: all.perhaps_number,
            pairs: all.pairs.into_iter().map(|(key, value)| (key, value.into())).collect(),
            places: all.places,
            perhaps_place: all.perhaps_place,
            numbers_list: all.numbers_list.into_iter().map(i64::from).collect(),
            flags: all.flags,
            blobs: all.blobs,
        };
        prop_assert_eq!(read::<Some>(&schema, &bytes).unwrap(), expected);
    }

    #[test]
    fn a_message_in_two_parts_is_both_together(places in vec(any_place(), 0..5), more in vec(any_place(), 0..5)) {
        // Lists go on, messages are merged, of all else the last counts.
        type Two = (Vec<Place>, (Option<Place>, Vec<Place>, u32));
        let schema = ProtobufSchema::of::<Two>().unwrap();
        let first: Two = (places.clone(), (places.first().cloned(), more.clone(), 7));
        let second: Two = (more.clone(), (None, places.clone(), 0));
        let mut bytes = write(&schema, &first).unwrap();
        bytes.extend(write(&schema, &second).unwrap());
        let together = |a: &[Place], b: &[Place]| a.iter().chain(b).cloned().collect::<Vec<_>>();
        let expected: Two = (together(&places, &more), (places.first().cloned(), together(&more, &places), 7));
        prop_assert_eq!(read::<Two>(&schema, &bytes).unwrap(), expected);
    }

    #[test]
    fn bytes_that_are_cut_off_are_refused_or_end_between_fields(all in any_all(), cut: prop::sample::Index) {
        let schema = ProtobufSchema::of::<All>().unwrap();
        let bytes = write(&schema, &all).unwrap();
        let cut = &bytes[..cut.index(bytes.len())];
        if let Ok(part) = read::<All>(&schema, cut) {
            prop_assert_eq!(write(&schema, &part).unwrap().len().min(cut.len()), cut.len());
        }
    }

    #[test]
    fn hostile_bytes_are_a_record_or_refused(
        bytes in vec(prop_oneof![any::<u8>(), 0..140_u8, Just(0x80), Just(0xff)], 0..300),
    ) {
        for schema in [ProtobufSchema::of::<All>().unwrap(), schema(OTHER)] {
            let arena = Bump::new();
            let of_record = ProtobufSchema::of::<All>().unwrap();
            let _ = ProtobufReader::<All>::new(&of_record).unwrap().read(&bytes, &arena);
            let _ = read::<All>(&schema, &bytes);
            prop_assert!(arena.allocated_bytes() < 1 << 20, "{} bytes", arena.allocated_bytes());
        }
    }
}

#[test]
fn what_is_not_there_is_none_or_a_default() {
    let text =
        "message M { uint32 a = 1; optional uint32 b = 2; string c = 3; E d = 4; E e = 5; N n = 6; N m = 7;
        repeated int32 l = 8; bool f = 9; double g = 10; bytes h = 11; uint32 o = 12; }
        enum E { ZERO = 0; ONE = 1; MINUS = -1; } message N { int64 x = 1; }";
    #[derive(Record, Clone, Debug, PartialEq)]
    struct N {
        x: i64,
    }
    #[derive(Record, Clone, Debug, PartialEq)]
    struct M {
        a: u32,
        b: Option<u32>,
        c: String,
        d: String,
        e: i32,
        n: N,
        m: Option<N>,
        l: Vec<i32>,
        f: bool,
        g: f64,
        h: Vec<u8>,
        o: Option<u32>,
        p: Option<String>,
    }
    let schema = schema(text);
    let empty = M {
        a: 0,
        b: None,
        c: String::new(),
        d: "ZERO".to_owned(),
        e: 0,
        n: N { x: 0 },
        m: None,
        l: vec![],
        f: false,
        g: 0.0,
        h: vec![],
        o: Some(0),
        p: None,
    };
    assert_eq!(read::<M>(&schema, &[]).unwrap(), empty);
    // Explicit zeros, a negative enum of ten bytes, an empty message.
    let bytes = [&[0x10, 0, 0x20][..], &[0xff; 9], &[1, 0x28, 1, 0x3a, 0]].concat();
    let expected = M { b: Some(0), d: "MINUS".to_owned(), e: 1, m: Some(N { x: 0 }), ..empty };
    assert_eq!(read::<M>(&schema, &bytes).unwrap(), expected);
    assert!(read::<M>(&schema, &[0x20, 7]).unwrap_err().contains("field `d`: the enum has no value 7"));
    // Unknown fields of all kinds, a group among them.
    let unknown =
        [0xa0, 6, 9, 0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0xa3, 6, 0xa5, 6, 1, 2, 3, 4, 0xa4, 6, 0x08, 5];
    assert_eq!(read::<M>(&schema, &unknown).unwrap().a, 5);
    assert!(read::<M>(&schema, &[0xa3, 6, 0x08, 5]).unwrap_err().contains("cut off"));
    assert!(
        read::<M>(&schema, &[0x0d, 1, 2, 3, 4]).unwrap_err().contains("field `a`: it has the wire type 5")
    );
    assert!(read::<M>(&schema, &[0]).unwrap_err().contains("a number that none can have"));
    assert!(read::<M>(&schema, &[0x1a, 1, 0xff]).unwrap_err().contains("field `c`: the text is not UTF-8"));
    assert!(
        read::<(u8,)>(&schema_of_one("int32"), &[8, 0x80, 2]).unwrap_err().contains("256 does not fit u8")
    );
}

fn schema_of_one(kind: &str) -> ProtobufSchema {
    schema(&format!("message M {{ {kind} _1 = 1; }} enum E {{ A = 0; B = 5; }}"))
}

#[test]
fn packed_lists_and_single_items_may_be_mixed() {
    let schema = schema("message M { repeated int32 _1 = 1; uint32 _2 = 2; }");
    let bytes = [0x08, 1, 0x10, 9, 0x0a, 2, 2, 3, 0x0a, 0, 0x08, 4];
    assert_eq!(read::<(Vec<u8>, u32)>(&schema, &bytes).unwrap(), (vec![1, 2, 3, 4], 9));
    assert_eq!(write(&schema, &(vec![1_u8, 2], 0_u32)).unwrap(), [0x0a, 2, 1, 2]);
    assert!(write(&schema, &(Vec::<u8>::new(), 0_u32)).unwrap().is_empty());
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    assert!(
        write(&schema_of_one("int32"), &(1_u64 << 31,))
            .unwrap_err()
            .contains("field `_1`: 2147483648 does not")
    );
    assert!(write(&schema_of_one("uint32"), &(-1_i64,)).unwrap_err().contains("-1 does not fit uint32"));
    assert_eq!(write(&schema_of_one("E"), &("B".to_owned(),)).unwrap(), [8, 5]);
    assert!(
        write(&schema_of_one("E"), &("C".to_owned(),)).unwrap_err().contains("`C` is no value of its enum")
    );
    let oneof = schema("message M { oneof x { int32 _1 = 1; string _2 = 2; } }");
    type Two = (Option<i32>, Option<String>);
    assert_eq!(write::<Two>(&oneof, &(Some(0), None)).unwrap(), [8, 0]);
    let said = write::<Two>(&oneof, &(Some(0), Some(String::new()))).unwrap_err();
    assert!(said.contains("field `_2`: another field of its `oneof` has a value"), "{said}");
}

fn refused<T: Record>(text: &str) -> [String; 2] {
    let schema = schema(text);
    [
        ProtobufReader::<T>::new(&schema)
            .map(drop)
            .map_err(|error| error.to_string())
            .err()
            .unwrap_or_default(),
        ProtobufWriter::<T>::new(&schema)
            .map(drop)
            .map_err(|error| error.to_string())
            .err()
            .unwrap_or_default(),
    ]
}

#[test]
fn schemas_that_do_not_suit_the_record_type_are_refused_with_the_field() {
    let [read, write] = refused::<(u64,)>("message M { string _1 = 1; }");
    assert!(read.contains("field `_1`: is string in the schema, and u64 in the record type"), "{read}");
    assert!(write.contains("field `_1`: is string in the schema"), "{write}");
    let [read, write] = refused::<(u64, u64)>("message M { uint64 _1 = 1; }");
    assert!(read.contains("field `_2`: is not in the message `M`; an `Option` may be missing"), "{read}");
    assert!(write.contains("field `_2`: the message `M` does not have it, so it would be lost"), "{write}");
    let [read, write] = refused::<(Option<u64>,)>("message M { uint64 _1 = 1; }");
    assert!(read.is_empty() && write.contains("None would be read as the default value"), "{read} {write}");
    let [read, _] = refused::<(u64,)>("message M { repeated uint64 _1 = 1; }");
    assert!(read.contains("is repeated in the schema, and u64 in the record type"), "{read}");
    let [_, write] = refused::<(u64,)>("message M { oneof a { uint64 _1 = 1; } }");
    assert!(write.contains("make it an `Option`"), "{write}");
    let said = |error: Result<ProtobufSchema>| error.unwrap_err().to_string();
    assert!(said(ProtobufSchema::of::<u64>()).contains("a message has fields"));
    assert!(said(ProtobufSchema::of::<(u128,)>()).contains("integers of 128 bits"));
    assert!(said(ProtobufSchema::of::<(Vec<Vec<u64>>,)>()).contains("a list of lists"));
    assert!(said(ProtobufSchema::of::<(Vec<Option<u64>>,)>()).contains("a list of `Option`"));
    assert!(said(ProtobufSchema::of::<(Option<Vec<u64>>,)>()).contains("cannot be told from an empty one"));
}

#[test]
fn texts_that_are_no_schema_are_refused() {
    for (text, expected) in [
        ("message M {", "a field is expected"),
        ("message M { what x = 1; }", "has the type `what`, which is not defined"),
        ("message M { int32 x = 0; }", "`M.x` has the number 0"),
        ("message M { int32 x = 1; int32 y = 1; }", "the name or the number 1 of `M.y` stands there twice"),
        ("message M { int32 x = 1 }", "`;` is expected, not `}`"),
        ("message M {} message M {}", "`M` is defined twice"),
        ("message N {}", "it has no message `M`; it has: N"),
        ("import \"x.proto\"; message M {}", "it imports `x.proto`, which is not there"),
        ("message M { optional int32 x = 1 [default = 5]; }", "has a default of its own"),
        ("edition = \"2023\"; message M {}", "editions are not supported"),
        ("message M { optional group G = 1 {} }", "groups are not supported"),
        ("\n\n\"", "line 3: a text does not end"),
        ("/* ", "a comment does not end"),
        ("enum E {} message M { E e = 1; }", "the enum `E` has no values"),
    ] {
        let said = ProtobufSchema::parse(text, "M").unwrap_err().to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    let deep = "message M {".repeat(100_000);
    assert!(ProtobufSchema::parse(&deep, "M").unwrap_err().to_string().contains("nested deeper than 64"));
    let other =
        [("b.proto".to_owned(), "package p; message N { required M m = 1; } message M {}".to_owned())];
    let text = "import public \"b.proto\"; message M { optional p.N n = 1; }";
    assert!(ProtobufSchema::parse_with(text, "M", &other).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_a_schema_or_refused(words in vec(prop_oneof![
        Just("message"), Just("M"), Just("{"), Just("}"), Just("int32"), Just("="), Just("1"), Just(";"),
        Just("oneof"),
        Just("map<"), Just(">"), Just(","), Just("["), Just("]"), Just("enum"), Just("repeated"), Just("\""),
        Just("."),
        Just("option"), Just("reserved"), Just("-"), Just("/*"), Just("*/"), Just("import"), Just("\u{e4}"),
        Just("0x"),
    ], 0..40)) {
        let _ = ProtobufSchema::parse(&words.join(" "), "M");
        let _ = ProtobufSchema::parse(&words.concat(), "M");
    }
}
