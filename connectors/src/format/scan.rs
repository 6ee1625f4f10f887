//! Sixteen bytes at a time: where a JSON string stops being plain.

use wide::u8x16;

/// True for the bytes that a JSON string cannot hold as they are.
#[inline(always)]
pub(crate) const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Position of the first quote, backslash or control character from `at` on; the length if there is none.
#[inline(always)]
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        if let Some(offset) = first_special(*chunk) {
            return at + offset;
        }
        at += 16;
    }
    while let Some(byte) = bytes.get(at) {
        if is_special(*byte) {
            break;
        }
        at += 1;
    }
    at
}

/// Position of the first quote, backslash or control character.
#[inline(always)]
fn first_special(chunk: [u8; 16]) -> Option<usize> {
    let text = u8x16::new(chunk);
    let quotes = text.simd_eq(u8x16::splat(b'"'));
    let backslashes = text.simd_eq(u8x16::splat(b'\\'));
    let controls = text.min(u8x16::splat(0x1f)).simd_eq(text);
    let found = (quotes | backslashes | controls).to_bitmask();
    (found != 0).then(|| found.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_at_every_place_and_for_every_byte() {
        for length in 0..40 {
            for place in 0..=length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'x'; length];
                    if let Some(at) = text.get_mut(place) {
                        *at = byte;
                    }
                    let expected = text.iter().position(|byte| is_special(*byte)).unwrap_or(length);
                    assert_eq!(plain_end(&text, 0), expected, "{byte} at {place} of {length}");
                }
            }
        }
    }
}
