//! Data sets on disk: made once from a seed, kept under the target folder.

use crate::workload::{Format, Workload};
use crate::{Context, Result};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The input files of one workload.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The folder that holds the partition files and nothing else.
    pub input: PathBuf,
    /// How many events they hold.
    pub events: u64,
    /// Their size.
    pub bytes: u64,
}

impl Dataset {
    /// The data set under `cache`, made now if it is not there. A half-made one is never used.
    pub fn prepare(cache: &Path, workload: Workload, format: Format, events: u64) -> Result<Dataset> {
        let kind = match (workload, format) {
            (Workload::W4, _) => "words",
            (Workload::W5, _) => "features",
            (_, Format::Json) => "bids-json",
            (_, Format::Csv) => "bids-csv",
        };
        let folder = cache.join(format!("{kind}-{events}"));
        let count_file = folder.join("count");
        if !folder.is_dir() {
            let half_made = cache.join(format!("{kind}-{events}.part"));
            let input = half_made.join("input");
            let written = match kind {
                "words" => peer_data::write_words(&input, events),
                "features" => peer_data::write_features(&input, events).map(|()| events),
                "bids-json" => peer_data::write_bids_json(&input, events).map(|()| events),
                _ => peer_data::write_bids_csv(&input, events).map(|()| events),
            }
            .context(input.display())?;
            fs::write(half_made.join("count"), written.to_string()).context(half_made.display())?;
            fs::rename(&half_made, &folder).context(folder.display())?;
        }
        let count = fs::read_to_string(&count_file).context(count_file.display())?;
        let input = folder.join("input");
        let bytes = warm(&input)?;
        Ok(Dataset { input, events: count.trim().parse().unwrap_or(events), bytes })
    }
}

/// Reads all files once, so that the first engine does not pay for the disk; returns their size.
fn warm(folder: &Path) -> Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    for entry in fs::read_dir(folder).context(folder.display())? {
        let path = entry.context(folder.display())?.path();
        let mut file = fs::File::open(&path).context(path.display())?;
        loop {
            match file.read(&mut buffer).context(path.display())? {
                0 => break,
                n => bytes += n as u64,
            }
        }
    }
    Ok(bytes)
}
