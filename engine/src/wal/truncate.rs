//! Gives space back: removes the segments that no reader needs.

use super::trouble::{explain, segment_name, segment_path};
use super::{ARCHIVE_DIRECTORY, EpochLog, LOG_DIRECTORY};
use crate::error::Result;
use crate::failpoint;
use crate::time::Epoch;

impl EpochLog {
    /// Removes the segments that a reader from `epoch` on does not need: one that knows everything up to
    /// and with this epoch. The last commit always stays. Returns how many segments were removed.
    ///
    /// # Errors
    /// The disk failed, or the log is lost. What was not removed can be removed later.
    pub fn truncate_before(&mut self, epoch: Epoch) -> Result<usize> {
        self.check_usable()?;
        let fits = |index: &usize| {
            let kept = self.kept[*index];
            let epoch = if failpoint::bug("truncated-too-far") { Epoch(epoch.0 + 2) } else { epoch };
            kept.floor <= epoch && kept.number <= self.commit_segment
        };
        let count = (0..self.kept.len()).rev().find(fits).unwrap_or(0);
        if count > 0 && self.limits.archive {
            self.create_archive()?;
        }
        for _ in 0..count {
            self.remove_first()?;
        }
        Ok(count)
    }

    /// Bytes of all segment files.
    ///
    /// # Errors
    /// The system refuses to say.
    pub fn segment_bytes(&self) -> Result<u64> {
        let mut sum = 0;
        for kept in &self.kept {
            let path = segment_path(kept.number);
            sum += self.storage.len(&path).map_err(|error| explain(&*self.storage, &path, "read", &error))?;
        }
        Ok(sum)
    }

    fn create_archive(&self) -> Result<()> {
        let made = self.storage.create_directory(ARCHIVE_DIRECTORY);
        made.and_then(|()| self.storage.sync_directory(""))
            .map_err(|error| explain(&*self.storage, ARCHIVE_DIRECTORY, "created", &error))
    }

    /// One at a time, each durable before the next: a gap between segments would be damage.
    fn remove_first(&mut self) -> Result<()> {
        let Some(number) = self.kept.first().map(|kept| kept.number) else { return Ok(()) };
        let path = segment_path(number);
        let failed = |error| explain(&*self.storage, &path, "removed", &error);
        let gone = !self.storage.exists(&path).map_err(failed)?;
        failpoint::pass("truncate.remove");
        if self.limits.archive && !gone {
            let target = format!("{ARCHIVE_DIRECTORY}/{}", segment_name(number));
            self.storage.rename(&path, &target).map_err(failed)?;
            self.storage.sync_directory(ARCHIVE_DIRECTORY).map_err(failed)?;
        } else if !gone {
            self.storage.remove(&path).map_err(failed)?;
        }
        failpoint::pass("truncate.removed");
        self.storage.sync_directory(LOG_DIRECTORY).map_err(failed)?;
        self.kept.remove(0);
        Ok(())
    }
}
