//! The thread that makes epochs durable: a sync may take long, and no instance waits for it.

use std::thread::JoinHandle;

use actix::Addr;

use crate::channel::{WorkSender, work_queue};
use crate::error::{Error, Result};
use crate::runtime::coordinator::{Committed, Coordinator};
use crate::runtime::epochs::Complete;
use crate::time::Epoch;

/// Most epochs that wait for the log: those in flight, and one more.
const WAITING_MAX: usize = 4;

/// Makes epochs durable, one after the other.
pub(crate) trait Durable: Send {
    /// Returns when the epoch survives whatever happens.
    fn commit(&mut self, complete: Complete) -> Result<Epoch>;
}

/// The thread of a run's log.
#[derive(Debug)]
pub(crate) struct LogThread {
    work: Option<WorkSender<Complete>>,
    thread: Option<JoinHandle<()>>,
    coordinator: Addr<Coordinator>,
}

impl LogThread {
    /// Starts the thread, which tells `coordinator` of every epoch.
    pub(crate) fn start(mut log: Box<dyn Durable>, coordinator: Addr<Coordinator>) -> Result<Self> {
        let (sender, receiver) = work_queue::<Complete>(WAITING_MAX);
        let told = coordinator.clone();
        let thread = std::thread::Builder::new().name("headwater-log".to_owned()).spawn(move || {
            while let Some(complete) = receiver.next() {
                let outcome = log.commit(complete);
                let failed = outcome.is_err();
                told.do_send(Committed(outcome));
                if failed {
                    // What follows must not be committed without what is missing.
                    return;
                }
            }
        })?;
        Ok(LogThread { work: Some(sender), thread: Some(thread), coordinator })
    }

    /// Hands an epoch to the thread.
    pub(crate) fn commit(&self, complete: Complete) {
        let handed = match &self.work {
            Some(work) => work.try_send(complete),
            None => Err(Error::failed("the epoch log is closed")),
        };
        if let Err(error) = handed {
            self.coordinator.do_send(Committed(Err(error)));
        }
    }
}

impl Drop for LogThread {
    /// The log must be closed before a next attempt opens it.
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been seen as an epoch that never came.
            let _ = thread.join();
        }
    }
}
