//! The seeded data of all measurements: every event is a pure function of its number, so that any engine, in any
//! order and partitioning, sees the same stream.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Files per data set: event `i` is in partition `i % PARTITIONS`.
pub const PARTITIONS: u64 = 2;
/// Records are at most this much older than the newest one before them in their partition.
pub const DISORDER_MS_MAX: u64 = 2_000;

const SEED: u64 = 0x5EED_2026_0001;
/// A multiple of every window size used.
const START_MS: i64 = 1_700_000_000_000;
const EVENTS_PER_MS: u64 = 10;
const OPEN_AUCTIONS: u64 = 1_000;
/// Half of all bids go to this many of the newest auctions.
const HOT_AUCTIONS: u64 = 10;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const VOCABULARY: u64 = 100_000;
const FEATURES: usize = 8;

/// The numeric fields of a bid.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NumBid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub ts: i64,
}

/// One round of splitmix64: a bijection that spreads neighbouring numbers.
#[inline(always)]
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[inline(always)]
fn below(random: u64, n: u64) -> u64 {
    ((random as u128 * n as u128) >> 64) as u64
}

fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// The numeric fields of bid number `i`.
#[inline(always)]
pub fn num_bid(i: u64) -> NumBid {
    let r0 = mix(SEED ^ i);
    let r1 = mix(r0);
    let r2 = mix(r1);
    // Three new auctions and one new person per 46 bids, as in Nexmark.
    let newest = 1_000 + OPEN_AUCTIONS + i * 3 / 46;
    let auction = newest - below(r1, if r0 & 1 == 1 { HOT_AUCTIONS } else { OPEN_AUCTIONS });
    let bidder = 1_000 + below(mix(r2), 1_000 + i / 46);
    // Log-uniform between 100 and 100,000,000, without floating point.
    let base = 100u64 << below(r2, 20);
    let price = base + ((base * ((r0 >> 1) & 0xFFFF)) >> 16);
    let delay = below(mix(r2 ^ 0xD15C), DISORDER_MS_MAX) as i64;
    let ts = START_MS + DISORDER_MS_MAX as i64 + (i / EVENTS_PER_MS) as i64 - delay;
    NumBid { auction, bidder, price, ts }
}

/// Replaces `channel` and `url` by those of bid number `i`.
pub fn channel_url(i: u64, channel: &mut String, url: &mut String) {
    use std::fmt::Write;
    let r = mix(SEED ^ i ^ 0xC4A1);
    channel.clear();
    url.clear();
    if r & 1 == 1 {
        channel.push_str(HOT_CHANNELS[((r >> 1) & 3) as usize]);
    } else {
        let _ = write!(channel, "channel-{}", below(mix(r), 10_000));
    }
    let mut q = mix(r ^ 7);
    url.push_str("https://www.nexmark.com/");
    for _ in 0..6 {
        url.push((b'a' + (q % 26) as u8) as char);
        q /= 26;
    }
    let _ = write!(url, "/item.htm?q={}", q % 100);
}

fn partition(folder: &Path, index: u64, extension: &str) -> io::Result<BufWriter<File>> {
    fs::create_dir_all(folder)?;
    Ok(BufWriter::with_capacity(1 << 20, File::create(folder.join(format!("part-{index}.{extension}")))?))
}

/// Writes `events` bids as JSON lines: `{"auction":1,..,"date_time":4}`.
pub fn write_bids_json(folder: &Path, events: u64) -> io::Result<()> {
    write_bids(folder, events, "json", |out, b, channel, url| {
        writeln!(
            out,
            "{{\"auction\":{},\"bidder\":{},\"price\":{},\"channel\":\"{channel}\",\"url\":\"{url}\",\"date_time\":{}}}",
            b.auction, b.bidder, b.price, b.ts
        )
    })
}

