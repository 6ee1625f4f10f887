//! `InputFormat`: which format a file name promises.

use std::path::Path;

/// What a file holds, told from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputFormat {
    /// One JSON object per line.
    JsonLines,
    /// Rows of cells with this delimiter.
    Csv {
        /// The byte between two cells.
        delimiter: u8,
    },
    /// Lines of text.
    Text,
}

impl InputFormat {
    /// Tells the format from the extension, looking through `.gz` and `.zst`; `None` when it says nothing.
    ///
    /// ```
    /// use headwater_connectors::format::InputFormat;
    ///
    /// assert_eq!(InputFormat::from_path("bids.jsonl.gz"), Some(InputFormat::JsonLines));
    /// assert_eq!(InputFormat::from_path("iris.tsv"), Some(InputFormat::Csv { delimiter: b'\t' }));
    /// assert_eq!(InputFormat::from_path("picture.png"), None);
    /// ```
    #[must_use]
    pub fn from_path(path: impl AsRef<Path>) -> Option<Self> {
        let path = path.as_ref();
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "gz" | "zst" => InputFormat::from_path(path.with_extension("")),
            "json" | "jsonl" | "ndjson" => Some(InputFormat::JsonLines),
            "csv" => Some(InputFormat::Csv { delimiter: b',' }),
            "tsv" | "tab" => Some(InputFormat::Csv { delimiter: b'\t' }),
            "txt" | "text" | "log" => Some(InputFormat::Text),
            _ => None,
        }
    }
}
