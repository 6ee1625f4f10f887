//! Event-time windows: which windows a time belongs to, and what is computed in each.
//!
//! 1. `assigner`: tumbling and sliding windows on shared slices
//! 2. `aggregate`: the `Aggregate` trait and count, sum, min, max, mean

mod aggregate;
mod assigner;

pub use self::aggregate::{Aggregate, AggregateBuilder, Count, Custom, Max, Mean, Min, Number, Sum};
pub use self::assigner::Window;
