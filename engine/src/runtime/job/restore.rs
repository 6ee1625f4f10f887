//! Goes back to a snapshot when the state store is damaged or gone, so that the log can bring it up again.
//!
//! Nothing that was shown is taken back: what comes behind the snapshot is in the log, up to the last commit.
//! A crash at any place begins all of it again: the marker goes when the damaged store is out of the way, and
//! a store that is not there is a store that is lost.

use std::path::{Path, PathBuf};

use super::snapshots::{
    Snapshots, copy_store, explain, names, remove, rename, store_of, sync_folder, unfinished, verify,
};
use super::{StoreThread, log_is_behind};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::state::{damage_marker, mark_damaged};
use crate::time::Epoch;
use crate::wal::{JobId, Recovery};

/// In front of the epoch in the name of a store that was found to be damaged.
const ASIDE: &str = "state.damaged-";

/// The store of a job that was found in its directory.
pub(super) struct Found<'a> {
    pub(super) job: JobId,
    pub(super) recovery: &'a Recovery,
    pub(super) store: &'a StoreThread,
    pub(super) snapshots: &'a Snapshots,
    /// The last committed epoch.
    pub(super) last: Epoch,
    /// Epochs behind the last one were given up.
    pub(super) gives_up: bool,
}

/// What can still be gone back to.
struct Choices {
    /// Epochs of snapshots, the newest last.
    epochs: Vec<Epoch>,
    /// The log reaches back to the beginning.
    beginning: bool,
    /// Why the others are none.
    refused: Vec<String>,
}

