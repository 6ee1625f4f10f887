//! Does a connector keep its promises? For whoever writes one, in his own package.
//!
//! 1. `source`: [`check_source`](super::check_source): records are the same from every position
//! 2. `reading`: what a reader gave, and how it differs from what it should have given
//! 3. `sink`: [`check_sink`](super::check_sink): a crash behind every call
//! 4. `trial`: a sink in the hands of a job that crashes
//! 5. `target`: what a reader of the target may see, and when

mod reading;
mod sink;
mod source;
mod target;
mod trial;

pub use self::sink::{SinkCheck, SinkReport, check_sink};
pub use self::source::{SourceCheck, SourceReport, check_source};
