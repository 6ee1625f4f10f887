//! Arbitrary bytes as values, changes and batches of keyed state: refused, or read the same again.
#![allow(dead_code, reason = "each user takes its part")]

use headwater::batch::{Batch, BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::state::{Change, Changes, Envelope, read_changes};

#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) text: String,
    pub(crate) flags: Vec<bool>,
}

/// Something of every shape that a record may have.
#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Whole {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) name: Option<String>,
    pub(crate) pair: (u32, String),
    pub(crate) parts: Vec<Part>,
}

pub(crate) fn envelope() -> Envelope<Whole> {
    Envelope::new("means", 1)
}

/// The bytes of a value with all its fields.
pub(crate) fn value_bytes() -> Vec<u8> {
    let part = |text: &str| Part { text: text.to_owned(), flags: vec![true, false] };
    let value = Whole {
        count: 7,
        mean: 0.5,
        name: Some("a name that is not kept inline".to_owned()),
        pair: (3, "x".to_owned()),
        parts: vec![part("one"), part("two, which is longer than what is kept inline")],
    };
    let mut bytes = Vec::new();
    envelope().encode(value.view(), &mut bytes).unwrap();
    bytes
}

/// The first byte says what the others are to be.
pub(crate) fn state_bytes(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    match what % 4 {
        0 => value(bytes),
        1 => value(&[&value_bytes()[..12], bytes].concat()),
        2 => changes(bytes),
        _ => batch(bytes),
    }
}

fn value(bytes: &[u8]) {
    let envelope = envelope();
    let Ok(value) = envelope.decode(bytes) else { return };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    envelope.encode(value.view(), &mut first).unwrap();
    // By its bytes: a number that is none is not equal to itself.
    envelope.encode(envelope.decode(&first).unwrap().view(), &mut second).unwrap();
    assert_eq!(first, second);
}

fn changes(bytes: &[u8]) {
    let mut changes = Changes::new();
    let read = read_changes(bytes, &mut |change| {
        match change {
            Change::Put { key, value } => changes.put(key, value),
            Change::Delete { key } => changes.delete(key),
            Change::DeletePrefix { prefix } => changes.delete_prefix(prefix),
        }
        Ok(())
    });
    let mut again = 0;
    read_changes(&changes.to_bytes(), &mut |_| {
        again += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(again, changes.len());
    assert!(read.is_err() || changes.bytes() >= again);
}

fn batch(bytes: &[u8]) {
    let Ok(batch) = Batch::<Whole>::from_bytes(bytes) else { return };
    let limits = BatchLimits { rows_max: usize::MAX, bytes_max: usize::MAX };
    let mut copy = BatchBuilder::<Whole>::new(limits);
    batch.iter().for_each(|view| copy.push(view).unwrap());
    let copied = copy.finish().map_or(0, |copy| copy.iter().count());
    assert_eq!(copied, batch.iter().count());
}
