//! Avro: every record is read as it was written, whatever the schemas differ in; what does not fit is named.

use bumpalo::Bump;
use headwater::batch::{Either, Record};
use headwater::prelude::*;
use headwater_connectors::format::{AvroReader, AvroSchema, AvroWriter};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::records::{All, Place, any_all, any_place};

pub(crate) fn write<T: Record>(schema: &AvroSchema, record: &T) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut writer = AvroWriter::<T>::new(schema).map_err(|error| error.to_string())?;
    writer.write(record.view(), &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

pub(crate) fn read<T: Record>(schema: &AvroSchema, bytes: &[u8]) -> Result<T, String> {
    let arena = Bump::new();
    let mut reader = AvroReader::<T>::new(schema).map_err(|error| error.to_string())?;
    reader.read(bytes, &arena).map(T::from_view).map_err(|error| error.to_string())
}

fn there_and_back<T: Record>(record: &T) -> T {
    let schema = AvroSchema::of::<T>().unwrap();
    read(&schema, &write(&schema, record).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn every_record_is_read_as_it_was_written(all in any_all(), large: i128, larger: u128) {
        prop_assert_eq!(&there_and_back(&all), &all);
        prop_assert_eq!(there_and_back(&(large, larger)), (large, larger));
        prop_assert_eq!(there_and_back(&all.words), all.words);
        prop_assert_eq!(there_and_back(&all.perhaps_place), all.perhaps_place);
        prop_assert_eq!(there_and_back(&Either::<u64, String>::Left(7)), Either::Left(7));
        let nested = vec![vec![all.perhaps_number], vec![]];
        prop_assert_eq!(there_and_back(&nested), nested);
    }

    #[test]
    fn bytes_that_are_cut_off_are_refused(all in any_all(), cut: prop::sample::Index) {
        let schema = AvroSchema::of::<All>().unwrap();
        let bytes = write(&schema, &all).unwrap();
        prop_assert!(read::<All>(&schema, &bytes[..cut.index(bytes.len())]).is_err());
        let more: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        prop_assert!(read::<All>(&schema, &more).unwrap_err().contains("1 bytes stand behind the record"));
    }

    #[test]
    fn the_order_of_fields_and_fields_of_others_do_not_matter(places in vec(any_place(), 0..100), n: u32) {
        let written: (Vec<Place>, u32) = (places.clone(), n);
        // Other orders on both levels, a field that may be null, a map in place of pairs.
        let schema = AvroSchema::parse(r#"{"type":"record","name":"R","fields":[
            {"name":"more","type":["string","null"]},
            {"name":"_2","type":["null","long"]},
            {"name":"_1","type":{"type":"array","items":{"type":"record","name":"P","fields":[
                {"name":"zip","type":["long","null"]}, {"name":"nothing","type":"null"},
                {"name":"city","type":"string"}]}}}]}"#).unwrap();
        let bytes = write(&schema, &written).unwrap();
        prop_assert_eq!(read::<(Vec<Place>, u32)>(&schema, &bytes).unwrap(), written);
        // What is not asked for is passed over, whatever it is.
        #[derive(Record, Clone, Debug, PartialEq)]
        struct Few {
            #[record(rename = "_2")]
            number: u64,
            missing: Option<String>,
        }
        let few = Few { number: n.into(), missing: None };
        prop_assert_eq!(read::<Few>(&schema, &bytes).unwrap(), few);
    }

    #[test]
    fn hostile_bytes_are_a_record_or_refused(
        bytes in vec(prop_oneof![any::<u8>(), 0..4_u8, Just(0x80), Just(0xff)], 0..300),
    ) {
        let schema = AvroSchema::of::<All>().unwrap();
        let _ = read::<All>(&schema, &bytes);
        for schema in hostile_schemas() {
            let arena = Bump::new();
            if let Ok(mut reader) = AvroReader::<Greedy>::new(&schema) {
                let _ = reader.read(&bytes, &arena);
            }
            prop_assert!(arena.allocated_bytes() < 1 << 20, "{} bytes", arena.allocated_bytes());
        }
    }
}

type Greedy = (Option<u64>, Vec<Option<u64>>, Vec<(Option<String>, Option<u64>)>);

/// Schemas by which few bytes could say much.
fn hostile_schemas() -> Vec<AvroSchema> {
    let texts = [
        r#"{"type":"array","items":"null"}"#,
        r#"{"type":"array","items":{"type":"record","name":"Empty","fields":[]}}"#,
        r#"{"type":"array","items":{"type":"array","items":"null"}}"#,
        r#"{"type":"map","values":"null"}"#,
        r#"{"type":"record","name":"List","fields":[{"name":"next","type":["null","List"]}]}"#,
        r#"{"type":"record","name":"Loop","fields":[{"name":"next","type":"Loop"}]}"#,
        r#"{"type":"fixed","name":"Large","size":4000000000}"#,
    ];
    let record = |text: &str| {
        let json = r#"{"type":"record","name":"R","fields":[{"name":"skipped","type":T},
            {"name":"_1","type":["null","long"]},{"name":"_2","type":{"type":"array","items":"null"}},
            {"name":"_3","type":{"type":"array","items":{"type":"record","name":"E","fields":[]}}}]}"#;
        AvroSchema::parse(&json.replace('T', text)).unwrap()
    };
    texts.iter().map(|text| record(text)).collect()
}

