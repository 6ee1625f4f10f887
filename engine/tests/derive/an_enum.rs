use headwater::prelude::*;

#[derive(Record)]
enum Shape {
    Round,
    Square,
}

fn main() {}
