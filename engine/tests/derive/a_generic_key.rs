use headwater::prelude::*;

#[derive(Record, Clone, PartialEq, Eq)]
#[record(key)]
struct Pair<T> {
    left: T,
    right: T,
}

fn main() {}
