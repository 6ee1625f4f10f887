//! `Letters`: the file of requests that a receiver refuses.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use headwater::batch::Encoder;
use headwater::{Error, Result};

use super::delivery::Refusal;
use crate::format::JsonEncoder;

#[derive(Debug)]
pub(super) struct Letters {
    path: PathBuf,
    file: File,
}

impl Letters {
    /// # Errors
    /// The file cannot be written.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::io(path, error);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        file.lock().map_err(failed)?;
        let ended = end_last_line(&mut file);
        file.unlock().map_err(failed)?;
        ended.map_err(failed)?;
        Ok(Letters { path: path.to_owned(), file })
    }

    /// Keeps a request and what was answered, on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&mut self, key: &str, body: &[u8], refusal: &Refusal) -> Result<()> {
        let line = letter(key, body, refusal);
        let failed = |error| Error::io(&self.path, error);
        // The writers of other subtasks have the same file.
        self.file.lock().map_err(failed)?;
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        self.file.unlock().map_err(failed)?;
        written.map_err(failed)
    }
}

/// A line that a crash has cut short is ended, so that the next one is whole.
fn end_last_line(file: &mut File) -> std::io::Result<()> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

fn letter(key: &str, body: &[u8], refusal: &Refusal) -> Vec<u8> {
    let mut line = Vec::with_capacity(body.len() + 200);
    let mut json = JsonEncoder::new(&mut line);
    json.begin_record();
    json.field("key");
    json.str(key);
    json.field("status");
    json.u64(refusal.status.into());
    json.field("answer");
    json.str(&refusal.answer);
    json.field("rows");
    // The rows are JSON already, one per line.
    line.push(b'[');
    line.extend_from_slice(
        body.trim_ascii_end().split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b',').as_slice(),
    );
    line.extend_from_slice(b"]}\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_lines_of_json_also_behind_one_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters/all.jsonl");
        let refusal = Refusal { status: 422, answer: "no \"such\" row".to_owned() };
        Letters::open(&path).unwrap().keep("k-1", b"{\"a\":1}\n{\"a\":2}\n", &refusal).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"key\":\"cut").unwrap();
        Letters::open(&path).unwrap().keep("k-2", b"{\"a\":3}\n", &refusal).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(first["rows"][1]["a"], 2);
        assert_eq!((&first["status"], &first["answer"]), (&422.into(), &"no \"such\" row".into()));
        let last: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(last["key"], "k-2");
    }
}
