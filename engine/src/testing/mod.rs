//! Running a topology without threads: a test driver with hand-moved time, and a seeded simulation.
//!
//! 1. `clock`: `ManualClock`
//! 2. `driver`: `TestDriver`: send records, move time, look at outputs
//! 3. `simulation`: `Simulation`: a seeded scheduler and a virtual clock
//! 4. `crashes`: the same simulation on a machine that loses power
//! 5. `faults`: what goes wrong in one life of that machine
//! 6. `ledger`: [`Ledger`], a sink that stands outside and remembers what it was shown
//! 7. `schema`: [`check_state_schema`], which notices that state has changed
//! 8. `check`: [`check_source`] and [`check_sink`]: does a connector keep its promises?
//! 9. `parts`: the sources and sinks that all use

mod check;
mod clock;
mod crashes;
mod driver;
mod faults;
mod ledger;
mod parts;
mod schema;
mod simulation;

pub use self::check::{SinkCheck, SinkReport, SourceCheck, SourceReport, check_sink, check_source};
pub use self::clock::ManualClock;
pub use self::crashes::CrashReport;
pub use self::driver::{TestDriver, TestInput, TestOutput, TestRun};
pub use self::ledger::Ledger;
pub use self::parts::{commit_epoch, poll_source};
pub use self::schema::{check_state_schema, write_state_schema};
pub use self::simulation::{Simulation, Trace};
