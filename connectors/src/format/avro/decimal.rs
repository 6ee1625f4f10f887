//! Decimals: an integer of any length in two's complement, the highest byte first, and where its point stands.

use headwater::batch::DecodeError;

/// The integer of a decimal.
///
/// # Errors
/// It does not fit 128 bits.
pub(super) fn integer(bytes: &[u8]) -> Result<i128, DecodeError> {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
    let start = bytes.len().saturating_sub(size_of::<i128>());
    let (high, low) = bytes.split_at(start);
    let mut all = [sign; size_of::<i128>()];
    all[size_of::<i128>() - low.len()..].copy_from_slice(low);
    let value = i128::from_be_bytes(all);
    // What was cut off said nothing but the sign.
    if high.iter().any(|byte| *byte != sign) || (value < 0) != (sign != 0) {
        return Err(too_large(bytes));
    }
    Ok(value)
}

/// As [`integer`], up to the largest `u128`.
///
/// # Errors
/// It does not fit, or is negative.
pub(super) fn unsigned(bytes: &[u8]) -> Result<u128, DecodeError> {
    match bytes {
        // One byte more than 128 bits, for the sign.
        [0, low @ ..] if low.len() == size_of::<u128>() => {
            low.first_chunk().map(|low| u128::from_be_bytes(*low)).ok_or_else(|| too_large(bytes))
        }
        _ => {
            let value = integer(bytes)?;
            u128::try_from(value).map_err(|_| DecodeError::range(value, "u128"))
        }
    }
}

#[cold]
fn too_large(bytes: &[u8]) -> DecodeError {
    DecodeError::new(format!("a decimal of {} bytes does not fit 128 bits", bytes.len()))
}

/// The nearest number.
///
/// # Errors
/// Its integer does not fit 128 bits.
pub(super) fn number(bytes: &[u8], scale: u32) -> Result<f64, DecodeError> {
    // The text of a decimal is exact, and parsing it rounds once.
    text(bytes, scale)?.parse().map_err(|_| DecodeError::new("a decimal is no number"))
}

/// All its digits, so many of them behind the point.
///
/// # Errors
/// Its integer does not fit 128 bits.
pub(super) fn text(bytes: &[u8], scale: u32) -> Result<String, DecodeError> {
    let value = integer(bytes)?;
    let scale = scale as usize;
    let digits = format!("{:0>1$}", value.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

/// As few bytes as hold the integer.
pub(super) fn shortest(value: i128) -> impl Iterator<Item = u8> {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let needed =
        |at: usize| bytes[at] != sign || at + 1 == bytes.len() || (bytes[at + 1] >= 0x80) != (sign != 0);
    let start = (0..bytes.len()).find(|at| needed(*at)).unwrap_or(0);
    bytes.into_iter().skip(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_are_read_as_they_were_written(value: i128, shift in 0_u32..128, more in 0_usize..3) {
            let value = value >> shift;
            let short: Vec<u8> = shortest(value).collect();
            prop_assert_eq!(integer(&short).unwrap(), value);
            let mut long = vec![if value < 0 { 0xff } else { 0 }; more];
            long.extend(&short);
            prop_assert_eq!(integer(&long).unwrap(), value);
            prop_assert_eq!(text(&long, 0).unwrap(), value.to_string());
        }

        #[test]
        fn any_bytes_are_a_number_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            scale in 0_u32..50,
        ) {
            let _ = (integer(&bytes), unsigned(&bytes), number(&bytes, scale), text(&bytes, scale));
        }
    }

    #[test]
    fn a_point_stands_where_the_scale_says() {
        assert_eq!(text(&[0x04, 0xd2], 2).unwrap(), "12.34");
        assert_eq!(text(&[0xff], 3).unwrap(), "-0.001");
        assert_eq!(number(&[0xfb, 0x2e], 2).unwrap(), -12.34);
        assert_eq!(shortest(128).collect::<Vec<_>>(), [0, 128]);
        assert_eq!(shortest(-128).collect::<Vec<_>>(), [128]);
        assert_eq!(shortest(0).collect::<Vec<_>>(), [0]);
        let mut largest = vec![0];
        largest.extend([0xff; 16]);
        assert_eq!(unsigned(&largest).unwrap(), u128::MAX);
        assert!(integer(&largest).is_err());
    }
}
