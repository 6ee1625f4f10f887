//! Results compared without regard to the order of rows: how many, and the sum of their hashes.

use crate::workload::Workload;
use crate::{Context, Result};
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// Equal for equal rows in any order, spread over any number of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many rows.
    pub rows: u64,
    hash: u128,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {:08x}", self.rows, (self.hash >> 96) as u32)
    }
}

impl Digest {
    /// The digest of a result: a file, or all files in a folder. It is streamed: a large parent would be
    /// counted into the peak memory of the children it starts afterwards.
    pub fn of(output: &Path, workload: Workload) -> Result<Digest> {
        let mut digest = Digest::default();
        digest.add_path(output, workload)?;
        Ok(digest)
    }

    fn add_path(&mut self, path: &Path, workload: Workload) -> Result<()> {
        if !path.is_dir() {
            let file = File::open(path).context(path.display())?;
            return self.add_lines(BufReader::with_capacity(1 << 16, file), workload).context(path.display());
        }
        for entry in fs::read_dir(path).context(path.display())? {
            let entry = entry.context(path.display())?;
            // Names that begin so are bookkeeping in every engine.
            if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                self.add_path(&entry.path(), workload)?;
            }
        }
        Ok(())
    }

    fn add_lines(&mut self, mut lines: impl BufRead, workload: Workload) -> std::io::Result<()> {
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let row = line.trim_ascii_end();
            let hash = match workload {
                Workload::W5 => xxh3_128(rounded_score(row).as_bytes()),
                _ => xxh3_128(row),
            };
            self.rows += 1;
            self.hash = self.hash.wrapping_add(hash);
            line.clear();
        }
        Ok(())
    }
}

/// `id,score` with six decimals: engines may differ in how they print a float and in its last bit.
fn rounded_score(row: &[u8]) -> String {
    let row = String::from_utf8_lossy(row);
    match row.split_once(',').map(|(id, score)| (id, score.parse::<f64>())) {
        Some((id, Ok(score))) => format!("{id},{score:.6}"),
        _ => row.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str, workload: Workload) -> Digest {
        let mut digest = Digest::default();
        digest.add_lines(text.as_bytes(), workload).unwrap();
        digest
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        assert_eq!(digest("1,2\n3,4\n", Workload::W1), digest("3,4\r\n1,2", Workload::W1));
    }

    #[test]
    fn a_doubled_row_is_seen() {
        assert_ne!(digest("1,2\n1,2\n3,4\n", Workload::W1), digest("1,2\n3,4\n3,4\n", Workload::W1));
    }

    #[test]
    fn scores_are_compared_as_numbers() {
        assert_eq!(digest("7,0.25\n", Workload::W5), digest("7,2.500000000001e-1\n", Workload::W5));
        assert_ne!(digest("7,0.25\n", Workload::W5), digest("8,0.25\n", Workload::W5));
    }
}
