//! Running a topology on threads.
//!
//! 1. `plan`: which nodes share a stage, how many instances it has, where rows cross
//! 2. `assembly`: makes the instances and the channels between them
//! 3. `actor`: a stage instance as an actix actor; its data loop touches no mailbox
//! 4. `epochs`: which epoch is next, which is complete, which is the last
//! 5. `coordinator`: the actor that starts epochs; `log_thread`: the thread that makes them durable
//! 6. `supervisor`: the actor that hears of ends and failures
//! 7. `running`: `RunningTopology`, the handle of the embedder
//! 8. `restart`: when to try again
//!
//! The one home of actix: messages are few and small; no row, watermark or barrier is ever one.

mod actor;
mod assembly;
mod coordinator;
mod epochs;
mod log_thread;
mod plan;
mod restart;
mod running;
mod state_home;
mod supervisor;

pub use self::actor::Activity;
pub(crate) use self::assembly::{Assembled, Beginning, assemble};
pub(crate) use self::epochs::Epochs;
pub use self::running::{NodeReport, Report, RunningTopology, Stopper, Summary};
