//! Decimal text to numbers: eight digits at a time, and the long way for what is unusual.

use headwater::batch::DecodeError;

/// Most digits that always fit `u64`.
pub(crate) const DIGITS_SURE: usize = 19;

const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The value of eight digits, the first in the lowest byte, each already without its `0`.
#[inline(always)]
const fn eight(digits: u64) -> u64 {
    const MASK: u64 = 0x0000_00FF_0000_00FF;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & MASK).wrapping_mul(0x000F_4240_0000_0064);
    let high = ((pairs >> 16) & MASK).wrapping_mul(0x0000_2710_0000_0001);
    low.wrapping_add(high) >> 32
}

/// Eight bytes without the `0` of a digit, and how many of them are digits from the first on.
#[inline(always)]
const fn leading_digits(chunk: [u8; 8]) -> (u64, u32) {
    let digits = u64::from_le_bytes(chunk) ^ 0x3030_3030_3030_3030;
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    (digits, others.trailing_zeros() / 8)
}

/// Reads the digits at the start: their value and their number. The value means nothing when there are
/// more than [`DIGITS_SURE`].
#[inline(always)]
pub(crate) fn digits(bytes: &[u8]) -> (u64, usize) {
    // Straight instead of a loop: 4 to 15 ns less of about 55 per row with four numbers, in a program of its own.
    if let Some((first, rest)) = bytes.split_first_chunk::<8>()
        && let Some(second) = rest.first_chunk::<8>()
    {
        let (first, count) = leading_digits(*first);
        if count == 0 {
            return (0, 0);
        }
        if count < 8 {
            // The digits go to the high end, so that zeros stand in front of them.
            return (eight(first << (64 - 8 * count)), count as usize);
        }
        let (second, count) = leading_digits(*second);
        if count < 8 {
            let part = eight((second << 8) << (56 - 8 * count));
            return (eight(first) * POWERS[(count & 7) as usize] + part, 8 + count as usize);
        }
    }
    digits_singly(bytes)
}

/// The same for very long numbers and at the end of a text.
fn digits_singly(bytes: &[u8]) -> (u64, usize) {
    let (mut value, mut at) = (0u64, 0);
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (value, at)
}

/// Reads a number such as `-12.5` at the start, without an exponent and with few enough digits to be
/// exact: its value and its length.
#[inline]
pub(crate) fn plain_float(bytes: &[u8]) -> Option<(f64, usize)> {
    // Below 2^53 both the digits and the power of ten are exact, so one division rounds correctly.
    const DIGITS_EXACT: usize = 15;
    const POWERS_EXACT: [f64; DIGITS_EXACT + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let (whole, whole_count) = digits(bytes.get(sign..)?);
    let mut length = sign + whole_count;
    let (mut fraction, mut fraction_count) = (0, 0);
    if bytes.get(length) == Some(&b'.') {
        (fraction, fraction_count) = digits(bytes.get(length + 1..)?);
        length += 1 + fraction_count;
        if fraction_count == 0 {
            return None;
        }
    }
    if whole_count == 0
        || whole_count + fraction_count > DIGITS_EXACT
        || matches!(bytes.get(length), Some(b'e' | b'E'))
    {
        return None;
    }
    let power = POWERS_EXACT[fraction_count & DIGITS_EXACT];
    let value = (whole as f64 * power + fraction as f64) / power;
    Some((if sign == 1 { -value } else { value }, length))
}

/// An integer of any sign that fits 128 bits.
#[derive(Clone, Copy, Debug)]
struct Integral {
    negative: bool,
    magnitude: u128,
}

/// Why a piece of text is not an [`Integral`].
#[derive(Clone, Copy, Debug)]
enum NotIntegral {
    Text,
    Fraction,
    TooLarge,
}

/// Reads an integer in any decimal notation, such as `5`, `5.0` or `1e3`.
fn integral(text: &str) -> Result<Integral, NotIntegral> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.parse::<i32>().map_err(|_| NotIntegral::Text)?.clamp(-10_000, 10_000))
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 {
        return Err(NotIntegral::Text);
    }
    let fraction = fraction.trim_end_matches('0');
    let mut scale = i64::from(exponent) - fraction.len() as i64;
    let mut magnitude = 0u128;
    // A zero is held back until a digit or the scale asks for it, so that `100e-2` needs no division.
    let mut zeros = 0i64;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return Err(NotIntegral::Text);
        }
        if digit == b'0' {
            zeros += 1;
            continue;
        }
        magnitude = shifted(magnitude, zeros + 1)
            .and_then(|value| value.checked_add(u128::from(digit - b'0')))
            .ok_or(NotIntegral::TooLarge)?;
        zeros = 0;
    }
    scale += zeros;
    if magnitude != 0 && scale < 0 {
        return Err(NotIntegral::Fraction);
    }
    let magnitude = shifted(magnitude, scale).ok_or(NotIntegral::TooLarge)?;
    Ok(Integral { negative, magnitude })
}

/// `value` with that many zeros behind it.
fn shifted(value: u128, zeros: i64) -> Option<u128> {
    if value == 0 {
        return Some(0);
    }
    10u128.checked_pow(u32::try_from(zeros).ok()?).and_then(|power| value.checked_mul(power))
}

/// Reads an unsigned integer in any decimal notation.
///
/// # Errors
/// The text is no number, not integral or too large.
#[cold]
pub(crate) fn unsigned<N: TryFrom<u128>>(text: &str, type_name: &str) -> Result<N, DecodeError> {
    integral(text)
        .and_then(|value| {
            let fits = !value.negative || value.magnitude == 0;
            fits.then(|| N::try_from(value.magnitude).ok()).flatten().ok_or(NotIntegral::TooLarge)
        })
        .map_err(|reason| refusal(text, reason, type_name))
}

/// Reads a signed integer in any decimal notation.
///
/// # Errors
/// The text is no number, not integral or too large.
#[cold]
pub(crate) fn signed<N: TryFrom<i128>>(text: &str, type_name: &str) -> Result<N, DecodeError> {
    integral(text)
        .and_then(|value| {
            let wide = if value.negative {
                0i128.checked_sub_unsigned(value.magnitude)
            } else {
                i128::try_from(value.magnitude).ok()
            };
            wide.and_then(|wide| N::try_from(wide).ok()).ok_or(NotIntegral::TooLarge)
        })
        .map_err(|reason| refusal(text, reason, type_name))
}

fn refusal(text: &str, reason: NotIntegral, type_name: &str) -> DecodeError {
    match reason {
        NotIntegral::Text => DecodeError::new(format!("`{}` is not an integer", shortened(text))),
        NotIntegral::Fraction => {
            DecodeError::new(format!("{} is not a whole number, as {type_name} needs", shortened(text)))
        }
        NotIntegral::TooLarge => DecodeError::range(shortened(text), type_name),
    }
}

/// The start of a text, for a message.
pub(crate) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Where the JSON number that starts at `at` ends; `None` when there is none.
pub(crate) fn json_number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + usize::from(bytes.get(at) == Some(&b'-'));
    at = match bytes.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits_end(bytes, at),
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        let end = digits_end(bytes, at + 1);
        if end == at + 1 {
            return None;
        }
        at = end;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let start = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits_end(bytes, start);
        if end == start {
            return None;
        }
        at = end;
    }
    Some(at)
}

fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}
