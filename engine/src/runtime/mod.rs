//! Running a topology on threads.
//!
//! 1. `plan`: which nodes share a stage, how many instances it has, where rows cross
//! 2. `assembly`: makes the instances and the channels between them
//! 3. `actor`: a stage instance as an actix actor; its data loop touches no mailbox
//! 4. `epochs`: which epoch is next, which is complete, which is the last
//! 5. `coordinator`: the actor that starts epochs; `log_thread`: the thread that makes them durable
//! 6. `job`: the directory of a durable job: recovery, and the commit of an epoch
//! 7. `store_thread`: the state store, which follows the epochs in its own time
//! 8. `supervisor`: the actor that hears of ends and failures
//! 9. `running`: `RunningTopology`, the handle of the embedder
//! 10. `restart`: when to try again
//! 11. `inspect`: [`Inspection`], a durable job that is only looked at
//!
//! The one home of actix: messages are few and small; no row, watermark or barrier is ever one.

mod actor;
mod assembly;
mod coordinator;
mod epochs;
mod inspect;
mod job;
mod log_thread;
mod plan;
mod restart;
mod running;
mod state_home;
mod store_thread;
mod supervisor;

pub use self::actor::Activity;
pub(crate) use self::assembly::{Assembled, Beginning, assemble};
pub(crate) use self::epochs::Epochs;
pub use self::inspect::{
    EpochReport, Inspection, KindReport, PartitionReport, SinkReport, StateEntry, StateView, TableReport,
    Verification,
};
pub(crate) use self::job::Job;
pub use self::job::discard;
pub(crate) use self::log_thread::Durable;
pub use self::running::{NodeReport, Report, RunningTopology, Stopper, Summary};
pub(crate) use self::store_thread::{StoreHome, StoreThread};
