//! The epoch log under power loss, full and failing disks, zombies, damage and arbitrary bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod begin;
#[path = "../../fuzz/bodies/log.rs"]
mod body;
mod bytes;
#[path = "../../fuzz/bodies/corpus.rs"]
mod corpus;
mod crashes;
mod damage;
mod faults;
mod model;
mod zombies;
