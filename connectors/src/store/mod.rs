//! Object stores as folders of files: S3, Google Cloud Storage, Azure; with the feature `object-store`.
//!
//! 1. `location`: which store and which place in it a URL names, and whose it is
//! 2. `folder`: what sinks and sources do there, one call after the other
//! 3. `object`: one object, read as a file is
//!
//! # Why each row is there once
//!
//! An object appears as a whole, with its name, or not at all, so that a reader never sees half of one. Sinks keep
//! the rows of an object that is not complete in the log of the job, each epoch its own. The commit of the epoch
//! that completes it puts it there under a name that is made of subtask and epoch, on the condition that nothing
//! has the name. So a commit that is repeated, by whomever, makes the same bytes under the same name, and finds
//! them there; where it finds other bytes, another job has written them, and it fails.

#[cfg(feature = "object-store")]
mod folder;
#[cfg(feature = "object-store")]
mod location;
#[cfg(feature = "object-store")]
mod object;

use std::path::{Path, PathBuf};

use headwater::{Error, Result};

#[cfg(feature = "object-store")]
pub(crate) use self::folder::Folder;
#[cfg(feature = "object-store")]
pub(crate) use self::object::Object;

/// True for a path that names a place in an object store.
pub(crate) fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains("://") && !text.starts_with("file://"))
}

/// The path of a URL of this machine, `file:///data`; other paths as they are.
pub(crate) fn local(path: &Path) -> &Path {
    path.to_str().and_then(|text| text.strip_prefix("file://")).map_or(path, Path::new)
}

/// What is said without the feature.
#[cfg_attr(feature = "object-store", allow(dead_code))]
pub(crate) fn not_built(url: &Path) -> Error {
    let url = url.display();
    Error::Config(format!(
        "`{url}`: for object stores, build with the feature `object-store` of headwater-connectors"
    ))
}

/// The objects that a URL stands for, sorted: one, the matches of a pattern, or all below a folder; hidden ones
/// left out.
///
/// # Errors
/// There is none, or the store does not answer.
#[cfg(feature = "object-store")]
pub(crate) fn objects(url: &Path) -> Result<Vec<PathBuf>> {
    let text = url.to_str().unwrap_or_default();
    let mut found = match text.find(['*', '?', '[']) {
        Some(at) => {
            let pattern = glob::Pattern::new(text).map_err(|error| {
                Error::Config(format!("`{text}` is not a pattern of object names: {error}"))
            })?;
            let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
            let folder =
                text.get(..at).and_then(|start| start.rsplit_once('/')).map_or(text, |(folder, _)| folder);
            let mut found = Folder::open(Path::new(folder))?.list()?;
            found.retain(|object| object.to_str().is_some_and(|name| pattern.matches_with(name, options)));
            found
        }
        None => {
            let folder = Folder::open(url)?;
            if !text.ends_with('/') && folder.length("")?.is_some() {
                return Ok(vec![url.to_owned()]);
            }
            folder.list()?
        }
    };
    found.retain(|object| !object.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")));
    if found.is_empty() {
        return Err(Error::failed(format!("there is no object at `{text}`")));
    }
    Ok(found)
}

/// The objects that a URL stands for.
///
/// # Errors
/// This build knows no object stores.
#[cfg(not(feature = "object-store"))]
pub(crate) fn objects(url: &Path) -> Result<Vec<PathBuf>> {
    Err(not_built(url))
}
