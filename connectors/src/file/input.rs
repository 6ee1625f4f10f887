//! `Input`: the bytes of one file, decompressed where its first bytes say so.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use headwater::error::{Error, Result};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::store;
#[cfg(feature = "object-store")]
use crate::store::Object;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const COMPRESSED_BUFFER_BYTES: usize = 64 << 10;

/// One open file.
pub(super) struct Input {
    path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Plain(Raw),
    Gzip(Box<MultiGzDecoder<BufReader<Raw>>>),
    Zstd(Box<ZstdFrames>),
}

/// The bytes as they are stored.
enum Raw {
    File(File),
    #[cfg(feature = "object-store")]
    Object(Box<Object>),
}

impl Raw {
    fn open(path: &Path) -> Result<Self> {
        if store::is_url(path) {
            #[cfg(feature = "object-store")]
            return Ok(Raw::Object(Box::new(Object::open(path)?)));
            #[cfg(not(feature = "object-store"))]
            return Err(store::not_built(path));
        }
        File::open(path).map(Raw::File).map_err(|error| Error::io(path, error))
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Raw::File(file) => file.read(buffer),
            #[cfg(feature = "object-store")]
            Raw::Object(object) => object.read(buffer),
        }
    }
}

impl Seek for Raw {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Raw::File(file) => file.seek(to),
            #[cfg(feature = "object-store")]
            Raw::Object(object) => object.seek(to),
        }
    }
}

impl Input {
    /// Opens a file at its start.
    ///
    /// # Errors
    /// The file cannot be opened, or is not compressed as its name says.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let io_error = |error| Error::io(path, error);
        let mut file = Raw::open(path)?;
        let mut magic = Vec::with_capacity(ZSTD_MAGIC.len());
        file.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic).map_err(io_error)?;
        // What cannot be rewound, such as a named pipe, is not a file that can be read again either.
        file.rewind().map_err(io_error)?;
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        let buffered = |file| BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, file);
        let bytes = if magic.starts_with(GZIP_MAGIC) {
            Bytes::Gzip(Box::new(MultiGzDecoder::new(buffered(file))))
        } else if magic.starts_with(ZSTD_MAGIC) {
            Bytes::Zstd(Box::new(ZstdFrames::new(buffered(file))))
        } else if let Some(extension) = extension.filter(|name| name == "gz" || name == "zst") {
            return Err(Error::failed(format!(
                "`{}` ends in `.{}` but does not hold such data{}",
                path.display(),
                extension.display(),
                if magic.is_empty() { ": it is empty" } else { "; rename it if it is plain text" }
            )));
        } else {
            Bytes::Plain(file)
        };
        Ok(Input { path: path.to_owned(), bytes })
    }

    /// True when the file cannot be read from any offset.
    pub(super) fn is_compressed(&self) -> bool {
        !matches!(self.bytes, Bytes::Plain(_))
    }

    fn raw(&self) -> &Raw {
        match &self.bytes {
            Bytes::Plain(raw) => raw,
            Bytes::Gzip(decoder) => decoder.get_ref().get_ref(),
            Bytes::Zstd(frames) => frames.source.get_ref(),
        }
    }

    /// Bytes of the open file, as it is stored.
    pub(super) fn length(&self) -> Result<u64> {
        match self.raw() {
            Raw::File(_) => Ok(self.metadata()?.len()),
            #[cfg(feature = "object-store")]
            Raw::Object(object) => Ok(object.length()),
        }
    }

    /// What the system knows of the open file.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        match self.raw() {
            Raw::File(file) => file.metadata().map_err(|error| Error::io(&self.path, error)),
            #[cfg(feature = "object-store")]
            Raw::Object(_) => {
                let path = self.path.display();
                Err(Error::Config(format!(
                    "`{path}`: an object does not grow, so that it cannot be followed"
                )))
            }
        }
    }

    /// Goes on at an offset of a plain file.
    pub(super) fn seek(&mut self, offset: u64) -> Result<()> {
        match &mut self.bytes {
            Bytes::Plain(file) => file.seek(SeekFrom::Start(offset)).map(drop),
            _ => Err(io::Error::from(io::ErrorKind::NotSeekable)),
        }
        .map_err(|error| Error::io(&self.path, error))
    }

    /// Reads what fits into `buffer`; 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.bytes {
                Bytes::Plain(file) => file.read(buffer),
                Bytes::Gzip(decoder) => decoder.read(buffer),
                Bytes::Zstd(frames) => frames.read(buffer),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// What a failed read after `offset` bytes of text means.
    pub(super) fn failure(&self, offset: u64, error: io::Error) -> Error {
        let kind = match self.bytes {
            Bytes::Plain(_) => return Error::io(&self.path, error),
            Bytes::Gzip(_) => "gzip",
            Bytes::Zstd(_) => "zstd",
        };
        let path = self.path.display();
        Error::failed(format!(
            "`{path}`: the {kind} data is damaged or cut off behind byte {offset} of the text in it: {error}"
        ))
    }
}

/// All frames of a zstd file, one after the other.
struct ZstdFrames {
    source: BufReader<Raw>,
    decoder: FrameDecoder,
    frame_open: bool,
}

impl ZstdFrames {
    fn new(source: BufReader<Raw>) -> Self {
        ZstdFrames { source, decoder: FrameDecoder::new(), frame_open: false }
    }

    /// Starts the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.frame_open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = self.source.by_ref().take(u64::from(length));
                    if io::copy(&mut skipped, &mut io::sink())? < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.frame_open && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            let (stored, computed) =
                (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
            if stored.is_some() && stored != computed {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum is wrong"));
            }
            self.frame_open = false;
        }
    }
}
