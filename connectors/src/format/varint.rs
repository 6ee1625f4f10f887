//! Integers of seven bits per byte, the lowest first, as Avro and Protobuf write them.

/// Bytes of the longest.
const BYTES_MAX: usize = 10;

/// Reads the integer at `at` and goes behind it; `None` when the bytes end inside of it, or it is too long.
#[inline(always)]
pub(super) fn read(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(first.into());
    }
    read_long(bytes, at)
}

#[inline]
fn read_long(bytes: &[u8], at: &mut usize) -> Option<u64> {
    if let Some(eight) = bytes.get(*at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let last = !word & 0x8080_8080_8080_8080;
        if last != 0 {
            let bits = last.trailing_zeros() + 1;
            *at += bits as usize / 8;
            return Some(packed(word & (u64::MAX >> (64 - bits))));
        }
    }
    read_bytewise(bytes, at)
}

/// Seven bits of each of eight bytes, side by side.
#[inline(always)]
fn packed(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

fn read_bytewise(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for (index, byte) in bytes.get(*at..)?.iter().take(BYTES_MAX).enumerate() {
        // Of the tenth byte one bit belongs to 64.
        if index == BYTES_MAX - 1 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *at += index + 1;
            return Some(value);
        }
    }
    None
}

/// Appends an integer.
#[inline(always)]
pub(super) fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Puts an integer where one byte was left for it, at `at`; most lengths need no more.
pub(super) fn write_at(value: u64, at: usize, out: &mut Vec<u8>) {
    if value < 0x80 {
        out[at] = value as u8;
        return;
    }
    let mut bytes = Vec::with_capacity(BYTES_MAX);
    write(value, &mut bytes);
    out.splice(at..=at, bytes);
}

/// A signed integer, small when it is near zero.
#[inline(always)]
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// What [`zigzag`] was made of.
#[inline(always)]
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_are_read_as_they_were_written(
            value: u64,
            shift in 0_u32..64,
            before in 0_usize..3,
            behind in proptest::collection::vec(any::<u8>(), 0..10),
        ) {
            let value = value >> shift;
            let mut bytes = vec![0xff; before];
            write(value, &mut bytes);
            let followed = [&bytes[..], &behind].concat();
            let mut end = before;
            prop_assert_eq!(read(&followed, &mut end), Some(value));
            prop_assert_eq!(end, bytes.len());
            let mut at = before;
            prop_assert_eq!(read(&bytes, &mut at), Some(value));
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(zigzag(unzigzag(value)), value);
            for end in before..bytes.len() {
                prop_assert_eq!(read(&bytes[..end], &mut before.clone()), None);
            }
            let mut later = vec![7, 0, 9];
            write_at(value, 1, &mut later);
            prop_assert_eq!(&later[1..later.len() - 1], &bytes[before..]);
        }
    }

    #[test]
    fn what_does_not_fit_64_bits_is_none() {
        assert_eq!(read(&[0xff; 9].into_iter().chain([2]).collect::<Vec<_>>(), &mut 0), None);
        assert_eq!(read(&[0x80; 20], &mut 0), None);
        assert_eq!(read(&[0xff; 9].into_iter().chain([1]).collect::<Vec<_>>(), &mut 0), Some(u64::MAX));
    }
}
