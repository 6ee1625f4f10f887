//! What the example programs share: the flags `--input` and `--output`, and telling a format by its name.

use std::path::{Path, PathBuf};

use headwater::source::Source;
use headwater::{Error, Result};
use headwater_connectors::TextFile;
use headwater_connectors::format::InputFormat;

/// The flags of every example besides those of the engine.
#[derive(clap::Args, Clone, Debug)]
pub struct Files {
    /// A file, a folder or a glob; bundled data unless given.
    #[arg(long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// The file that results go to; they are printed unless given.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A file of the bundled data, wherever the example was started.
#[must_use]
pub fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// The format that the names of all files at a path agree on.
///
/// # Errors
/// There is no such file, or the names say different things or nothing.
pub fn format_of(path: &Path) -> Result<InputFormat> {
    let files = TextFile::new(path).partitions()?;
    let mut formats = files.iter().map(|file| InputFormat::from_path(file).ok_or(file));
    let first = match formats.next() {
        Some(Ok(format)) => format,
        Some(Err(file)) => return Err(unknown(file)),
        None => return Err(Error::failed(format!("{}: there is no file", path.display()))),
    };
    for format in formats {
        match format {
            Ok(format) if format == first => {}
            Ok(_) => {
                let what = "files of different formats; name those of one format with a glob";
                return Err(Error::failed(format!("{}: {what}", path.display())));
            }
            Err(file) => return Err(unknown(file)),
        }
    }
    Ok(first)
}

fn unknown(file: &str) -> Error {
    Error::failed(format!(
        "{file}: its name does not tell the format; name it .json, .jsonl, .csv, .tsv or .txt (also with .gz or .zst)"
    ))
}
