//! Running a topology on threads.
//!
//! 1. `plan`: which nodes share a stage, how many instances it has, where rows cross
//! 2. `assembly`: makes the instances and the channels between them
//! 3. `actor`: a stage instance as an actix actor; its data loop touches no mailbox
//! 4. `coordinator`: the actor that starts epochs
//! 5. `supervisor`: the actor that hears of ends and failures
//! 6. `running`: `RunningTopology`, the handle of the embedder
//! 7. `restart`: when to try again
//!
//! The one home of actix: messages are few and small; no row, watermark or barrier is ever one.

mod actor;
mod assembly;
mod coordinator;
mod plan;
mod restart;
mod running;
mod state_home;
mod supervisor;

pub use self::actor::Activity;
pub(crate) use self::assembly::{Assembled, assemble};
pub use self::running::{NodeReport, Report, RunningTopology, Stopper, Summary};