/// Writes `events` bids as CSV without a header, columns in the order of the JSON keys.
pub fn write_bids_csv(folder: &Path, events: u64) -> io::Result<()> {
    write_bids(folder, events, "csv", |out, b, channel, url| {
        writeln!(out, "{},{},{},{channel},{url},{}", b.auction, b.bidder, b.price, b.ts)
    })
}

fn write_bids(
    folder: &Path,
    events: u64,
    extension: &str,
    line: impl Fn(&mut BufWriter<File>, NumBid, &str, &str) -> io::Result<()>,
) -> io::Result<()> {
    let (mut channel, mut url) = (String::new(), String::new());
    for index in 0..PARTITIONS {
        let mut out = partition(folder, index, extension)?;
        for i in (index..events).step_by(PARTITIONS as usize) {
            channel_url(i, &mut channel, &mut url);
            line(&mut out, num_bid(i), &channel, &url)?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Writes at least `words` words (Zipf-distributed, 8 to 15 per line) as text; returns how many there are.
pub fn write_words(folder: &Path, words: u64) -> io::Result<u64> {
    let vocabulary: Vec<String> = (0..VOCABULARY).map(pseudo_word).collect();
    let mut cumulative = Vec::with_capacity(vocabulary.len());
    let mut sum = 0.0;
    for rank in 1..=vocabulary.len() {
        sum += 1.0 / rank as f64;
        cumulative.push(sum);
    }
    let (mut random, mut total) = (SEED, 0);
    for index in 0..PARTITIONS {
        let mut out = partition(folder, index, "txt")?;
        let enough = words * (index + 1) / PARTITIONS;
        while total < enough {
            random = mix(random);
            let count = 8 + random % 8;
            for position in 0..count {
                random = mix(random);
                let target = unit(random) * sum;
                let rank = cumulative.partition_point(|&c| c < target).min(vocabulary.len() - 1);
                let separator = if position == 0 { "" } else { " " };
                write!(out, "{separator}{}", vocabulary[rank])?;
            }
            writeln!(out)?;
            total += count;
        }
        out.flush()?;
    }
    Ok(total)
}

fn pseudo_word(rank: u64) -> String {
    let mut random = mix(rank ^ 0xABCD);
    let length = 2 + random % 9;
    random = mix(random);
    let mut word = String::new();
    for _ in 0..length {
        word.push((b'a' + (random % 26) as u8) as char);
        random /= 26;
    }
    word + ["", "a", "en", "ing"][(rank % 4) as usize]
}

/// Writes `rows` rows of CSV without a header: `id` and eight numbers between -3 and 3.
pub fn write_features(folder: &Path, rows: u64) -> io::Result<()> {
    for index in 0..PARTITIONS {
        let mut out = partition(folder, index, "csv")?;
        for i in (index..rows).step_by(PARTITIONS as usize) {
            write!(out, "{i}")?;
            let mut random = mix(SEED ^ i ^ 0xFEA7);
            for _ in 0..FEATURES {
                random = mix(random);
                write!(out, ",{:.6}", unit(random) * 6.0 - 3.0)?;
            }
            writeln!(out)?;
        }
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_depends_on_its_number_only() {
        let expected = NumBid { auction: 1_999, bidder: 1_077, price: 132, ts: 1_700_000_000_910 };
        assert_eq!(num_bid(0), expected);
    }

    #[test]
    fn disorder_stays_below_the_bound() {
        let mut newest = i64::MIN;
        for i in 0..100_000 {
            let ts = num_bid(i).ts;
            newest = newest.max(ts);
            assert!(newest - ts < DISORDER_MS_MAX as i64, "event {i}");
        }
    }

    #[test]
    fn half_of_the_bids_go_to_the_hot_auctions() {
        let hot = (0..100_000u64).filter(|&i| 2_000 + i * 3 / 46 - num_bid(i).auction < HOT_AUCTIONS).count();
        assert!((49_000..52_000).contains(&hot), "{hot}");
    }
}
