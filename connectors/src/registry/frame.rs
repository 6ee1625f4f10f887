//! What stands in front of a payload: the byte 0 and the id of its schema, the highest byte first.

use headwater::batch::DecodeError;

const MAGIC: u8 = 0;

/// The id of a payload's schema, and what stands behind it.
///
/// # Errors
/// It does not begin like that.
pub(crate) fn read_id(payload: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match payload.split_first() {
        Some((&MAGIC, rest)) => match rest.split_first_chunk::<4>() {
            Some((id, rest)) => Ok((u32::from_be_bytes(*id), rest)),
            None => Err(DecodeError::new("it ends inside the id of its schema")),
        },
        _ => Err(DecodeError::new(
            "it does not begin with the byte 0 and the id of a schema, as a registry's clients write it; was it \
             written without a registry?",
        )),
    }
}

/// Appends the id of a schema.
pub(crate) fn write_id(id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_all_else_refused() {
        let mut payload = Vec::new();
        write_id(0x0102_0304, &mut payload);
        assert_eq!(payload, [0, 1, 2, 3, 4]);
        payload.push(9);
        assert_eq!(read_id(&payload).unwrap(), (0x0102_0304, &[9][..]));
        assert!(read_id(&payload[..4]).unwrap_err().to_string().contains("ends inside the id"));
        assert!(read_id(b"{\"a\":1}").unwrap_err().to_string().contains("without a registry"));
        assert!(read_id(b"").is_err());
    }
}
