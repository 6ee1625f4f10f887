//! The epoch log under power loss, full and failing disks, zombies, damage and arbitrary bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers stand outside of test functions")]

mod begin;
mod bytes;
mod crashes;
mod damage;
mod faults;
mod model;
mod zombies;
