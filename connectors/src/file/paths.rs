//! Which files a path stands for: itself, the files of a directory, or the matches of a pattern.

use std::path::{Path, PathBuf};

use headwater::error::{Error, Result};

use crate::store;

/// All files that the paths stand for, each once, in the order of the paths and sorted within one.
///
/// # Errors
/// A path stands for no file, or a directory cannot be listed.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        for file in expanded(path)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn expanded(path: &Path) -> Result<Vec<PathBuf>> {
    if store::is_url(path) {
        return store::objects(path);
    }
    let path = store::local(path);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => directory(path),
        Ok(_) => Ok(vec![path.to_owned()]),
        Err(error) => match path.to_str().filter(|text| text.contains(['*', '?', '['])) {
            Some(pattern) => matches(pattern),
            None => Err(Error::io(path, error)),
        },
    }
}

fn directory(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).map_err(|error| Error::io(path, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| Error::io(path, error))?.path();
        if is_wanted(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::failed(format!(
            "the directory `{}` has no file to read (hidden files and `.part` files are left out)",
            path.display()
        )));
    }
    files.sort();
    Ok(files)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let found = glob::glob_with(pattern, options)
        .map_err(|error| Error::Config(format!("`{pattern}` is not a pattern of file names: {error}")))?;
    let mut files = Vec::new();
    for file in found {
        let file = file.map_err(|error| {
            let folder = error.path().to_owned();
            Error::io(folder, error.into())
        })?;
        if is_wanted(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        let folder = std::env::current_dir().unwrap_or_default();
        return Err(Error::failed(format!("no file matches `{pattern}` (seen from `{}`)", folder.display())));
    }
    files.sort();
    Ok(files)
}

/// Regular files that are complete and not hidden.
fn is_wanted(file: &Path) -> bool {
    let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let partial = file.extension().is_some_and(|extension| extension == "part");
    !hidden && !partial && file.is_file()
}
