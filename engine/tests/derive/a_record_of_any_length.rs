use headwater::prelude::*;

#[derive(Record)]
struct Row<const D: usize> {
    first: f64,
}

fn main() {}
