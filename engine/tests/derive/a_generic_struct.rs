use headwater::prelude::*;

#[derive(Record)]
struct Pair<T> {
    left: T,
    right: T,
}

fn main() {}
