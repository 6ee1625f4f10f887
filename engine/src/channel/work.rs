//! A bounded queue between two threads of the control plane: one puts work in, the other waits for it.

use crate::error::{Error, Result};

/// The side that puts work in; the other side ends when it is dropped.
#[derive(Debug)]
pub(crate) struct WorkSender<T>(crossbeam_channel::Sender<T>);

/// The side that works.
#[derive(Debug)]
pub(crate) struct WorkReceiver<T>(crossbeam_channel::Receiver<T>);

/// A queue for at most `capacity` pieces of work.
pub(crate) fn work_queue<T>(capacity: usize) -> (WorkSender<T>, WorkReceiver<T>) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    (WorkSender(sender), WorkReceiver(receiver))
}

impl<T> WorkSender<T> {
    /// Puts work in without waiting.
    ///
    /// # Errors
    /// The queue is full or the other side is gone.
    pub(crate) fn try_send(&self, work: T) -> Result<()> {
        self.0
            .try_send(work)
            .map_err(|refused| Error::failed(format!("no work can be handed over: {refused}")))
    }
}

impl<T> WorkReceiver<T> {
    /// Waits for the next piece of work; `None` when there will be none.
    pub(crate) fn next(&self) -> Option<T> {
        self.0.recv().ok()
    }
}
