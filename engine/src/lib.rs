//! Headwater.
extern crate self as headwater;

pub mod batch;
pub mod channel;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod error;
pub mod message;
pub mod operator;
pub mod runtime;
pub mod sink;
pub mod source;
mod stage;
pub mod state;
pub mod stream;
pub mod telemetry;
pub mod topology;
pub mod testing;
pub mod time;
pub mod window;

pub use error::{Error, Result};

/// prelude
pub mod prelude {
    pub use crate::batch::{Batch, Key, Record};
    pub use crate::config::EngineConfig;
    pub use crate::error::{Error, Result};
    pub use crate::operator::event_time::Watermarks;
    pub use crate::operator::{KeyedResult, WindowResult};
    pub use crate::sink::OutputMode;
    pub use crate::stream::{KeyedStream, Stream, StreamBuilder, WindowedStream};
    pub use crate::time::{Timestamp, minutes, ms, secs};
    pub use crate::window::Window;
    pub use headwater_derive::Record;
}
#[doc(hidden)]
pub mod __private { pub use rkyv::Place; pub use rkyv::rancor::Error as RkyvError; }
