use headwater::prelude::*;

#[derive(Record)]
#[record(keys)]
struct Trip {
    #[record(renamed = "length")]
    minutes: u32,
}

fn main() {}
