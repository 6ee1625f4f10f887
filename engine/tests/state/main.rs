//! Keyed state: its tables against maps, its stores, and what happens when its type changes.

mod backend;
mod keyed;
mod schema;