#[test]
fn a_few_bytes_cannot_ask_for_much_work_or_memory() {
    // 2^60 nulls: in a field that is passed over, and in one that is read.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    for schema in hostile_schemas() {
        for start in [&[][..], &[0, 0], &[0, 0, 0], &[2, 2, 2, 2, 2, 2], &[0; 7]] {
            let bytes: Vec<u8> = start.iter().chain(&huge).copied().collect();
            assert!(read::<Greedy>(&schema, &bytes).is_err(), "{schema} {bytes:?}");
        }
    }
    let schema =
        AvroSchema::parse(r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#);
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Nothing {
        other: Option<u64>,
    }
    let said = read::<Nothing>(&schema.unwrap(), &[2; 100_000]).unwrap_err();
    assert!(said.contains("nested deeper than 128"), "{said}");
}

#[test]
fn types_become_wider_and_unions_what_they_hold() {
    let record = |kind: &str| {
        let json = r#"{"type":"record","name":"R","fields":[{"name":"_1","type":T}]}"#;
        AvroSchema::parse(&json.replace('T', kind)).unwrap()
    };
    assert_eq!(read::<(i64,)>(&record(r#""int""#), &[5]).unwrap(), (-3,));
    assert_eq!(read::<(u8,)>(&record(r#""long""#), &[6]).unwrap(), (3,));
    assert_eq!(read::<(f64,)>(&record(r#""long""#), &[6]).unwrap(), (3.0,));
    assert_eq!(read::<(f32,)>(&record(r#""int""#), &[6]).unwrap(), (3.0,));
    assert_eq!(read::<(f64,)>(&record(r#""float""#), &1.5_f32.to_le_bytes()).unwrap(), (1.5,));
    assert_eq!(read::<(String,)>(&record(r#""bytes""#), b"\x04ab").unwrap(), ("ab".to_owned(),));
    assert_eq!(read::<(Vec<u8>,)>(&record(r#""string""#), b"\x04ab").unwrap(), (b"ab".to_vec(),));
    let color = record(r#"{"type":"enum","name":"Color","symbols":["RED","GREEN"]}"#);
    assert_eq!(read::<(String,)>(&color, &[2]).unwrap(), ("GREEN".to_owned(),));
    assert_eq!(write(&color, &("GREEN".to_owned(),)).unwrap(), [2]);
    assert!(write(&color, &("BLUE".to_owned(),)).unwrap_err().contains("field `_1`: `BLUE` is no symbol"));
    let money = record(r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#);
    assert_eq!(read::<(String,)>(&money, &[4, 4, 0xd2]).unwrap(), ("12.34".to_owned(),));
    assert_eq!(read::<(f64,)>(&money, &[4, 4, 0xd2]).unwrap(), (12.34,));
    let map = record(r#"{"type":"map","values":"int"}"#);
    let pairs = (vec![("a".to_owned(), 1_u32), ("b".to_owned(), 2)],);
    assert_eq!(write(&map, &pairs).unwrap(), b"\x04\x02a\x02\x02b\x04\x00");
    // The same in blocks, one of them with its size.
    assert_eq!(read::<(Vec<(String, u32)>,)>(&map, b"\x02\x02a\x02\x01\x06\x02b\x04\x00").unwrap(), pairs);
    let any = record(r#"["null","int","string",{"type":"array","items":"long"}]"#);
    assert_eq!(read::<(Option<i64>,)>(&any, &[0]).unwrap(), (None,));
    assert_eq!(read::<(Option<i64>,)>(&any, &[2, 6]).unwrap(), (Some(3),));
    let said = read::<(Option<i64>,)>(&any, b"\x04\x02x").unwrap_err();
    assert_eq!(said, "field `_1`: was written as string, which cannot become i64");
    assert!(read::<(i64,)>(&any, &[0]).unwrap_err().contains("field `_1`: is null, and i64 is wanted"));
    assert!(read::<(i64,)>(&any, &[9, 0]).unwrap_err().contains("branch -5 of a union is not there"));
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    let schema = AvroSchema::of::<(Place, (String, u64))>().unwrap();
    let place = Place { city: String::new(), zip: None };
    let said = write(&schema, &(place, (String::new(), u64::MAX))).unwrap_err();
    assert!(said.contains("field `_2._2`: 18446744073709551615 does not fit a long of Avro"), "{said}");
    let schema =
        AvroSchema::parse(r#"{"type":"record","name":"R","fields":[{"name":"_1","type":"int"}]}"#).unwrap();
    assert!(
        write(&schema, &(1_i64 << 31,)).unwrap_err().contains("field `_1`: 2147483648 does not fit an int")
    );
    assert!(read::<(u8,)>(&schema, &[0x80, 0x04]).unwrap_err().contains("field `_1`: 256 does not fit u8"));
    assert!(read::<(u8,)>(&schema, &[1]).unwrap_err().contains("field `_1`: -1 does not fit"));
    // A longer number than an int has.
    assert!(
        read::<(i64,)>(&schema, &[0x80, 0x80, 0x80, 0x80, 0x20])
            .unwrap_err()
            .contains("an int is 4294967296")
    );
}

#[test]
fn schemas_that_do_not_suit_the_record_type_are_refused_with_the_field() {
    let said = |json: &str| {
        let schema = AvroSchema::parse(json).unwrap();
        AvroWriter::<(u64, Option<String>)>::new(&schema).map(drop).unwrap_err().to_string()
    };
    let record = |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let one = r#"{"name":"_1","type":"long"}"#;
    let two = r#"{"name":"_2","type":["null","string"]}"#;
    let cases = [
        (record(one), "field `_2`: the schema does not have it, so it would be lost"),
        (
            record(&format!(r#"{one},{two},{{"name":"m.m","type":"int"}}"#)),
            "field `m.m`: the schema wants it",
        ),
        (
            record(&format!(r#"{one},{{"name":"_2","type":"string"}}"#)),
            "field `_2`: the record type has an `Option`",
        ),
        (
            record(&format!(r#"{{"name":"_1","type":["null","string"]}},{two}"#)),
            "field `_1`: the record type has u64, the schema string",
        ),
    ];
    for (json, expected) in cases {
        let said = said(&json);
        assert!(said.contains(expected), "{json}: {said}");
    }
    assert!(AvroSchema::of::<Option<Option<u64>>>().unwrap_err().to_string().contains("Avro has one null"));
    #[derive(Record)]
    struct Odd {
        #[record(rename = "so-so")]
        so: u64,
    }
    assert!(AvroSchema::of::<Odd>().unwrap_err().to_string().contains("`so-so` cannot be a name in Avro"));
}

#[test]
fn texts_that_are_no_schema_are_refused() {
    for (json, expected) in [
        ("{", "not JSON"),
        (r#""what""#, "`what` is not defined"),
        ("7", "7 is no type"),
        (r#"{"type":"array"}"#, "array has no `items`"),
        (r#"[["null"]]"#, "a union stands directly in a union"),
        (r#"{"type":"record","name":"a b","fields":[]}"#, "`a b` is no name"),
        (r#"{"type":"fixed","name":"F","size":-1}"#, "`F` has no size"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            "`R.a` stands there twice",
        ),
    ] {
        let said = AvroSchema::parse(json).unwrap_err().to_string();
        assert!(said.contains(expected), "{json}: {said}");
    }
    assert!(AvroSchema::parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn names_are_used_once_and_have_the_namespace() {
    let text = AvroSchema::of::<(Place, Vec<Place>, (u8, u8))>().unwrap().to_string();
    let expected = concat!(
        r#"{"type":"record","name":"Record","fields":[{"name":"_1","type":{"type":"record","name":"Place","#,
        r#""fields":[{"name":"city","type":"string"},{"name":"zip","type":["null","long"],"default":null}]}},"#,
        r#"{"name":"_2","type":{"type":"array","items":"Place"}},"#,
        r#"{"name":"_3","type":{"type":"record","name":"Record__3","#,
        r#""fields":[{"name":"_1","type":"int"},{"name":"_2","type":"int"}]}}]}"#
    );
    assert_eq!(text, expected);
    let text = AvroSchema::in_namespace::<Place>("com.shop").unwrap().to_string();
    assert!(text.starts_with(r#"{"type":"record","name":"Place","namespace":"com.shop","fields""#), "{text}");
    assert!(AvroSchema::in_namespace::<Place>("com shop").is_err());
}
