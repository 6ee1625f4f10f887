//! Damage: every byte, missing segments, forged lengths, stale records; and the way out.

use std::sync::Arc;

use headwater::error::Error;
use headwater::storage::{CrashPolicy, Fault, FaultKind, MemoryStorage, Storage};
use headwater::time::Epoch;
use headwater::wal::{EpochLog, JobId, LogEnd, LogLimits, Lsn, RecordKind};

use super::model::{JOB, Model, Step, open, path, reader, rows, run, script, segments, small, written};

/// Writes the checksum of a record anew.
fn seal(record: &mut [u8], segment: u64) {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&JOB.0.to_le_bytes()), &segment.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[..28]), &record[32..]);
    record[28..32].copy_from_slice(&crc.to_le_bytes());
}

/// A log in one segment with three committed epochs, and the offsets of its records.
fn plain() -> (MemoryStorage, Vec<u64>) {
    let storage = MemoryStorage::new();
    let limits = LogLimits { segment_bytes: 2048, ..LogLimits::default() };
    let (mut log, _) = open(&storage, &limits).unwrap();
    for epoch in 1..=3 {
        log.append(Epoch(epoch), RecordKind::Input, "a", 0, &[epoch as u8; 40]).unwrap();
        log.commit(Epoch(epoch), b"").unwrap();
    }
    drop(log);
    let mut offsets = Vec::new();
    let collect = &mut |place: headwater::wal::RecordPlace<'_>| {
        offsets.push(place.offset);
        Ok(())
    };
    reader(&storage).records(collect).unwrap();
    (storage, offsets)
}

fn refusal(storage: &MemoryStorage) -> (u64, u64, String) {
    match open(&storage.fork(), &small()).map(|(_, recovery)| recovery.committed()) {
        Err(error @ Error::LogDamaged { offset, lsn, .. }) => (offset, lsn, error.to_string()),
        other => panic!("damage must be refused: {other:?}"),
    }
}

#[test]
fn a_flipped_byte_anywhere_gives_the_same_log_or_an_error() {
    let (storage, model) = written();
    let expected: Vec<_> = model.rows.iter().filter(|row| row.epoch > model.truncated).cloned().collect();
    let expected: Vec<_> = expected.into_iter().filter(|row| row.epoch <= model.committed).collect();
    let (mut same, mut refused) = (0, 0);
    for path in segments(&storage) {
        for offset in 0..Storage::len(&storage, &path).unwrap() {
            for mask in [0x01, 0x80, 0xFF] {
                let flipped = storage.fork();
                flipped.flip(&path, offset, mask);
                match open(&flipped, &small()) {
                    Err(Error::LogDamaged { .. }) => refused += 1,
                    Err(other) => panic!("{path} {offset}: {other}"),
                    Ok((_, recovery)) => match rows(&recovery, model.truncated) {
                        Ok(found) => {
                            assert_eq!(found, expected, "{path} {offset}");
                            same += 1;
                        }
                        Err(_) => refused += 1,
                    },
                }
            }
        }
    }
    println!("{same} flips change nothing, {refused} are refused");
    assert!(same > 100 && refused > 1000);
}

#[test]
fn a_record_that_was_durable_and_is_not_valid_is_refused_with_the_way_out() {
    let (storage, offsets) = plain();
    storage.flip(&path(1), offsets[4] + 50, 1);
    let (offset, lsn, text) = refusal(&storage);
    assert_eq!((offset, lsn), (offsets[4], 5));
    assert!(text.contains("0000000001.log") && text.contains("--recover=truncate-at=5"), "{text}");
    let LogEnd::Damaged { lsn: found, .. } = reader(&storage).end() else { panic!("a reader sees it too") };
    assert_eq!(found, Lsn(5));
    // Too far does not help, the number of the message does, and once is enough.
    let cut_at = |lsn| LogLimits { truncate_at: Some(Lsn(lsn)), ..small() };
    assert!(open(&storage, &cut_at(6)).is_err());
    let (mut log, recovery) = open(&storage, &cut_at(5)).unwrap();
    assert_eq!(recovery.committed().unwrap().epoch, Epoch(1));
    assert_eq!(recovery.repair().truncated_at, Some(Lsn(5)));
    log.append(Epoch(2), RecordKind::Input, "new", 0, b"again").unwrap();
    log.commit(Epoch(2), b"").unwrap();
    drop(log);
    let (_, recovery) = open(&storage, &cut_at(5)).unwrap();
    assert_eq!(recovery.committed().unwrap().epoch, Epoch(2));
    assert_eq!(rows(&recovery, 1).unwrap()[0].owner, "new");
}

