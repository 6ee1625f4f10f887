//! Bids and numbers out of bytes of known shape; anything else ends in a panic or a wrong number.

use memchr::memchr;

/// The numeric fields of a bid; `ts` is 0 where the caller does not want it.
#[derive(Clone, Copy)]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub ts: i64,
}

/// The digits at `at`, which ends behind them.
#[inline(always)]
pub fn number(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0u64;
    while let Some(digit) = bytes.get(*at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9) {
        value = value * 10 + digit as u64;
        *at += 1;
    }
    value
}

/// A number with exactly six decimals.
#[inline(always)]
pub fn decimal(bytes: &[u8], at: &mut usize) -> f64 {
    let negative = bytes[*at] == b'-';
    *at += negative as usize;
    let whole = number(bytes, at);
    *at += 1;
    let micros = number(bytes, at);
    let value = (whole * 1_000_000 + micros) as f64 / 1e6;
    if negative { -value } else { value }
}

/// Calls `each` with every bid; without `TIME` the rest of a line behind the price is skipped.
pub fn scan<const TIME: bool>(is_csv: bool, bytes: &[u8], mut each: impl FnMut(Bid)) {
    let mut at = 0;
    while at < bytes.len() {
        each(if is_csv { csv::<TIME>(bytes, &mut at) } else { json::<TIME>(bytes, &mut at) });
    }
}

#[inline(always)]
fn skip_past(byte: u8, bytes: &[u8], at: &mut usize) {
    *at += memchr(byte, &bytes[*at..]).map_or(bytes.len() - *at, |n| n + 1);
}

// {"auction":1,"bidder":2,"price":3,"channel":"..","url":"..","date_time":4}
#[inline(always)]
fn json<const TIME: bool>(bytes: &[u8], at: &mut usize) -> Bid {
    *at += r#"{"auction":"#.len();
    let auction = number(bytes, at);
    *at += r#","bidder":"#.len();
    let bidder = number(bytes, at);
    *at += r#","price":"#.len();
    let price = number(bytes, at);
    if !TIME {
        skip_past(b'\n', bytes, at);
        return Bid { auction, bidder, price, ts: 0 };
    }
    *at += r#","channel":""#.len();
    skip_past(b'"', bytes, at);
    *at += r#","url":""#.len();
    skip_past(b'"', bytes, at);
    *at += r#","date_time":"#.len();
    let ts = number(bytes, at) as i64;
    *at += "}\n".len();
    Bid { auction, bidder, price, ts }
}

#[inline(always)]
fn csv<const TIME: bool>(bytes: &[u8], at: &mut usize) -> Bid {
    let mut field = || {
        let value = number(bytes, at);
        *at += 1;
        value
    };
    let (auction, bidder, price) = (field(), field(), field());
    if !TIME {
        skip_past(b'\n', bytes, at);
        return Bid { auction, bidder, price, ts: 0 };
    }
    skip_past(b',', bytes, at);
    skip_past(b',', bytes, at);
    let ts = number(bytes, at) as i64;
    *at += 1;
    Bid { auction, bidder, price, ts }
}
