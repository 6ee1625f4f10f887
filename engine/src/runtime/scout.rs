//! `Scout`: looks for partitions that are added to a source while it is read, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::Result;
use crate::stage::Roster;
use crate::topology::Discover;

/// What is looked for, and how often.
pub(crate) struct Scout {
    pub(crate) source: String,
    pub(crate) interval: Duration,
    pub(crate) discover: Discover,
    pub(crate) roster: Arc<Roster>,
}

impl Scout {
    /// Looks once. A source that does not answer is asked again the next time: its readers say what is wrong.
    fn look(&self) {
        match (self.discover)() {
            Ok(found) => {
                let added = self.roster.add(found);
                if added > 0 {
                    tracing::info!(
                        source = self.source,
                        added,
                        "partitions were added and are read from now on"
                    );
                }
            }
            Err(error) => tracing::warn!(source = self.source, %error, "cannot look for added partitions"),
        }
    }
}

/// The threads of the scouts of a run; they end when it is dropped.
pub(crate) struct Scouts {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Scouts {
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(scouts: Vec<Scout>) -> Result<Self> {
        let mut started = Scouts { over: Arc::default(), threads: Vec::new() };
        for scout in scouts {
            let over = Arc::clone(&started.over);
            let thread = std::thread::Builder::new().name("headwater-scout".to_owned()).spawn(move || {
                loop {
                    std::thread::park_timeout(scout.interval);
                    if over.load(SeqCst) {
                        return;
                    }
                    scout.look();
                }
            })?;
            started.threads.push(thread);
        }
        Ok(started)
    }
}

impl Drop for Scouts {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A panic of the source's code has been printed; the run is over.
            let _ = thread.join();
        }
    }
}