#[test]
fn a_write_cut_short_with_a_valid_end_and_a_bad_middle_is_no_damage() {
    let (storage, limits) = (MemoryStorage::new(), LogLimits::default());
    let (mut log, _) = open(&storage, &limits).unwrap();
    log.commit(Epoch(1), b"").unwrap();
    let mut offsets = Vec::new();
    for part in 0..6_u8 {
        log.append(Epoch(2), RecordKind::Input, "a", 0, &[part; 600]).unwrap();
    }
    // The write reaches the disk, the answer to the sync does not reach us.
    log.flush().unwrap();
    storage.fail(Fault { call: storage.calls() + 1, forever: true, kind: FaultKind::Broken });
    log.commit(Epoch(2), b"").unwrap_err();
    let image = storage.crash(CrashPolicy::KeepUnsynced, 0);
    let collect = &mut |place: headwater::wal::RecordPlace<'_>| {
        offsets.push(place.offset);
        Ok(())
    };
    reader(&image).records(collect).unwrap();
    image.flip(&path(1), offsets[5] + 100, 0xFF);
    assert!(matches!(reader(&image).end(), LogEnd::Torn { lsn: Lsn(6), .. }), "{:?}", reader(&image).end());
    let (_, recovery) = open(&image, &limits).unwrap();
    assert_eq!(recovery.committed().unwrap().epoch, Epoch(1));
    assert!(recovery.repair().bytes_cut > 600);
}

#[test]
fn a_missing_segment_is_damage_unless_it_was_truncated() {
    let storage = MemoryStorage::new();
    let steps: Vec<Step> =
        script().into_iter().filter(|step| !matches!(step, Step::Truncate { .. })).collect();
    run(&storage, &small(), &mut Model::default(), &steps).unwrap();
    let all = segments(&storage);
    assert!(all.len() > 3, "{all:?}");
    for missing in &all[1..all.len() - 1] {
        let gap = storage.fork();
        gap.remove(missing).unwrap();
        let (_, _, text) = refusal(&gap);
        assert!(text.contains("missing"), "{text}");
    }
    // The oldest may be gone, and then a reader that needs it is told so.
    storage.remove(&all[0]).unwrap();
    let (_, recovery) = open(&storage, &small()).unwrap();
    let text = rows(&recovery, 0).unwrap_err().to_string();
    assert!(text.contains("begins after epoch"), "{text}");
}

#[test]
fn a_segment_cut_at_a_record_is_damage_when_another_follows() {
    let storage = MemoryStorage::new();
    run(&storage, &small(), &mut Model::default(), &script()[..5]).unwrap();
    let first = segments(&storage)[0].clone();
    assert!(segments(&storage).len() > 1);
    let (bytes, mut offsets) = (storage.read(&first).unwrap(), Vec::new());
    let collect = &mut |place: headwater::wal::RecordPlace<'_>| {
        offsets.extend((place.segment == 1).then_some(place.offset));
        Ok(())
    };
    reader(&storage).records(collect).unwrap();
    for offset in offsets {
        storage.plant(&first, &bytes[..offset as usize]);
        assert_eq!(refusal(&storage).0, offset);
    }
}

#[test]
fn a_huge_length_is_no_length() {
    for length in [u32::MAX, 1 << 31, (16 << 20) - 32, 1 << 20] {
        let (storage, offsets) = plain();
        let mut bytes = storage.read(&path(1)).unwrap();
        let last = *offsets.last().unwrap() as usize;
        bytes[last..last + 4].copy_from_slice(&length.to_le_bytes());
        storage.plant(&path(1), &bytes);
        let (_, recovery) = open(&storage, &small()).unwrap();
        assert_eq!(recovery.committed().unwrap().epoch, Epoch(3));
    }
}

