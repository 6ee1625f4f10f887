//! Record types with everything in them, and how to make any of them.

use headwater::prelude::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) flag: bool,
    pub(crate) a: u8,
    pub(crate) b: u16,
    pub(crate) c: u32,
    pub(crate) d: u64,
    pub(crate) e: i8,
    pub(crate) f: i16,
    pub(crate) g: i32,
    pub(crate) h: i64,
    pub(crate) x: f32,
    pub(crate) y: f64,
}

#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) city: String,
    pub(crate) zip: Option<u32>,
}

/// More fields than a tuple has, so that it is stored as a tuple of tuples.
#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct All {
    pub(crate) numbers: Numbers,
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) perhaps_flag: Option<bool>,
    pub(crate) perhaps_number: Option<i64>,
    pub(crate) perhaps_text: Option<String>,
    pub(crate) perhaps_bytes: Option<Vec<u8>>,
    pub(crate) place: Place,
    pub(crate) perhaps_place: Option<Place>,
    pub(crate) flags: Vec<bool>,
    pub(crate) numbers_list: Vec<i32>,
    pub(crate) ratios: Vec<f64>,
    pub(crate) words: Vec<String>,
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) places: Vec<Place>,
    pub(crate) pairs: Vec<(String, u32)>,
}

pub(crate) fn any_numbers() -> impl Strategy<Value = Numbers> {
    let signed: (BoxedStrategy<i8>, BoxedStrategy<i16>, BoxedStrategy<i32>, BoxedStrategy<i64>) =
        (any::<i8>().boxed(), any::<i16>().boxed(), any::<i32>().boxed(), any::<i64>().boxed());
    let unsigned = (any::<u8>(), any::<u16>(), any::<u32>(), 0..=i64::MAX as u64);
    (any::<bool>(), unsigned, signed, any::<f32>(), any::<f64>())
        .prop_map(|(flag, (a, b, c, d), (e, f, g, h), x, y)| Numbers { flag, a, b, c, d, e, f, g, h, x, y })
}

pub(crate) fn any_place() -> impl Strategy<Value = Place> {
    (any::<String>(), any::<Option<u32>>()).prop_map(|(city, zip)| Place { city, zip })
}

pub(crate) fn any_all() -> impl Strategy<Value = All> {
    let some =
        (any::<Option<bool>>(), any::<Option<i64>>(), any::<Option<String>>(), any::<Option<Vec<u8>>>());
    let places = (any_place(), proptest::option::of(any_place()), vec(any_place(), 0..4));
    // Lists whose count needs one byte and more.
    let lists = (vec(any::<bool>(), 0..200), vec(any::<i32>(), 0..90), vec(any::<f64>(), 0..5));
    let texts = (vec(any::<String>(), 0..4), vec(any::<Vec<u8>>(), 0..4), any::<Vec<(String, u32)>>());
    (any_numbers(), ".{0,150}", any::<Vec<u8>>(), some, places, lists, texts).prop_map(
        |(numbers, text, bytes, some, (place, perhaps_place, places), lists, (words, blobs, pairs))| All {
            numbers,
            text,
            bytes,
            perhaps_flag: some.0,
            perhaps_number: some.1,
            perhaps_text: some.2,
            perhaps_bytes: some.3,
            place,
            perhaps_place,
            flags: lists.0,
            numbers_list: lists.1,
            ratios: lists.2,
            words,
            blobs,
            places,
            pairs,
        },
    )
}
