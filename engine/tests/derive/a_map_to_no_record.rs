use headwater::prelude::*;

struct Label(String);

fn labels(numbers: &Stream<u64>) {
    let _ = numbers.map(|n| Label(n.to_string()));
}

fn main() {}
