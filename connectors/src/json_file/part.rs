//! `PartFile`: a file that has its name only when it is complete.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use headwater::{Error, Result};

/// How many bytes go to the system at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes on their way to `path`, kept in `path.part` until [`PartFile::publish`]; a name that ends in
/// `.gz` compresses them.
#[derive(Debug)]
pub(crate) struct PartFile {
    path: PathBuf,
    part: PathBuf,
    output: Output,
}

#[derive(Debug)]
enum Output {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Published,
}

impl PartFile {
    /// Creates `path.part` and the directories it stands in. What an earlier run left there is cut off;
    /// a file at `path` stays.
    ///
    /// # Errors
    /// The file cannot be created, or a directory has its name.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        if path.file_name().is_none() || path.is_dir() {
            return Err(Error::failed(format!(
                "{}: is a directory; give the name of a file",
                path.display()
            )));
        }
        let part = path.with_added_extension("part");
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
        }
        let file = File::create(&part).map_err(|error| Error::io(&part, error))?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        let output = match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("gz") => {
                Output::Gzip(Box::new(GzEncoder::new(writer, Compression::default())))
            }
            _ => Output::Plain(writer),
        };
        Ok(PartFile { path: path.to_owned(), part, output })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The file cannot be written, or was published before.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.output {
            Output::Plain(writer) => writer.write_all(bytes),
            Output::Gzip(writer) => writer.write_all(bytes),
            Output::Published => {
                let path = self.path.display();
                return Err(Error::failed(format!("{path}: is complete; nothing can be added to it")));
            }
        };
        written.map_err(|error| Error::io(&self.part, error))
    }

    /// Makes the bytes durable and gives the file its name, in place of a file that had it. Again: does
    /// nothing.
    ///
    /// # Errors
    /// The file cannot be written or renamed; what was written stays in `path.part`.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let writer = match std::mem::replace(&mut self.output, Output::Published) {
            Output::Plain(writer) => Ok(writer),
            Output::Gzip(writer) => writer.finish(),
            Output::Published => return Ok(()),
        };
        writer
            .and_then(|writer| writer.into_inner().map_err(|error| error.into_error()))
            .and_then(|file| file.sync_all())
            .map_err(|error| Error::io(&self.part, error))?;
        fs::rename(&self.part, &self.path).map_err(|error| Error::io(&self.path, error))?;
        sync_directory(&self.path)
    }
}

/// Makes a rename durable. Only Unix can open a directory for that.
fn sync_directory(path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| Error::io(directory, error))?;
    }
    Ok(())
}
