//! The records that aggregates give: a key with its value, and a window's share of it.

use headwater_derive::Record;

/// The value of a key.
#[derive(Record, Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedResult<K, V> {
    /// The key.
    pub key: K,
    /// What was computed for it.
    pub value: V,
}

/// The value of a key in one window `[window_start, window_end)`.
#[derive(Record, Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowResult<K, V> {
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// The key.
    pub key: K,
    /// What was computed for it.
    pub value: V,
}
