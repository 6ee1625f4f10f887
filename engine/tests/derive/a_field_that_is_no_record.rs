use headwater::prelude::*;

struct Place;

#[derive(Record)]
struct Trip {
    minutes: u32,
    to: Place,
}

fn main() {}
