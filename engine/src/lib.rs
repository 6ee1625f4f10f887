#![doc = include_str!("../../README.md")]
//!
//! # The floors of the crate
//!
//! A module imports from lower floors only; a test holds that.
//!
//! | floor | modules |
//! |---|---|
//! | 0 | [`batch`], [`time`], [`telemetry`], [`failpoint`] |
//! | 1 | [`error`], [`message`] |
//! | 2 | [`channel`], `epoch`, [`state`], [`storage`] |
//! | 3 | [`window`], [`config`], [`wal`] |
//! | 4 | [`source`], [`sink`], [`operator`] |
//! | 5 | `stage`: step-driven instances |
//! | 6 | [`topology`] |
//! | 7 | [`stream`] (say), [`runtime`] (run), [`testing`] (run without threads) |
//! | 8 | `cli` |
//!
//! # Features
//!
//! | feature | default | meaning |
//! |---|---|---|
//! | `rocksdb` | yes | keyed state larger than memory; a long C++ build, needs libclang |
//! | `cli` | yes | `headwater::cli`: flags, progress, Ctrl-C |
//! | `failpoints` | no | a torture test can end the process at named places: [`failpoint`] |

// The derive names this crate, also inside it.
extern crate self as headwater;

pub mod batch;
pub mod channel;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
mod epoch;
pub mod error;
pub mod failpoint;
pub mod message;
pub mod operator;
pub mod runtime;
pub mod sink;
pub mod source;
mod stage;
pub mod state;
pub mod storage;
pub mod stream;
pub mod telemetry;
pub mod testing;
pub mod time;
pub mod topology;
pub mod wal;
pub mod window;

pub use error::{Error, Result};

/// Everything that a stream program names: `use headwater::prelude::*;`.
pub mod prelude {
    pub use headwater_derive::Record;

    pub use crate::batch::{Batch, Record};
    pub use crate::config::EngineConfig;
    pub use crate::error::{Error, Result};
    pub use crate::operator::event_time::Watermarks;
    pub use crate::operator::{KeyedResult, WindowResult};
    pub use crate::sink::OutputMode;
    pub use crate::stream::{KeyedStream, Stream, StreamBuilder, WindowedStream};
    pub use crate::time::{Timestamp, minutes, ms, secs};
    pub use crate::topology::Topology;
    pub use crate::window::Window;
}

/// What the derive's code names; not for users.
#[doc(hidden)]
pub mod __private {
    pub use rkyv::Place;
    pub use rkyv::rancor::Error as RkyvError;
}
