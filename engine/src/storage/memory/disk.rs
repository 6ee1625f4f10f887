//! What programs see, what a power loss leaves, and the operations in between.

use std::collections::BTreeMap;
use std::io;

/// A file apart from its names.
pub(super) type FileId = u64;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(FileId),
    Directory,
}

/// A change of a file's bytes.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Write {
    pub(super) fn apply(&self, target: &mut Vec<u8>) {
        match self {
            Write::Length(length) => target.resize(*length, 0),
            Write::Bytes { offset, bytes } => {
                let end = offset + bytes.len();
                if target.len() < end {
                    target.resize(end, 0);
                }
                target[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// As programs read it.
    pub(super) bytes: Vec<u8>,
    /// As of the last sync.
    pub(super) durable: Vec<u8>,
    /// From the one to the other.
    pub(super) unsynced: Vec<Write>,
}

impl File {
    pub(super) fn sync(&mut self) {
        let File { durable, unsynced, .. } = self;
        unsynced.drain(..).for_each(|write| write.apply(durable));
    }

    pub(super) fn lose_unsynced(&mut self) {
        self.unsynced.clear();
    }

    fn write(&mut self, write: Write) {
        write.apply(&mut self.bytes);
        self.unsynced.push(write);
    }
}

/// A change of the names: `to` is what `path` stands for afterwards.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    pub(super) id: u64,
    pub(super) path: String,
    pub(super) to: Option<Entry>,
    /// Not durable before this other one: a rename never loses the file.
    pub(super) after: Option<u64>,
}

pub(super) type Names = BTreeMap<String, Entry>;

pub(super) fn set_name(names: &mut Names, path: &str, to: Option<Entry>) {
    match to {
        Some(entry) => names.insert(path.to_owned(), entry),
        None => names.remove(path),
    };
}

/// All files and directories.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FileId, File>,
    pub(super) names: Names,
    pub(super) durable_names: Names,
    pub(super) unsynced_names: Vec<Naming>,
    next_id: u64,
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or directory: {path}"))
}

impl Disk {
    /// The disk of a machine that just started: what is there is durable.
    pub(super) fn started(files: BTreeMap<FileId, File>, names: Names, next_id: u64) -> Disk {
        Disk { files, durable_names: names.clone(), names, unsynced_names: Vec::new(), next_id }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn name(&mut self, path: &str, to: Option<Entry>, after: Option<u64>) -> u64 {
        let id = self.next_id();
        set_name(&mut self.names, path, to);
        self.unsynced_names.push(Naming { id, path: path.to_owned(), to, after });
        id
    }

    fn check_directory(&self, path: &str) -> io::Result<()> {
        let exists = path.is_empty() || self.names.get(path) == Some(&Entry::Directory);
        if exists { Ok(()) } else { Err(not_found(path)) }
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<FileId> {
        self.check_directory(parent(path))?;
        if self.names.contains_key(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("file exists: {path}")));
        }
        let id = self.next_id();
        self.files.insert(id, File::default());
        self.name(path, Some(Entry::File(id)), None);
        Ok(id)
    }

    pub(super) fn open(&self, path: &str) -> io::Result<FileId> {
        match self.names.get(path) {
            Some(Entry::File(file)) => Ok(*file),
            _ => Err(not_found(path)),
        }
    }

    /// The file of a handle: it lives as long as the disk, also without a name.
    pub(super) fn file(&mut self, file: FileId) -> &mut File {
        self.files.entry(file).or_default()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.names.contains_key(path)
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.check_directory(path)?;
        let inside = self.names.keys().filter(|name| parent(name) == path);
        Ok(inside.filter_map(|name| name.rsplit('/').next()).map(str::to_owned).collect())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let entry = *self.names.get(from).ok_or_else(|| not_found(from))?;
        self.check_directory(parent(to))?;
        let id = self.name(to, Some(entry), None);
        self.name(from, None, Some(id));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.open(path)?;
        self.name(path, None, None);
        Ok(())
    }

    pub(super) fn create_directory(&mut self, path: &str) -> io::Result<()> {
        self.check_directory(parent(path))?;
        match self.names.get(path) {
            Some(Entry::Directory) => return Ok(()),
            Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => self.name(path, Some(Entry::Directory), None),
        };
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, path: &str) -> io::Result<()> {
        self.check_directory(path)?;
        let mut chosen: Vec<u64> = Vec::new();
        for naming in self.unsynced_names.iter().filter(|naming| parent(&naming.path) == path) {
            chosen.extend(naming.after);
            chosen.push(naming.id);
        }
        for naming in std::mem::take(&mut self.unsynced_names) {
            if chosen.contains(&naming.id) {
                set_name(&mut self.durable_names, &naming.path, naming.to);
            } else {
                self.unsynced_names.push(naming);
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        let write = Write::Bytes { offset: offset as usize, bytes: bytes.to_vec() };
        self.file(file).write(write);
    }

    pub(super) fn set_len(&mut self, file: FileId, length: u64) {
        self.file(file).write(Write::Length(length as usize));
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let files = self.names.values().filter_map(|entry| match entry {
            Entry::File(file) => self.files.get(file),
            Entry::Directory => None,
        });
        files.map(|file| file.bytes.len() as u64).sum()
    }

    pub(super) fn flip(&mut self, path: &str, offset: u64, mask: u8) {
        let Ok(file) = self.open(path) else { return };
        let file = self.file(file);
        for bytes in [&mut file.bytes, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= mask;
            }
        }
    }

    pub(super) fn plant(&mut self, path: &str, bytes: &[u8]) {
        let id = self.next_id();
        let file = File { bytes: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
        self.files.insert(id, file);
        for names in [&mut self.names, &mut self.durable_names] {
            if !parent(path).is_empty() {
                names.insert(parent(path).to_owned(), Entry::Directory);
            }
            names.insert(path.to_owned(), Entry::File(id));
        }
        self.unsynced_names.retain(|naming| naming.path != path);
    }
}
