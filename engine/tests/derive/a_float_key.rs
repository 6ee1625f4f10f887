use headwater::prelude::*;

fn by_price(prices: &Stream<f64>) {
    let _ = prices.key_by(|price| price);
}

fn main() {}
