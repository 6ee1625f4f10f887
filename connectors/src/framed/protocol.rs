//! The bytes of the protocol: what both sides write, and how much of it must be there to be read.

/// The first bytes of a connection: the protocol and its version.
pub(super) const MAGIC: [u8; 4] = *b"HWF1";
/// Longest id of a client.
pub(super) const ID_BYTES_MAX: usize = 64;
/// What stands in front of a record: its length and its number.
pub(super) const HEAD_BYTES: usize = 12;
/// Where the length of a frame stands, this says that the client's input has ended.
pub(super) const END: u32 = u32::MAX;
/// Longest reason of a refusal.
pub(super) const REASON_BYTES_MAX: usize = 1 << 10;

const ACKNOWLEDGED: u8 = 1;
const REFUSED: u8 = 2;

/// Something that was read, and how many bytes it took; or too few bytes; or the reason why it is none.
pub(super) type Parsed<T> = Result<Option<(T, usize)>, String>;

/// The beginning of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello<'a> {
    pub(super) id: &'a str,
    /// The newest number that the client knows to be acknowledged.
    pub(super) acknowledged: u64,
}

impl<'a> Hello<'a> {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.id.len() as u8);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.acknowledged.to_le_bytes());
        bytes
    }

    /// Refuses as soon as the bytes cannot become a beginning any more.
    pub(super) fn parse(bytes: &'a [u8]) -> Parsed<Self> {
        let magic = bytes.get(..MAGIC.len()).unwrap_or(bytes);
        if !MAGIC.starts_with(magic) {
            return Err("this is not the framed protocol: a connection begins with `HWF1`".to_owned());
        }
        let Some((&length, rest)) = bytes.get(MAGIC.len()..).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let length = usize::from(length);
        if length == 0 || length > ID_BYTES_MAX {
            return Err(format!("the id of a client has 1 to {ID_BYTES_MAX} bytes, not {length}"));
        }
        let Some((id, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        let Some((acknowledged, _)) = rest.split_first_chunk() else { return Ok(None) };
        match std::str::from_utf8(id) {
            Ok(id) if !id.contains(char::is_control) => {
                let acknowledged = u64::from_le_bytes(*acknowledged);
                Ok(Some((Hello { id, acknowledged }, MAGIC.len() + 1 + length + 8)))
            }
            _ => Err("the id of a client is text without control characters".to_owned()),
        }
    }
}

/// A numbered record, or the end of a client's input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    /// `None`: the end.
    pub(super) record: Option<&'a [u8]>,
}

impl<'a> Frame<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let length = self.record.map_or(END, |record| record.len() as u32);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(self.record.unwrap_or_default());
    }

    pub(super) fn parse(bytes: &'a [u8], record_bytes_max: usize) -> Parsed<Self> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [l0, l1, l2, l3, s0, s1, s2, s3, s4, s5, s6, s7] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let sequence = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        if length == END {
            return Ok(Some((Frame { sequence, record: None }, HEAD_BYTES)));
        }
        let length = length as usize;
        if length > record_bytes_max {
            return Err(format!(
                "frame {sequence} has {length} bytes, more than the {record_bytes_max} that the server takes"
            ));
        }
        let record = rest.get(..length);
        Ok(record.map(|record| (Frame { sequence, record: Some(record) }, HEAD_BYTES + length)))
    }
}

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// Everything up to this number is committed.
    Acknowledged(u64),
    /// The connection is of no use; why.
    Refused(&'a str),
}

impl<'a> Answer<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Answer::Acknowledged(sequence) => {
                out.push(ACKNOWLEDGED);
                out.extend_from_slice(&sequence.to_le_bytes());
            }
            Answer::Refused(reason) => {
                let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
                out.push(REFUSED);
                out.extend_from_slice(&(reason.len() as u16).to_le_bytes());
                out.extend_from_slice(reason.as_bytes());
            }
        }
    }

    pub(super) fn parse(bytes: &'a [u8]) -> Parsed<Self> {
        let unknown = || "this is not the framed protocol: is there another service on this port?".to_owned();
        match bytes.split_first() {
            None => Ok(None),
            Some((&ACKNOWLEDGED, rest)) => Ok(rest
                .split_first_chunk()
                .map(|(sequence, _)| (Answer::Acknowledged(u64::from_le_bytes(*sequence)), 9))),
            Some((&REFUSED, rest)) => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let length = usize::from(u16::from_le_bytes(*length));
                if length > REASON_BYTES_MAX {
                    return Err(unknown());
                }
                let Some(reason) = rest.get(..length) else { return Ok(None) };
                let reason = std::str::from_utf8(reason).map_err(|_| unknown())?;
                Ok(Some((Answer::Refused(reason), 3 + length)))
            }
            Some(_) => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_once_all_of_it_is_there() {
        let mut frame = Vec::new();
        Frame { sequence: 7, record: Some(b"abc") }.write(&mut frame);
        Frame { sequence: 8, record: None }.write(&mut frame);
        for length in 0..HEAD_BYTES + 3 {
            assert_eq!(Frame::parse(&frame[..length], 3), Ok(None));
        }
        assert_eq!(Frame::parse(&frame, 3), Ok(Some((Frame { sequence: 7, record: Some(b"abc") }, 15))));
        assert_eq!(Frame::parse(&frame[15..], 3), Ok(Some((Frame { sequence: 8, record: None }, 12))));
        assert!(Frame::parse(&frame[..HEAD_BYTES], 2).unwrap_err().contains("more than the 2"));
        let hello = Hello { id: "küche", acknowledged: 9 };
        let bytes = hello.write();
        for length in 0..bytes.len() {
            assert_eq!(Hello::parse(&bytes[..length]), Ok(None));
        }
        assert_eq!(Hello::parse(&bytes), Ok(Some((hello, bytes.len()))));
        for answer in [Answer::Acknowledged(u64::MAX), Answer::Refused("no"), Answer::Refused("")] {
            let mut bytes = Vec::new();
            answer.write(&mut bytes);
            for length in 0..bytes.len() {
                assert_eq!(Answer::parse(&bytes[..length]), Ok(None));
            }
            assert_eq!(Answer::parse(&bytes), Ok(Some((answer, bytes.len()))));
        }
    }

    #[test]
    fn what_cannot_become_a_beginning_is_refused_at_once() {
        for bytes in
            [&b"G"[..], b"HWF2", b"HWF1\0", b"HWF1\x41", b"HWF1\x01\xff12345678", b"HWF1\x01\n12345678"]
        {
            assert!(Hello::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let mut bytes = Vec::new();
        Answer::Refused(&"ü".repeat(REASON_BYTES_MAX)).write(&mut bytes);
        let Ok(Some((Answer::Refused(reason), _))) = Answer::parse(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(reason.len(), REASON_BYTES_MAX);
    }
}
