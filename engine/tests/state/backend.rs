//! One contract for all stores, and the bytes that they hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use headwater::batch::Record;
#[cfg(feature = "rocksdb")]
use headwater::batch::{Key, group_of};
use headwater::state::{Changes, Envelope, KeyedState, MemoryBackend, StateBackend, state_key, state_prefix};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn backends() -> Vec<Box<dyn StateBackend>> {
    let memory: Box<dyn StateBackend> = Box::new(MemoryBackend::new("counts"));
    #[cfg(feature = "rocksdb")]
    return vec![memory, Box::new(rocks::store().backend("counts").unwrap())];
    #[cfg(not(feature = "rocksdb"))]
    vec![memory]
}

fn put_all(backend: &mut dyn StateBackend, keys: &[&[u8]]) {
    let mut changes = Changes::new();
    keys.iter().for_each(|key| changes.put(key, &[key, &b"!"[..]].concat()));
    backend.write(&changes).unwrap();
}

fn scan(backend: &mut dyn StateBackend, prefix: &[u8], after: Option<&[u8]>, rows_max: usize) -> Rows {
    let mut rows = Vec::new();
    let count = backend
        .scan(prefix, after, rows_max, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    assert_eq!(count, rows.len());
    rows
}

fn keys_of(rows: Rows) -> Vec<Vec<u8>> {
    rows.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn a_lookup_finds_what_is_there() {
    for mut backend in backends() {
        assert_eq!(backend.table(), "counts");
        put_all(&mut *backend, &[b"a", b"b", b"d"]);
        let mut changes = Changes::new();
        changes.put(b"b", b"first");
        changes.put(b"b", b"second");
        changes.delete(b"d");
        backend.write(&changes).unwrap();
        let mut found = Vec::new();
        let keys: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
        backend
            .get_many(&keys, &mut |at, value| {
                found.push((at, value.to_vec()));
                Ok(())
            })
            .unwrap();
        assert_eq!(found, [(0, b"a!".to_vec()), (1, b"second".to_vec())]);
    }
}

#[test]
fn a_scan_goes_on_behind_the_last_key() {
    for mut backend in backends() {
        put_all(&mut *backend, &[b"a", b"b", b"b\x00", b"b\xff", b"b\xff\xff", b"c"]);
        assert_eq!(keys_of(scan(&mut *backend, b"b", None, 2)), [&b"b"[..], b"b\x00"]);
        assert_eq!(keys_of(scan(&mut *backend, b"b", Some(b"b\x00"), 2)), [&b"b\xff"[..], b"b\xff\xff"]);
        assert!(scan(&mut *backend, b"b", Some(b"b\xff\xff"), 2).is_empty());
        assert_eq!(scan(&mut *backend, b"", None, 100).len(), 6);
    }
}

#[test]
fn a_deleted_prefix_takes_nothing_else_with_it() {
    for mut backend in backends() {
        put_all(&mut *backend, &[b"a", b"b\xff", b"b\xff\x01", b"b\xff\xff\xff", b"c", b"c\x00"]);
        let mut changes = Changes::new();
        changes.delete_prefix(b"b\xff");
        changes.put(b"b\xff\x02", b"after the delete");
        backend.write(&changes).unwrap();
        let left = keys_of(scan(&mut *backend, b"", None, 100));
        assert_eq!(left, [&b"a"[..], b"b\xff\x02", b"c", b"c\x00"]);
    }
}

#[test]
fn state_keys_sort_by_group_then_time_then_key() {
    let key = |group, namespace, key: &str| {
        let mut bytes = Vec::new();
        state_key::<String>(group, namespace, key, &mut bytes);
        assert!(bytes.starts_with(&state_prefix(group, namespace)));
        bytes
    };
    assert_eq!(key(0x0102, 5, "hi"), *b"\x01\x02\x80\0\0\0\0\0\0\x05\0\0\0\x02hi");
    assert_eq!(key(7, -1, ""), *b"\0\x07\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
    let ascending = [
        key(0, i64::MIN, "z"),
        key(0, -1000, "z"),
        key(0, -1, "a"),
        key(0, 0, "a"),
        key(0, 0, "b"),
        key(0, i64::MAX, "a"),
        key(1, i64::MIN, "a"),
        key(256, i64::MIN, "a"),
    ];
    assert!(ascending.is_sorted());
}

/// The error of a value that was written as `W` and is read as `R`.
fn refusal<W: Record, R: Record>(written: W, versions: (u16, u16)) -> String {
    let mut bytes = Vec::new();
    Envelope::<W>::new("totals", versions.0).encode(written.view(), &mut bytes).unwrap();
    let Err(error) = Envelope::<R>::new("totals", versions.1).decode(&bytes) else { return String::new() };
    error.to_string()
}

#[test]
fn an_envelope_opens_only_for_what_was_put_in() {
    assert_eq!(refusal::<(u64, String), (u64, String)>((1, "x".into()), (3, 3)), "");
    let other_type = refusal::<(u64, String), (u64, u64)>((1, "x".into()), (3, 3));
    assert!(other_type.contains("`totals`") && other_type.contains("another type"), "{other_type}");
    let other_version = refusal::<u64, u64>(1, (3, 4));
    assert!(other_version.contains("`totals`") && other_version.contains("version 3"), "{other_version}");
    for error in [other_type, other_version] {
        assert!(error.contains("new name to start from empty state"), "no way out: {error}");
    }
}

#[test]
fn no_damaged_envelope_is_believed() {
    let envelope = Envelope::<(u64, String)>::new("totals", 1);
    let mut bytes = Vec::new();
    envelope.encode((7, "a string that is not inline"), &mut bytes).unwrap();
    assert_eq!(envelope.decode(&bytes).unwrap(), (7, "a string that is not inline".to_owned()));
    for end in 0..12 {
        let error = envelope.decode(&bytes[..end]).unwrap_err().to_string();
        assert!(error.contains("`totals`") && error.contains("restore a snapshot"), "{error}");
    }
    for at in 0..12 {
        bytes[at] ^= 0x40;
        let error = envelope.decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("`totals`"), "{error}");
        bytes[at] ^= 0x40;
    }
    // A length that points outside the value.
    let end = bytes.len();
    assert!(envelope.decode(&bytes[..end - 20]).is_err());
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use std::path::PathBuf;

    use headwater::state::RocksStore;

    use super::*;

    pub(super) fn store() -> RocksStore {
        RocksStore::temporary(8 << 20).unwrap()
    }

    /// A directory of its own for each test, gone afterwards.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let name = format!("headwater-test-{name}-{}", std::process::id());
            Directory(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn state(store: &RocksStore) -> KeyedState<u64, u64> {
        KeyedState::new(Some(Box::new(store.backend("counts").unwrap())), 0, 8)
    }

    #[test]
    fn operators_do_not_see_each_other() {
        let store = store();
        put_all(&mut store.backend("default").unwrap(), &[b"a"]);
        put_all(&mut store.backend("other").unwrap(), &[b"b"]);
        assert_eq!(keys_of(scan(&mut store.backend("default").unwrap(), b"", None, 9)), [b"a"]);
        assert_eq!(store.tables(), ["default", "other"]);
    }

    #[test]
    fn a_temporary_store_leaves_nothing_behind() {
        let store = store();
        let mut backend = store.backend("counts").unwrap();
        let directory = store.directory().to_owned();
        drop(store);
        put_all(&mut backend, &[b"a"]);
        assert!(directory.exists());
        drop(backend);
        assert!(!directory.exists());
    }

    #[test]
    fn what_was_flushed_is_restored() {
        let directory = Directory::new("restore");
        let store = RocksStore::open(&directory.0, 0).unwrap();
        let mut before = state(&store);
        for key in 0..5000 {
            before.entry(key as i64 % 3 - 1, u64::hash(key), key, || key);
        }
        before.maintain().unwrap();
        store.flush().unwrap();
        drop((before, store));

        let store = RocksStore::open(&directory.0, 0).unwrap();
        let mut after = state(&store);
        after.restore(0..4).unwrap();
        let half = (0..5000).filter(|key| group_of(u64::hash(*key), 8) < 4).count();
        assert_eq!(after.len(), half);
        after.restore(4..8).unwrap();
        assert_eq!(after.len(), 5000);
        assert!(after.namespaces().eq([-1, 0, 1]));
        after.load(0, &[(u64::hash(1), 1)]).unwrap();
        assert_eq!(after.get(0, u64::hash(1), 1), Some(&1));
        drop((after, store));

        let store = RocksStore::create(&directory.0, 0).unwrap();
        assert!(store.tables().is_empty());
    }

    #[test]
    fn a_directory_in_use_is_named_with_the_way_out() {
        let directory = Directory::new("locked");
        let _first = RocksStore::open(&directory.0, 0).unwrap();
        for second in [RocksStore::open(&directory.0, 0), RocksStore::create(&directory.0, 0)] {
            let error = second.unwrap_err().to_string();
            assert!(error.contains(&directory.0.display().to_string()), "{error}");
            assert!(error.contains("in use by another run: stop that run"), "{error}");
        }
    }

    #[test]
    fn a_damaged_directory_is_named_with_the_way_out() {
        let directory = Directory::new("damaged");
        drop(RocksStore::open(&directory.0, 0).unwrap());
        std::fs::write(directory.0.join("CURRENT"), "nonsense").unwrap();
        let error = RocksStore::open(&directory.0, 0).unwrap_err().to_string();
        assert!(error.contains(&directory.0.display().to_string()), "{error}");
        assert!(error.contains("damaged") && error.contains("goes back to its newest snapshot"), "{error}");
    }

    #[test]
    fn a_path_that_is_no_directory_is_named() {
        let directory = Directory::new("file");
        std::fs::create_dir_all(&directory.0).unwrap();
        let file = directory.0.join("file");
        std::fs::write(&file, "").unwrap();
        let error = RocksStore::open(&file, 0).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
    }
}

#[test]
fn an_empty_table_restores_to_empty_state() {
    for backend in backends() {
        let mut state = KeyedState::<u64, u64>::new(Some(backend), 0, 8);
        state.restore(0..8).unwrap();
        assert!(state.is_empty());
    }
}
