//! How the memory of a run is divided, and how much of it the allocator may keep to itself.

mod state_home;

pub(super) use self::state_home::StateHome;
use crate::channel::ChannelLimits;
use crate::config::EngineConfig;

/// Parts of the memory, as divisors. The hot tables have what is left.
///
/// For the store's block cache and memtables.
pub(super) const STORE_PART: usize = 4;

/// For partial results in front of exchanges: half for the tables, half for their rows when they are sent.
const COMBINE_PART: usize = 16;

/// For what is in channels.
const CHANNEL_PART: usize = 16;

/// For what nothing accounts for: memory that was freed and not given back. Measured: some of it grows with
/// the budget, most with the arenas of the allocator, because a block that the store caches in one leaves a
/// hole when a thread with another one evicts it. It has at most 7/16 of all.
const UNSEEN_PART: usize = 16;
const UNSEEN_PARTS_MAX: usize = 7;
const UNSEEN_ARENA_BYTES: usize = 10 << 20;

/// For what keyed state holds for the store, and for the bytes of the same on their way.
const HELD_PART: usize = 24;
const JOURNAL_PART: usize = 12;

/// Least arenas: the main one, and one for all others.
const ARENAS_MIN: usize = 2;

/// Least that a channel holds: smaller batches cost more than the rows in them.
const CHANNEL_BYTES_MIN: usize = 64 << 10;

/// What one of `count` channels may hold.
pub(super) fn channel_limits(config: &EngineConfig, count: usize) -> ChannelLimits {
    let share = config.state_bytes_max / CHANNEL_PART / count.max(1);
    ChannelLimits { bytes_max: config.channel.bytes_max.min(share.max(CHANNEL_BYTES_MIN)), ..config.channel }
}

/// Memory of all partial results in front of exchanges, without their rows.
pub(super) fn combine_bytes(config: &EngineConfig) -> usize {
    config.state_bytes_max / COMBINE_PART / 2
}

/// Memory of all hot tables.
pub(super) fn hot_bytes(config: &EngineConfig) -> usize {
    let all = config.state_bytes_max;
    let unseen = all / UNSEEN_PART + arenas(config) * UNSEEN_ARENA_BYTES;
    let unseen = unseen.min(unseen_max(all));
    let journal = if config.state_dir.is_some() { all / JOURNAL_PART } else { 0 };
    all - all / STORE_PART - all / COMBINE_PART - all / CHANNEL_PART - unseen - journal
}

/// Memory of what all hot tables hold for the store of a durable job. What changed is there again as bytes for
/// the log, for the store and in its write: a multiple of this, for which the tables leave room.
pub(super) fn held_bytes(config: &EngineConfig) -> usize {
    config.state_bytes_max / HELD_PART
}

fn unseen_max(all: usize) -> usize {
    all / UNSEEN_PART * UNSEEN_PARTS_MAX
}

/// Arenas of the allocator: one per thread that works and one for the others, or as many as there is memory for.
fn arenas(config: &EngineConfig) -> usize {
    let room = unseen_max(config.state_bytes_max) / UNSEEN_ARENA_BYTES;
    room.min(config.parallelism + 1).max(ARENAS_MIN)
}

/// Bounds the arenas of glibc's allocator, which else has eight for each core: 30 MiB more for a state of ten
/// times 64 MiB at four instances. Other allocators have other ways, and `MALLOC_ARENA_MAX` is the user's word.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn bound_arenas(config: &EngineConfig) {
    if !config.bound_arenas || std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    #[expect(unsafe_code, reason = "the one call that has no safe wrapper; it takes two numbers")]
    // SAFETY: `mallopt` takes the lock of the main arena and stores a number.
    let done = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas(config) as libc::c_int) };
    if done == 0 {
        tracing::debug!("the allocator takes no bound of its arenas");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn bound_arenas(_: &EngineConfig) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(state_bytes_max: usize, parallelism: usize) -> EngineConfig {
        EngineConfig::default().state_bytes_max(state_bytes_max).parallelism(parallelism)
    }

    #[test]
    fn a_channel_has_its_share_and_room_for_a_batch() {
        let bytes = |all, count| channel_limits(&config(all, 2), count).bytes_max;
        let most = ChannelLimits::default().bytes_max;
        assert_eq!(bytes(512 << 20, 8), most);
        assert_eq!(bytes(64 << 20, 16), 256 << 10);
        assert_eq!(bytes(1 << 20, 16), CHANNEL_BYTES_MIN);
        assert_eq!(bytes(512 << 20, 0), most);
    }

    #[test]
    fn the_hot_tables_have_the_rest() {
        for all in [1 << 20, 64 << 20, 1 << 30] {
            for threads in [1, 4, 1000] {
                let hot = hot_bytes(&config(all, threads));
                assert!(hot >= all / 16 * 3 && hot < all * 5 / 8, "{hot} of {all}");
            }
        }
    }

    #[test]
    fn threads_share_arenas_only_where_memory_is_short() {
        let of = |mib: usize, threads| arenas(&config(mib << 20, threads));
        assert_eq!([of(64, 4), of(128, 4), of(512, 4), of(512, 16), of(4096, 64)], [2, 5, 5, 17, 65]);
        assert_eq!([of(1, 1), of(512, 1)], [2, 2]);
    }
}
