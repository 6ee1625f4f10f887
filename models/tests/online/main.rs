//! Learners and detectors against figures of independent implementations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod drift;
mod least_squares;
mod prequential;
mod stability;
mod stream;
mod streams;