#[test]
fn a_stale_record_of_another_segment_or_job_is_no_record() {
    // A zombie wrote the very numbers that the new generation comes to next.
    let (storage, limits) = (MemoryStorage::new(), small());
    let (mut zombie, _) = open(&storage, &limits).unwrap();
    zombie.commit(Epoch(1), b"").unwrap();
    let start = 64 + 48 + 16 + 48 + 48;
    storage.break_locks();
    let (log, _) = open(&storage, &limits).unwrap();
    // One more than the base record of the new segment.
    zombie.append(Epoch(2), RecordKind::Input, "z", 0, b"0123456789abcdef").unwrap();
    zombie.append(Epoch(2), RecordKind::Input, "z", 0, b"0123456789abcdef").unwrap();
    zombie.commit(Epoch(2), b"zombie").unwrap_err();
    let next = log.next_lsn().0;
    drop(log);
    let old = storage.read(&path(1)).unwrap();
    let mut stale: Vec<u8> = Vec::new();
    for at in (start - 64..old.len() - 48).step_by(16) {
        let lsn = u64::from_le_bytes(old[at + 16..at + 24].try_into().unwrap());
        if stale.is_empty() && lsn == next && old[at] > 0 {
            stale = old[at..].to_vec();
        }
    }
    assert!(!stale.is_empty(), "the zombie wrote record {next}");
    let mut new = storage.read(&path(2)).unwrap();
    let end = new.iter().rposition(|byte| *byte != 0).unwrap() / 16 * 16 + 16;
    new.truncate(end.max(64 + 80));
    new.extend(&stale);
    storage.plant(&path(2), &new);
    let (_, recovery) = open(&storage, &limits).unwrap();
    assert_eq!(recovery.committed().unwrap().epoch, Epoch(1), "the zombie's commit was misdirected");
}

#[test]
fn a_lost_header_is_damage_when_the_segment_was_in_use() {
    let storage = MemoryStorage::new();
    run(&storage, &small(), &mut Model::default(), &script()).unwrap();
    let last = segments(&storage).last().unwrap().clone();
    let mut bytes = storage.read(&last).unwrap();
    bytes[..64].fill(0);
    storage.plant(&last, &bytes);
    let (_, _, text) = refusal(&storage);
    assert!(text.contains("header"), "{text}");
    // One that was claimed and never used is nothing.
    let (storage, model) = written();
    storage.plant(&path(99), &[]);
    storage.plant(&path(100), &[0; 512]);
    run(&storage, &small(), &mut model.clone(), &[Step::Commit]).unwrap();
}

#[test]
fn a_newer_format_names_both_versions() {
    let (storage, _) = plain();
    let mut bytes = storage.read(&path(1)).unwrap();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    storage.plant(&path(1), &bytes);
    let text = open(&storage, &small()).unwrap_err().to_string();
    assert!(text.contains("format version 9") && text.contains("reads version 1"), "{text}");
    assert_eq!(segments(&storage), [path(1)], "nothing is left behind");
    let other = EpochLog::open(Arc::new(plain().0), JobId(1), small()).unwrap_err().to_string();
    assert!(other.contains("belongs to job"), "{other}");
}

#[test]
fn a_right_checksum_over_nonsense_is_refused() {
    let kinds = [(4, 200_u8), (4, 0), (32 + 4, 0xFF)];
    for (at, value) in kinds {
        let (storage, offsets) = plain();
        let mut bytes = storage.read(&path(1)).unwrap();
        let start = offsets[1] as usize;
        bytes[start + at] = value;
        let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
        seal(&mut bytes[start..start + 32 + length.next_multiple_of(16)], 1);
        storage.plant(&path(1), &bytes);
        assert_eq!(refusal(&storage).1, 2);
    }
}

#[test]
fn a_reader_tells_what_is_committed() {
    let (storage, model) = written();
    let (mut committed, mut open_records) = (0, 0);
    let log = reader(&storage);
    assert_eq!((log.job(), log.generation(), log.end()), (Some(JOB), 1, LogEnd::Clean));
    assert_eq!(log.committed(), Some(Epoch(model.committed)));
    let mut last = 0;
    log.records(&mut |place| {
        assert!(last == 0 || place.record.lsn.0 == last + 1);
        last = place.record.lsn.0;
        assert_eq!(place.record.payload.as_ptr() as usize % 16, 0, "payloads are aligned");
        let is_later = place.record.epoch > Epoch(model.committed);
        assert_eq!(place.committed, !is_later);
        *(if place.committed { &mut committed } else { &mut open_records }) += 1;
        Ok(())
    })
    .unwrap();
    assert!(committed > 5);
    assert_eq!(open_records, 1, "a record of the epoch that is still open");
}
