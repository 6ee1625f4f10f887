//! Arbitrary bytes as the manifest of a snapshot: refused, or read the same again.
#![allow(dead_code, reason = "each user takes its part")]

use headwater::runtime::reread_manifest;
use xxhash_rust::xxh3::xxh3_128;

/// The first byte says whether the checksum is repaired.
pub(crate) fn manifest_bytes(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how & 1 == 1 {
        let checksum = xxh3_128(&bytes);
        bytes.extend(checksum.to_le_bytes());
    }
    match reread_manifest(&bytes) {
        Ok(again) => assert_eq!(reread_manifest(&again).unwrap(), again),
        Err(error) => assert!(error.to_string().contains("the manifest `"), "{error}"),
    }
}
