//! Running a topology on threads.
//!
//! 1. `plan`: which nodes share a stage, how many instances it has, where rows cross
//! 2. `assembly`: makes the instances and the channels between them
//! 3. `actor`: a stage instance as an actix actor; its data loop touches no mailbox
//! 4. `steps`: how an instance is stepped, and all of them on one thread
//! 5. `epochs`: which epoch is next, which is complete, which is the last
//! 6. `coordinator`: the actor that starts epochs
//! 7. `job`: the directory of a durable job: recovery, the commit of an epoch, the store behind it
//! 8. `supervisor`: the actor that hears of ends and failures
//! 9. `running`: `RunningTopology`, the handle of the embedder
//! 10. `restart`: when to try again
//! 11. `memory`: how memory is divided, and where keyed state lives
//! 12. `inspect`: [`Inspection`], a durable job that is only looked at
//! 13. `replay`: epochs of a job run again
//! 14. `scout`: looks for partitions that are added while a source is read
//!
//! The one home of actix: messages are few and small; no row, watermark or barrier is ever one.

mod actor;
mod assembly;
mod coordinator;
mod epochs;
mod inspect;
mod job;
mod memory;
mod plan;
mod replay;
mod restart;
mod running;
mod scout;
mod steps;
mod supervisor;

pub use self::actor::Activity;
pub(crate) use self::assembly::{Assembled, Beginning, assemble};
pub(crate) use self::epochs::Epochs;
pub use self::inspect::{
    EpochReport, Inspection, KindReport, PartitionReport, SinkReport, SnapshotReport, StateEntry, StateView,
    TableReport, Verification,
};
#[doc(hidden)]
pub use self::job::reread_manifest;
pub(crate) use self::job::{Durable, Job, StateSchema, StoreHome, StoreThread, schemas_of, unreadable};
pub use self::job::{create_savepoint, discard};
pub use self::replay::{CapsuleReport, ReplaySummary, ReplayedEpoch, ReplayedRow, export_capsule, replay};
pub use self::running::{NodeReport, Report, RunningTopology, Stopper, Summary};
pub(crate) use self::steps::Steps;
