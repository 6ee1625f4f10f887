//! `HttpSource` and `HttpSink`: records in and out as requests.
//!
//! The source: a thread of its own speaks HTTP, the reader takes requests from a queue.
//!
//! 1. `source`: [`HttpSource`], what a user says
//! 2. `server`: the thread, its connections
//! 3. `front`: what a request meets first; `body`: the records in it; `answer`: what its sender is told
//! 4. `known`: which requests were taken, the position
//! 5. `reader`: from the queue into batches, and answers when they are durable
//!
//! `sink`: [`HttpSink`], the other direction.

mod answer;
mod body;
mod front;
mod known;
mod reader;
mod server;
mod sink;
mod source;

pub use self::known::{HttpPosition, HttpRequestPosition};
pub use self::sink::HttpSink;
pub use self::source::HttpSource;
