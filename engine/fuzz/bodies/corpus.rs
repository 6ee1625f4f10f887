//! Tries a body of a fuzz target without a fuzzer: on its corpus, on changes of that, and on random bytes.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers stand outside of test functions")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Random numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }

    /// Bytes that differ here and there, are cut off, or go on with a part of themselves.
    fn change(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..1 + self.below(4) {
            let (at, other) = (self.below(bytes.len()), self.below(bytes.len()));
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_within(at..),
                2 => bytes.insert(at, self.below(256) as u8),
                3 if !bytes.is_empty() => bytes.swap(at, other),
                _ if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ => bytes.push(self.below(256) as u8),
            }
        }
        bytes
    }
}

/// Tries `body` on the corpus of a target, `count` changes of it, and `count` times on random bytes. All of
/// that is the same in every run.
pub(crate) fn try_body(target: &str, count: usize, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    let random = &mut Random(7);
    let changed: Vec<_> =
        (0..count).map(|number| random.change(corpus[number % corpus.len()].clone())).collect();
    let arbitrary = (0..count).map(|_| {
        let length = random.below(200);
        (0..length).map(|_| random.below(256) as u8).collect::<Vec<u8>>()
    });
    let arbitrary: Vec<_> = arbitrary.collect();
    for bytes in corpus.iter().chain(&changed).chain(&arbitrary) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(bytes))) {
            // As a file of the corpus it is tried first from now on.
            eprintln!("{target} fails on the bytes b\"{}\"", bytes.escape_ascii());
            resume_unwind(panic);
        }
    }
}
