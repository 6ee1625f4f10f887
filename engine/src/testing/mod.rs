//! Running a topology without threads: a test driver with hand-moved time, and a seeded simulation.
//!
//! 1. `clock`: `ManualClock`
//! 2. `driver`: `TestDriver`: send records, move time, look at outputs
//! 3. `simulation`: `Simulation`: a seeded scheduler and a virtual clock
//! 4. `parts`: the sources and sinks that both use

mod clock;
mod driver;
mod parts;
mod simulation;

pub use self::clock::ManualClock;
pub use self::driver::{TestDriver, TestInput, TestOutput, TestRun};
pub use self::parts::{commit_epoch, poll_source};
pub use self::simulation::{Simulation, Trace};
