//! Which of the unsynced operations a power loss keeps.

use std::collections::BTreeMap;

use super::disk::{Disk, Entry, File, Write, set_name};

/// Bytes that a disk writes as one.
const SECTOR_BYTES: usize = 512;

/// What a power loss does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Drops all of it.
    DropUnsynced,
    /// Keeps all of it: all that happens when a process is killed and the machine lives on.
    KeepUnsynced,
    /// Keeps some of the operations, whole, in any order.
    KeepSome,
    /// Keeps some sectors of each write.
    TearSectors,
    /// Keeps the bytes of files and loses the names that were created, renamed or removed.
    LoseNames,
}

impl CrashPolicy {
    /// Every policy.
    pub const ALL: [CrashPolicy; 5] = [
        CrashPolicy::DropUnsynced,
        CrashPolicy::KeepUnsynced,
        CrashPolicy::KeepSome,
        CrashPolicy::TearSectors,
        CrashPolicy::LoseNames,
    ];
}

/// SplitMix64: a seed gives the same crash on every machine.
struct Dice(u64);

impl Dice {
    fn coin(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) & 1 == 1
    }
}

pub(super) fn crash(disk: &Disk, policy: CrashPolicy, seed: u64) -> Disk {
    let mut dice = Dice(seed);
    let mut names = disk.durable_names.clone();
    let mut kept = Vec::new();
    for naming in &disk.unsynced_names {
        let chosen = match policy {
            CrashPolicy::DropUnsynced | CrashPolicy::LoseNames => false,
            CrashPolicy::KeepUnsynced => true,
            CrashPolicy::KeepSome | CrashPolicy::TearSectors => dice.coin(),
        };
        let ready = naming.after.is_none_or(|id| {
            kept.contains(&id) || !disk.unsynced_names.iter().any(|earlier| earlier.id == id)
        });
        if chosen && ready {
            kept.push(naming.id);
            set_name(&mut names, &naming.path, naming.to);
        }
    }
    drop_lost_directories(&mut names);
    let mut files = BTreeMap::new();
    for entry in names.values() {
        if let Entry::File(id) = entry
            && let Some(file) = disk.files.get(id)
        {
            let bytes = survivors(file, policy, &mut dice);
            files.insert(*id, File { durable: bytes.clone(), bytes, unsynced: Vec::new() });
        }
    }
    let next_id = disk.clone().next_id();
    Disk::started(files, names, next_id)
}

/// A file in a directory that was lost is lost with it.
fn drop_lost_directories(names: &mut BTreeMap<String, Entry>) {
    let known = names.clone();
    names.retain(|path, _| {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        parents.into_iter().all(|parent| known.get(parent) == Some(&Entry::Directory))
    });
}

fn survivors(file: &File, policy: CrashPolicy, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = file.durable.clone();
    for write in &file.unsynced {
        match policy {
            CrashPolicy::DropUnsynced => {}
            CrashPolicy::KeepUnsynced | CrashPolicy::LoseNames => write.apply(&mut bytes),
            CrashPolicy::KeepSome => {
                if dice.coin() {
                    write.apply(&mut bytes);
                }
            }
            CrashPolicy::TearSectors => tear(write, &mut bytes, dice),
        }
    }
    bytes
}

fn tear(write: &Write, target: &mut Vec<u8>, dice: &mut Dice) {
    let Write::Bytes { offset, bytes } = write else {
        if dice.coin() {
            write.apply(target);
        }
        return;
    };
    let (mut at, end) = (*offset, offset + bytes.len());
    while at < end {
        let next = (at / SECTOR_BYTES + 1).saturating_mul(SECTOR_BYTES).min(end);
        if dice.coin() {
            let part = Write::Bytes { offset: at, bytes: bytes[at - offset..next - offset].to_vec() };
            part.apply(target);
        }
        at = next;
    }
}