impl Found<'_> {
    /// Brings the store up to the last committed epoch; if it had to go back to a snapshot, says so.
    pub(super) fn bring_up(&self) -> Result<Option<String>> {
        let mut choices = Choices {
            epochs: self.epochs()?,
            beginning: self.recovery.complete_from() == Epoch(0),
            refused: Vec::new(),
        };
        let mut said = None;
        let mut trouble = self.trouble(&choices)?;
        loop {
            let reason = match trouble.take() {
                Some(reason) => reason,
                None => match super::replay(self.recovery, self.store, self.last) {
                    Ok(()) => return Ok(said),
                    Err(error) => match error.state_damage() {
                        Some(reason) => reason.to_owned(),
                        None => return Err(error),
                    },
                },
            };
            self.store.close();
            self.mark(&reason)?;
            let went = self.go_back(&mut choices, &reason)?;
            let sentence = format!("the state store could not be used ({reason}): {went}");
            tracing::warn!("{sentence}");
            said = Some(sentence);
        }
    }

    /// Snapshots of epochs that the log has. Others are those of epochs that were given up.
    fn epochs(&self) -> Result<Vec<Epoch>> {
        let mut epochs = self.snapshots.epochs()?;
        while let Some(epoch) = epochs.pop_if(|epoch| *epoch > self.last) {
            if !self.gives_up {
                return Err(log_is_behind(epoch, self.last));
            }
            remove(&self.snapshots.snapshot(epoch))?;
        }
        Ok(epochs)
    }

    /// What is known to be wrong with the store before it is opened.
    fn trouble(&self, choices: &Choices) -> Result<Option<String>> {
        let store = self.place();
        let marker = self.marker();
        if marker.exists() {
            let said = std::fs::read_to_string(&marker).unwrap_or_default();
            return Ok(Some(if said.is_empty() { "it is damaged".to_owned() } else { said }));
        }
        if store.join("CURRENT").exists() {
            if self.gives_up && self.store.touched().is_ok_and(|touched| touched > self.last) {
                return Ok(Some("it knows epochs that were given up".to_owned()));
            }
            return Ok(None);
        }
        Ok(if !names(&store)?.is_empty() {
            Some("its file `CURRENT` is missing".to_owned())
        } else if !choices.epochs.is_empty() {
            Some("it is gone".to_owned())
        } else {
            None
        })
    }

    fn place(&self) -> PathBuf {
        store_of(self.snapshots.directory())
    }

    fn marker(&self) -> PathBuf {
        damage_marker(&self.place())
    }

    /// The store is not used any more, whatever happens from here on.
    fn mark(&self, reason: &str) -> Result<()> {
        mark_damaged(&self.place(), reason).map_err(|error| explain(&self.marker(), error))?;
        sync_folder(self.snapshots.directory())?;
        failpoint::pass("recover.restore.marked");
        Ok(())
    }

    /// Takes the newest of what is left; says what it was.
    fn go_back(&self, choices: &mut Choices, reason: &str) -> Result<String> {
        let (last, floor) = (self.last, self.recovery.complete_from());
        while let Some(epoch) = choices.epochs.pop() {
            if epoch < floor {
                choices.refused.push(format!("that of epoch {epoch} is older than the log"));
                continue;
            }
            let place = self.snapshots.snapshot(epoch);
            match verify(&place) {
                Ok(manifest) if manifest.job == self.job && manifest.has_store => {
                    let aside = self.swap(Some((&place, &manifest)))?;
                    let mut said = format!(
                        "went back to the snapshot of epoch {epoch}, and the log goes on to epoch {last}{aside}"
                    );
                    if !choices.refused.is_empty() {
                        said = format!("{said}; newer ones were of no use: {}", choices.refused.join("; "));
                    }
                    return Ok(said);
                }
                Ok(_) => choices.refused.push(format!("that of epoch {epoch} is another job's")),
                // It may be whole, for a user who may read it.
                Err(Error::Io { path, source }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                    return Err(Error::io(path, source));
                }
                Err(error) => {
                    choices.refused.push(format!("that of epoch {epoch}: {error}"));
                    self.snapshots.set_aside(epoch)?;
                }
            }
        }
        if std::mem::take(&mut choices.beginning) {
            let aside = self.swap(None)?;
            return Ok(format!("made it anew from the log, which holds all up to epoch {last}{aside}"));
        }
        let refused = match choices.refused.is_empty() {
            true => "there is none".to_owned(),
            false => choices.refused.join("; "),
        };
        Err(Error::failed(format!(
            "the state store `{}` cannot be used ({reason}), no snapshot can replace it ({refused}), and the log \
             begins behind epoch {floor}: begin a new directory with a savepoint (--from), bring a backup of \
             this directory back, or start over with --no-resume",
            self.place().display()
        )))
    }

    /// Puts the store of a snapshot, or none, into the place of the one that is damaged; says where that is.
    fn swap(&self, snapshot: Option<(&Path, &super::manifest::Manifest)>) -> Result<String> {
        let (store, directory) = (self.place(), self.snapshots.directory());
        let made = unfinished(&store);
        remove(&made)?;
        if let Some((place, manifest)) = snapshot {
            copy_store(place, manifest, &made)?;
        }
        failpoint::pass("recover.restore.copied");
        let mut said = String::new();
        if !names(&store)?.is_empty() {
            for name in names(directory)?.iter().filter(|name| name.starts_with(ASIDE)) {
                remove(&directory.join(name))?;
            }
            let aside = directory.join(format!("{ASIDE}{}", self.last));
            rename(&store, &aside)?;
            said = format!("; the damaged files are in `{}`", aside.display());
        }
        failpoint::pass("recover.restore.aside");
        remove(&self.marker())?;
        sync_folder(directory)?;
        failpoint::pass("recover.restore.unmarked");
        if snapshot.is_some() {
            remove(&store)?;
            rename(&made, &store)?;
        }
        failpoint::pass("recover.restore.done");
        Ok(said)
    }
}

/// Removes what a restore left in the directory of a job that is forgotten.
pub(super) fn clear_aside(directory: &Path) -> Result<()> {
    for name in names(directory)?.iter().filter(|name| name.starts_with("state.damaged")) {
        remove(&directory.join(name))?;
    }
    Ok(())
}
