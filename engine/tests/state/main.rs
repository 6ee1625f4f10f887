//! Keyed state: its tables against maps, its stores, and what happens when its type changes.

mod backend;
#[path = "../jobs/mod.rs"]
mod jobs;
mod keyed;
mod schema;
