//! Headwater.
extern crate self as headwater;

pub mod batch;
pub mod error;
pub mod sink;
pub mod source;
pub mod state;
pub mod time;

pub use error::{Error, Result};

/// prelude
pub mod prelude {
    pub use crate::batch::{Batch, Key, Record};
    pub use crate::error::{Error, Result};
    pub use crate::sink::OutputMode;
    pub use crate::time::{Timestamp, minutes, ms, secs};
    pub use headwater_derive::Record;
}
#[doc(hidden)]
pub mod __private { pub use rkyv::Place; pub use rkyv::rancor::Error as RkyvError; }
